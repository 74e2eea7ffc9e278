"""One catalog row, read from a JSON line or made of values of any format."""

import math
from dataclasses import dataclass
from typing import Any

import msgspec

from recsys_assets.ingest.json_object import MAX_DEPTH, MAX_LINE_BYTES, find_repeated, read_object
from recsys_assets.ingest.quarantine import FaultError, LineFault, Reason, fail, show
from recsys_assets.ingest.white_space import trim

FIELDS = ("item_id", "tags", "namespace", "price", "created_at")
_NAMES = tuple(f'"{name}"'.encode() for name in FIELDS)


@dataclass(frozen=True, slots=True)
class CatalogRow:
    """One item. Fields are None where absent or blank."""

    item_id: str
    tags: tuple[str, ...]
    namespace: str | None
    price: float | None
    created_at: str | None


class CatalogLine(msgspec.Struct, frozen=True):
    """One row or its fault, the number (from 1) of the line on which it begins, and its text."""

    line: int
    text: bytes
    row: CatalogRow | LineFault


def read_json_row(number: int, line: bytes) -> CatalogLine:
    """Return the row, or the fault, of one JSON line. `number` is its line number, from 1."""
    plain = _read_plain(line)
    if plain is not None:
        return CatalogLine(number, line, plain)
    try:
        pairs = read_object(line)
        repeated = find_repeated(pairs, frozenset(FIELDS))
        if repeated:
            fail(Reason.DUPLICATE_FIELD, f"{repeated} appears more than once")
        return CatalogLine(number, line, make_row(dict(pairs)))
    except FaultError as error:
        return CatalogLine(number, line, LineFault(error.reason, error.detail))


class _PlainRow(msgspec.Struct, gc=False):
    """A row that needs no further checks if its JSON has these types and its item is not blank."""

    item_id: str
    tags: list[str] | None = None
    namespace: str | None = None
    price: float | None = None
    created_at: str | None = None


_PLAIN_DECODER = msgspec.json.Decoder(_PlainRow)


def _read_plain(line: bytes) -> CatalogRow | None:
    """Return the row of a provably good line, ten times as fast, or None for a line that requires the strict reader.

    The decoder takes the last of repeated names, so that each known name may appear only once, and never escaped.
    """
    simple = b"\\" not in line and len(line) <= MAX_LINE_BYTES and line.count(b"[") + line.count(b"{") <= MAX_DEPTH
    if not simple or any(line.count(name) > 1 for name in _NAMES):
        return None
    try:
        row = _PLAIN_DECODER.decode(line.decode())  # the decoder ignores unknown fields, even if they are not UTF-8
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    item_id = trim(row.item_id)
    if not item_id:
        return None
    namespace, created_at = ((trim(text) or None) if text else None for text in (row.namespace, row.created_at))
    return CatalogRow(item_id, tuple(row.tags or ()), namespace, row.price, created_at)


def make_row(values: dict[str, Any]) -> CatalogRow:
    """Return the row made of values of JSON types. Raises `FaultError` with the first fault."""
    item_id = _text(values, "item_id")
    if item_id is None:
        fail(
            Reason.MISSING_FIELD if values.get("item_id") is None else Reason.EMPTY_FIELD, "item_id is missing or blank"
        )
    tags = values.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        fail(Reason.WRONG_TYPE, f"tags: expected a list of strings, found {show(tags)}")
    if any("\0" in tag for tag in tags):
        fail(Reason.NUL_CHARACTER, "tags hold U+0000, which databases cannot store: remove it")
    return CatalogRow(item_id, tuple(tags), _text(values, "namespace"), _price(values), _text(values, "created_at"))


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        fail(Reason.WRONG_TYPE, f"{name}: expected a string, found {show(value)}")
    if "\0" in value:
        fail(Reason.NUL_CHARACTER, f"{name} holds U+0000, which databases cannot store: remove it")
    return trim(value) or None


def _price(values: dict[str, Any]) -> float | None:
    price = values.get("price")
    if price is None:
        return None
    if not isinstance(price, int | float) or isinstance(price, bool):
        fail(Reason.WRONG_TYPE, f"price: expected a number, found {show(price)}")
    if not math.isfinite(price):
        fail(Reason.OUT_OF_RANGE, f"price: expected a finite number, found {price}")
    return float(price)
