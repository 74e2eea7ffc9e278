"""Which engine builds a kind, and what DuckDB and Spark are told: `[artifacts] engine`, and the table `[engines]`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from recsys_assets.config.model import ClosedModel

EngineName = Literal["native", "polars", "duckdb", "spark"]
SparkWay = Literal["spark", "arrow"]


class DuckDbSettings(ClosedModel):
    """How much of the machine DuckDB may take."""

    memory_limit: str | None = Field(
        default=None, pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$", description="like 4GB; past it, it writes to engines.scratch"
    )
    threads: int | None = Field(default=None, ge=1, description="at most; none: as many as processors")


class SparkSettings(ClosedModel):
    """Where the Spark cluster is. Neither master nor remote: what spark-defaults.conf says."""

    master: str | None = Field(default=None, description="spark://host:7077, k8s://https://host:443, yarn, or local[4]")
    remote: str | None = Field(
        default=None, description="a Spark Connect server, like sc://host:15002; needs no Java here"
    )
    files: SparkWay | None = Field(
        default=None,
        description="who reads and writes Parquet: `spark` itself (s3:// wants hadoop-aws on the cluster), or `arrow` "
        "on its executors (wants pyarrow there); none: arrow for s3://, spark for folders",
    )
    patience_minutes: float = Field(
        default=240, gt=0, description="a job that takes longer is cancelled: without executors Spark waits for ever"
    )
    conf: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description='Spark\'s own settings, like { "spark.executor.memory" = "8g" }; no secrets',
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "SparkSettings":
        if self.master and self.remote:
            raise ValueError("master and remote are both told: name the one that is meant")
        return self


class EngineSettings(ClosedModel):
    """What engines other than the native one need."""

    scratch: str | None = Field(
        default=None, description="a folder of this machine for copies, results and spills; none: the system's own"
    )
    work: str | None = Field(
        default=None,
        description="where Spark writes its results: a folder that all its machines share, or s3://bucket/prefix; "
        "none: `engines/` below storage.root",
    )
    duckdb: DuckDbSettings = DuckDbSettings()
    spark: SparkSettings = SparkSettings()
