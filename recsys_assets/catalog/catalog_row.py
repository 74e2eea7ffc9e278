"""One catalog row, read from a JSON line or made of values of any format, and the display data of its item."""

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from recsys_assets.ingest.json_object import MAX_DEPTH, MAX_LINE_BYTES, find_repeated, read_object
from recsys_assets.ingest.quarantine import FaultError, LineFault, Reason, fail, show
from recsys_assets.ingest.sources.source import RawStream
from recsys_assets.ingest.white_space import trim

FIELDS = ("item_id", "tags", "namespace", "price", "created_at")
_NAMES = tuple(f'"{name}"'.encode() for name in FIELDS)
MAX_ITEMS: Final = 300_000  # further items get no title: they would fill the memory of the process that shows them
_MAX_TITLE: Final = 200  # characters
_MAX_URL: Final = 2000
_IDS: Final = ("item_id", "itemid", "id")
_NAMESPACES: Final = ("namespace", "surface")
_WEB: Final = ("https://", "http://")


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


class Display(msgspec.Struct, frozen=True):
    """Display data of an item, shown next to its id. None where the catalog has no value."""

    title: str | None
    image_url: str | None
    url: str | None


class _DisplayRow(msgspec.Struct, gc=False):
    item_id: str
    namespace: str | None = None
    title: str | None = None
    image_url: str | None = None
    url: str | None = None


def read_displays(
    path: str, *, open_stream: Callable[[str], RawStream], encoding: str = "utf-8", delimiter: str = ","
) -> dict[str | None, dict[str, Display]]:
    """Return the display data in a catalog by surface (None: every surface) and item. The last row of an item wins.

    `title`, `image_url` and `url` are optional columns. A row that cannot be read is skipped, because gates judge the
    catalog. Raises `InputError` if the catalog cannot be opened, or read to its end.
    """
    displays: dict[str | None, dict[str, Display]] = {}
    count = 0
    with open_stream(path) as stream:
        text = io.TextIOWrapper(io.BufferedReader(_Reader(stream)), encoding, errors="replace", newline="")
        rows = _csv_rows(text, delimiter) if ".csv" in path.lower() else _json_rows(text)
        for row in rows:
            display = Display(_display_text(row.title), _web(row.image_url), _web(row.url))
            if display != _NOTHING and count < MAX_ITEMS:
                displays.setdefault((row.namespace or "").strip() or None, {})[row.item_id.strip()] = display
                count += 1
    return displays


class _Reader(io.RawIOBase):
    """Adapter of a raw stream to Python's file interface."""

    def __init__(self, stream: RawStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        return self._stream.readinto(memoryview(buffer))  # type: ignore[arg-type] - any buffer that io passes


def _json_rows(text: io.TextIOWrapper) -> Iterator[_DisplayRow]:
    decoder = msgspec.json.Decoder(_DisplayRow)
    for line in text:
        try:
            yield decoder.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            continue


def _csv_rows(text: io.TextIOWrapper, delimiter: str) -> Iterator[_DisplayRow]:
    csv.field_size_limit(MAX_LINE_BYTES)
    rows = csv.reader(text, delimiter=delimiter)
    header = [cell.strip().lower().lstrip("\ufeff") for cell in next(rows, [])]
    places = [
        next((header.index(name) for name in names if name in header), None)
        for names in (_IDS, _NAMESPACES, ("title",), ("image_url",), ("url",))
    ]
    while places[0] is not None:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error:
            continue
        if len(cells) == len(header):
            item, *others = (None if column is None else cells[column] for column in places)
            yield _DisplayRow(item or "", *others)


_NOTHING: Final = Display(None, None, None)


def _display_text(value: str | None) -> str | None:
    shown = " ".join((value or "").split())
    return (shown if len(shown) <= _MAX_TITLE else f"{shown[: _MAX_TITLE - 1]}…") or None


def _web(value: str | None) -> str | None:
    """Return a URL that is safe to link to (http or https), else None."""
    url = (value or "").strip()
    return url if url.startswith(_WEB) and len(url) <= _MAX_URL and url.isprintable() else None


def displays_of(displays: Mapping[str | None, Mapping[str, Display]], surface: str) -> dict[str, Display]:
    """Return the display data of one surface by item: its own rows override those of every surface."""
    return {**displays.get(None, {}), **displays.get(surface, {})}
