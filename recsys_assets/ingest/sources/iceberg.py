"""Apache Iceberg tables: the rows of a day in one snapshot, without deleted rows, according to the table's metadata."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from typing import Any

import pyarrow as pa

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.ingest.sources.arrow_rows import is_string
from recsys_assets.ingest.sources.snapshots import DataFile, DayRows, SnapshotInput, find_day
from recsys_assets.settings.settings import Settings

SCHEME = "iceberg:"
_CATALOG = "default"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def find_iceberg(settings: Settings, day: date) -> list[SnapshotInput]:
    """Return the rows of a day in the table of `raw.exposures`. Raises as `find_day`."""
    return find_day(settings, day, scheme=SCHEME, opened=IcebergSnapshot)


class IcebergSnapshot:
    """One snapshot of a table, named `namespace.table` or `catalog/namespace.table`: the given one, else the newest.

    The address and credentials of the catalog are configured for pyiceberg: in `.pyiceberg.yaml`, or in the
    environment.
    """

    def __init__(self, identifier: str, snapshot: int | None) -> None:
        _library(identifier)
        catalog, _, table = identifier.rpartition("/")
        with self.translated(f"{SCHEME}{identifier}"):
            self._table = _catalog(catalog or _CATALOG, identifier).load_table(table)
            self._requested = snapshot  # None: the newest of the loaded metadata, with the current names of columns
            current = self._table.current_snapshot()
            selected = self._table.snapshot_by_id(snapshot) if snapshot else current
            if snapshot and selected is None:
                raise InputError(f"{SCHEME}{identifier} has no snapshot {snapshot}: it expired, or is of another table")
            self._projected = self._table.scan(snapshot_id=snapshot).projection()
            self.schema: Any = self._projected.as_arrow()
        self.version = f"snapshot {selected.snapshot_id}" if selected else "no snapshot"

    def files(self, rows: DayRows) -> list[DataFile]:
        """Return the files whose partition values and statistics allow such rows, each with its deletes in the mark."""
        data_files: list[DataFile] = []
        for task in self._table.scan(row_filter=_filter(rows), snapshot_id=self._requested).plan_files():
            marks = ((file.file_path, file.file_size_in_bytes, file.record_count) for file in task.delete_files)
            deletes = sorted(" ".join(map(str, parts)) for parts in marks)
            mark = " ".join([task.file.file_path, str(task.file.file_size_in_bytes), *deletes])
            data_files.append(DataFile(mark, self._newest(task.file, rows)))
        return data_files

    def read(self, rows: DayRows, columns: Sequence[str]) -> Iterable[Any]:
        """Yield the batches of one file after another. The library's own reader holds many whole files at once.

        A file of half a million rows is decoded ahead, as dictionaries. Its memory is given back to the system once the
        file was read.
        """
        reading: Any = import_module("pyiceberg.io.pyarrow")  # the two methods used below are private
        chosen = self._table.scan(row_filter=_filter(rows), selected_fields=tuple(columns), snapshot_id=self._requested)
        texts = tuple(name for name in columns if is_string(self.schema.field(name).type) and name != rows.day_column)
        table = (self._table.metadata, self._table.io, chosen.projection(), chosen.row_filter)
        scan = reading.ArrowScan(*table, dictionary_columns=texts)
        with _system_memory() as pool:
            for task in sorted(chosen.plan_files(), key=lambda task: task.file.file_path):
                deletes = reading._read_all_delete_files(self._table.io, [task])  # noqa: SLF001
                for batch in scan._record_batches_from_scan_tasks_and_deletes([task], deletes):  # noqa: SLF001
                    yield batch
                    pool.release_unused()

    @contextmanager
    def translated(self, name: str) -> Generator[None]:
        """Turn errors of the libraries into `InputError` and `StoreUnavailableError`, with `name` at the front."""
        library = _library(name)
        missing = (library.NoSuchTableError, library.NoSuchNamespaceError, library.NoSuchIcebergTableError)
        try:
            yield
        except missing as error:
            raise InputError(f"{name} does not exist as an Iceberg table: check raw.exposures") from error
        except (ValueError, NotImplementedError, pa.ArrowException, FileNotFoundError) as error:
            raise InputError(
                f"{name} cannot be read: {_first_line(error)}; repair the table, or configure another"
            ) from error
        except (InputError, ConfigurationError):
            raise
        except Exception as error:  # errors of the catalog's client: HTTP, SQL, or of a cloud
            raise StoreUnavailableError(f"{name}: {_first_line(error)}: nothing has changed; try again") from error

    def _newest(self, file: Any, rows: DayRows) -> datetime:
        """Return the newest timestamp of a file, at most the end of the day: commits are atomic, nothing is awaited."""
        from pyiceberg.conversions import from_bytes  # noqa: PLC0415

        if rows.ts is None:
            return rows.start
        column = self._projected.find_field(rows.ts)
        stored = (file.upper_bounds or {}).get(column.field_id)
        newest = (
            rows.start if stored is None else _EPOCH + timedelta(microseconds=from_bytes(column.field_type, stored))
        )
        return min(newest, rows.end)


@contextmanager
def _system_memory() -> Generator[Any]:
    """Let Arrow allocate from the system's pool, and yield it: its default one keeps what was freed for itself."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield pa.default_memory_pool()
    finally:
        pa.set_memory_pool(before)


def _filter(rows: DayRows) -> Any:
    """Return the filter of a day's rows as an expression of pyiceberg."""
    library = import_module("pyiceberg.expressions")  # a type checker cannot read the types of its classes
    chosen = library.AlwaysTrue()
    if rows.ts is not None:
        zone = UTC if rows.is_zoned else None
        start, end = (bound.replace(tzinfo=zone).isoformat() for bound in (rows.start, rows.end))
        chosen = library.And(library.GreaterThanOrEqual(rows.ts, start), library.LessThan(rows.ts, end))
    if rows.day_column is not None:
        value = rows.day_value.isoformat() if isinstance(rows.day_value, date) else rows.day_value
        chosen = library.And(chosen, library.EqualTo(rows.day_column, value))
    return chosen


def _catalog(name: str, identifier: str) -> Any:
    from pyiceberg.catalog import load_catalog  # noqa: PLC0415
    from pyiceberg.utils.config import Config  # noqa: PLC0415

    try:
        properties: Any = Config().get_catalog_config(name) or {}  # the current configuration, not that of the import
        return load_catalog(name, **properties)
    except ValueError as error:
        variable = f"PYICEBERG_CATALOG__{name.upper()}__URI"
        raise ConfigurationError(
            f"{SCHEME}{identifier}: catalog {name!r} is not configured ({_first_line(error)}): configure it in "
            f".pyiceberg.yaml, or by ${variable}"
        ) from error


def _library(label: str) -> Any:
    """Return pyiceberg's module of errors. pyiceberg is optional, so it is imported only here."""
    try:
        from pyiceberg import exceptions  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"{label}: needs pyiceberg: pip install 'recsys-assets[iceberg]'") from error
    return exceptions


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
