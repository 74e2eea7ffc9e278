"""Events by a query of DuckDB, for whatever its scanners read: one SELECT a day, which can write nothing."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import cached_property
from threading import Timer
from typing import Any

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.ingest.sources.arrow_rows import RowStream
from recsys_assets.ingest.sources.columns import map_columns
from recsys_assets.settings.settings import Settings

SCHEME = "duckdb:"
_DAY = "{day}"
_BATCH_ROWS = 1 << 14


def find_query(settings: Settings, day: date) -> "list[DuckDbInput]":
    """Return the rows that the query of `raw.exposures` gives for a day; nothing if it gives none.

    Raises `ConfigurationError` for anything but one SELECT with `{day}` in it, `InputError` for one that fails,
    `StoreUnavailableError` for one that takes too long or cannot reach what it reads.
    """
    found = DuckDbInput(settings, day, scheme=SCHEME)
    return [found] if found.rows else []


class QueryInput(ABC):
    """The rows of a query for one day, of all targets; row N, from 1, is line N."""

    def __init__(self, settings: Settings, day: date, *, scheme: str) -> None:
        self.name = f"{scheme}query/{day}"
        self.targets = tuple(row.target for row in settings.targets)
        self._settings = settings
        self._day = day
        query = settings.raw.exposures.removeprefix(scheme).strip().rstrip(";")
        if _DAY not in query:
            raise ConfigurationError(f"raw.exposures is a query without {_DAY}: choose the rows of a day by it")
        self._query = query.replace(_DAY, day.isoformat())

    @property
    def rows(self) -> int:
        """How many rows the query gives."""
        return self._state[0]

    @abstractmethod
    def open(self) -> RowStream:
        """Return the rows as lines; the query runs when they are read."""

    def digest(self) -> str:
        """Return a mark of the rows' content, whatever their order: the query runs for it."""
        return f"rows:{self._state[0]}:{self._state[1]}"

    def appearance(self) -> str:
        """Return name and mark: a query has no cheaper sign of change."""
        return f"{self.name} {self.digest()}"

    def touched_at(self) -> datetime:
        """Return the day's beginning: a query does not say when its rows came."""
        return datetime(self._day.year, self._day.month, self._day.day, tzinfo=UTC)

    @cached_property
    @abstractmethod
    def _state(self) -> tuple[int, str]:
        """How many rows there are, and the sum of their hashes."""

    def _too_slow(self) -> StoreUnavailableError:
        seconds = self._settings.raw.statement_timeout_seconds
        return StoreUnavailableError(
            f"{self.name}: no answer within {seconds:g} s (raw.statement_timeout_seconds): read less, or allow more"
        )


class DuckDbInput(QueryInput):
    """The rows that DuckDB gives; it computes their mark too."""

    def open(self) -> RowStream:
        """Return the rows as lines; the query runs when they are read."""
        raw = self._settings.raw
        with self._connected() as connection:
            schema = connection.sql(self._query).limit(0).to_arrow_table().schema
        mapped = map_columns(raw, schema.names, name=self.name, known={})
        return RowStream(
            self._batches, mapped, name=self.name, digest=self.digest(), assume_utc=raw.assume_utc, translate=as_it_is
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
        """Yield a database in memory in which the query is known to be one SELECT; its errors come out as ours."""
        library = _library(self.name)
        try:
            with library.connect(":memory:") as connection:
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute("SET file_search_path = ?", [str(self._settings.base)])
                statements = connection.extract_statements(self._query)
                if [one.type for one in statements] != [library.StatementType.SELECT]:
                    raise ConfigurationError(
                        "raw.exposures is a query of DuckDB that is not one SELECT: only reading is"
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
        """Interrupt what takes longer than `raw.statement_timeout_seconds`."""
        timer = Timer(self._settings.raw.statement_timeout_seconds, connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


@contextmanager
def as_it_is() -> Generator[None]:
    """Leave errors as they are: who reads the batches has them translated."""
    yield


def _library(what: str) -> Any:
    """Return duckdb, imported only here: who has no query need not install it."""
    try:
        import duckdb  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"{what}: needs duckdb: pip install 'recsys-assets[duckdb]'") from error
    return duckdb
