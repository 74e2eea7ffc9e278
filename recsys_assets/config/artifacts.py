"""What is built: `[artifacts]`, with a table of parameters per kind that the kind itself reads."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, model_validator

from recsys_assets.config.engines import EngineName
from recsys_assets.config.model import Table

DEFAULT_KINDS = ("popularity", "cooc", "implicit", "content_sim", "session_seq")


class ArtifactSettings(BaseModel):
    """Which kinds are built, and one table of parameters per kind (read by the kind itself: `artifacts.kinds`)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kinds: tuple[str, ...] = Field(default=DEFAULT_KINDS, min_length=1, description="kinds to build, in any order")
    engine: EngineName = Field(
        default="native", description="what computes them: native, polars, duckdb or spark; all give the same bytes"
    )

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
