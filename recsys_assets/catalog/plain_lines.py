"""Many lines of a catalog in one go: taken if provably every one is good, and handed back if one may not be."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from recsys_assets.catalog.rows import FIELDS
from recsys_assets.ingest.json_object import MAX_LINE_BYTES
from recsys_assets.ingest.white_space import WHITE_SPACE

_Text = str | msgspec.UnsetType | None


class _Row(msgspec.Struct, gc=False):
    """A line in which nothing can be wrong, once its JSON is of these types; what is not named stays unset."""

    item_id: str
    tags: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    namespace: _Text = msgspec.UNSET
    price: float | msgspec.UnsetType | None = msgspec.UNSET
    created_at: _Text = msgspec.UNSET


_ROWS = msgspec.json.Decoder(_Row)


def read_plain_lines(lines: bytes) -> pl.DataFrame | None:
    """Return the rows of lines, separated by newlines, in columns of `catalog.SCHEMA`; None if one needs a closer look.

    The decoder takes the last of repeated names, passes over what no field takes, and does not look at newlines. So it
    is believed only where counting shows that each line is one object without escapes and without objects inside, and
    that each name of ours stands once where it is set, and nowhere else.
    """
    count = lines.count(b"\n") + 1
    flat = lines.startswith(b"{") and lines.endswith(b"}") and lines.count(b"}\n{") == count - 1
    if not flat or lines.count(b"{") != count or lines.count(b"}") != count or b"\\" in lines:
        return None
    if len(lines) > MAX_LINE_BYTES and max(map(len, lines.split(b"\n"))) > MAX_LINE_BYTES:
        return None
    try:
        rows = _ROWS.decode_lines(lines.decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if len(rows) != count or not _stand_once(rows, lines):
        return None
    frame = _frame(rows)
    return None if (frame["item_id"] == "").any() else frame


def _stand_once(rows: Sequence[_Row], lines: bytes) -> bool:
    """Return whether names, and brackets of lists, are as many as there are values: nothing is hidden or repeated."""
    named = (lines.count(f'"{name}"'.encode()) == _set(rows, name) for name in FIELDS)
    return all(named) and lines.count(b"[") == sum(isinstance(row.tags, list) for row in rows)


def _set(rows: Sequence[_Row], name: str) -> int:
    return sum(getattr(row, name) is not msgspec.UNSET for row in rows)


def _frame(rows: Sequence[_Row]) -> pl.DataFrame:
    lists = [row.tags or () for row in rows]
    frame = pl.DataFrame(
        {
            "item_id": _trimmed(rows, "item_id"),
            "tags": list_series(lists),
            "namespace": _trimmed(rows, "namespace"),
            "price": pl.Series(_known(rows, "price"), dtype=pl.Float64),
            "created_at": _trimmed(rows, "created_at"),
        }
    )
    return frame.with_columns(pl.col("namespace", "created_at").replace("", None))


def _trimmed(rows: Sequence[_Row], name: str) -> pl.Series:
    return pl.Series(_known(rows, name), dtype=pl.String).str.strip_chars(WHITE_SPACE)


def _known(rows: Sequence[_Row], name: str) -> list[Any]:
    """Return a value of each row, None where it is unset."""
    values = (getattr(row, name) for row in rows)
    return [None if value is msgspec.UNSET else value for value in values]


def list_series(lists: Sequence[Sequence[str]]) -> pl.Series:
    """Return lists of strings as a column; all strings are in one array: else each list would be a series."""
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    members = pl.Series([text for texts in lists for text in texts], dtype=pl.String)
    # Made of its buffers: where pandas is installed, other ways import it to see whether they are given some.
    array: Any = pa.Array.from_buffers(
        pa.large_list(pa.large_string()),
        len(lists),
        [None, pa.py_buffer(offsets)],
        children=[members.to_arrow(compat_level=pl.CompatLevel.oldest())],
    )
    return pl.Series(array)
