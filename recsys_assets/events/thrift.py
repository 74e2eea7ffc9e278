"""Thrift's compact protocol, as far as the footers of Parquet files need it: bytes to plain trees, and back."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, LIST, _SET, _MAP, STRUCT = range(1, 13)
_NUMBERS = {_I16, _I32, _I64}
_LONG = 15  # of the four bits for a length or a step: it stands beside them instead
_STOP = 0


class Value(NamedTuple):
    """A value and its type in the protocol: numbers, bytes, lists of values, or a struct by field number."""

    type: int
    held: Any


Struct: TypeAlias = Mapping[int, Value]


def read_struct(data: bytes) -> dict[int, Value]:
    """Return the struct that `data` begins with. Raises `ValueError` for what no footer has, or has not in full."""
    try:
        return _Reader(data).struct()
    except IndexError as error:
        raise ValueError("a Thrift struct ends before its last field") from error


def write_struct(struct: Struct) -> bytes:
    """Return the bytes of a struct; of what `read_struct` returned, those that it read."""
    out = bytearray()
    before = 0
    for number, value in sorted(struct.items()):
        step = number - before
        out += bytes([step << 4 | value.type]) if step <= _LONG else bytes([value.type]) + _zigzag(number)
        out += _written(value)
        before = number
    return bytes(out) + bytes([_STOP])


def _written(value: Value) -> bytes:
    if value.type in {_TRUE, _FALSE}:
        return b""
    if value.type in _NUMBERS:
        return _zigzag(value.held)
    if value.type == _BINARY:
        return _varint(len(value.held)) + value.held
    if value.type == STRUCT:
        return write_struct(value.held)
    if value.type == LIST:
        return _list(value.held)
    return bytes(value.held)


def _list(items: tuple[int, list[Any]]) -> bytes:
    kind, held = items
    long = len(held) >= _LONG
    head = bytes([_LONG << 4 | kind]) + _varint(len(held)) if long else bytes([len(held) << 4 | kind])
    return head + b"".join(_written(Value(kind, item)) for item in held)


def _zigzag(number: int) -> bytes:
    return _varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits to a byte
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


class _Reader:
    """Reads values one behind the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def struct(self) -> dict[int, Value]:
        found: dict[int, Value] = {}
        number = 0
        while (head := self._byte()) != _STOP:
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            found[number] = Value(head & 0xF, self._value(head & 0xF))
        return found

    def _value(self, kind: int) -> Any:
        if kind in {_TRUE, _FALSE}:
            return kind == _TRUE
        if kind in _NUMBERS:
            return self._zigzag()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == STRUCT:
            return self.struct()
        if kind == LIST:
            return self._list()
        if kind in {_BYTE, _DOUBLE}:
            return self._bytes(1 if kind == _BYTE else 8)
        raise ValueError(f"Thrift type {kind} stands in no footer")

    def _list(self) -> tuple[int, list[Any]]:
        head = self._byte()
        if head & 0xF in {_TRUE, _FALSE}:
            raise ValueError("a Thrift list of truth values stands in no footer")
        size = head >> 4 if head >> 4 != _LONG else self._varint()
        return head & 0xF, [self._value(head & 0xF) for _ in range(size)]

    def _zigzag(self) -> int:
        number = self._varint()
        return number >> 1 ^ -(number & 1)

    def _varint(self) -> int:
        number = shift = 0
        while (byte := self._byte()) & 0x80:
            number |= (byte & 0x7F) << shift
            shift += 7
        return number | byte << shift

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, size: int) -> bytes:
        self._at += size
        if self._at > len(self._data):
            raise IndexError(size)
        return self._data[self._at - size : self._at]
