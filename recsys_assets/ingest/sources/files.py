"""Raw files of a day on disk, found by the path template of the configuration."""

import glob
import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.streams import FileStream, SeekableFile
from recsys_assets.ingest.sources.templates import check_template, expand, fixed_part
from recsys_assets.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file of a day: its name relative to the config file's folder, its place, its size, its targets."""

    name: str
    path: Path
    size: int
    targets: tuple[Target, ...]

    def open(self) -> FileStream:
        """Return the file's decompressed bytes as a stream; plain, `.gz` and `.zst` are told apart by the name."""
        return FileStream(self.path, name=self.name)

    def open_seekable(self) -> SeekableFile:
        """Return the file's bytes as stored, to be read here and there."""
        return SeekableFile(self.path, name=self.name)

    def digest(self) -> str:
        """Return the lower-case hex SHA-256 of the bytes as stored, read again."""
        with self.path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def appearance(self) -> str:
        """Return name, size and time of the last change."""
        found = self.path.stat()
        return f"{self.name} {found.st_size} {found.st_mtime_ns}"

    def touched_at(self) -> datetime:
        """Return when content or place of the file last changed, by the file system's clock.

        A file that is moved into place, or given an old time by a copying program, counts from then.
        """
        found = self.path.stat()
        return datetime.fromtimestamp(max(found.st_mtime, found.st_ctime), tz=UTC)


def find_files(settings: Settings, day: date) -> list[RawFile]:
    """Return the files of `day` by name, each once, with the targets whose expansion of the template matched it.

    The template is `raw.exposures`: `{day}` (2026-01-31, or any date format as `{day:%Y/%m/%d}`), `{tenant}`,
    `{surface}`, and the wildcards `*`, `?`, `[...]` and `**`. No file at all is an empty list.

    Raises `ConfigurationError` naming the template: unknown field, no day in it, or a folder that cannot be read.
    """
    template = settings.raw.exposures
    check_template(template)
    found: dict[str, list[Target]] = {}
    for row in settings.targets:
        pattern = expand(template, day, tenant=row.tenant, surface=row.surface)
        for name in _match(pattern, folder=settings.base):
            found.setdefault(name, []).append(row.target)
    return [_file(name, targets, folder=settings.base) for name, targets in sorted(found.items())]


def _match(pattern: str, *, folder: Path) -> list[str]:
    """Names of files that a pattern matches; a folder that may not be listed is an error, never an empty day."""
    fixed = folder / os.path.dirname(fixed_part(pattern))  # noqa: PTH120 - "a/b*" is no path
    if fixed.is_dir() and not os.access(fixed, os.R_OK | os.X_OK):
        raise ConfigurationError(
            f"folder {fixed} of raw.exposures cannot be listed: give this user the right to read it"
        )
    # Not Path.glob: it takes no absolute pattern.
    names = glob.iglob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207
    return [name for name in names if (folder / name).is_file()]


def _file(name: str, targets: list[Target], *, folder: Path) -> RawFile:
    path = folder / name
    return RawFile(name, path, path.stat().st_size, tuple(sorted(targets)))
