"""Display data of items: title, image and page, from optional columns of the catalog."""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from recsys_assets.ingest.json_object import MAX_LINE_BYTES
from recsys_assets.ingest.sources.source import RawStream

MAX_ITEMS: Final = 300_000  # further items get no title: they would fill the memory of the process that shows them
_MAX_TITLE: Final = 200  # characters
_MAX_URL: Final = 2000
_IDS: Final = ("item_id", "itemid", "id")
_NAMESPACES: Final = ("namespace", "surface")
_WEB: Final = ("https://", "http://")


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
            display = Display(_text(row.title), _web(row.image_url), _web(row.url))
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


def _text(value: str | None) -> str | None:
    shown = " ".join((value or "").split())
    return (shown if len(shown) <= _MAX_TITLE else f"{shown[: _MAX_TITLE - 1]}…") or None


def _web(value: str | None) -> str | None:
    """Return a URL that is safe to link to (http or https), else None."""
    url = (value or "").strip()
    return url if url.startswith(_WEB) and len(url) <= _MAX_URL and url.isprintable() else None


def displays_of(displays: Mapping[str | None, Mapping[str, Display]], surface: str) -> dict[str, Display]:
    """Return the display data of one surface by item: its own rows override those of every surface."""
    return {**displays.get(None, {}), **displays.get(surface, {})}
