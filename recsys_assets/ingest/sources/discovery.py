"""Discovery of raw inputs in files, a bucket, a table or a query, and of files that other teams drop.

Files that belong to a lake table are refused. Dropped files are read whole, once, up to a size limit.
"""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_assets.clouds.bucket import SCHEMES, is_in_cloud, split_uri
from recsys_assets.errors import ConfigurationError, InputError, LimitExceededError
from recsys_assets.ingest.sources.files import RawFile, check_template, find_files
from recsys_assets.ingest.sources.source import BrokenInput, FoundInput, RawStream
from recsys_assets.ingest.sources.streams import FileStream
from recsys_assets.postgres.client import require_driver
from recsys_assets.settings.settings import Settings, TargetSettings

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable

# The entries below a table's folder by which its format is recognised: a folder, or files in it with this ending.
_FORMATS = (
    ("Delta", "_delta_log", ""),
    ("Iceberg", "metadata", ".metadata.json"),
    ("Hudi", ".hoodie", ""),
    ("Paimon", "snapshot", "LATEST"),
    ("Spark streaming", "_spark_metadata", ""),
)
_BY_SPARK = "part-"  # the prefix of every file that Spark writes, in any format
_PARQUET = ".parquet"
_POSTGRES = "postgresql:"
_DELTA = "delta:"
_ICEBERG = "iceberg:"
_DUCKDB = "duckdb:"
_ADBC = "adbc:"


def reject_table_files(settings: Settings, files: "Sequence[Seekable]") -> "list[Seekable]":
    """Return the files and objects. Those that may not be read as plain files are replaced by `BrokenInput`s.

    A Parquet file, or one that Spark wrote, below a folder with `_delta_log`, `metadata/*.metadata.json`, `.hoodie`,
    `snapshot/LATEST` or `_spark_metadata` belongs to a table whose log says which files count: removed and repeated
    files still exist, and a deleted user would come back. Where `raw.require_success` names a marker file, a file
    counts only if the marker is in its folder or in one above.
    """
    mark = settings.raw.require_success
    if mark is None and not any(_may_be_of_a_table(file.name) for file in files):
        return list(files)
    listed: Callable[[str], Sequence[str]] = cache(_lister(settings))
    return [_reject_table_file(file, mark, listed) for file in files]


def _reject_table_file(file: "Seekable", mark: str | None, listed: Callable[[str], Sequence[str]]) -> "Seekable":
    if isinstance(file, BrokenInput):
        return file
    folders = _folders(file.name)
    if _may_be_of_a_table(file.name):
        for folder in folders:
            for table, inner, ending in _FORMATS:
                if any(name.endswith(ending) for name in listed(f"{folder}{inner}/")):
                    return _refused(
                        file,
                        f"{file.name} belongs to the {table} table {folder or './'}, whose log says what counts: "
                        f"{_remedy(table, folder or './')}",
                    )
    if mark is not None and not any(mark in listed(folder) for folder in folders):
        return _refused(
            file,
            f"{file.name} has no {mark} in its folder or above (raw.require_success): run the day again once the job "
            f"that writes it has finished",
        )
    return file


def _remedy(table: str, folder: str) -> str:
    places = {"Delta": f"delta:{folder.rstrip('/')}", "Iceberg": "iceberg:namespace.table"}
    setting = f'read the table by raw.exposures = "{places[table]}", or ' if table in places else ""
    return f"{setting}export the day as plain Parquet, and set raw.exposures to that"


def _may_be_of_a_table(name: str) -> bool:
    return name.lower().endswith(_PARQUET) or name.rpartition("/")[2].startswith(_BY_SPARK)


def _refused(file: "Seekable", message: str) -> BrokenInput:
    return BrokenInput(file.name, tuple(file.targets), message)


def _folders(name: str) -> list[str]:
    """Return the folders above a file, innermost first, each with a slash at its end. The outermost is ""."""
    start = len(name) - len(split_uri(name)[2]) if is_in_cloud(name) else 0
    head, path = name[:start], name[start:]
    parts = path.split("/")[:-1]
    return [head + "".join(f"{part}/" for part in parts[:n]) for n in range(len(parts), -1, -1)]


def _lister(settings: Settings) -> Callable[[str], Sequence[str]]:
    """Return a function that lists the names in a folder. A missing folder has none."""

    def of_folder(folder: str) -> Sequence[str]:
        path = Path(settings.base / folder)
        try:
            return [entry.name for entry in path.iterdir()] or [""]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            return ["", ".metadata.json"]  # the folder exists with unknown content: treat it as part of a table

    if not is_in_cloud(settings.raw.exposures):
        return of_folder
    from recsys_assets.ingest.sources.objects import names_below  # noqa: PLC0415 - folders need no cloud client

    return names_below


