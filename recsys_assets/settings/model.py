"""Base of every table of the file: frozen, closed to unknown keys, numbers finite; durations have an end."""

from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

Share = Annotated[float, Field(ge=0, le=1)]
MAX_HOURS = 87_600  # ten years: longer durations mean never, for which there are switches
MAX_MINUTES = 60 * MAX_HOURS
MAX_DAYS = 36_500  # a hundred years
MAX_WHOLE = 2**53  # larger numbers lose digits in JSON, and overflow calendars and arrays
MAX_SECONDS = 2_000_000  # 23 days: what PostgreSQL takes as a timeout in milliseconds
Table: TypeAlias = dict[str, Any]  # as written, read later by what it belongs to


class ClosedModel(BaseModel):
    """Frozen, closed to unknown keys, without infinite and without endless numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _ends(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > MAX_WHOLE:
            raise ValueError(f"expected a whole number of at most {MAX_WHOLE:,}")
        return value
