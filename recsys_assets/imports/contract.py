"""Content of an imported file by field, and its faults of contract and compatibility."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from recsys_assets.errors import ConfigurationError
from recsys_assets.settings.artifacts import ImportFormat

MAX_FIELDS = 1000  # columns or arrays of one file
NON_FINITE = " with NaN or infinity"  # ends the type of a field that holds such numbers
_ARRAY = re.compile(r"([a-z0-9]+)\[([A-Za-z0-9_, ]*)\]")
_AXIS = re.compile(r"[a-z][a-z0-9_]*|[0-9]{1,15}")
_MEANT = {
    **dict.fromkeys(("float", "double", "number"), "float64"),
    **dict.fromkeys(("int", "integer", "long"), "int64"),
    **dict.fromkeys(("str", "text", "utf8", "large_string"), "string"),
    **dict.fromkeys(("boolean",), "bool"),
}  # names of types elsewhere: a contract that has one is kept by no file
ARRAYS = frozenset({ImportFormat.NPZ, ImportFormat.SAFETENSORS})


@dataclass(frozen=True, slots=True)
class FileContent:
    """Type by field, and the rows; of bytes that nobody looks into there are neither.

    A column's type is like `string`, `float64?` (some value is null) or `list[float32]`; an array's is its dtype and
    shape, like `float32[1200,64]`. A type ends with `NON_FINITE` where some number is NaN or infinite.
    """

    fields: Mapping[str, str]
    rows: int | None


Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Array:
    dtype: str
    axes: tuple[str, ...]


def check_contract(contract: Fields, *, form: ImportFormat, key: str) -> None:
    """Raise `ConfigurationError` naming the field whose type cannot be read."""
    for field, kind in contract.items():
        if form in ARRAYS and _array(kind) is None:
            raise ConfigurationError(f'{key}.{field} is {kind!r}: expected a dtype and a shape, like "float32[n,64]"')
        if form not in ARRAYS and not kind.removesuffix("?"):
            raise ConfigurationError(f'{key}.{field} is {kind!r}: expected a type, like "string" or "float64?"')
        meant = _MEANT.get(kind.replace("list[", "").rstrip("]?").lower())
        if form not in ARRAYS and meant is not None:
            raise ConfigurationError(f"{key}.{field} is {kind!r}, a type that no file has: did you mean {meant}?")


def contract_faults(contract: Fields, found: Fields, *, form: ImportFormat) -> tuple[str, ...]:
    """Return what breaks the contract, a sentence per field; what is there beside it is nobody's business."""
    endless = [field for field in contract if found.get(field, "").endswith(NON_FINITE)]
    bare = _without_mark(found)
    faults = _array_faults(contract, bare) if form in ARRAYS else _column_faults(contract, bare, form)
    return (*faults, *(f"{field} holds NaN or infinity, expected finite numbers" for field in endless))


def breaking_changes(before: Fields, now: Fields, contract: Fields, *, form: ImportFormat) -> tuple[str, ...]:
    """Return what who reads `before` could not read any more, a sentence per field; what was added breaks nobody.

    Of an array the dtype and the number of axes stay, and the length of each axis but the first, unless the contract
    gives it a name: the first is how many there are, the others are what each one is.
    """
    before, now = _without_mark(before), _without_mark(now)
    return tuple(_array_changes(before, now, contract) if form in ARRAYS else _column_faults(before, now, form))


def _without_mark(fields: Fields) -> Fields:
    return {field: kind.removesuffix(NON_FINITE) for field, kind in fields.items()}


def _column_faults(expected: Fields, found: Fields, form: ImportFormat) -> Iterator[str]:
    for field, kind in expected.items():
        now = found.get(field)
        bare, is_nullable = kind.removesuffix("?"), kind.endswith("?")
        if now is None:
            if not (is_nullable and form is ImportFormat.JSONL):  # a line need not name what it lacks
                yield f"{field} is missing, expected {kind}"
        elif not _fits(now.removesuffix("?"), bare):
            yield f"{field} is {now}, expected {kind}"
        elif now.endswith("?") and not is_nullable:
            yield f"{field} holds nulls, expected {kind}"


def _fits(found: str, expected: str) -> bool:
    """Return whether whoever reads the expected type can read the found one: whole numbers are numbers, too."""
    if found in {expected, "null"} or (found, expected) == ("int64", "float64"):
        return True
    if found.startswith("list[") and expected.startswith("list["):
        inner, wanted = found[5:-1], expected[5:-1]
        return _fits(inner.removesuffix("?"), wanted.removesuffix("?")) and (
            inner == "null?" or not inner.endswith("?") or wanted.endswith("?")
        )
    return False


def _array_faults(contract: Fields, found: Fields) -> Iterator[str]:
    lengths: dict[str, tuple[str, str]] = {}  # of each named axis: how long it is, and who said so first
    for field, kind in contract.items():
        expected, now = _array(kind), _array(found.get(field, ""))
        if expected is None or now is None:
            yield f"{field} is missing, expected {kind}"
            continue
        if now.dtype != expected.dtype or len(now.axes) != len(expected.axes):
            yield f"{field} is {found[field]}, expected {kind}"
            continue
        for axis, length in zip(expected.axes, now.axes, strict=True):
            wanted, by = (axis, field) if axis.isdigit() else lengths.setdefault(axis, (length, field))
            if length != wanted:
                why = "" if by == field else f", as {by} has {axis} = {wanted}"
                yield f"{field} is {found[field]}, expected {kind}{why}"


def _array_changes(before: Fields, now: Fields, contract: Fields) -> Iterator[str]:
    for field, kind in before.items():
        old, new = _array(kind), _array(now.get(field, ""))
        if old is None or new is None:
            yield f"{field} is missing, was {kind}"
        elif (old.dtype, len(old.axes)) != (new.dtype, len(new.axes)) or any(
            a != b for a, b in zip(_fixed(old, contract.get(field)), _fixed(new, contract.get(field)), strict=True)
        ):
            yield f"{field} is {now[field]}, was {kind}"


def _fixed(array: _Array, kind: str | None) -> list[str]:
    """Return the lengths that may not change."""
    named = _array(kind) if kind else None
    if named is None or len(named.axes) != len(array.axes):
        return list(array.axes[1:])
    return [length for length, axis in zip(array.axes, named.axes, strict=True) if axis.isdigit()]


def _array(kind: str) -> _Array | None:
    found = _ARRAY.fullmatch(kind)
    if found is None:
        return None
    axes = tuple(axis.strip() for axis in found[2].split(",")) if found[2].strip() else ()
    return _Array(found[1], axes) if all(_AXIS.fullmatch(axis) for axis in axes) else None
