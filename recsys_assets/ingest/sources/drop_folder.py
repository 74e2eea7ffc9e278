"""Files dropped by other teams: found by a template of the configuration, and read whole, once, up to a size limit."""

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_assets.clouds.bucket import SCHEMES, is_in_cloud
from recsys_assets.errors import ConfigurationError, InputError, LimitExceededError
from recsys_assets.ingest.sources.files import RawFile, find_files
from recsys_assets.ingest.sources.templates import check_template
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from recsys_assets.ingest.sources.parquet import Seekable


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
