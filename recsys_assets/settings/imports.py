"""Artifacts that other teams build: `[imports.<kind>]`, a table for each kind of file that is registered."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field, model_validator

from recsys_assets.settings.model import ClosedModel


class ImportFormat(StrEnum):
    """How the bytes of an imported file are read for its contract; nothing is ever unpickled."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    NPZ = "npz"
    SAFETENSORS = "safetensors"
    BYTES = "bytes"


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
    allow_breaking: bool = Field(
        default=False, description="ship a file that readers of the live one cannot read; for the day of the change"
    )

    @property
    def form(self) -> str:
        """How the stored files end."""
        return self.extension if self.format is ImportFormat.BYTES else self.format.value

    @model_validator(mode="after")
    def _bytes_promise_nothing(self) -> "ImportSettings":
        if self.format is ImportFormat.BYTES and self.contract:
            raise ValueError("a contract needs a format that can be looked into: jsonl, parquet, npz or safetensors")
        return self
