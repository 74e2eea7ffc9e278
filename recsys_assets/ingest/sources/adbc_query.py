"""Events from a query of a warehouse through its ADBC driver: one SELECT per day, read as Arrow batches."""

import hashlib
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import date
from functools import cached_property
from importlib import import_module
from threading import Thread
from typing import Any
from urllib.parse import unquote

import msgspec
import pyarrow as pa

from recsys_assets.errors import ConfigurationError, InputError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.ingest.sources.arrow_rows import (
    FIELDS,
    ColumnMapping,
    RowStream,
    check_types,
    lines_of_batch,
    map_columns,
)
from recsys_assets.ingest.sources.duckdb_query import QueryInput, untranslated
from recsys_assets.settings.inputs import RawSettings
from recsys_assets.settings.settings import Settings

SCHEME = "adbc:"
_MODULUS = 1 << 128
_ROWS = 1 << 15  # rows that are hashed at a time
_GRACE_SECONDS = 5.0  # the time that a cancelled query has to end
_PACKAGED = ("snowflake", "bigquery")  # drivers that are extras of this package
_OUTAGES = frozenset({"IO", "TIMEOUT", "CANCELLED"})
_REFUSALS = frozenset({"UNAUTHENTICATED", "UNAUTHORIZED"})
# The secret parts of an address: a driver may show them without the rest.
_PARTS = re.compile(r":([^:@/\s]+)@|(?:password|passcode|pwd|secret|token|key)=([^&;\s]+)", re.IGNORECASE)


def find_adbc(settings: Settings, day: date) -> "list[AdbcInput]":
    """Return one input with the rows of the query of `raw.exposures` for a day. The list is empty if there are no rows.

    Raises `ConfigurationError` for anything but one query with `{day}` in it, and for a missing driver or account,
    `InputError` for a query that fails or lacks a column, `StoreUnavailableError` for one that takes too long.
    """
    rows_of_day = AdbcInput(settings, day)
    return [rows_of_day] if rows_of_day.rows else []


class RowSum:
    """Number of lines and sum of their hashes, independent of their order."""

    def __init__(self) -> None:
        self.rows = 0
        self.total = 0

    def add(self, lines: bytes) -> None:
        """Add lines, each of which ends with LF."""
        for line in lines.splitlines():
            self.rows += 1
            self.total += int.from_bytes(hashlib.blake2b(line, digest_size=16).digest())

    @property
    def state(self) -> tuple[int, str]:
        """The number of rows, and the sum of their hashes as 32 hexadecimal digits."""
        return self.rows, f"{self.total % _MODULUS:032x}"


class _FirstRun(msgspec.Struct, frozen=True):
    """Result of the first run of a query, which computes the digest of its rows."""

    schema: Any
    mapped: ColumnMapping | None  # None: there are no rows
    state: tuple[int, str]


class AdbcInput(QueryInput):
    """The rows that a warehouse returns. Their digest is computed here, and verified when they are read."""

    def __init__(self, settings: Settings, day: date) -> None:
        super().__init__(settings, day, scheme=SCHEME)
        if ";" in self._query:
            raise ConfigurationError("raw.exposures is an ADBC query with ; in it: only one SELECT is allowed")
        # A subquery in FROM can only read, whatever statements the warehouse has.
        self._select = f"SELECT * FROM (\n{self._query}\n) AS events_of_the_day"  # noqa: S608

    def open(self) -> RowStream:
        """Return the rows as lines. The query runs again when they are read, and must return the same rows.

        Raises `InputError` if there are no rows.
        """
        if self._first_run.mapped is None:
            raise InputError(f"{self.name} returns no rows")
        return _VerifiedStream(
            self._same_batches,
            self._first_run.mapped,
            name=self.name,
            digest=self.digest(),
            assume_utc=self._settings.raw.assume_utc,
            translate=untranslated,
        )

    @cached_property
    def _state(self) -> tuple[int, str]:
        return self._first_run.state

    @cached_property
    def _first_run(self) -> _FirstRun:
        utc = self._settings.raw.assume_utc
        mapped, total, schema = None, RowSum(), None
        for batch in self._batches():
            schema = batch.schema
            if mapped is None:
                mapped = map_columns(self._settings.raw, schema.names, name=self.name, known={})
                check_types(schema, mapped, name=self.name, assume_utc=utc)
            for start in range(0, len(batch), _ROWS):
                total.add(lines_of_batch(batch.slice(start, _ROWS), mapped, name=self.name, assume_utc=utc))
        return _FirstRun(schema, mapped, total.state)

    def _same_batches(self) -> Iterator[Any]:
        for batch in self._batches():
            if batch.schema != self._first_run.schema:
                raise _changed(self.name)
            yield batch

    def _batches(self) -> Iterator[Any]:
        """Yield the batches that hold rows, with columns named as in the configuration."""
        adbc = self._settings.raw.adbc
        options = {
            name: self._settings.text_at(location, what=f"raw.adbc.options.{name}")
            for name, location in adbc.options.items()
        }
        secrets = [text for name, text in options.items() if text != adbc.options[name]]
        manager, path = _driver(adbc.driver, setting=self.name)
        with self._translated(manager, secrets), ExitStack() as opened:
            timed = _TimedCalls(opened, self._settings.raw.statement_timeout_seconds, self._too_slow)
            connection = timed(lambda: manager.connect(driver=path, db_kwargs=options))
            opened.push(_close(connection))
            cursor = connection.cursor()
            opened.push(_close(cursor))
            timed(lambda: cursor.execute(self._select), cancel=cursor.adbc_cancel)
            reader = cursor.fetch_record_batch()
            opened.push(_close(reader))
            names = use_configured_names(self._settings.raw, reader.schema.names)
            while (batch := timed(lambda: next(reader, None), cancel=cursor.adbc_cancel)) is not None:
                if len(batch):
                    yield batch.rename_columns(names)

    @contextmanager
    def _translated(self, manager: Any, secrets: Iterable[str]) -> Generator[None]:
        """Turn errors of a driver into the package's, without secrets, and without their cause, which may hold one."""
        try:
            yield
        except (manager.Error, manager.Warning, pa.ArrowException, OSError) as error:
            status = getattr(getattr(error, "status_code", None), "name", "")
            raise self._ours(status, redacted(" ".join(str(error).split()), secrets)) from None

    def _ours(self, status: str, message: str) -> RecsysAssetsError:
        if status in _OUTAGES:
            return StoreUnavailableError(f"{self.name}: {message}: nothing has changed; try again")
        if status in _REFUSALS:
            return ConfigurationError(f"{self.name}: {message}: check raw.adbc.options, and what that user may read")
        return InputError(
            f"{self.name}: {message}: correct the query of raw.exposures, what it reads, or raw.adbc.options"
        )


