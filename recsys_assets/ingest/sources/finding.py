"""Discovery of raw inputs: in files, in a bucket or in a table, by how `raw.exposures` begins."""

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_assets.errors import ConfigurationError
from recsys_assets.ingest.sources.files import find_files
from recsys_assets.ingest.sources.lakes import proven
from recsys_assets.ingest.sources.source import FoundInput, RawStream
from recsys_assets.ingest.sources.streams import FileStream
from recsys_assets.postgres.client import require_driver
from recsys_assets.settings.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable

_S3 = "s3://"
_PARQUET = ".parquet"
_POSTGRES = "postgresql:"
_DELTA = "delta:"
_ICEBERG = "iceberg:"
_DUCKDB = "duckdb:"


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
    found = {place.name: place for place in _places(settings, day, skipped)}
    for distance in range(1, settings.raw.spill_days + 1 if found else 1):
        for other in (day - timedelta(days=distance), day + timedelta(days=distance)):
            found |= {place.name: place for place in _places(settings, other, skipped) if place.name not in found}
    return [_by_form(settings, place) for place in proven(settings, list(found.values()))]


def _places(settings: Settings, day: date, skipped: list[str] | None) -> "Sequence[Seekable]":
    exposures = settings.raw.exposures
    if exposures.startswith(_S3):
        # Imported only here: files in a folder need no boto3.
        from recsys_assets.ingest.sources.objects import find_objects  # noqa: PLC0415
        from recsys_assets.s3.client import make_client  # noqa: PLC0415

        return find_objects(settings, day, client=make_client(), skipped=skipped)
    if "://" in exposures:
        raise ConfigurationError(
            f"raw.exposures is {exposures!r}: expected a path, s3://bucket/key, postgresql:table, delta:path or "
            "iceberg:table, or duckdb:SELECT ..."
        )
    return find_files(settings, day, skipped=skipped)


def _by_form(settings: Settings, place: "Seekable") -> FoundInput:
    """Return the input as what its name says it is; who looks at lines alone loads neither Arrow nor Polars."""
    if not place.name.lower().endswith(_PARQUET):
        return place
    from recsys_assets.ingest.sources.parquet import ParquetInput  # noqa: PLC0415

    return ParquetInput(place, settings.raw)


def open_stream(place: str) -> RawStream:
    """Return the decompressed bytes of one file or s3:// object; `InputError` if it is not there."""
    if place.startswith(_S3):
        from recsys_assets.ingest.sources.objects import open_object  # noqa: PLC0415
        from recsys_assets.s3.client import make_client  # noqa: PLC0415

        return open_object(place, client=make_client())
    return FileStream(Path(place), name=place)
