"""Versioned lake tables (Delta, Iceberg): the rows of a day in one snapshot, as a raw input."""

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.arrow_rows import ColumnMapping, RowStream, check_types, is_string, map_columns
from recsys_assets.settings.inputs import RawSettings
from recsys_assets.settings.settings import Settings

_PINNED = re.compile(r"(?P<place>.+)@(?P<version>\d+)")


class DayRows(msgspec.Struct, frozen=True):
    """Condition for the rows of a day: by the column `ts` of timestamps, and by the column of days if configured.

    `ts` is None where timestamps are text. Then only the column of days decides.
    """

    day: date
    ts: str | None
    is_zoned: bool
    day_column: str | None
    day_value: date | str | int | None

    @property
    def start(self) -> datetime:
        """The first moment of the day, in UTC."""
        return datetime(self.day.year, self.day.month, self.day.day, tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The first moment after the day, in UTC."""
        return self.start + timedelta(days=1)


class DataFile(msgspec.Struct, frozen=True):
    """A file of a snapshot that may hold rows of the day. Its `mark` changes with its content and its deletes."""

    mark: str
    touched_at: datetime


class TableSnapshot(Protocol):
    """One version of a table."""

    version: str
    schema: Any

    def files(self, rows: DayRows) -> Sequence[DataFile]:
        """Return the files that may hold such rows, according to the table's metadata. Reads no file."""
        ...

    def read(self, rows: DayRows, columns: Sequence[str]) -> Iterable[Any]:
        """Yield such rows without deleted ones, batch by batch, always in the same order."""
        ...

    def translated(self, name: str) -> AbstractContextManager[None]:
        """Turn errors of the library into the package's, with `name` in front."""
        ...


SnapshotOpener = Callable[[str, int | None], TableSnapshot]


class SnapshotInput:
    """The rows of one day in a snapshot, of all targets. Row N, from 1, is line N.

    Later commits do not change the snapshot that is read. `digest` identifies the files and deletes of the table that
    hold the day: commits to other days do not change it.
    """

    def __init__(
        self,
        snapshot: TableSnapshot,
        rows: DayRows,
        mapped: ColumnMapping,
        *,
        name: str,
        targets: Sequence[Target],
        raw: RawSettings,
    ) -> None:
        self.name = name
        self.targets = targets
        self.version = snapshot.version
        self._snapshot = snapshot
        self._rows = rows
        self._mapped = mapped
        self._raw = raw
        with snapshot.translated(name):
            self.files = snapshot.files(rows)

    def open(self) -> RowStream:
        """Return the rows as lines."""
        columns = sorted(set(self._mapped.columns.values()))
        return RowStream(
            lambda: self._snapshot.read(self._rows, columns),
            self._mapped,
            name=self.name,
            digest=self.digest(),
            assume_utc=self._raw.assume_utc,
            translate=lambda: self._snapshot.translated(self.name),
        )

    def digest(self) -> str:
        """Return a digest of the marks of the day's files and deletes, without reading them."""
        return hashlib.sha256("\n".join(sorted(file.mark for file in self.files)).encode()).hexdigest()

    def appearance(self) -> str:
        """Return name and digest: nothing is cheaper than the table's log."""
        return f"{self.name} {self.digest()}"

    def touched_at(self) -> datetime:
        """Return the time at which the newest of the files was committed."""
        return max(file.touched_at for file in self.files)


def find_day(settings: Settings, day: date, *, scheme: str, opened: SnapshotOpener) -> list[SnapshotInput]:
    """Return one input with a day's rows of the newest or pinned (`...@version`) snapshot, empty if no file has any.

    Raises `InputError` for a table that is missing or lacks a column, `StoreUnavailableError` if its store does not
    answer, `ConfigurationError` for a wrong `raw.day_column`.
    """
    raw = settings.raw
    location = raw.exposures.removeprefix(scheme)
    pinned = _PINNED.fullmatch(location)
    location, version = (pinned["place"], int(pinned["version"])) if pinned else (location, None)
    snapshot = opened(location, version)
    name = f"{scheme}{location}"
    mapped = map_columns(raw, snapshot.schema.names, name=name, known={})
    check_types(snapshot.schema, mapped, name=name, assume_utc=raw.assume_utc)
    rows = _day_rows(raw, snapshot.schema, mapped.columns["ts"], day, name=name)
    targets = tuple(row.target for row in settings.targets)
    day_input = SnapshotInput(snapshot, rows, mapped, name=f"{name}/{day}", targets=targets, raw=raw)
    return [day_input] if day_input.files else []


def _day_rows(raw: RawSettings, schema: Any, ts: str, day: date, *, name: str) -> DayRows:
    kind = schema.field(ts).type
    is_instant = pa.types.is_timestamp(kind)
    if not is_instant and raw.day_column is None:
        raise InputError(
            f"{name}: column {ts!r} holds {kind}, by which no day can be selected: set the column of days in "
            "raw.day_column, or write timestamps"
        )
    value = None if raw.day_column is None else _day_value(raw.day_column, schema, day, name=name)
    return DayRows(day, ts if is_instant else None, is_instant and kind.tz is not None, raw.day_column, value)


def _day_value(column: str, schema: Any, day: date, *, name: str) -> date | str | int:
    """Return the day as a value of the type of the column of days."""
    if column not in schema.names:
        raise ConfigurationError(f"{name} has no column {column!r} (raw.day_column), it has {', '.join(schema.names)}")
    kind = schema.field(column).type
    if pa.types.is_date(kind):
        return day
    if is_string(kind):
        return day.isoformat()
    if pa.types.is_integer(kind):
        return int(f"{day:%Y%m%d}")
    raise ConfigurationError(
        f"{name}: raw.day_column {column!r} holds {kind}, expected dates, text like {day} or integers like {day:%Y%m%d}"
    )
