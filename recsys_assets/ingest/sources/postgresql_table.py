"""Raw events in a PostgreSQL table: the rows of one target and day, streamed from one snapshot as lines."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec
from psycopg import IsolationLevel, sql

from recsys_assets.errors import ConfigurationError, InputError, RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.arrow_rows import ColumnMapping, map_columns
from recsys_assets.ingest.sources.streams import PieceStream
from recsys_assets.ingest.white_space import WHITE_SPACE
from recsys_assets.postgres.client import begin_transaction, connected, find_bad_json, table_name, tenant_id
from recsys_assets.settings.inputs import RawSettings
from recsys_assets.settings.settings import Settings

TENANT_ID = "tenant_id"  # the column that a table of tenants resolves
_OF_ITEMS = ("item_id", "rank")
_TEXT_CATEGORIES = frozenset({"S", "E"})  # strings and enumerations
_INTEGERS = frozenset({"smallint", "integer", "bigint"})
_ZONED, _ZONELESS = "timestamp with time zone", "timestamp without time zone"
_INSTANT = 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'
_COLUMNS = """
    WITH RECURSIVE kinds AS (
        SELECT a.attname, t.oid, t.typcategory, t.typbasetype
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
        WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT k.attname, t.oid, t.typcategory, t.typbasetype FROM kinds k JOIN pg_type t ON t.oid = k.typbasetype
    )
    SELECT attname, format_type(oid, NULL), typcategory FROM kinds WHERE typbasetype = 0
"""
SCHEME = "postgresql:"
VARIABLE = "RECSYS_RAW_DATABASE_URL"
_BATCH_ROWS = 5_000
# Independent of the order of rows, which a database does not keep, and computed by the database.
_STATE = """
    SELECT count(*), coalesce(sum(octet_length(line)), 0)::bigint,
        coalesce(sum(hashtextextended(line, 0)::numeric), 0)::text, max(instant)
    FROM ({}) AS day
"""


class EventQuery(msgspec.Struct, frozen=True):
    """Queries for the events of one target and day.

    `lines` selects (line, instant), one row per event, unsorted. `tenant_exists` selects whether the table holds any
    row of the tenant, of any day. `rows` is the FROM clause, as `e`, with the conditions of the rows of the lines.
    """

    lines: sql.Composed
    tenant_exists: sql.Composed
    rows: sql.Composed


def day_query(connection: Any, raw: RawSettings, table: str, target: Target, day: date) -> EventQuery:
    """Return the queries of a target and day, after checking that table, columns, their types and the tenant exist.

    A row whose `raw.nested` column does not hold a list of items is one line without an item, which the rules refuse.

    Raises `ConfigurationError` for a missing table, `InputError` for a column that is missing or of a wrong type, and
    for a tenant that is not in the table of tenants.
    """
    column_types = _read_columns(connection, table)
    mapped = map_columns(_with_tenant_id(raw), {*column_types, *_names_in_items(raw)}, name=f"table {table}", known={})
    fields = {
        field: _value(field, column, column_types, raw, table)
        for field, column in mapped.columns.items()
        if field not in {"tenant", "surface"}
    }
    rows = sql.SQL("FROM {} AS e").format(table_name(table))
    tenant = tenant_id(connection, raw.tenants, target.tenant) if raw.tenants else target.tenant
    blanks = _blanks(connection)
    of_tenant = _is("tenant", mapped, tenant, column_types, blanks)
    of_surface = _is("surface", mapped, target.surface, column_types, blanks)
    chosen = [_of_day(mapped.columns["ts"], column_types, day), of_tenant, of_surface]
    lines = sql.SQL("SELECT {line} AS line, {at} AS instant {rows} {items} WHERE {chosen}").format(
        line=_line({**mapped.constants, "tenant": target.tenant, "surface": target.surface}, fields, raw),
        at=_column(mapped.columns["ts"]),
        rows=rows,
        items=_items(raw),
        chosen=sql.SQL(" AND ").join(chosen),
    )
    exists = sql.SQL("SELECT EXISTS (SELECT {rows} WHERE {tenant})").format(rows=rows, tenant=of_tenant)
    return EventQuery(lines, exists, sql.SQL("{} WHERE {}").format(rows, sql.SQL(" AND ").join(chosen)))


def _read_columns(connection: Any, table: str) -> Mapping[str, tuple[str, str]]:
    """Return type and category of each column of the table. For a domain, these are those of its base type."""
    name = table_name(table).as_string(connection)
    column_types = {row[0]: (row[1], row[2]) for row in connection.execute(_COLUMNS, [name]).fetchall()}
    if not column_types:
        raise ConfigurationError(f"there is no table {table} in the database, or this user may not see it")
    return column_types


def _with_tenant_id(raw: RawSettings) -> RawSettings:
    if raw.tenants is None:
        return raw
    return raw.model_copy(update={"columns": {"tenant": TENANT_ID, **raw.columns}})


def _names_in_items(raw: RawSettings) -> tuple[str, ...]:
    return tuple(raw.columns.get(field, field) for field in _OF_ITEMS) if raw.nested else ()


def _value(
    field: str, column: str, column_types: Mapping[str, tuple[str, str]], raw: RawSettings, table: str
) -> sql.Composable:
    """Return the expression of a field's JSON value. Raises `InputError` for an unsupported type."""
    if raw.nested and field in _OF_ITEMS:
        return sql.SQL("item -> {}").format(column)
    kind, category = column_types[column]
    if field == "ts" and kind == _ZONED:
        return sql.SQL("to_char({} AT TIME ZONE 'UTC', {})").format(_column(column), _INSTANT)
    if field == "ts" and kind == _ZONELESS and raw.assume_utc:
        return sql.SQL("to_char({}, {})").format(_column(column), _INSTANT)
    if field == "rank" and kind in _INTEGERS:
        return _column(column)
    if field not in {"ts", "rank"} and (category in _TEXT_CATEGORIES or kind in {*_INTEGERS, "uuid"}):
        return sql.SQL("{}::text").format(_column(column))
    wanted = {"ts": f"{_ZONED}, or with raw.assume_utc = true {_ZONELESS}", "rank": "integers"}.get(
        field, "text, integers or uuid"
    )
    raise InputError(f"table {table}: column {column} for {field} is of type {kind}, expected {wanted}")


