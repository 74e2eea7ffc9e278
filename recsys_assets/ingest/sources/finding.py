"""Discovery of raw inputs: in files, in a bucket or in a table, by how `raw.exposures` begins."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_assets.errors import ConfigurationError
from recsys_assets.ingest.sources.files import find_files
from recsys_assets.ingest.sources.source import FoundInput, RawStream
from recsys_assets.ingest.sources.streams import FileStream
from recsys_assets.postgres.client import require_driver
from recsys_assets.settings.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable

_S3 = "s3://"
_PARQUET = ".parquet"
_POSTGRES = "postgresql:"


def find_inputs(settings: Settings, day: date) -> Sequence[FoundInput]:
    """Return what holds the raw events of `day`, by name, each once, with the targets that it was named for.

    Names that end with .parquet are read as Parquet, all others as JSON lines. Nothing at all is an empty sequence.

    A source that does not answer is a `StoreUnavailableError`, one that is wrong or may not be read a
    `ConfigurationError`: never an empty day.
    """
    exposures = settings.raw.exposures
    if exposures.startswith(_POSTGRES):
        require_driver(exposures)
        from recsys_assets.ingest.sources.tables import find_tables  # noqa: PLC0415

        return find_tables(settings, day)
    if exposures.startswith(_S3):
        # Imported only here: files in a folder need no boto3.
        from recsys_assets.ingest.sources.objects import find_objects  # noqa: PLC0415
        from recsys_assets.s3.client import make_client  # noqa: PLC0415

        found: Sequence[Seekable] = find_objects(settings, day, client=make_client())
    elif "://" in exposures:
        raise ConfigurationError(
            f"raw.exposures is {exposures!r}: expected a path, s3://bucket/key or postgresql:table"
        )
    else:
        found = find_files(settings, day)
    return [_by_form(settings, place) for place in found]


def _by_form(settings: Settings, place: "Seekable") -> FoundInput:
    """Return the input as what its name says it is; who looks at lines alone loads neither Arrow nor Polars."""
    if not place.name.endswith(_PARQUET):
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
