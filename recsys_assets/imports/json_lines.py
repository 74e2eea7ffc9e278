"""JSON lines, looked into: every line is an object, and a field's type is the narrowest that holds its values."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from recsys_assets.errors import InputError
from recsys_assets.imports.contract import MAX_FIELDS, Content

MAX_LINE_BYTES: Final = 4_194_304
_MIXED: Final = "mixed"
_NAMES: Final[Mapping[type, str]] = {bool: "bool", int: "int64", float: "float64", str: "string", dict: "object"}
_DECODER = msgspec.json.Decoder(dict[str, Any])


def read_json_lines(data: bytes, *, name: str) -> Iterator[dict[str, Any]]:
    """Yield each line's object; `InputError` names the first line that is none, or is over `MAX_LINE_BYTES`."""
    start, number = 0, 0
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if end - start > MAX_LINE_BYTES:
            raise InputError(f"{name} line {number} has {end - start:,} bytes: at most {MAX_LINE_BYTES:,}")
        try:
            yield _DECODER.decode(memoryview(data)[start:end])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InputError(f"{name} line {number} is no JSON object: {error}; correct the file") from error
        start = end + 1


def inspect_json_lines(data: bytes, *, name: str) -> Content:
    """Return the type of every field that any line has, and the number of lines; an absent field is null."""
    fields: dict[str, str] = {}
    seen: dict[str, int] = {}
    rows = 0
    for row in read_json_lines(data, name=name):
        rows += 1
        for field, value in row.items():
            fields[field] = _wider(fields.get(field), _type_of(value))
            seen[field] = seen.get(field, 0) + 1
        if len(fields) > MAX_FIELDS:
            raise InputError(f"{name} has more than {MAX_FIELDS} fields by line {rows}: keys are data, it seems")
    return Content({f: t if seen[f] == rows else _nullable(t) for f, t in fields.items()}, rows)


def _type_of(value: Any) -> str:
    if value is None:
        return "null?"
    if isinstance(value, list):
        inner: str | None = None
        for one in value:
            inner = _wider(inner, _type_of(one))
        return f"list[{inner or 'null?'}]"
    return _NAMES.get(type(value), _MIXED)


def _wider(one: str | None, other: str) -> str:
    """Return the type that holds the values of both."""
    if one is None or one == other:
        return other
    nullable = one.endswith("?") or other.endswith("?")
    bare, second = one.removesuffix("?"), other.removesuffix("?")
    found = _wider_bare(bare, second)
    return _nullable(found) if nullable else found


def _wider_bare(one: str, other: str) -> str:
    if other in {one, "null"}:
        return one
    if one == "null":
        return other
    if {one, other} == {"int64", "float64"}:
        return "float64"
    if one.startswith("list[") and other.startswith("list["):
        return f"list[{_wider(one[5:-1], other[5:-1])}]"
    return _MIXED


def _nullable(kind: str) -> str:
    return kind if kind.endswith("?") else f"{kind}?"
