"""Apache Iceberg tables: the rows of a day in one snapshot, without deleted ones, as the table's metadata has them."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import Any

import pyarrow as pa

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.ingest.sources.snapshots import DataFile, DayRows, SnapshotInput, find_day
from recsys_assets.settings.settings import Settings

SCHEME = "iceberg:"
_CATALOG = "default"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def find_iceberg(settings: Settings, day: date) -> list[SnapshotInput]:
    """Return the rows of a day in the table that `raw.exposures` names; raises what `find_day` does."""
    return find_day(settings, day, scheme=SCHEME, opened=IcebergSnapshot)


class IcebergSnapshot:
    """One snapshot of a table of a catalog, as `namespace.table` or `catalog/namespace.table`: the newest, or another.

    What a catalog is, its address and credentials, stands where pyiceberg looks: in `.pyiceberg.yaml`, or in the
    environment.
    """

    def __init__(self, place: str, snapshot: int | None) -> None:
        _library(place)
        catalog, _, table = place.rpartition("/")
        with self.translated(f"{SCHEME}{place}"):
            self._table = _catalog(catalog or _CATALOG, place).load_table(table)
            self._asked = snapshot  # None: the newest of the metadata that was loaded, with today's names of columns
            current = self._table.current_snapshot()
            found = self._table.snapshot_by_id(snapshot) if snapshot else current
            if snapshot and found is None:
                raise InputError(f"{SCHEME}{place} has no snapshot {snapshot}: it expired, or is another table's")
            self._projected = self._table.scan(snapshot_id=snapshot).projection()
            self.schema: Any = self._projected.as_arrow()
        self.version = f"snapshot {found.snapshot_id}" if found else "no snapshot"

    def files(self, rows: DayRows) -> list[DataFile]:
        """Return the files whose partition and statistics leave room for such rows, each with its deletes."""
        found: list[DataFile] = []
        for task in self._table.scan(row_filter=_filter(rows), snapshot_id=self._asked).plan_files():
            named = ((one.file_path, one.file_size_in_bytes, one.record_count) for one in task.delete_files)
            deletes = sorted(" ".join(map(str, one)) for one in named)
            mark = " ".join([task.file.file_path, str(task.file.file_size_in_bytes), *deletes])
            found.append(DataFile(mark, self._newest(task.file, rows)))
        return found

    def read(self, rows: DayRows, columns: Sequence[str]) -> Iterable[Any]:
        """Yield the batches of one file after the other: the library's own reader holds many whole files at once."""
        reading: Any = import_module("pyiceberg.io.pyarrow")  # of which the two verbs below are the library's own
        chosen = self._table.scan(row_filter=_filter(rows), selected_fields=tuple(columns), snapshot_id=self._asked)
        scan = reading.ArrowScan(self._table.metadata, self._table.io, chosen.projection(), chosen.row_filter)
        for task in sorted(chosen.plan_files(), key=lambda task: task.file.file_path):
            deletes = reading._read_all_delete_files(self._table.io, [task])  # noqa: SLF001
            yield from scan._record_batches_from_scan_tasks_and_deletes([task], deletes)  # noqa: SLF001

    @contextmanager
    def translated(self, name: str) -> Generator[None]:
        """Turn errors of the libraries into the package's."""
        library = _library(name)
        missing = (library.NoSuchTableError, library.NoSuchNamespaceError, library.NoSuchIcebergTableError)
        try:
            yield
        except missing as error:
            raise InputError(f"{name} is no Iceberg table that is there: check raw.exposures") from error
        except (ValueError, NotImplementedError, pa.ArrowException, FileNotFoundError) as error:
            raise InputError(
                f"{name} cannot be read: {_first_line(error)}; repair the table, or name another"
            ) from error
        except (InputError, ConfigurationError):
            raise
        except Exception as error:  # of the catalog's client: HTTP, SQL, or a cloud's
            raise StoreUnavailableError(f"{name}: {_first_line(error)}: nothing has changed; try again") from error

    def _newest(self, file: Any, rows: DayRows) -> datetime:
        """Return the newest instant of a file, at most the day's last: commits are whole, so none is waited for."""
        from pyiceberg.conversions import from_bytes  # noqa: PLC0415

        if rows.ts is None:
            return rows.start
        column = self._projected.find_field(rows.ts)
        stored = (file.upper_bounds or {}).get(column.field_id)
        newest = (
            rows.start if stored is None else _EPOCH + timedelta(microseconds=from_bytes(column.field_type, stored))
        )
        return min(newest, rows.end)


def _filter(rows: DayRows) -> Any:
    """Return the condition of a day's rows as pyiceberg has it."""
    library = import_module("pyiceberg.expressions")  # its classes have no types that a checker could read
    chosen = library.AlwaysTrue()
    if rows.ts is not None:
        zone = UTC if rows.is_zoned else None
        start, end = (bound.replace(tzinfo=zone).isoformat() for bound in (rows.start, rows.end))
        chosen = library.And(library.GreaterThanOrEqual(rows.ts, start), library.LessThan(rows.ts, end))
    if rows.day_column is not None:
        value = rows.day_value.isoformat() if isinstance(rows.day_value, date) else rows.day_value
        chosen = library.And(chosen, library.EqualTo(rows.day_column, value))
    return chosen


def _catalog(name: str, place: str) -> Any:
    from pyiceberg.catalog import load_catalog  # noqa: PLC0415
    from pyiceberg.utils.config import Config  # noqa: PLC0415

    try:
        described: Any = Config().get_catalog_config(name) or {}  # as it is now, not as it was at import
        return load_catalog(name, **described)
    except ValueError as error:
        variable = f"PYICEBERG_CATALOG__{name.upper()}__URI"
        raise ConfigurationError(
            f"{SCHEME}{place}: catalog {name!r} is not configured ({_first_line(error)}): describe it in "
            f".pyiceberg.yaml, or by ${variable}"
        ) from error


def _library(what: str) -> Any:
    """Return pyiceberg's errors, imported only here: who has no Iceberg table need not install it."""
    try:
        from pyiceberg import exceptions  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"{what}: needs pyiceberg: pip install 'recsys-assets[iceberg]'") from error
    return exceptions


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
