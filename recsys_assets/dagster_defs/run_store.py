"""The store of a graph: opened on first use, with reads shared by the steps of a run.

It is deliberately not a Dagster resource: a launchpad could point a run at another store.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import dagster as dg

from recsys_assets.dagster_defs.naming import day_of
from recsys_assets.pipeline.context import DayContext, open_configured_store
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.run_cache import reads_of_run
from recsys_assets.storage.store import ObjectStore

Step: TypeAlias = dg.AssetExecutionContext | dg.AssetCheckExecutionContext


@dataclass(frozen=True)
class RunStore:
    """The store of the settings, opened on first use.

    Credentials and addresses of buckets come from the environment.
    """

    settings: Settings

    @cached_property
    def store(self) -> ObjectStore:
        """The opened store. The first use verifies that it supports conditional writes."""
        return open_configured_store(self.settings, s3_client=_s3_client)

    def reads(self, context: Step) -> ObjectStore:
        """Return the store with a read cache shared by the steps of one run.

        A retry reads everything again, because another writer may be the cause of the retry.
        """
        return reads_of_run(self.store, f"{context.run.run_id} {context.retry_number}")

    def day_context(self, context: Step, settings: Settings, row: TargetSettings) -> DayContext:
        """Return the day context of a step of one target."""
        return DayContext(self.reads(context), settings, row, day_of(context), run_id=context.run.run_id)


def _s3_client() -> Any:
    """Return a boto3 client of dagster-aws, imported only here: the import takes 1.4 s, which folders do not need."""
    from dagster_aws.s3 import S3Resource  # noqa: PLC0415

    return S3Resource().get_client()
