"""Conversion of Arrow batches to the JSON lines that ingest judges, and the mapping of event fields to columns."""

import io
import json
from collections.abc import Callable, Collection, Generator, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, get_args

import msgspec
import polars as pl
import pyarrow as pa

from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.ingest.sources.streams import PieceStream
from recsys_assets.settings.inputs import EventField, RawSettings

FIELDS: tuple[EventField, ...] = get_args(EventField)
_REQUIRED = frozenset({"ts", "tenant", "surface", "session_id", "item_id"})
_BOUNDS = (-62_135_596_800, 253_402_300_799)  # the first second of year 1, the last of year 9999
_ROWS = 1 << 15  # rows that are converted to lines at a time
_TICKS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class ColumnMapping(msgspec.Struct, frozen=True):
    """Source of each event field: a column, or a constant (None: null). Fields in neither are absent."""

    columns: Mapping[str, str]
    constants: Mapping[str, str | None]


def map_columns(
    raw: RawSettings, found: Collection[str], *, name: str, known: Mapping[str, str | None]
) -> ColumnMapping:
    """Return the mapping for a table or file called `name` with the columns `found`.

    `known` holds the values that its path gives: the keys of a hive path. A column takes precedence over such a key, an
    entry of `raw.columns` over a column with the field's own name, and `raw.constants` over all.

    Raises `InputError` naming the field if a column is missing that is configured or that every event needs. Raises
    `ConfigurationError` for a field with both a column and a constant.
    """
    both = sorted(set(raw.columns) & set(raw.constants))
    if both:
        raise ConfigurationError(f"raw.columns and raw.constants both hold {', '.join(both)}: remove one of them")
    # Sessions are derived from the user: one of session_id and user_id must exist.
    has_session = raw.session_gap_minutes is None or raw.columns.get("session_id", "session_id") in {*found, *known}
    required = _REQUIRED if has_session else _REQUIRED - {"session_id"} | {"user_id"}
    columns: dict[str, str] = {}
    constants: dict[str, str | None] = {**raw.constants}
    for field in FIELDS:
        if field in constants:
            continue
        column = raw.columns.get(field, field)
        if column in found:
            columns[field] = column
        elif column in known:
            constants[field] = known[column]
        elif field in raw.columns or field in required:
            raise InputError(
                f"{name} has no column {column!r} for {field}, it has {', '.join(sorted(found))}: "
                f"set another column in raw.columns, or a value in raw.constants"
            )
    return ColumnMapping(columns, constants)


def lines_of(fields: Mapping[str, Any], constants: Mapping[str, str | None], *, rows: int) -> bytes:
    """Return one JSON line per row, with `v` 1, the constants, and the fields, null where a value is null.

    `fields` holds Arrow arrays as `field_array` returns them. A string that is not UTF-8 is written unchanged.
    """
    if not all(_is_text(array) for array in fields.values()):
        return _lines_one_by_one(fields, constants)
    series = {name: pl.Series(array) for name, array in fields.items()}
    frame = pl.DataFrame(series) if series else pl.DataFrame(height=rows)
    stamped = frame.select(pl.lit(1, pl.Int8).alias("v"), *map(_constant, constants, constants.values()), pl.all())
    lines = io.BytesIO()
    stamped.write_ndjson(lines)
    return lines.getvalue()


def field_array(field: str, array: Any, *, name: str, assume_utc: bool) -> Any:
    """Return a column as an Arrow array of large strings (`rank`: integers) that JSON represents without loss.

    Ids may be text, bytes of text, integers (converted to decimal digits), decimals without a fraction, or a dictionary
    of those. `ts` may be RFC 3339 text, or a timestamp of any unit with a zone (with `assume_utc` also without). Raises
    `InputError` naming the column for any other type.
    """
    array = _plain(field, array, name=name)
    kind = array.type
    if pa.types.is_null(kind):
        return array.cast(pa.large_string())
    if field == "rank" and pa.types.is_integer(kind):
        return array
    if field == "ts" and pa.types.is_timestamp(kind):
        return _instants(array, name=name, assume_utc=assume_utc)
    if field != "rank" and (is_string(kind) or (field != "ts" and pa.types.is_integer(kind))):
        return array.cast(pa.large_string())
    if field != "rank" and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return array.cast(pa.large_binary()).view(pa.large_string())
    wanted = {"rank": "integers", "ts": "a timestamp or RFC 3339 text"}.get(field, "text or integers")
    raise InputError(f"{name}: the column for {field} holds {kind}, expected {wanted}: convert it")


