"""Raw events in a table of PostgreSQL: a day's rows of one target, streamed from one snapshot as lines."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from psycopg import IsolationLevel, sql

from recsys_assets.config.inputs import RawSettings
from recsys_assets.config.settings import Settings
from recsys_assets.errors import InputError
from recsys_assets.identity import Target
from recsys_assets.postgres.client import connected
from recsys_assets.postgres.names import table_name
from recsys_assets.sources.pieces import Pieces
from recsys_assets.sources.table_query import DayQuery, day_query

SCHEME = "postgresql:"
VARIABLE = "RECSYS_RAW_DATABASE_URL"
_BATCH_ROWS = 5_000
# Blind to the order of rows, which a database does not keep, and computed where they lie.
_STATE = """
    SELECT count(*), coalesce(sum(octet_length(line)), 0)::bigint,
        coalesce(sum(hashtextextended(line, 0)::numeric), 0)::text, max(instant)
    FROM ({}) AS day
"""


@dataclass(frozen=True, slots=True)
class _State:
    """What a day's rows of a target are at one instant."""

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
        """Return the rows as lines; the database is asked when they are read."""
        return TableStream(self._raw, self._target, self._day, name=self.name)

    def digest(self) -> str:
        """Return a mark of the rows' content that the database computes; no row is sent."""
        return self._state.digest

    def appearance(self) -> str:
        """Return name and mark: a table has no cheaper sign of change."""
        return f"{self.name} {self._state.digest}"

    def touched_at(self) -> datetime:
        """Return the newest event's time, or the day's beginning if there is none."""
        newest = self._state.newest
        start = datetime(self._day.year, self._day.month, self._day.day, tzinfo=UTC)
        return start if newest is None else newest.replace(tzinfo=UTC) if newest.tzinfo is None else newest

    @cached_property
    def _state(self) -> _State:
        with connected(VARIABLE, what=self.name) as connection:
            return _begin(connection, self._raw, self._target, self._day)[1]


class TableStream:
    """The `RawStream` of a `TableInput`: one read-only snapshot, a server-side cursor, memory for one batch.

    Raises `StoreUnavailableError` (down, too slow, broken off), `ConfigurationError` (URL, table, rights), `InputError`
    (columns, tenant).
    """

    def __init__(self, raw: RawSettings, target: Target, day: date, *, name: str) -> None:
        self._raw = raw
        self._target = target
        self._day = day
        self._name = name
        self._batches = self._read()
        self._lines = Pieces(self._batches)
        self.size = 0
        self.digest = ""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the front of `buffer` with lines and return how many bytes; 0 at the end."""
        return self._lines.readinto(buffer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._batches.close()

    def _read(self) -> Generator[bytes]:
        with connected(VARIABLE, what=self._name) as connection:
            query, state = _begin(connection, self._raw, self._target, self._day)
            self.digest = state.digest
            with connection.cursor(name="recsys_assets_raw") as cursor:
                cursor.execute(sql.SQL("SELECT line FROM ({}) AS day").format(query.lines))
                while rows := cursor.fetchmany(_BATCH_ROWS):
                    lines = "".join(f"{line}\n" for (line,) in rows).encode()
                    self.size += len(lines) - len(rows)
                    yield lines


def find_tables(settings: Settings, day: date) -> list[TableInput]:
    """Return one input for each target; raises `ConfigurationError` if `raw.exposures` names no table."""
    table_name(settings.raw.exposures.removeprefix(SCHEME))
    return [TableInput(settings.raw, row.target, day) for row in settings.targets]


def _begin(connection: Any, raw: RawSettings, target: Target, day: date) -> tuple[DayQuery, _State]:
    """Begin a snapshot that nothing can be written in; return what to ask in it, and what the day's rows are."""
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    timeout = str(round(raw.statement_timeout_seconds * 1000))
    connection.execute(
        "SELECT set_config('statement_timeout', %s, true), set_config('timezone', 'UTC', true)", [timeout]
    )
    query = day_query(connection, raw, raw.exposures.removeprefix(SCHEME), target, day)
    rows, size, mark, newest = connection.execute(sql.SQL(_STATE).format(query.lines)).fetchone()
    if not rows and raw.tenants is None and not connection.execute(query.tenant_exists).fetchone()[0]:
        raise InputError(f"{raw.exposures} has no row of tenant {target.tenant!r}, of whatever day: check the name")
    return query, _State(rows, size, f"rows:{rows}:{mark}", newest)
