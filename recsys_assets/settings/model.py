"""What every table of the file has in common: it is frozen, and closed to unknown keys."""

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Table: TypeAlias = dict[str, Any]  # as written, read later by what it belongs to


class ClosedModel(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)
