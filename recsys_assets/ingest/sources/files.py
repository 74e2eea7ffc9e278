"""Raw files of a day on disk, found by the path template of the configuration."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from recsys_assets.identity import Target
from recsys_assets.ingest.sources.source import BrokenInput
from recsys_assets.ingest.sources.streams import FileStream, SeekableFile
from recsys_assets.ingest.sources.templates import check_template, expand
from recsys_assets.ingest.sources.walk import Entry, walk
from recsys_assets.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class RawFile:
    """One file of a day: its name relative to the config file's folder, its place, its size, its targets."""

    name: str
    path: Path
    size: int
    targets: tuple[Target, ...]

    def open(self) -> FileStream:
        """Return the file's decompressed bytes as a stream, whatever compression they begin with."""
        return FileStream(self.path, name=self.name)

    def open_seekable(self) -> SeekableFile:
        """Return the file's bytes as stored, to be read here and there."""
        return SeekableFile(self.path, name=self.name)

    def digest(self) -> str:
        """Return the lower-case hex SHA-256 of the bytes as stored, read again."""
        try:
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            return ""  # unlike what was read before: so it is read again, and that says why it cannot be

    def appearance(self) -> str:
        """Return name, size and time of the last change."""
        try:
            found = self.path.stat()
        except OSError as error:
            return f"{self.name} {error.strerror}"
        return f"{self.name} {found.st_size} {found.st_mtime_ns}"

    def touched_at(self) -> datetime:
        """Return when content or place of the file last changed, by the file system's clock.

        A file that is moved into place, or given another time by a copying program, past or future, counts from then.
        One that is gone since it was listed counts as changing: the next look finds it under its new name, or not.
        """
        try:
            return datetime.fromtimestamp(self.path.stat().st_ctime, tz=UTC)
        except OSError:
            return datetime.max.replace(tzinfo=UTC)


def find_files(settings: Settings, day: date, *, skipped: list[str] | None = None) -> list[RawFile | BrokenInput]:
    """Return the files of `day` by name, each once, with the targets whose expansion of the template matched it.

    The template is `raw.exposures`: `{day}` (2026-01-31, or any date format as `{day:%Y/%m/%d}`), `{tenant}`,
    `{surface}`, and the wildcards `*`, `?`, `[...]` and `**`. No file at all is an empty list. A folder that may not
    be listed, a dangling link and a name that is no UTF-8 are `BrokenInput`s of the targets that they were met for.
    Names that `is_uncommitted` passes over are appended to `skipped`.

    Raises `ConfigurationError` naming the template: unknown field, or no day in it.
    """
    template = settings.raw.exposures
    check_template(template)
    found: dict[str, tuple[Entry, list[Target]]] = {}
    for row in settings.targets:
        for entry in walk(expand(template, day, tenant=row.tenant, surface=row.surface), folder=settings.base):
            _, targets = found.setdefault(entry.name, (entry, []))
            if row.target not in targets:  # `**` may take a folder's name by several ways
                targets.append(row.target)
    if skipped is not None:
        skipped += sorted(name for name, (entry, _) in found.items() if entry.skipped)
    taken = [pair for _, pair in sorted(found.items()) if not pair[0].skipped]
    return [_input(entry, tuple(sorted(targets)), folder=settings.base) for entry, targets in taken]


def _input(entry: Entry, targets: tuple[Target, ...], *, folder: Path) -> RawFile | BrokenInput:
    if entry.fault is not None:
        return BrokenInput(entry.name, targets, entry.fault)
    return RawFile(entry.name, folder / entry.name, entry.size, targets)