def find_inputs(settings: Settings, day: date, *, skipped: list[str] | None = None) -> Sequence[FoundInput]:
    """Return the inputs with the raw events of `day`, each once, sorted by name, with the targets that they serve.

    Names that end with .parquet are read as Parquet, all others as JSON lines. The result may be empty. Backups,
    unfinished uploads and uncommitted files are skipped, and their names appended to `skipped`. With `raw.spill_days`
    the files of neighbouring days follow, unless the day itself has no file. A file that cannot be read, or is part of
    a lake table, is an input that raises when it is opened.

    Raises `StoreUnavailableError` if the source does not answer, and `ConfigurationError` if it is wrong or may not be
    read: never an empty result.
    """
    exposures = settings.raw.exposures
    if exposures.startswith(_POSTGRES):
        require_driver(exposures)
        from recsys_assets.ingest.sources.postgresql_table import find_tables  # noqa: PLC0415

        return find_tables(settings, day)
    if exposures.startswith(_DELTA):
        from recsys_assets.ingest.sources.delta import find_delta  # noqa: PLC0415

        return find_delta(settings, day)
    if exposures.startswith(_ICEBERG):
        from recsys_assets.ingest.sources.iceberg import find_iceberg  # noqa: PLC0415

        return find_iceberg(settings, day)
    if exposures.startswith(_DUCKDB):
        from recsys_assets.ingest.sources.duckdb_query import find_query  # noqa: PLC0415

        return find_query(settings, day)
    if exposures.startswith(_ADBC):
        from recsys_assets.ingest.sources.adbc_query import find_adbc  # noqa: PLC0415

        return find_adbc(settings, day)
    files = {file.name: file for file in _find_stored(settings, day, skipped)}
    for distance in range(1, settings.raw.spill_days + 1 if files else 1):
        for other in (day - timedelta(days=distance), day + timedelta(days=distance)):
            files |= {file.name: file for file in _find_stored(settings, other, skipped) if file.name not in files}
    return [_by_format(settings, file) for file in reject_table_files(settings, list(files.values()))]


def _find_stored(settings: Settings, day: date, skipped: list[str] | None) -> "Sequence[Seekable]":
    exposures = settings.raw.exposures
    if is_in_cloud(exposures):
        # Imported only here: files in a folder need no cloud client.
        from recsys_assets.ingest.sources.objects import find_objects  # noqa: PLC0415

        return find_objects(settings, day, skipped=skipped)
    if "://" in exposures:
        raise ConfigurationError(
            f"raw.exposures is {exposures!r}: expected a path, {SCHEMES} and bucket/key, postgresql:table, delta:path, "
            "iceberg:table, duckdb:SELECT ... or adbc:SELECT ..."
        )
    return find_files(settings, day, skipped=skipped)


def _by_format(settings: Settings, file: "Seekable") -> FoundInput:
    """Return the input in the form that its name says. Line-only callers do not import Arrow or Polars."""
    if not file.name.lower().endswith(_PARQUET):
        return file
    from recsys_assets.ingest.sources.parquet import ParquetInput  # noqa: PLC0415

    return ParquetInput(file, settings.raw)


def open_stream(path_or_uri: str) -> RawStream:
    """Return the decompressed bytes of one file, or of one object by its URI. Raises `InputError` if it is missing."""
    if is_in_cloud(path_or_uri):
        from recsys_assets.ingest.sources.objects import find_object  # noqa: PLC0415

        return find_object(path_or_uri).open()
    return FileStream(Path(path_or_uri), name=path_or_uri)


def find_dropped(settings: Settings, row: TargetSettings, day: date, *, template: str, key: str) -> "Seekable | None":
    """Return the one file or object that matches `template` for a day, or None.

    `key` is the configuration key of the template. Raises `InputError` if several match, `ConfigurationError` if the
    template cannot be expanded or its folder may not be listed.
    """
    check_template(template, key=key)
    settings_for_target = settings.model_copy(
        update={"targets": (row,), "raw": settings.raw.model_copy(update={"exposures": template})}
    )
    files: Sequence[Seekable]
    if is_in_cloud(template):
        from recsys_assets.ingest.sources.objects import find_objects  # noqa: PLC0415 - folders need no cloud client

        files = find_objects(settings_for_target, day)
    elif "://" in template:
        raise ConfigurationError(f"{key} is {template!r}: expected a path, or {SCHEMES} and bucket/key")
    else:
        files = find_files(settings_for_target, day)
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise InputError(f"{key} matches {len(files)} files for {row.target} {day}: {names}; keep only one")
    return files[0] if files else None


def named_file(path_or_uri: str) -> "Seekable":
    """Return one file by its path, or one object by its URI. Raises `InputError` if it is missing."""
    if is_in_cloud(path_or_uri):
        from recsys_assets.ingest.sources.objects import find_object  # noqa: PLC0415

        return find_object(path_or_uri)
    path = Path(path_or_uri)
    if not path.is_file():
        raise InputError(f"file {path_or_uri} is missing: put it there, or give another path")
    return RawFile(path.name, path, path.stat().st_size, ())


def read_whole(file: "Seekable", *, max_bytes: int, key: str) -> tuple[bytes, str]:
    """Return a file's bytes as stored, and the digest that its source gives.

    Raises `LimitExceededError`, before anything is read, if it is larger than `max_bytes`. Raises `InputError` if it
    changes while it is read. `key` is the configuration section that the message names.
    """
    stored = file.open_seekable()
    try:
        if stored.size > max_bytes:
            raise LimitExceededError(f"{file.name} has {stored.size:,} bytes, {key}.max_bytes allows {max_bytes:,}")
        data = bytearray(stored.size)
        done = 0
        while done < len(data) and (count := stored.readinto(memoryview(data)[done:])):
            done += count
        if done < len(data) or stored.changed():
            raise InputError(f"{file.name} changed while it was read: drop files whole, by renaming them into place")
        return bytes(data), stored.digest
    finally:
        stored.close()
