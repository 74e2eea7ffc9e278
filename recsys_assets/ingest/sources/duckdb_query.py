"""Events from a DuckDB query, of anything that its scanners read: one SELECT per day, which cannot write."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cached_property
from threading import Timer
from typing import Any

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.ingest.sources.arrow_rows import RowStream, map_columns
from recsys_assets.settings.settings import Settings

SCHEME = "duckdb:"
_DAY = "{day}"
_BATCH_ROWS = 1 << 14


def find_query(settings: Settings, day: date) -> "list[DuckDbInput]":
    """Return one input with the rows of the query of `raw.exposures` for a day. The list is empty if there are no rows.

    Raises `ConfigurationError` for anything but one SELECT with `{day}` in it, `InputError` for one that fails,
    `StoreUnavailableError` for one that takes too long or cannot reach its data.
    """
    rows_of_day = DuckDbInput(settings, day, scheme=SCHEME)
    return [rows_of_day] if rows_of_day.rows else []


class QueryInput(ABC):
    """The rows of a query for one day, of all targets. Row N, from 1, is line N."""

    def __init__(self, settings: Settings, day: date, *, scheme: str) -> None:
        self.name = f"{scheme}query/{day}"
        self.targets = tuple(row.target for row in settings.targets)
        self._settings = settings
        self._day = day
        query = settings.raw.exposures.removeprefix(scheme).strip().rstrip(";")
        if _DAY not in query:
            raise ConfigurationError(f"raw.exposures is a query without {_DAY}: use it to select the rows of a day")
        self._query = query.replace(_DAY, day.isoformat())

    @property
    def rows(self) -> int:
        """The number of rows that the query returns."""
        return self._state[0]

    @abstractmethod
    def open(self) -> RowStream:
        """Return the rows as lines. The query runs when they are read."""

    def digest(self) -> str:
        """Return a digest of the rows' content, independent of their order. The first call runs the query."""
        return f"rows:{self._state[0]}:{self._state[1]}"

    def appearance(self) -> str:
        """Return name and digest: a query has no cheaper sign of change."""
        return f"{self.name} {self.digest()}"

    def touched_at(self) -> datetime:
        """Return the start of the day: a query does not say when its rows were written."""
        return datetime(self._day.year, self._day.month, self._day.day, tzinfo=UTC)

    @cached_property
    @abstractmethod
    def _state(self) -> tuple[int, str]:
        """The number of rows, and the sum of their hashes."""

    def _too_slow(self) -> StoreUnavailableError:
        seconds = self._settings.raw.statement_timeout_seconds
        return StoreUnavailableError(
            f"{self.name}: no answer within {seconds:g} s (raw.statement_timeout_seconds): read less, or allow more"
        )


class DuckDbInput(QueryInput):
    """The rows that DuckDB returns, with their digest."""

    def open(self) -> RowStream:
        """Return the rows as lines. The query runs when they are read."""
        raw = self._settings.raw
        with self._connected() as connection:
            schema = connection.sql(self._query).limit(0).to_arrow_table().schema
        mapped = map_columns(raw, schema.names, name=self.name, known={})
        return RowStream(
            self._batches,
            mapped,
            name=self.name,
            digest=self.digest(),
            assume_utc=raw.assume_utc,
            translate=untranslated,
        )

    @cached_property
    def _state(self) -> tuple[int, str]:
        with self._connected() as connection, self._limited(connection):
            sums = "count(*), coalesce(sum(hash(day)::HUGEINT), 0)::VARCHAR"
            return connection.execute(f"SELECT {sums} FROM ({self._query}) AS day").fetchone()  # noqa: S608

    def _batches(self) -> Iterator[Any]:
        with self._connected() as connection:
            with self._limited(connection):
                reader = connection.sql(self._query).to_arrow_reader(_BATCH_ROWS)
            while True:
                with self._limited(connection):
                    batch = next(reader, None)
                if batch is None:
                    return
                yield batch

    @contextmanager
    def _connected(self) -> Generator[Any]:
        """Yield an in-memory database, after checking that the query is one SELECT. Its errors become the package's."""
        library = _library(self.name)
        try:
            with library.connect(":memory:") as connection:
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute("SET file_search_path = ?", [str(self._settings.base)])
                statements = connection.extract_statements(self._query)
                if [statement.type for statement in statements] != [library.StatementType.SELECT]:
                    raise ConfigurationError(
                        "raw.exposures is a DuckDB query that is not one SELECT: only one SELECT is allowed"
                    )
                yield connection
        except library.InterruptException as error:
            raise self._too_slow() from error
        except library.HTTPException as error:
            raise StoreUnavailableError(f"{self.name}: {error}: nothing has changed; try again") from error
        except library.Error as error:
            raise InputError(f"{self.name}: {error}: correct the query of raw.exposures, or what it reads") from error

    @contextmanager
    def _limited(self, connection: Any) -> Generator[None]:
        """Interrupt the connection after `raw.statement_timeout_seconds`."""
        timer = Timer(self._settings.raw.statement_timeout_seconds, connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@contextmanager
def untranslated() -> Generator[None]:
    """Leave errors unchanged: the reader of the batches translates them already."""
    yield


def _library(label: str) -> Any:
    """Return duckdb. It is optional, so it is imported only here."""
    try:
        import duckdb  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"{label}: needs duckdb: pip install 'recsys-assets[duckdb]'") from error
    return duckdb
