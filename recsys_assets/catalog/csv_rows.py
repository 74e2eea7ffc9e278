"""A catalog in CSV: rows over one or more lines, under a header whose names vary."""

import csv
import re
from collections.abc import Iterator, Mapping
from typing import Any

from recsys_assets.catalog.rows import Found, make_row
from recsys_assets.errors import InputError
from recsys_assets.ingest.json_object import MAX_LINE_BYTES
from recsys_assets.ingest.quarantine import Fault, FaultError, Reason, fail
from recsys_assets.ingest.white_space import trim

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


def read_csv_rows(lines: Iterator[bytes], name: str) -> Iterator[Found]:
    """Yield the rows below the header; raises `InputError` if the header names no items or no tags.

    A byte order mark before the header is dropped, because spreadsheets write one. Quotes are as RFC 4180 has them.
    """
    rows = _rows(lines)
    header, _, _ = next(rows, ([], 0, ""))
    fields = _read_header(header if isinstance(header, list) else [], name)
    for cells, line, text in rows:
        data = text.encode(errors="surrogateescape")
        if cells == []:
            continue
        try:
            yield Found(line, data, make_row(_values(cells, fields, text)))
        except FaultError as error:
            yield Found(line, data, Fault(error.reason, error.detail))


def _rows(lines: Iterator[bytes]) -> Iterator[tuple[list[str] | csv.Error, int, str]]:
    """Yield the cells of each row (or what is wrong with them), the line that it begins on, and its text."""
    taken: list[str] = []

    def texts() -> Iterator[str]:
        for number, line in enumerate(lines):
            text = line if number else line.removeprefix(_BYTE_ORDER_MARK)
            taken.append(text.removesuffix(b"\r").decode(errors="surrogateescape"))
            yield taken[-1] + "\n"

    csv.field_size_limit(MAX_LINE_BYTES)
    reader = csv.reader(texts(), strict=True)
    first = 1
    while True:
        try:
            cells: list[str] | csv.Error = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = error
        yield cells, first, "\n".join(taken)
        first += len(taken)
        taken.clear()


def _read_header(header: list[str], name: str) -> list[str | None]:
    """Return our name for each column, None for those that are not ours."""
    found = [_NAMES.get(trim(cell).lower()) for cell in header]
    for needed, allowed in (("item_id", "item_id, itemid or id"), ("tags", "tags or tag_list")):
        if found.count(needed) != 1:
            raise InputError(f"catalog {name}: expected one column {allowed} in the header, found {header}")
    return found


def _values(cells: list[str] | csv.Error, fields: list[str | None], text: str) -> dict[str, Any]:
    """Return the cells of a row as values of JSON types; blank is absent."""
    if isinstance(cells, csv.Error):
        fail(Reason.NOT_CSV, str(cells))
    if len(cells) != len(fields):
        fail(Reason.NOT_CSV, f"expected {len(fields)} cells as in the header, found {len(cells)}")
    if not text.isascii() and any("\udc80" <= character <= "\udcff" for character in text):
        fail(Reason.BAD_UTF8, "holds bytes that are no UTF-8")
    values: dict[str, Any] = {field: cell for field, cell in zip(fields, cells, strict=True) if field}
    values["tags"] = _SEPARATORS.split(values["tags"])
    if trim(values.get("price") or ""):
        values["price"] = _number(values["price"])
    else:
        values["price"] = None
    return values


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        fail(Reason.WRONG_TYPE, f"price: expected a number, found {cell[:40]!r}")
