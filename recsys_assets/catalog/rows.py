"""Meaning of one catalog row, whichever format it came in."""

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
    """One item; None where absent or blank."""

    item_id: str
    tags: tuple[str, ...]
    namespace: str | None
    price: float | None
    created_at: str | None


@dataclass(frozen=True, slots=True)
class CatalogLine:
    """One row or why there is none, the line (from 1) that it begins on, and its text."""

    line: int
    text: bytes
    row: CatalogRow | LineFault


def read_json_row(number: int, line: bytes) -> CatalogLine:
    """Return the row of one JSON line."""
    plain = _read_plain(line)
    if plain is not None:
        return CatalogLine(number, line, plain)
    try:
        pairs = read_object(line)
        repeated = find_repeated(pairs, frozenset(FIELDS))
        if repeated:
            fail(Reason.DUPLICATE_FIELD, f"{repeated} stands more than once")
        return CatalogLine(number, line, make_row(dict(pairs)))
    except FaultError as error:
        return CatalogLine(number, line, LineFault(error.reason, error.detail))


class _Plain(msgspec.Struct, gc=False):
    """A row in which nothing can be wrong, once its JSON is of these types and its item is not blank."""

    item_id: str
    tags: list[str] | None = None
    namespace: str | None = None
    price: float | None = None
    created_at: str | None = None


_PLAIN = msgspec.json.Decoder(_Plain)


def _read_plain(line: bytes) -> CatalogRow | None:
    """Return the row of a line that is provably good, at ten times the speed; None for what needs a closer look.

    The decoder would take the last of repeated names: each of ours may stand once, and none in disguise.
    """
    simple = b"\\" not in line and len(line) <= MAX_LINE_BYTES and line.count(b"[") + line.count(b"{") <= MAX_DEPTH
    if not simple or any(line.count(name) > 1 for name in _NAMES):
        return None
    try:
        found = _PLAIN.decode(line.decode())  # the decoder passes over what no field takes, UTF-8 or not
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    item_id = trim(found.item_id)
    if not item_id:
        return None
    namespace, created_at = ((trim(text) or None) if text else None for text in (found.namespace, found.created_at))
    return CatalogRow(item_id, tuple(found.tags or ()), namespace, found.price, created_at)


def make_row(values: dict[str, Any]) -> CatalogRow:
    """Return the row that values of JSON types make; raises `FaultError` with the first thing that is wrong."""
    item_id = _text(values, "item_id")
    if item_id is None:
        fail(
            Reason.MISSING_FIELD if values.get("item_id") is None else Reason.EMPTY_FIELD, "item_id is missing or blank"
        )
    tags = values.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        fail(Reason.WRONG_TYPE, f"tags: expected a list of strings, found {show(tags)}")
    if any("\0" in tag for tag in tags):
        fail(Reason.NUL_CHARACTER, "tags hold U+0000, which no database takes: leave it out")
    return CatalogRow(item_id, tuple(tags), _text(values, "namespace"), _price(values), _text(values, "created_at"))


def _text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        fail(Reason.WRONG_TYPE, f"{name}: expected a string, found {show(value)}")
    if "\0" in value:
        fail(Reason.NUL_CHARACTER, f"{name} holds U+0000, which no database takes: leave it out")
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
