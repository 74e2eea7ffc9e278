"""Tables of a lake that plain files belong to: refused by name where the files alone are not the table."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_assets.ingest.sources.source import BrokenInput
from recsys_assets.settings.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable

_S3 = "s3://"
_PARQUET = ".parquet"
# What a table of the format holds below its folder: a folder, or files in it with this ending.
_FORMATS = (
    ("Delta", "_delta_log", ""),
    ("Iceberg", "metadata", ".metadata.json"),
    ("Hudi", ".hoodie", ""),
    ("Paimon", "snapshot", "LATEST"),
    ("Spark streaming", "_spark_metadata", ""),
)
_BY_SPARK = "part-"  # how the name of every file begins that Spark writes, of whatever format


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
    listed: Callable[[str], Sequence[str]] = cache(_lister(settings, places))
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
    start = name.index("/", len(_S3)) + 1 if _is_s3(name) else 0
    head, path = name[:start], name[start:]
    parts = path.split("/")[:-1]
    return [head + "".join(f"{part}/" for part in parts[:n]) for n in range(len(parts), -1, -1)]


def _is_s3(name: str) -> bool:
    return name.startswith(_S3)


def _lister(settings: Settings, places: "Sequence[Seekable]") -> Callable[[str], Sequence[str]]:
    """Return what lists the names in a folder; a folder that is not there has none."""
    client = next((getattr(place, "client", None) for place in places if _is_s3(place.name)), None)

    def of_objects(folder: str) -> Sequence[str]:
        from recsys_assets.ingest.sources.objects import names_below  # noqa: PLC0415 - folders need no boto3

        return names_below(folder, client=client)

    def of_folder(folder: str) -> Sequence[str]:
        place = Path(settings.base / folder)
        try:
            return [entry.name for entry in place.iterdir()] or [""]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            return ["", ".metadata.json"]  # it is there, and what it holds is not known: so it counts as a table's

    return of_objects if client is not None else of_folder
