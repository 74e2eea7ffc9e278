"""Page headers of Parquet: the unpacked size of a column according to its pages, because footers are not reliable."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from io import BufferedIOBase
from typing import Any, Final

import msgspec

from recsys_assets.errors import InputError, LimitExceededError

_SUSPECT_BYTES: Final = 256_000_000
_SUSPECT_RATIO: Final = 200
_BATCH_BYTES: Final = 32_000_000  # size of values that are unpacked at a time, in the worst case that a page allows
_HEADER_BYTES: Final = (1 << 12, 1 << 24)  # a header is some 50 bytes, unless its statistics are long
_DELTAS: Final = {6, 7}  # encodings of text as lengths, and as prefixes shared with the previous value
_TEXT: Final = "BYTE_ARRAY"
_SIZE, _PACKED = 2, 3  # field numbers in a page header
_DATA_HEADERS: Final = {5: (1, 2), 8: (1, 4)}  # per version of the data header: field numbers of values and encoding
_VALUE_BYTES, _LEVEL_BYTES = 4, 8
_BOOLEANS, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _STRUCT = {1: True, 2: False}, 3, {4, 5, 6}, 7, 8, {9, 10}, 12


class _Page(msgspec.Struct, frozen=True):
    unpacked: int
    packed: int
    values: int
    encoding: int


class ReadPlan(msgspec.Struct, frozen=True):
    """Plan to read a file in bounded memory: rows per batch, and the columns (by path) to read as dictionaries."""

    rows: int
    dictionaries: tuple[str, ...]


def plan_read(
    stored: BufferedIOBase, metadata: Any, *, name: str, max_rows: int, columns: Collection[str] | None = None
) -> ReadPlan:
    """Return the plan to read the columns (None: all), according to their pages.

    Raises `LimitExceededError` for a column that unpacks to an implausible multiple of its size, `InputError` for a
    column with an invalid page.
    """
    rows, prefixed, texts = max_rows, set[str](), dict[str, None]()
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            chunk, column = row_group.column(index), metadata.schema.column(index)
            if columns is not None and chunk.path_in_schema.partition(".")[0] not in columns:
                continue
            pages = list(_pages(stored, chunk, name=name))
            _check_size(pages, chunk, is_repeated=column.max_repetition_level > 0, name=name)
            widest = max(int(column.length or 0), 1)
            if column.physical_type == _TEXT:
                texts[chunk.path_in_schema] = None
            if any(page.encoding in _DELTAS for page in pages):
                prefixed.add(chunk.path_in_schema)
                widest = max(widest, *(page.unpacked for page in pages))
            rows = min(rows, _BATCH_BYTES // widest)
    return ReadPlan(max(1, rows), tuple(path for path in texts if path not in prefixed))


def _check_size(pages: Sequence[_Page], chunk: Any, *, is_repeated: bool, name: str) -> None:
    """Raise `LimitExceededError` for a column chunk that unpacks to more than real data does.

    A list may hold any number of values in one row. With delta encoding each may repeat the one before it, so that all
    may be as long as the page.
    """
    unpacked = 0
    for page in pages:
        unpacked += page.unpacked
        if page.encoding in _DELTAS:
            unpacked += page.values * (page.unpacked if is_repeated else _VALUE_BYTES)
        elif is_repeated:
            unpacked += page.values * _LEVEL_BYTES
    packed = max(chunk.total_compressed_size, 1)
    if unpacked > _SUSPECT_BYTES and unpacked > _SUSPECT_RATIO * packed:
        raise LimitExceededError(
            f"{name}: column {chunk.path_in_schema} unpacks from {packed:,} bytes to {unpacked:,}: at most "
            f"{_SUSPECT_RATIO} times its size, or {_SUSPECT_BYTES:,} bytes, is read; replace the file, or write the "
            "column without delta encoding"
        )


def _pages(stored: BufferedIOBase, chunk: Any, *, name: str) -> Iterator[_Page]:
    """Yield the pages of a column chunk, reading only their headers. Raises `InputError` for an invalid one."""
    starts = (chunk.dictionary_page_offset, chunk.data_page_offset)
    position = min(start for start in starts if start)
    end = position + chunk.total_compressed_size
    while position < end:
        header = _header(stored, position, end)
        if header is None:
            raise InputError(
                f"{name} is not a complete Parquet file: column {chunk.path_in_schema} has an invalid page; replace it"
            )
        page, size = header
        yield page
        position += size + page.packed


def _header(stored: BufferedIOBase, position: int, end: int) -> tuple[_Page, int] | None:
    """Return a page from its header, and the header's size in bytes, or None if the header is invalid."""
    for most in _HEADER_BYTES:
        stored.seek(position)
        compact = _CompactReader(stored.read(min(most, end - position)))
        with suppress(IndexError, KeyError, TypeError, ValueError, RecursionError):
            return _page(compact.struct()), compact.position
    return None


def _page(fields: dict[int, Any]) -> _Page:
    unpacked, packed = fields[_SIZE], fields[_PACKED]
    if min(unpacked, packed) < 0:
        raise ValueError(packed)
    for version, (values, encoding) in _DATA_HEADERS.items():
        if version in fields:
            return _Page(unpacked, packed, fields[version][values], fields[version][encoding])
    return _Page(unpacked, packed, 0, 0)


class _CompactReader:
    """Reader of Thrift's compact protocol, as far as page headers use it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def struct(self) -> dict[int, Any]:
        """Return the fields, by number, of the struct that begins at the current position."""
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(head & 15)
        return fields

    def _value(self, kind: int) -> Any:
        if kind in _BOOLEANS:
            return _BOOLEANS[kind]
        if kind == _BYTE:
            return self._byte()
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _STRUCT:
            return self.struct()
        if kind in _LISTS:
            head = self._byte()
            size = head >> 4 if head >> 4 != 15 else self._varint()  # noqa: PLR2004 - defined by the protocol
            return [self._value(head & 15) for _ in range(min(size, len(self._data)))]
        if kind not in {_DOUBLE, _BINARY}:
            raise ValueError(kind)
        size = 8 if kind == _DOUBLE else self._varint()
        self.position += size
        if self.position > len(self._data):
            raise IndexError(self.position)
        return None

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _varint(self) -> int:
        result, shift = 0, 0
        while True:
            byte = self._byte()
            result |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004 - the last byte of a number has no high bit
                return result
            shift += 7

    def _zigzag(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)
