"""Delta Lake tables: the rows of a day in one version, without deleted rows, according to the table's log."""

import hashlib
import os
import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from recsys_assets.clouds.bucket import client_imported, is_in_cloud, split_uri
from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.ingest.sources.objects import names_below
from recsys_assets.ingest.sources.snapshots import DataFile, DayRows, SnapshotInput, find_day
from recsys_assets.settings.settings import Settings

SCHEME = "delta:"
# One partition: the order of rows is fixed, and memory is needed only for the batches of one file.
_SESSION = {"datafusion.execution.target_partitions": "1", "datafusion.execution.batch_size": "8192"}
_PHYSICAL = "delta.columnMapping.physicalName"
_REFUSALS = ("lacked the necessary privileges", "Unable to decode service account file")
_DRAWN = re.compile(r"\s*\x1b\[[0-9;]*m\u21b3\x1b\[0m|\s*\n\s*(\u21b3)?")
_TRUNCATED = timedelta(milliseconds=1)  # statistics of a file may be truncated to milliseconds


def find_delta(settings: Settings, day: date) -> list[SnapshotInput]:
    """Return the rows of a day in the table of `raw.exposures`. Raises as `find_day`."""
    return find_day(
        settings, day, scheme=SCHEME, opened=lambda path, version: DeltaSnapshot(settings.resolve(path), version)
    )


class DeltaSnapshot:
    """One version of a Delta table: the requested one, else the newest.

    In a bucket, its log is listed by the client of other sources first, which knows a bucket that is missing or may not
    be read from a server that does not answer, and gives up sooner.
    """

    def __init__(self, path: str, version: int | None) -> None:
        library = _library(path)
        if is_in_cloud(path) and not names_below(f"{path}/_delta_log/"):
            raise InputError(f"{SCHEME}{path} does not exist as a Delta table: check raw.exposures")
        with self.translated(f"{SCHEME}{path}"):
            self._table = library.DeltaTable(path, version=version, storage_options=_options(path))
            self._builder = library.QueryBuilder(_SESSION).register("events", self._table)
            fields = self._table.schema().fields
            # The schema of query results: logical names of columns, and Arrow types.
            self.schema: Any = pa.RecordBatchReader.from_stream(
                self._builder.execute("SELECT * FROM events LIMIT 0")
            ).schema
        self.version = f"version {self._table.version()}"
        self._stored_names = {field.name: field.metadata.get(_PHYSICAL, field.name) for field in fields}

    def files(self, rows: DayRows) -> list[DataFile]:
        """Return the files whose partition values and statistics allow such rows."""
        actions: Any = pa.table(self._table.get_add_actions(flatten=True))
        taken = [action for action in actions.to_pylist() if self._may_hold(action, rows)]
        deletes = self._deletes() if taken else {}
        data_files: list[DataFile] = []
        for action in taken:
            mark = f"{action['path']} {action['size_bytes']} {deletes.get(action['path'].rpartition('/')[2], '')}"
            data_files.append(DataFile(mark, datetime.fromtimestamp(action["modification_time"] / 1000, tz=UTC)))
        return data_files

    def read(self, rows: DayRows, columns: Sequence[str]) -> Iterable[Any]:
        """Return the batches of the rows, read by one query."""
        chosen = ", ".join(map(_quoted, columns))
        query = f"SELECT {chosen} FROM events WHERE {_condition(rows)}"  # noqa: S608 - names are quoted
        return pa.RecordBatchReader.from_stream(self._builder.execute(query))

    @contextmanager
    def translated(self, name: str) -> Generator[None]:
        """Turn errors of the library into `InputError`, `ConfigurationError` and `StoreUnavailableError`."""
        library = _library(name)
        errors = library.exceptions
        try:
            yield
        except errors.TableNotFoundError as error:
            raise InputError(f"{name} does not exist as a Delta table: check raw.exposures") from error
        except (errors.DeltaError, pa.ArrowException, FileNotFoundError) as error:
            raise InputError(
                f"{name} cannot be read: {_plain(error)}; a version that was vacuumed is no longer readable"
            ) from error
        except OSError as error:
            text = _plain(error)
            if any(part in text for part in _REFUSALS):
                raise ConfigurationError(f"{name}: {text}: check the credentials, and what they permit") from error
            raise StoreUnavailableError(f"{name}: {text}: nothing has changed; try again") from error

    def _may_hold(self, action: dict[str, Any], rows: DayRows) -> bool:
        if rows.day_column:
            stored = self._stored_names[rows.day_column]
            if action.get(f"partition.{stored}", rows.day_value) != rows.day_value:
                return False
        if rows.ts is None:
            return True
        stored = self._stored_names[rows.ts]
        least, most = (_utc(action.get(f"{end}.{stored}")) for end in ("min", "max"))
        return (least is None or least < rows.end) and (most is None or most + _TRUNCATED >= rows.start)

    def _deletes(self) -> dict[str, str]:
        """Return a digest of the deletion vector of each file that has one, by the file's name."""
        vectors: Any = pa.table(self._table.deletion_vectors())
        digests: dict[str, str] = {}
        for batch in vectors.to_batches(max_chunksize=1):
            name = str(batch["filepath"][0]).rpartition("/")[2]
            selected = batch["selection_vector"][0].values
            data = digests.get(name, "").encode() + selected.cast(pa.int8()).to_numpy().tobytes()
            digests[name] = hashlib.sha256(data).hexdigest()
        return digests


def _library(label: str) -> Any:
    """Return deltalake. It is optional, so it is imported only here."""
    try:
        import deltalake  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"{label}: needs deltalake: pip install 'recsys-assets[delta]'") from error
    return deltalake


def _options(path: str) -> dict[str, str] | None:
    """Return the options by which the library finds the address and the credentials of a bucket as other sources do.

    Raises `ConfigurationError` if the client of the cloud is not installed, or its account or identity is wrong.
    """
    if not is_in_cloud(path):
        return None
    scheme, bucket, _ = split_uri(path)
    with client_imported(path, scheme):
        if scheme == "gs":
            from recsys_assets.clouds.gcs import table_options  # noqa: PLC0415

            return table_options()
        if scheme == "az":
            from recsys_assets.clouds import azure  # noqa: PLC0415

            with azure.AZURE.translated(path):
                return azure.table_options(bucket)
    # The environment alone does not permit http://.
    return {"AWS_ALLOW_HTTP": "true"} if os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://") else None


def _condition(rows: DayRows) -> str:
    parts: list[str] = []
    if rows.ts is not None:
        kind = 'Timestamp(Microsecond, Some("UTC"))' if rows.is_zoned else "Timestamp(Microsecond, None)"
        for sign, bound in ((">=", rows.start), ("<", rows.end)):
            text = bound.isoformat() if rows.is_zoned else bound.replace(tzinfo=None).isoformat()
            parts.append(f"{_quoted(rows.ts)} {sign} arrow_cast('{text}', '{kind}')")
    if rows.day_column is not None:
        value = rows.day_value
        spelled = (
            str(value) if isinstance(value, int) else f"'{value}'" if isinstance(value, str) else f"DATE '{value}'"
        )
        parts.append(f"{_quoted(rows.day_column)} = {spelled}")
    return " AND ".join(parts)


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _utc(instant: datetime | None) -> datetime | None:
    return instant.replace(tzinfo=UTC) if instant is not None and instant.tzinfo is None else instant


def _plain(error: BaseException) -> str:
    """Return the library's message, a tree of causes on coloured lines, as one line."""
    return " ".join(_DRAWN.sub(" -> ", str(error)).split()) or type(error).__name__
