"""Base class of every configuration table: frozen, without unknown keys, with finite and bounded numbers."""

import re
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

Share = Annotated[float, Field(ge=0, le=1)]
MAX_HOURS = 87_600  # Ten years. To disable something, use its switch instead of a longer duration.
MAX_MINUTES = 60 * MAX_HOURS
MAX_DAYS = 36_500  # a hundred years
MAX_WHOLE = 2**53  # larger integers lose digits in JSON and overflow calendars and arrays
MAX_SECONDS = 2_000_000  # 23 days. PostgreSQL stores a timeout as int32 milliseconds.
_FEW_SLASHES = re.compile(r"(delta:)?(?P<scheme>s3|gs|az):/?(?!/)")
Table: TypeAlias = dict[str, Any]  # As written in the file. Its owner validates it later.


class ClosedModel(BaseModel):
    """Frozen model that rejects unknown keys, infinite numbers and integers above `MAX_WHOLE`."""

    # Built when first used, as part of the whole file instead of a second time for each table.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*")
    @classmethod
    def _ends(cls, value: Any) -> Any:
        if isinstance(value, int) and abs(value) > MAX_WHOLE:
            raise ValueError(f"expected a whole number of at most {MAX_WHOLE:,}")
        return value


def check_location(place: str | None) -> str | None:
    """Return a path or URI.

    Raises `ValueError` for a URI without its two slashes: it would be a folder called `s3:`.
    """
    found = _FEW_SLASHES.match(place or "")
    if found:
        raise ValueError(f"expected {found['scheme']}:// with two slashes, then the bucket")
    return place