class _VerifiedStream(RowStream):
    """Rows whose digest is verified: reading fails after the last row if it differs."""

    def _lines_of(
        self, read: Callable[[], Iterable[Any]], mapped: ColumnMapping, *, name: str, assume_utc: bool
    ) -> Generator[bytes]:
        total = RowSum()
        with closing(super()._lines_of(read, mapped, name=name, assume_utc=assume_utc)) as blocks:
            for lines in blocks:
                total.add(lines)
                yield lines
        rows, sum_of_hashes = total.state
        if self.digest != f"rows:{rows}:{sum_of_hashes}":
            raise _changed(name)


class _TimedCalls:
    """Calls of a driver, each with a timeout, also where the driver cannot be interrupted.

    A call that does not end when it is cancelled is left running in its thread, and the opened resources are closed
    once it ends.
    """

    def __init__(self, opened: ExitStack, seconds: float, too_slow: Callable[[], Exception]) -> None:
        self._opened = opened
        self._seconds = seconds
        self._too_slow = too_slow

    def __call__(self, call: Callable[[], Any], *, cancel: Callable[[], None] | None = None) -> Any:
        results: list[Any] = []
        raised: list[Exception] = []

        def work() -> None:
            try:
                results.append(call())
            except Exception as error:  # noqa: BLE001 - raised again below
                raised.append(error)

        worker = Thread(target=work, daemon=True)
        worker.start()
        try:
            worker.join(self._seconds)
            if worker.is_alive():
                raise self._too_slow()
        finally:
            self._end(worker, cancel)
        if raised:
            raise raised[0]
        return results[0]

    def _end(self, worker: Thread, cancel: Callable[[], None] | None) -> None:
        if not worker.is_alive():
            return
        is_cancelled = False
        if cancel is not None:
            with suppress(Exception):
                cancel()
                is_cancelled = True
        worker.join(_GRACE_SECONDS if is_cancelled else 0)
        if worker.is_alive():
            left = self._opened.pop_all()
            Thread(target=lambda: (worker.join(), left.close()), daemon=True).start()


def _close(thing: Any) -> Callable[..., bool]:
    """Return a context exit that closes `thing` and ignores errors, because readers have nothing to lose."""

    def leave(*_: object) -> bool:
        with suppress(Exception):
            thing.close()
        return False

    return leave


def use_configured_names(raw: RawSettings, names: list[str]) -> list[str]:
    """Return the column names `names`, replaced by the configured names where only upper and lower case differ.

    Snowflake returns TS for a column that was written ts. Names that match exactly stay, and so do names of which
    several differ only in case.
    """
    wanted = [raw.columns.get(field, field) for field in FIELDS]
    folded = [name.casefold() for name in names]
    by_fold = {name.casefold(): name for name in wanted if name not in names and folded.count(name.casefold()) == 1}
    return [by_fold.get(name.casefold(), name) for name in names]


def redacted(message: str, secrets: Iterable[str]) -> str:
    """Return a message with the secrets, and the secret parts of addresses in them, replaced by `***`."""
    parts = {part for text in secrets for match in _PARTS.findall(text) for part in match}
    texts = {*secrets, *parts}
    for text in sorted({*texts, *map(unquote, texts)} - {""}, key=len, reverse=True):
        message = message.replace(text, "***")
    return message


def _driver(name: str | None, *, setting: str) -> tuple[Any, str]:
    """Return the driver manager and the path of the driver. Both are optional, so they are imported only here."""
    if name is None:
        raise ConfigurationError(f'{setting}: raw.adbc.driver is not set: set it, e.g. to "snowflake" or "bigquery"')
    try:
        module = import_module(f"adbc_driver_{name}")
        manager = import_module("adbc_driver_manager.dbapi")
    except ImportError as error:
        package = f"'recsys-assets[{name}]'" if name in _PACKAGED else f"adbc-driver-{name.replace('_', '-')}"
        raise ConfigurationError(f"{setting}: needs the ADBC driver {name}: pip install {package}") from error
    return manager, module._driver_path()  # noqa: SLF001 - the arguments of `connect` differ between drivers


def _changed(name: str) -> InputError:
    return InputError(f"{name} returned different rows when it ran again: run the day again once its data is complete")
