"""Places in a folder or below an s3:// prefix, by one name for both: joined, listed and looked for, never written."""

from pathlib import Path
from typing import TYPE_CHECKING

from recsys_assets.errors import InputError
from recsys_assets.ingest.sources.drop_folder import named_file

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable

_S3 = "s3://"


def place_below(root: str, *parts: str) -> str:
    """Return the place that `parts` lead to from `root`; one that is a whole path or URI itself leads there alone."""
    place = root.rstrip("/") if root.startswith(_S3) else str(Path(root).absolute())
    for part in parts:
        is_whole = part.startswith((_S3, "/"))
        place = part.rstrip("/") if is_whole else f"{place}/{part.removeprefix('./').strip('/')}"
    return place


def list_places(place: str) -> list[str]:
    """Return the names of all files below a place, in order; none if there is nothing.

    Raises `StoreUnavailableError` or `ConfigurationError` where a bucket cannot be listed.
    """
    if not place.startswith(_S3):
        return sorted(file.as_posix() for file in Path(place).rglob("*") if file.is_file())
    from recsys_assets.s3.client import list_objects, make_client  # noqa: PLC0415 - boto3 only where a bucket is asked

    bucket, _, key = place.removeprefix(_S3).partition("/")
    listed = list_objects(make_client(), bucket=bucket, prefix=f"{key}/")
    return sorted(f"{_S3}{bucket}/{entry['Key']}" for entry in listed)


def find_place(place: str) -> "Seekable | None":
    """Return the file or object of this name, or None if there is none."""
    try:
        return named_file(place)
    except InputError:
        return None
