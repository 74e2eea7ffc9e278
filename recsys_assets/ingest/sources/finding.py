"""Discovery of raw inputs: in files, a bucket or a table; files that alone are no table of a lake are refused."""

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_assets.clouds.opening import SCHEMES, is_in_cloud, split_uri
from recsys_assets.errors import ConfigurationError
from recsys_assets.ingest.sources.files import find_files
from recsys_assets.ingest.sources.source import BrokenInput, FoundInput, RawStream
from recsys_assets.ingest.sources.streams import FileStream
from recsys_assets.postgres.client import require_driver
from recsys_assets.settings.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable

# What a table of the format holds below its folder: a folder, or files in it with this ending.
_FORMATS = (
    ("Delta", "_delta_log", ""),
    ("Iceberg", "metadata", ".metadata.json"),
    ("Hudi", ".hoodie", ""),
    ("Paimon", "snapshot", "LATEST"),
    ("Spark streaming", "_spark_metadata", ""),
)
_BY_SPARK = "part-"  # how the name of every file begins that Spark writes, of whatever format
_PARQUET = ".parquet"
_POSTGRES = "postgresql:"
_DELTA = "delta:"
_ICEBERG = "iceberg:"
_DUCKDB = "duckdb:"
_ADBC = "adbc:"


def proven(settings: Settings, places: "Sequence[Seekable]") -> "list[Seekable]":
    """Return the places, those that may not be read as plain files as inputs that say why.

    A Parquet file, or one that Spark wrote, below a folder with `_delta_log`, `metadata/*.metadata.json`, `.hoodie`,
    `snapshot/LATEST` or `_spark_metadata` belongs to a table whose log says which files count: removed and repeated
    ones are still there, and a deleted user would come back. Where `raw.require_success` names a mark, a file counts
    only if the mark is in its folder or in one above.
    """
    mark = settings.raw.require_success
    if mark is None and not any(_may_be_of_a_table(place.name) for place in places):
        return list(places)
    listed: Callable[[str], Sequence[str]] = cache(_lister(settings))
    return [_judged(place, mark, listed) for place in places]


def _judged(place: "Seekable", mark: str | None, listed: Callable[[str], Sequence[str]]) -> "Seekable":
    if isinstance(place, BrokenInput):
        return place
    folders = _folders(place.name)
    if _may_be_of_a_table(place.name):
        for folder in folders:
            for table, inner, ending in _FORMATS:
                if any(name.endswith(ending) for name in listed(f"{folder}{inner}/")):
                    return _refused(
                        place,
                        f"{place.name} belongs to the {table} table {folder or './'}, whose log says what counts: "
                        f"{_remedy(table, folder or './')}",
                    )
    if mark is not None and not any(mark in listed(folder) for folder in folders):
        return _refused(
            place,
            f"{place.name} has no {mark} in its folder or above (raw.require_success): run the day again once the job "
            f"that writes it has ended",
        )
    return place


def _remedy(table: str, folder: str) -> str:
    places = {"Delta": f"delta:{folder.rstrip('/')}", "Iceberg": "iceberg:namespace.table"}
    setting = f'read the table by raw.exposures = "{places[table]}", or ' if table in places else ""
    return f"{setting}export the day as plain Parquet, and name that in raw.exposures"


def _may_be_of_a_table(name: str) -> bool:
    return name.lower().endswith(_PARQUET) or name.rpartition("/")[2].startswith(_BY_SPARK)


def _refused(place: "Seekable", message: str) -> BrokenInput:
    return BrokenInput(place.name, tuple(place.targets), message)


def _folders(name: str) -> list[str]:
    """Return the folders that hold a file, innermost first, each with a slash at its end; "" is the outermost."""
    start = len(name) - len(split_uri(name)[2]) if is_in_cloud(name) else 0
    head, path = name[:start], name[start:]
    parts = path.split("/")[:-1]
    return [head + "".join(f"{part}/" for part in parts[:n]) for n in range(len(parts), -1, -1)]


def _lister(settings: Settings) -> Callable[[str], Sequence[str]]:
    """Return what lists the names in a folder; a folder that is not there has none."""

    def of_folder(folder: str) -> Sequence[str]:
        place = Path(settings.base / folder)
        try:
            return [entry.name for entry in place.iterdir()] or [""]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            return ["", ".metadata.json"]  # it is there, and what it holds is not known: so it counts as a table's

    if not is_in_cloud(settings.raw.exposures):
        return of_folder
    from recsys_assets.ingest.sources.objects import names_below  # noqa: PLC0415 - folders need no client of a cloud

    return names_below


def find_inputs(settings: Settings, day: date, *, skipped: list[str] | None = None) -> Sequence[FoundInput]:
    """Return what holds the raw events of `day`, by name, each once, with the targets that it was named for.

    Names that end with .parquet are read as Parquet, all others as JSON lines. Nothing at all is an empty sequence.
    Backups, unfinished uploads and uncommitted files are passed over, and their names appended to `skipped`. With
    `raw.spill_days` the files of neighbouring days follow, unless there is none of the day itself. What was found and
    cannot be read, or is part of a table of another format, is an input that raises when it is opened.

    A source that does not answer is a `StoreUnavailableError`, one that is wrong or may not be read a
    `ConfigurationError`: never an empty day.
    """
    exposures = settings.raw.exposures
    if exposures.startswith(_POSTGRES):
        require_driver(exposures)
        from recsys_assets.ingest.sources.tables import find_tables  # noqa: PLC0415

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
    found = {place.name: place for place in _places(settings, day, skipped)}
    for distance in range(1, settings.raw.spill_days + 1 if found else 1):
        for other in (day - timedelta(days=distance), day + timedelta(days=distance)):
            found |= {place.name: place for place in _places(settings, other, skipped) if place.name not in found}
    return [_by_form(settings, place) for place in proven(settings, list(found.values()))]


def _places(settings: Settings, day: date, skipped: list[str] | None) -> "Sequence[Seekable]":
    exposures = settings.raw.exposures
    if is_in_cloud(exposures):
        # Imported only here: files in a folder need no client of a cloud.
        from recsys_assets.ingest.sources.objects import find_objects  # noqa: PLC0415

        return find_objects(settings, day, skipped=skipped)
    if "://" in exposures:
        raise ConfigurationError(
            f"raw.exposures is {exposures!r}: expected a path, {SCHEMES} and bucket/key, postgresql:table, delta:path, "
            "iceberg:table, duckdb:SELECT ... or adbc:SELECT ..."
        )
    return find_files(settings, day, skipped=skipped)


def _by_form(settings: Settings, place: "Seekable") -> FoundInput:
    """Return the input as what its name says it is; who looks at lines alone loads neither Arrow nor Polars."""
    if not place.name.lower().endswith(_PARQUET):
        return place
    from recsys_assets.ingest.sources.parquet import ParquetInput  # noqa: PLC0415

    return ParquetInput(place, settings.raw)


def open_stream(place: str) -> RawStream:
    """Return the decompressed bytes of one file, or of one object by its URI; `InputError` if it is not there."""
    if is_in_cloud(place):
        from recsys_assets.ingest.sources.objects import find_object  # noqa: PLC0415

        return find_object(place).open()
    return FileStream(Path(place), name=place)
