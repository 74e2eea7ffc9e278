"""Readers of catalog rows: CSV with varying headers and rows over several lines, and plain lines many at a time."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from recsys_assets.catalog.catalog_row import FIELDS, CatalogLine, make_row
from recsys_assets.errors import InputError
from recsys_assets.ingest.json_object import MAX_LINE_BYTES
from recsys_assets.ingest.quarantine import FaultError, LineFault, Reason, fail
from recsys_assets.ingest.white_space import WHITE_SPACE, trim

_NAMES: Mapping[str, str] = {
    "item_id": "item_id",
    "itemid": "item_id",
    "id": "item_id",
    "tags": "tags",
    "tag_list": "tags",
    "namespace": "namespace",
    "surface": "namespace",
    "price": "price",
    "created_at": "created_at",
}
_SEPARATORS = re.compile("[,;|]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?|[+-]?(nan|inf)")  # 1_000 is a number only in Python


def read_csv_pieces(
    pieces: Iterator[bytes], name: str, *, delimiter: str = ","
) -> Iterator[CatalogLine | pl.DataFrame]:
    """Yield the rows of each piece as one frame while all its lines are plain, and one by one from the first other on.

    Raises as `read_csv_rows`.
    """
    header, fields, skipped = b"", None, 0
    for piece in pieces:
        body, lines = piece, piece.count(b"\n") + 1
        if fields is None:
            header, _, body = piece.partition(b"\n")
            fields, lines = _plain_header(header, name, delimiter), lines - 1
        plain = _read_plain_cells(body, fields, delimiter) if fields else None
        if plain is None:  # a quote may span any number of lines: a later piece may not begin with a row
            rest = (line for some in chain([body], pieces) for line in some.split(b"\n"))
            yield from read_csv_rows(chain([header], rest), name, delimiter=delimiter, skipped=skipped)
            return
        yield plain
        skipped += lines
    if fields is None:
        _read_header([], name)


def _plain_header(header: bytes, name: str, delimiter: str) -> list[str | None]:
    """Return the field of each column (None: ignored). The list is empty if a quote or NUL requires the CSV reader."""
    if any(byte in header for byte in (b'"', b"\0")):
        return []
    text = header.removeprefix(_BYTE_ORDER_MARK).removesuffix(b"\r").decode(errors="surrogateescape")
    return _read_header(text.split(delimiter), name)


def _read_plain_cells(lines: bytes, fields: Sequence[str | None], delimiter: str) -> pl.DataFrame | None:
    """Return the rows of lines in columns of `catalog.SCHEMA`, or None if one of them requires the CSV reader.

    Without quotes, a cell ends at a delimiter and a row with its line, so that counting cells proves them correct.
    """
    lines = lines.removesuffix(b"\r").replace(b"\r\n", b"\n")
    long = len(lines) > MAX_LINE_BYTES and max(map(len, lines.split(b"\n"))) > MAX_LINE_BYTES
    if long or any(byte in lines for byte in (b'"', b"\r", b"\0")):
        return None
    try:
        return _frame_of_cells([line.split(delimiter) for line in lines.decode().split("\n") if line], fields)
    except (UnicodeDecodeError, FaultError):
        return None


def _frame_of_cells(cells: Sequence[Sequence[str]], fields: Sequence[str | None]) -> pl.DataFrame | None:
    if any(len(row) != len(fields) for row in cells):
        return None
    columns: dict[str, Sequence[str]] = {
        field: column for field, column in zip(fields, zip(*cells, strict=True), strict=False) if field
    }
    prices = [_number(cell) if trim(cell) else None for cell in columns.get("price", [""] * len(cells))]
    tags = [text.replace(",", "|").replace(";", "|").split("|") for text in columns.get("tags", ())]
    frame = pl.DataFrame(
        {
            "item_id": _trimmed(columns.get("item_id", ())),
            "tags": list_series(tags),
            "namespace": _trimmed(columns.get("namespace", [None] * len(cells))),
            "price": pl.Series(prices, dtype=pl.Float64),
            "created_at": _trimmed(columns.get("created_at", [None] * len(cells))),
        }
    ).with_columns(pl.col("namespace", "created_at").replace("", None))
    return None if (frame["item_id"] == "").any() or not frame["price"].is_finite().all() else frame


def read_csv_rows(
    lines: Iterator[bytes], name: str, *, delimiter: str = ",", skipped: int = 0
) -> Iterator[CatalogLine]:
    """Yield the rows below the header. Raises `InputError` if the header has no column of items or of tags.

    `skipped` is the number of lines below the header that the caller has already read. Line numbers include them.

    A byte order mark before the header is dropped, because spreadsheets write one. Quotes follow RFC 4180. A bad row
    over several lines counts as a fault of each of them: a stray quote turns all lines up to the next quote into one
    row, and each of them may have been a row.
    """
    rows = _rows(lines, delimiter, skipped)
    header, _, _ = next(rows, ([], 0, ""))
    fields = _read_header(header if isinstance(header, list) else [], name)
    for cells, line, text in rows:
        if cells == []:
            continue
        try:
            _check_lines(cells, fields, text, delimiter)
            yield CatalogLine(line, text.encode(errors="surrogateescape"), make_row(_values(cells, fields, text)))
        except FaultError as error:
            yield from _each_line(text, line, error)


def _each_line(text: str, first: int, error: FaultError) -> Iterator[CatalogLine]:
    """Yield a fault for every line of a bad row that is not blank."""
    lines = text.split("\n")
    for number, line in enumerate(lines, first):
        detail = (
            error.detail if len(lines) == 1 else f"{error.detail} (row of lines {first} to {first + len(lines) - 1})"
        )
        if line:
            yield CatalogLine(number, line.encode(errors="surrogateescape"), LineFault(error.reason, detail))


def _check_lines(cells: list[str] | csv.Error, fields: list[str | None], text: str, delimiter: str) -> None:
    """Raise `FaultError` for a row over several lines that may be several rows joined by a stray quote.

    Cells of ignored columns may have several lines, unless one of these lines has as many cells as a row.
    """
    if "\n" not in text or isinstance(cells, csv.Error):
        return
    ours = (cell for cell, field in zip(cells, fields, strict=False) if field)
    if any("\n" in cell for cell in ours) or any(_is_row(line, fields, delimiter) for line in text.split("\n")[1:]):
        fail(Reason.NOT_CSV, "a quote spans the end of the line, and may include other rows: close or double it")


def _is_row(line: str, fields: list[str | None], delimiter: str) -> bool:
    """Return whether a line has as many cells as a row, with its quotes read as quotes or as plain characters."""
    quoted = next(csv.reader([line], delimiter=delimiter), [])
    return len(fields) in {line.count(delimiter) + 1, len(quoted)}


def _rows(lines: Iterator[bytes], delimiter: str, skipped: int) -> Iterator[tuple[list[str] | csv.Error, int, str]]:
    """Yield the cells of each row (or the error of the CSV reader), the number of its first line, and its text."""
    taken: list[str] = []

    def texts() -> Iterator[str]:
        for number, line in enumerate(lines):
            text = line if number else line.removeprefix(_BYTE_ORDER_MARK)
            taken.append(text.removesuffix(b"\r").decode(errors="surrogateescape"))
            yield taken[-1] + "\n"

    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(texts(), strict=True, delimiter=delimiter)
    first = 1
    while True:
        try:
            cells: list[str] | csv.Error = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = error
        yield cells, first, "\n".join(taken)
        first += len(taken) + skipped
        skipped = 0  # the skipped lines follow directly after the header
        taken.clear()


def _read_header(header: list[str], name: str) -> list[str | None]:
    """Return the field of each column (None: ignored). Raises `InputError` without one column of items and of tags."""
    header_fields = [_NAMES.get(trim(cell).lower()) for cell in header]
    for needed, allowed in (("item_id", "item_id, itemid or id"), ("tags", "tags or tag_list")):
        if header_fields.count(needed) != 1:
            raise InputError(
                f"catalog {name}: expected one column {allowed} in the header, found {header}; correct it, or set "
                "raw.catalog_delimiter to the character that separates its cells"
            )
    return header_fields


def _values(cells: list[str] | csv.Error, fields: list[str | None], text: str) -> dict[str, Any]:
    """Return the cells of a row as values of JSON types. A blank price is None."""
    if isinstance(cells, csv.Error):
        fail(Reason.NOT_CSV, f"{cells}: perhaps a stray quote")
    if len(cells) != len(fields):
        fail(Reason.NOT_CSV, f"expected {len(fields)} cells as in the header, found {len(cells)}")
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        fail(Reason.BAD_UTF8, "holds bytes that are invalid in raw.catalog_encoding: set it to the file's encoding")
    values: dict[str, Any] = {field: cell for field, cell in zip(fields, cells, strict=True) if field}
    values["tags"] = _SEPARATORS.split(values["tags"])
    if trim(values.get("price") or ""):
        values["price"] = _number(values["price"])
    else:
        values["price"] = None
    return values


def _number(cell: str) -> float:
    cell = trim(cell)
    if not _NUMBER.fullmatch(cell.lower()) or cell.count(".") > 1 or not any(map(str.isalnum, cell)):
        fail(Reason.WRONG_TYPE, f"price: expected a number with a decimal point, found {cell[:40]!r}")
    return float(cell)


_Text = str | msgspec.UnsetType | None


class _TypedRow(msgspec.Struct, gc=False):
    """A line that needs no further checks if its JSON has these types. Absent fields stay unset."""

    item_id: str
    tags: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    namespace: _Text = msgspec.UNSET
    price: float | msgspec.UnsetType | None = msgspec.UNSET
    created_at: _Text = msgspec.UNSET


_ROWS = msgspec.json.Decoder(_TypedRow)


def read_plain_lines(lines: bytes) -> pl.DataFrame | None:
    """Return the rows of JSON lines in columns of `catalog.SCHEMA`, or None if one of them requires the strict reader.

    The decoder takes the last of repeated names, ignores unknown fields, and does not check newlines. So its result is
    used only if counting proves that each line is one object without escapes and nested objects, and that each known
    name appears once where it is set, and nowhere else.
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
    if len(rows) != count or not _appear_once(rows, lines):
        return None
    frame = _frame(rows)
    return None if (frame["item_id"] == "").any() else frame


