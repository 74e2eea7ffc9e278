"""Kinds to build and engines to build them with: `[artifacts]`, `[engines]`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recsys_assets.settings.model import MAX_MINUTES, ClosedModel, Table

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
        default=240,
        gt=0,
        le=MAX_MINUTES,
        description="a job that takes longer is cancelled: without executors Spark waits for ever",
    )
    conf: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description='Spark\'s own settings, like { "spark.executor.memory" = "8g" }; no secrets',
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "SparkSettings":
        if self.master and self.remote:
            raise ValueError("master and remote are both set: name the one that is meant")
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


DEFAULT_KINDS = ("popularity", "cooc", "implicit", "content_sim", "session_seq")


class ArtifactSettings(BaseModel):
    """Which kinds are built, and one table of parameters per kind (read by the kind itself: `artifacts.kinds`)."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    kinds: tuple[str, ...] = Field(default=DEFAULT_KINDS, min_length=1, description="kinds to build, in any order")
    engine: EngineName = Field(
        default="native", description="what computes them: native, polars, duckdb or spark; all give the same bytes"
    )

    window_days: int | None = Field(
        default=None, ge=1, le=366, description="of every kind whose own table does not say; none: the kind's default"
    )

    @property
    def for_all(self) -> Table:
        """Parameters of every kind that its own table may override."""
        return {} if self.window_days is None else {"window_days": self.window_days}

    @property
    def tables(self) -> Mapping[str, Table]:
        """Parameters as written, by kind."""
        return self.model_extra or {}

    @model_validator(mode="after")
    def _only_tables(self) -> "ArtifactSettings":
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, dict):
                raise ValueError(f"artifacts.{name} is {value!r}: expected a table [artifacts.{name}]")  # noqa: TRY004
        return self