def _line(
    constants: Mapping[str, str | None], fields: Mapping[str, sql.Composable], raw: RawSettings
) -> sql.Composable:
    """Return the expression of an event's JSON text. For a row without a list of items it also holds that column."""
    pairs: list[sql.Composable] = [sql.SQL("'v', 1")]
    pairs += [sql.SQL("{}, {}::text").format(name, value) for name, value in constants.items()]
    pairs += [sql.SQL("{}, {}").format(name, value) for name, value in fields.items()]
    good = sql.SQL("json_build_object({})::text").format(sql.SQL(", ").join(pairs))
    if raw.nested is None:
        return good
    pairs += [sql.SQL("{}, {}").format(raw.nested, _column(raw.nested))]
    bad = sql.SQL("json_build_object({})::text").format(sql.SQL(", ").join(pairs))
    return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(_has_items(raw.nested), good, bad)


def _items(raw: RawSettings) -> sql.Composable:
    """Return the join that makes one row of each item. A row without a list of items becomes one with a null item."""
    if raw.nested is None:
        return sql.SQL("")
    return sql.SQL(
        "CROSS JOIN LATERAL jsonb_array_elements("
        "CASE WHEN {} THEN {}::jsonb -> 'items' ELSE '[null]'::jsonb END) AS item"
    ).format(_has_items(raw.nested), _column(raw.nested))


def _has_items(nested: str) -> sql.Composable:
    return sql.SQL("coalesce(jsonb_typeof({}::jsonb -> 'items') = 'array', false)").format(_column(nested))


def _is(
    field: str, mapped: ColumnMapping, name: Any, column_types: Mapping[str, tuple[str, str]], blanks: str
) -> sql.Composable:
    """Return the condition that a row is of this tenant or surface. Blanks are trimmed as for JSON lines."""
    if field in mapped.constants:
        return sql.Literal(mapped.constants[field] == name)
    column = mapped.columns[field]
    if column_types[column][1] not in _TEXT_CATEGORIES:
        return sql.SQL("{} = {}").format(_column(column), name)
    return sql.SQL("btrim({}::text, {}) = {}").format(_column(column), blanks, name)


def _blanks(connection: Any) -> str:
    """Return the characters that are trimmed, as far as the encoding of the database supports them."""
    is_unicode = connection.info.parameter_status("server_encoding") == "UTF8"
    return WHITE_SPACE if is_unicode else "".join(char for char in WHITE_SPACE if char.isascii())


def _of_day(column: str, column_types: Mapping[str, tuple[str, str]], day: date) -> sql.Composable:
    """Return the condition that a row is of this UTC day, in a form for which an index on the time can be used."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    bounds = (start, start + timedelta(days=1))
    first, after = bounds if column_types[column][0] == _ZONED else (bound.replace(tzinfo=None) for bound in bounds)
    return sql.SQL("{at} >= {first} AND {at} < {after}").format(at=_column(column), first=first, after=after)


def _column(name: str) -> sql.Composable:
    return sql.SQL("e.{}").format(sql.Identifier(name))


class _State(msgspec.Struct, frozen=True):
    """State of a target's rows of a day in one snapshot. `newest` is the time of the newest event."""

    rows: int
    size: int
    digest: str
    newest: datetime | None


