"""Spark resource: the cluster, so that one run can be sent to another one from the launchpad."""

from typing import Any

import dagster as dg
from pydantic import Field

from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.settings.artifacts import EngineSettings, SparkSettings
from recsys_assets.storage.store import ObjectStore


class SparkResource(dg.ConfigurableResource[Any]):
    """An existing cluster, which kinds with `engine = "spark"` connect to when they are built, and others never.

    The session belongs to the process, not to the run: connecting takes seconds, and a backfill has many runs.
    """

    master: str | None = Field(default=None, description="spark://host:7077, k8s://https://host:443, yarn or local[4]")
    remote: str | None = Field(default=None, description="a Spark Connect server, like sc://host:15002")
    conf: dict[str, str] = Field(default_factory=dict[str, str], description="Spark's own settings")

    def registry(self, settings: EngineSettings, store: ObjectStore) -> EngineRegistry:
        """Return the engines of a configuration, with Spark where this resource says."""
        found = {"master": self.master, "remote": self.remote, "conf": self.conf}
        spark = SparkSettings.model_validate({**settings.spark.model_dump(), **found})
        return EngineRegistry(settings.model_copy(update={"spark": spark}), store.root_uri)


def spark_resource(settings: SparkSettings) -> SparkResource:
    """Return the cluster that the configuration names."""
    return SparkResource(master=settings.master, remote=settings.remote, conf=dict(settings.conf))
