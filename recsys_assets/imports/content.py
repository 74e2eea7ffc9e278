"""Content of an imported file: its fields by type, and its number of rows."""

from collections.abc import Mapping
from dataclasses import dataclass

MAX_FIELDS = 1000  # columns or arrays of one file
NON_FINITE = " with NaN or infinity"  # ends the type of a field that holds such numbers


@dataclass(frozen=True, slots=True)
class Content:
    """Type by field, and the rows; of bytes that nobody looks into there are neither.

    A column's type is like `string`, `float64?` (some value is null) or `list[float32]`; an array's is its dtype and
    shape, like `float32[1200,64]`. A type ends with `NON_FINITE` where some number is NaN or infinite.
    """

    fields: Mapping[str, str]
    rows: int | None
