"""Kinds to build, engines, kinds that others build, and artifact trees: their tables of recsys.toml."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recsys_assets.settings.model import MAX_MINUTES, ClosedModel, Table

EngineName = Literal["native", "polars", "duckdb", "spark"]
SparkWay = Literal["spark", "arrow"]

DEFAULT_KINDS = ("popularity", "cooc", "implicit", "content_sim", "session_seq")


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


class ImportFormat(StrEnum):
    """How the bytes of an imported file are read for its contract; nothing is ever unpickled."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    NPZ = "npz"
    SAFETENSORS = "safetensors"
    BYTES = "bytes"


MEDIA_TYPES: Final = {
    ImportFormat.JSONL: "application/x-ndjson",
    ImportFormat.PARQUET: "application/vnd.apache.parquet",
    ImportFormat.NPZ: "application/zip",
    ImportFormat.SAFETENSORS: "application/octet-stream",
}


class ImportSettings(ClosedModel):
    """One kind of artifact that somebody else builds: where its file of a day is dropped, and what it promises."""

    path: str = Field(description="template with {day}, {tenant}, {surface}; a path or s3://, exactly one file a day")
    format: ImportFormat = Field(description="jsonl, parquet, npz, safetensors, or bytes that nobody looks into")
    contract: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description='columns as "string", "float64?" (may be null), "list[float32]"; arrays as "float32[n,64]"',
    )
    extension: str = Field(default="bin", pattern="^[a-z0-9]{1,20}$", description="of bytes: how their files end")
    content_type: str = Field(
        default="application/octet-stream",
        pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$",
        description="of bytes: what the read API calls them",
    )
    targets: tuple[str, ...] = Field(default=(), description='whose it is, as "tenant/surface"; none: every target\'s')
    max_age_days: int = Field(
        default=0, ge=0, le=100, description="how many days an older file may stand in where the day has none"
    )
    min_rows: int = Field(default=1, ge=0, description="fewest rows; of arrays, entries of the first axis")
    max_bytes: int = Field(default=100_000_000, ge=1, description="largest file, and what is read into memory")
    max_unpacked_bytes: int = Field(
        default=1_000_000_000, ge=1, description="largest content once it is unpacked: what a zip bomb runs into"
    )
    hierarchy: str | None = Field(
        default=None, description="[hierarchies.<name>] in which each registered file is a node; none: in no tree"
    )
    parent: str | None = Field(default=None, description="id of the node below which it is; none: a root")
    metadata: Mapping[str, str | int | float | bool] = Field(
        default_factory=dict[str, str | int | float | bool],
        description="what the node says beside kind, target and day",
    )
    allow_breaking: bool = Field(
        default=False, description="ship a file that readers of the live one cannot read; for the day of the change"
    )

    @property
    def form(self) -> str:
        """How the stored files end."""
        return self.extension if self.format is ImportFormat.BYTES else self.format.value

    @property
    def media_type(self) -> str:
        """What the stored files are called over HTTP."""
        return self.content_type if self.format is ImportFormat.BYTES else MEDIA_TYPES[self.format]

    @model_validator(mode="after")
    def _parents_are_in_a_tree(self) -> "ImportSettings":
        if self.hierarchy is None and (self.parent is not None or self.metadata):
            raise ValueError("parent and metadata are a node's: name its hierarchy too")
        return self

    @model_validator(mode="after")
    def _bytes_promise_nothing(self) -> "ImportSettings":
        if self.format is ImportFormat.BYTES and self.contract:
            raise ValueError("a contract needs a format that can be looked into: jsonl, parquet, npz or safetensors")
        return self


class HierarchySettings(ClosedModel):
    """One artifact tree: experiments with their models and predictions, documents with their versions, or the like."""

    levels: tuple[str, ...] = Field(
        min_length=1,
        max_length=20,
        description='labels from the root down, like ["experiment", "model", "predictions"]',
    )
    max_bytes: int = Field(
        default=100_000_000, ge=1, le=2_000_000_000, description="largest content of a node; it is read into memory"
    )

    @field_validator("levels")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or not all(label.strip() == label and label for label in value):
            raise ValueError("expected labels that are not blank, no two alike")
        return value