def _plain(field: str, array: Any, *, name: str) -> Any:
    """Return a column with its dictionary decoded, and decimals of scale 0 as integers (`rank`) or text (ids)."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if not (pa.types.is_decimal(array.type) and array.type.scale == 0) or field == "ts":
        return array
    try:
        return array.cast(pa.int64() if field == "rank" else pa.large_string())
    except pa.ArrowInvalid as error:
        raise InputError(f"{name}: the column for {field} holds {array.type} beyond 64 bits: convert it") from error


def is_string(kind: Any) -> bool:
    """Return whether an Arrow type is a string type."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _instants(array: Any, *, name: str, assume_utc: bool) -> Any:
    kind = array.type
    if kind.tz is None and not assume_utc:
        raise InputError(
            f"{name}: the column for ts has times without a zone: set raw.assume_utc = true if they are in UTC"
        )
    instants = array.cast(pa.timestamp(kind.unit)).cast(pa.timestamp(kind.unit, "UTC")) if kind.tz is None else array
    instants = instants.cast(pa.timestamp(kind.unit, "UTC"))
    seconds = pl.Series(instants.cast(pa.int64())) // _TICKS[kind.unit]
    if seconds.is_between(*_BOUNDS).all():  # nulls are ignored
        return pl.Series(instants).dt.to_string("%Y-%m-%dT%H:%M:%S%.fZ").to_arrow().cast(pa.large_string())
    # Slower, but also works for years out of bounds: they become text that the rules refuse.
    return pl.Series(instants.cast(pa.large_string())).str.replace(" ", "T", literal=True).to_arrow()


def _is_text(array: Any) -> bool:
    """Return whether all strings are valid UTF-8: Parquet files may declare it wrongly."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _constant(name: str, value: str | None) -> pl.Expr:
    return pl.lit(value, pl.String).alias(name)


def _lines_one_by_one(fields: Mapping[str, Any], constants: Mapping[str, str | None]) -> bytes:
    """Return the lines of rows of which some hold bytes that are not UTF-8."""
    columns = {name: _values(array) for name, array in fields.items()}
    rows = zip(*columns.values(), strict=True)
    events = ({"v": 1, **constants, **dict(zip(columns, row, strict=True))} for row in rows)
    text = "".join(f"{json.dumps(event, ensure_ascii=False)}\n" for event in events)
    return text.encode(errors="surrogateescape")


def _values(array: Any) -> list[Any]:
    if not pa.types.is_large_string(array.type):
        return array.to_pylist()
    values = array.view(pa.large_binary()).to_pylist()
    return [value if value is None else value.decode(errors="surrogateescape") for value in values]


def check_types(schema: Any, mapped: ColumnMapping, *, name: str, assume_utc: bool) -> None:
    """Raise `InputError` for a column of an unsupported type, before any value is read."""
    for field, column in mapped.columns.items():
        field_array(field, pa.array([], schema.field(column).type), name=name, assume_utc=assume_utc)


def lines_of_batch(batch: Any, mapped: ColumnMapping, *, name: str, assume_utc: bool) -> bytes:
    """Return one JSON line per row of a batch. Raises `InputError` as `field_array` does."""
    fields = {
        field: field_array(field, batch.column(column), name=name, assume_utc=assume_utc)
        for field, column in mapped.columns.items()
    }
    return lines_of(fields, mapped.constants, rows=len(batch))


class RowStream(PieceStream):
    """The `RawStream` of batches that a library reads, in the memory of one batch.

    `read` starts the reading. The iterator that it returns is closed at the end. `translate` translates the errors that
    the library raises.
    """

    def __init__(
        self,
        read: Callable[[], Iterable[Any]],
        mapped: ColumnMapping,
        *,
        name: str,
        digest: str,
        assume_utc: bool,
        translate: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.size = 0  # bytes of the lines
        self.digest = digest
        self._translate = translate
        super().__init__(self._lines_of(read, mapped, name=name, assume_utc=assume_utc))

    def _lines_of(
        self, read: Callable[[], Iterable[Any]], mapped: ColumnMapping, *, name: str, assume_utc: bool
    ) -> Generator[bytes]:
        with self._translate():
            for batch in read():
                for start in range(0, len(batch), _ROWS):
                    lines = lines_of_batch(batch.slice(start, _ROWS), mapped, name=name, assume_utc=assume_utc)
                    self.size += len(lines)
                    yield lines
