"""Store resource: opens the store, without logic or secrets; S3 credentials come from the environment."""

from functools import cached_property
from typing import Any

import dagster as dg
from pydantic import Field

from recsys_assets.storage.open import open_store
from recsys_assets.storage.store import ObjectStore


class StoreResource(dg.ConfigurableResource[Any]):
    """The one store of raw slices, canonical days, artifacts, releases and pointers."""

    root: str = Field(description="an absolute folder, or s3://bucket/prefix (other S3 servers: AWS_ENDPOINT_URL)")
    must_exist: bool = Field(default=False, description="refuse a root where no store was begun")

    @cached_property
    def store(self) -> ObjectStore:
        """The opened store; the first use proves that it honours conditional writes."""
        return open_store(self.root, s3_client=_s3_client, must_exist=self.must_exist)


def _s3_client() -> Any:
    """Make a boto3 client by dagster-aws, imported only here: it costs 1.4 s that a folder need not pay."""
    from dagster_aws.s3 import S3Resource  # noqa: PLC0415

    return S3Resource().get_client()