def _appear_once(rows: Sequence[_TypedRow], lines: bytes) -> bool:
    """Return whether the counts of names and of list brackets equal those of values: none is hidden or repeated."""
    are_equal = (lines.count(f'"{name}"'.encode()) == _count_set(rows, name) for name in FIELDS)
    return all(are_equal) and lines.count(b"[") == sum(isinstance(row.tags, list) for row in rows)


def _count_set(rows: Sequence[_TypedRow], name: str) -> int:
    return sum(getattr(row, name) is not msgspec.UNSET for row in rows)


def _frame(rows: Sequence[_TypedRow]) -> pl.DataFrame:
    lists = [row.tags or () for row in rows]
    frame = pl.DataFrame(
        {
            "item_id": _trimmed(_values_or_none(rows, "item_id")),
            "tags": list_series(lists),
            "namespace": _trimmed(_values_or_none(rows, "namespace")),
            "price": pl.Series(_values_or_none(rows, "price"), dtype=pl.Float64),
            "created_at": _trimmed(_values_or_none(rows, "created_at")),
        }
    )
    return frame.with_columns(pl.col("namespace", "created_at").replace("", None))


def _trimmed(texts: Sequence[str | None]) -> pl.Series:
    return pl.Series(texts, dtype=pl.String).str.strip_chars(WHITE_SPACE)


def _values_or_none(rows: Sequence[_TypedRow], name: str) -> list[Any]:
    """Return the field's value of each row, None where it is unset."""
    values = (getattr(row, name) for row in rows)
    return [None if value is msgspec.UNSET else value for value in values]


def list_series(lists: Sequence[Sequence[str]]) -> pl.Series:
    """Return lists of strings as a column of List(String), built from one array of all strings.

    Polars would otherwise make a series of each list.
    """
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    members = pl.Series([text for texts in lists for text in texts], dtype=pl.String)
    # Built from buffers: other constructors import pandas, if installed, to check whether they were given its types.
    array: Any = pa.Array.from_buffers(
        pa.large_list(pa.large_string()),
        len(lists),
        [None, pa.py_buffer(offsets)],
        children=[members.to_arrow(compat_level=pl.CompatLevel.oldest())],
    )
    return pl.Series(array)