class TableInput:
    """The rows of one target and day in a table, as a raw input: line N is the N-th row that the database returned."""

    def __init__(self, raw: RawSettings, target: Target, day: date) -> None:
        self._raw = raw
        self._target = target
        self._day = day
        self.name = f"{raw.exposures}/{target}/{day}"
        self.targets: Sequence[Target] = (target,)

    def open(self) -> "TableStream":
        """Return the rows as lines. The query runs when they are read."""
        return TableStream(self._raw, self._target, self._day, name=self.name)

    def digest(self) -> str:
        """Return a digest of the rows' content that the database computes. No row is sent."""
        return self._state.digest

    def appearance(self) -> str:
        """Return name and digest: a table has no cheaper sign of change."""
        return f"{self.name} {self._state.digest}"

    def touched_at(self) -> datetime:
        """Return the newest event's time, or the start of the day without events."""
        newest = self._state.newest
        start = datetime(self._day.year, self._day.month, self._day.day, tzinfo=UTC)
        return start if newest is None else newest.replace(tzinfo=UTC) if newest.tzinfo is None else newest

    @cached_property
    def _state(self) -> _State:
        with _connected(self._raw, self._target, self._day, name=self.name) as connection:
            return _begin(connection, self._raw, self._target, self._day)[1]


class TableStream(PieceStream):
    """The `RawStream` of a `TableInput`: one read-only snapshot, a server-side cursor, the memory of one batch.

    Raises `StoreUnavailableError` (down, too slow, disconnected), `ConfigurationError` (URL, table, rights) or
    `InputError` (columns, tenant).
    """

    def __init__(self, raw: RawSettings, target: Target, day: date, *, name: str) -> None:
        self._raw = raw
        self._target = target
        self._day = day
        self._name = name
        super().__init__(self._read())
        self.size = 0
        self.digest = ""

    def _read(self) -> Generator[bytes]:
        with _connected(self._raw, self._target, self._day, name=self._name) as connection:
            query, state = _begin(connection, self._raw, self._target, self._day)
            self.digest = state.digest
            with connection.cursor(name="recsys_assets_raw") as cursor:
                cursor.execute(sql.SQL("SELECT line FROM ({}) AS day").format(query.lines))
                while rows := cursor.fetchmany(_BATCH_ROWS):
                    lines = "".join(f"{line}\n" for (line,) in rows).encode()
                    self.size += len(lines) - len(rows)
                    yield lines


def find_tables(settings: Settings, day: date) -> list[TableInput]:
    """Return one input per target. Raises `ConfigurationError` if `raw.exposures` does not name a table."""
    table_name(settings.raw.exposures.removeprefix(SCHEME))
    return [TableInput(settings.raw, row.target, day) for row in settings.targets]


def _begin(connection: Any, raw: RawSettings, target: Target, day: date) -> tuple[EventQuery, _State]:
    """Begin a read-only snapshot. Returns the queries, and the state of the day's rows."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    begin_transaction(connection, statement_timeout_seconds=raw.statement_timeout_seconds)
    query = day_query(connection, raw, raw.exposures.removeprefix(SCHEME), target, day)
    rows, size, mark, newest = connection.execute(sql.SQL(_STATE).format(query.lines)).fetchone()
    if not rows and raw.tenants is None and not connection.execute(query.tenant_exists).fetchone()[0]:
        raise InputError(f"{raw.exposures} has no row of tenant {target.tenant!r}, of any day: check the name")
    return query, _State(rows, size, f"rows:{rows}:{mark}", newest)


@contextmanager
def _connected(raw: RawSettings, target: Target, day: date, *, name: str) -> Generator[Any]:
    """Yield a connection. The error for data that the database cannot read names the first such row."""
    try:
        with connected(VARIABLE, what=name) as connection:
            yield connection
    except InputError as error:
        row = _unreadable_row(raw, target, day, name=name) if raw.nested else None
        if row is None:
            raise
        raise InputError(f"{error} (the first such row: {row})") from None  # the cause repeats the data


def _unreadable_row(raw: RawSettings, target: Target, day: date, *, name: str) -> str | None:
    """Return the key of the day's first row whose nested column is not JSON that the database can return, else None."""
    table = raw.exposures.removeprefix(SCHEME)
    with suppress(RecsysAssetsError), connected(VARIABLE, what=name) as connection:
        rows = day_query(connection, raw, table, target, day).rows
        begin_transaction(connection, statement_timeout_seconds=raw.statement_timeout_seconds)
        hidden = raw.columns.get("user_id", "user_id")
        return find_bad_json(connection, table_name(table), rows, _column(str(raw.nested)), hidden=hidden)
    return None
