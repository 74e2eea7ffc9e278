"""Fields of imported files, and checks of contract and compatibility."""

import re
from collections.abc import Iterator, Mapping

import msgspec

from recsys_assets.errors import ConfigurationError
from recsys_assets.settings.artifacts import ImportFormat

MAX_FIELDS = 1000  # columns or arrays per file
NON_FINITE = " with NaN or infinity"  # suffix of the type of a field with such numbers
_ARRAY = re.compile(r"([a-z0-9]+)\[([A-Za-z0-9_, ]*)\]")
_AXIS = re.compile(r"[a-z][a-z0-9_]*|[0-9]{1,15}")
_MEANT = {
    **dict.fromkeys(("float", "double", "number"), "float64"),
    **dict.fromkeys(("int", "integer", "long"), "int64"),
    **dict.fromkeys(("str", "text", "utf8", "large_string"), "string"),
    **dict.fromkeys(("boolean",), "bool"),
}  # common aliases of types, which no file's types match
ARRAYS = frozenset({ImportFormat.NPZ, ImportFormat.SAFETENSORS})


class FileContent(msgspec.Struct, frozen=True):
    """Type of each field and number of rows, empty and None for opaque bytes.

    The type of a column is e.g. `string`, `float64?` (nullable) or `list[float32]`. The type of an array is its dtype
    and shape, e.g. `float32[1200,64]`. A type ends with `NON_FINITE` if any number is NaN or infinite.
    """

    fields: Mapping[str, str]
    rows: int | None


Fields = Mapping[str, str]


class _Array(msgspec.Struct, frozen=True):
    dtype: str
    axes: tuple[str, ...]


def check_contract(contract: Fields, *, form: ImportFormat, key: str) -> None:
    """Raise `ConfigurationError` for the first field with an invalid type."""
    for field, kind in contract.items():
        if form in ARRAYS and _array(kind) is None:
            raise ConfigurationError(f'{key}.{field} is {kind!r}: expected a dtype and a shape, e.g. "float32[n,64]"')
        if form not in ARRAYS and not kind.removesuffix("?"):
            raise ConfigurationError(f'{key}.{field} is {kind!r}: expected a type, e.g. "string" or "float64?"')
        meant = _MEANT.get(kind.replace("list[", "").rstrip("]?").lower())
        if form not in ARRAYS and meant is not None:
            raise ConfigurationError(f"{key}.{field} is {kind!r}, which is not a type of files: did you mean {meant}?")


def contract_faults(contract: Fields, actual: Fields, *, form: ImportFormat) -> tuple[str, ...]:
    """Return the violations of the contract, one sentence per field. Additional fields are ignored."""
    non_finite = [field for field in contract if actual.get(field, "").endswith(NON_FINITE)]
    bare = _without_mark(actual)
    faults = _array_faults(contract, bare) if form in ARRAYS else _column_faults(contract, bare, form)
    return (*faults, *(f"{field} contains NaN or infinity, expected finite numbers" for field in non_finite))


def breaking_changes(before: Fields, now: Fields, contract: Fields, *, form: ImportFormat) -> tuple[str, ...]:
    """Return the changes that break readers of `before`, one sentence per field. Additions break nothing.

    The dtype and number of axes of an array must stay, and the length of each axis except the first, unless the
    contract names that axis: the first axis counts entries, the others describe an entry.
    """
    before, now = _without_mark(before), _without_mark(now)
    return tuple(_array_changes(before, now, contract) if form in ARRAYS else _column_faults(before, now, form))


def _without_mark(fields: Fields) -> Fields:
    return {field: kind.removesuffix(NON_FINITE) for field, kind in fields.items()}


def _column_faults(expected: Fields, actual: Fields, form: ImportFormat) -> Iterator[str]:
    for field, kind in expected.items():
        now = actual.get(field)
        bare, is_nullable = kind.removesuffix("?"), kind.endswith("?")
        if now is None:
            if not (is_nullable and form is ImportFormat.JSONL):  # a JSON line may omit nullable fields
                yield f"{field} is missing, expected {kind}"
        elif not _fits(now.removesuffix("?"), bare):
            yield f"{field} is {now}, expected {kind}"
        elif now.endswith("?") and not is_nullable:
            yield f"{field} contains nulls, expected {kind}"


def _fits(actual: str, expected: str) -> bool:
    """Return whether readers of the expected type can read the found one. Integers are readable as floats."""
    if actual in {expected, "null"} or (actual, expected) == ("int64", "float64"):
        return True
    if actual.startswith("list[") and expected.startswith("list["):
        inner, wanted = actual[5:-1], expected[5:-1]
        return _fits(inner.removesuffix("?"), wanted.removesuffix("?")) and (
            inner == "null?" or not inner.endswith("?") or wanted.endswith("?")
        )
    return False


def _array_faults(contract: Fields, actual: Fields) -> Iterator[str]:
    lengths: dict[str, tuple[str, str]] = {}  # named axis -> length, and the field that set it
    for field, kind in contract.items():
        expected, now = _array(kind), _array(actual.get(field, ""))
        if expected is None or now is None:
            yield f"{field} is missing, expected {kind}"
            continue
        if now.dtype != expected.dtype or len(now.axes) != len(expected.axes):
            yield f"{field} is {actual[field]}, expected {kind}"
            continue
        for axis, length in zip(expected.axes, now.axes, strict=True):
            wanted, source = (axis, field) if axis.isdigit() else lengths.setdefault(axis, (length, field))
            if length != wanted:
                reason = "" if source == field else f", because {source} has {axis} = {wanted}"
                yield f"{field} is {actual[field]}, expected {kind}{reason}"


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
    """Return the axis lengths that must not change."""
    named = _array(kind) if kind else None
    if named is None or len(named.axes) != len(array.axes):
        return list(array.axes[1:])
    return [length for length, axis in zip(array.axes, named.axes, strict=True) if axis.isdigit()]


def _array(kind: str) -> _Array | None:
    match = _ARRAY.fullmatch(kind)
    if match is None:
        return None
    axes = tuple(axis.strip() for axis in match[2].split(",")) if match[2].strip() else ()
    return _Array(match[1], axes) if all(_AXIS.fullmatch(axis) for axis in axes) else None
