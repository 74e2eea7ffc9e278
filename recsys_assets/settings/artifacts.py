"""Settings of artifacts: `[artifacts]`, `[engines]`, `[imports]` and `[hierarchies]`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from recsys_assets.settings.model import MAX_MINUTES, ClosedModel, Table, check_location

EngineName = Literal["native", "polars", "duckdb", "spark"]
SparkFileAccess = Literal["spark", "arrow"]

DEFAULT_KINDS = ("popularity", "cooc", "implicit", "content_sim", "session_seq")


class DuckDbSettings(ClosedModel):
    """Memory and threads that DuckDB may use."""

    memory_limit: str | None = Field(
        default=None,
        pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$",
        description="memory limit, such as 4GB; beyond it DuckDB spills to engines.scratch",
    )
    threads: int | None = Field(default=None, ge=1, description="maximum number of threads; unset: one per processor")


class SparkSettings(ClosedModel):
    """Connection to the Spark cluster. Without `master` and `remote`, spark-defaults.conf applies."""

    master: str | None = Field(
        default=None, description="master URL: spark://host:7077, k8s://https://host:443, yarn, or local[4]"
    )
    remote: str | None = Field(
        default=None, description="Spark Connect server, such as sc://host:15002; does not need Java on this machine"
    )
    files: SparkFileAccess | None = Field(
        default=None,
        description="library that reads and writes Parquet: `spark` (s3:// needs hadoop-aws on the cluster) or `arrow` "
        "on the executors (needs pyarrow there); unset: arrow for s3://, spark for folders",
    )
    patience_minutes: float = Field(
        default=240,
        gt=0,
        le=MAX_MINUTES,
        description="minutes after which a job is cancelled; without executors Spark would wait forever",
    )
    conf: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description='Spark settings, such as { "spark.executor.memory" = "8g" }; must not contain secrets',
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> "SparkSettings":
        if self.master and self.remote:
            raise ValueError("master and remote are both set: set only one of them")
        return self


class EngineSettings(ClosedModel):
    """Working folders and connections of the engines other than the native one."""

    scratch: str | None = Field(
        default=None,
        description="local folder for copies, results and spilled data; unset: the system's temporary folder",
    )
    work: str | None = Field(
        default=None,
        description="where Spark writes its results: a folder that all its machines share, or s3://bucket/prefix; "
        "unset: `engines/` below storage.root",
    )
    duckdb: DuckDbSettings = DuckDbSettings()
    spark: SparkSettings = SparkSettings()


class ArtifactSettings(BaseModel):
    """Kinds to build, and one table of parameters per kind, which the kind itself checks (`artifacts.kinds`)."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    kinds: tuple[str, ...] = Field(default=DEFAULT_KINDS, min_length=1, description="kinds to build, in any order")
    engine: EngineName = Field(
        default="native",
        description="engine that computes the kinds: native, polars, duckdb or spark; all produce the same bytes",
    )

    window_days: int | None = Field(
        default=None,
        ge=1,
        le=366,
        description="days of events for every kind whose own table does not set it; unset: the kind's default",
    )

    @property
    def for_all(self) -> Table:
        """Parameters that apply to every kind unless its own table overrides them."""
        return {} if self.window_days is None else {"window_days": self.window_days}

    @property
    def tables(self) -> Mapping[str, Table]:
        """Parameters as written in the file, by kind."""
        return self.model_extra or {}

    @model_validator(mode="after")
    def _only_tables(self) -> "ArtifactSettings":
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, dict):
                raise ValueError(f"artifacts.{name} is {value!r}: expected a table [artifacts.{name}]")  # noqa: TRY004
        return self


class ImportFormat(StrEnum):
    """Format in which an imported file is read to check its contract. Pickled data is never loaded."""

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
    """One kind of artifact that another system builds: the location of each day's file, and its contract."""

    path: str = Field(
        description="path, s3://, gs:// or az:// template with {day}, {tenant}, {surface}; exactly one file per day"
    )
    format: ImportFormat = Field(
        description="jsonl, parquet, npz, safetensors, or bytes, whose content is not inspected"
    )
    contract: Mapping[str, str] = Field(
        default_factory=dict[str, str],
        description='columns as "string", "float64?" (nullable), "list[float32]"; arrays as "float32[n,64]"',
    )
    extension: str = Field(
        default="bin",
        pattern="^[a-z0-9]{1,20}$",
        description="format bytes only: file name extension of the stored files",
    )
    content_type: str = Field(
        default="application/octet-stream",
        pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$",
        description="format bytes only: content type with which the API returns the files",
    )
    targets: tuple[str, ...] = Field(
        default=(), description='targets that have this kind, as "tenant/surface"; empty: every target'
    )
    max_age_days: int = Field(
        default=0, ge=0, le=100, description="maximum age in days of an older file that is used if the day has none"
    )
    min_rows: int = Field(
        default=1, ge=0, description="minimum number of rows, or of entries along the first axis of an array"
    )
    max_bytes: int = Field(default=100_000_000, ge=1, description="maximum size of the file, which is read into memory")
    max_unpacked_bytes: int = Field(
        default=1_000_000_000,
        ge=1,
        description="maximum size of the unpacked content, which protects against zip bombs",
    )
    hierarchy: str | None = Field(
        default=None,
        description="name of the [hierarchies.<name>] in which each registered file becomes a node; unset: no tree",
    )
    parent: str | None = Field(default=None, description="id of the parent node; unset: the node is a root")
    metadata: Mapping[str, str | int | float | bool] = Field(
        default_factory=dict[str, str | int | float | bool],
        description="metadata of the node, in addition to kind, target and day",
    )
    allow_breaking: bool = Field(
        default=False,
        description="ship a file that readers of the live one cannot read; set it only for the day of the change",
    )

    @field_validator("path")
    @classmethod
    def _is_a_location(cls, path: str | None) -> str | None:
        return check_location(path)

    @property
    def form(self) -> str:
        """File name extension of the stored files."""
        return self.extension if self.format is ImportFormat.BYTES else self.format.value

    @property
    def media_type(self) -> str:
        """Content type of the stored files."""
        return self.content_type if self.format is ImportFormat.BYTES else MEDIA_TYPES[self.format]

    @model_validator(mode="after")
    def _parents_are_in_a_tree(self) -> "ImportSettings":
        if self.hierarchy is None and (self.parent is not None or self.metadata):
            raise ValueError("parent and metadata describe a node: set hierarchy too")
        return self

    @model_validator(mode="after")
    def _bytes_promise_nothing(self) -> "ImportSettings":
        if self.format is ImportFormat.BYTES and self.contract:
            raise ValueError("a contract needs a format that can be inspected: jsonl, parquet, npz or safetensors")
        return self


class HierarchySettings(ClosedModel):
    """One artifact tree, such as experiments with their models and predictions, or documents with their versions."""

    levels: tuple[str, ...] = Field(
        min_length=1,
        max_length=20,
        description='labels of the levels from the root down, such as ["experiment", "model", "predictions"]',
    )
    max_bytes: int = Field(
        default=100_000_000,
        ge=1,
        le=2_000_000_000,
        description="maximum size of a node's content, which is read into memory",
    )

    @field_validator("levels")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value) or not all(label.strip() == label and label for label in value):
            raise ValueError("expected distinct labels without surrounding blanks")
        return value
