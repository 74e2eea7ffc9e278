"""Raw files of a day on disk, found by the path template. Unreadable files are returned with their error."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from recsys_assets.identity import Target
from recsys_assets.ingest.sources.source import BrokenInput
from recsys_assets.ingest.sources.streams import FileStream, SeekableFile
from recsys_assets.ingest.sources.templates import check_template, expand, has_wildcard, is_uncommitted, unescape
from recsys_assets.settings.settings import Settings


class Entry(msgspec.Struct, frozen=True):
    """A name that matches a pattern: a file with its size in bytes, a `skipped` one, or one with a `fault` message."""

    name: str
    size: int = 0
    skipped: bool = False
    fault: str | None = None


def walk(pattern: str, *, folder: Path) -> Iterator[Entry]:
    """Yield the names that match a glob, spelled as in the pattern. A missing fixed part yields nothing.

    `*`, `?` and `[...]` match within a segment, `**` matches any number of folders. A folder that may not be listed, a
    dangling link and a name that is not UTF-8 are entries with a fault.
    """
    first, *rest = pattern.split("/")
    walker = _GlobWalk(pattern, folder)
    yield from walker.below("/" if first == "" else "", rest if first == "" else [first, *rest])


class _GlobWalk(msgspec.Struct, frozen=True):
    pattern: str
    folder: Path

    def below(self, prefix: str, segments: Sequence[str]) -> Iterator[Entry]:
        """Yield the matches of the segments below a prefix, which is empty or ends with a slash."""
        segment, rest = segments[0], segments[1:]
        if segment == "**":
            yield from self._any_depth(prefix, rest or ["*"])
        elif not has_wildcard(segment):
            yield from self._step(prefix + unescape(segment), rest)
        else:
            for name in self._names(prefix):
                if isinstance(name, Entry):
                    yield name
                elif fnmatchcase(name, segment):
                    yield from self._step(prefix + name, rest, listed=True)

    def _any_depth(self, prefix: str, rest: Sequence[str], above: frozenset[str] = frozenset()) -> Iterator[Entry]:
        """Yield the matches of the rest in a folder and in all below it. `above` holds the real paths of parents."""
        yield from self.below(prefix, rest)
        here = above | {os.path.realpath(self.folder / prefix)}
        for name in self._names(prefix):
            if isinstance(name, Entry):
                continue  # `below` has yielded it
            full_path = self.folder / prefix / name
            if not full_path.is_dir():
                dangling = (
                    full_path.is_symlink()
                    and not full_path.exists()
                    and not is_uncommitted(self.pattern, prefix + name)
                )
                yield from [_dangling_link(prefix + name)] if dangling else []
            elif is_uncommitted(self.pattern, f"{prefix}{name}/"):
                yield Entry(_shown(f"{prefix}{name}/"), skipped=True)
            elif os.path.realpath(full_path) not in here:  # a link to a folder above would recurse without end
                yield from self._any_depth(f"{prefix}{name}/", rest, here)

    def _step(self, path: str, rest: Sequence[str], *, listed: bool = False) -> Iterator[Entry]:
        """Continue after one segment: into the folder if more segments follow, else to the file."""
        if rest and rest != [""]:
            if not listed or (self.folder / path).is_dir():
                if listed and is_uncommitted(self.pattern, f"{path}/"):
                    yield Entry(_shown(f"{path}/"), skipped=True)
                else:
                    yield from self.below(f"{path}/", rest)
            elif (self.folder / path).is_symlink() and not (self.folder / path).exists():
                yield _dangling_link(path)
        else:
            yield from self._file(path, listed=listed)

    def _file(self, path: str, *, listed: bool) -> Iterator[Entry]:
        """Yield an entry for a file (perhaps skipped or with a fault).

        Yields nothing for a folder or a missing file.
        """
        if listed and is_uncommitted(self.pattern, path):
            if not (self.folder / path).is_dir():
                yield Entry(_shown(path), skipped=True)
            return
        try:
            status = (self.folder / path).stat()
        except FileNotFoundError:
            if (self.folder / path).is_symlink():
                yield _dangling_link(path)
            elif listed:
                yield Entry(_shown(path), fault=f"{_shown(path)} vanished after it was listed; run the day again")
            return
        except NotADirectoryError:
            return
        except OSError as error:
            yield Entry(_shown(path), fault=f"{_shown(path)} cannot be examined: {error.strerror}; repair it")
            return
        if not stat.S_ISDIR(status.st_mode):
            yield _entry(path, status)

    def _names(self, prefix: str) -> Sequence[str | Entry]:
        """Return the sorted names in a folder, or one entry with the fault if it may not be listed."""
        full_folder = self.folder / prefix
        try:
            return sorted(os.listdir(full_folder))  # noqa: PTH208
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            name = _shown(prefix) or "./"
            fault = f"folder {name} cannot be listed: {error.strerror}; give this user the right to read it"
            return [Entry(name, fault=fault)]


def _entry(path: str, status: os.stat_result) -> Entry:
    """Return the entry of an existing file, with a fault if it is not a regular file or its name is not UTF-8."""
    name = _shown(path)
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would block without end
        return Entry(name, fault=f"{name} is a pipe, socket or device, expected a file: remove it")
    if name != path:
        return Entry(name, fault=f"the name of {name} is not UTF-8: rename the file")
    return Entry(path, size=status.st_size)


def _dangling_link(path: str) -> Entry:
    fault = f"{_shown(path)} is a link whose target is missing: mount or restore the target, or delete the link"
    return Entry(_shown(path), fault=fault)


def _shown(path: str) -> str:
    """Return a path as text, with bytes that are not UTF-8 escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


class RawFile(msgspec.Struct, frozen=True):
    """One file of a day: its name relative to the config file's folder, its path, its size in bytes, its targets."""

    name: str
    path: Path
    size: int
    targets: tuple[Target, ...]

    def open(self) -> FileStream:
        """Return the file's decompressed bytes as a stream. The compression is detected from the first bytes."""
        return FileStream(self.path, name=self.name)

    def open_seekable(self) -> SeekableFile:
        """Return the file's bytes as stored, with random access."""
        return SeekableFile(self.path, name=self.name)

    def digest(self) -> str:
        """Return the lower-case hex SHA-256 of the stored bytes, which are read again, empty if they cannot be read."""
        try:
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError:
            return ""  # differs from every recorded digest: the file is read again, and that reports the error

    def appearance(self) -> str:
        """Return name, size and time of the last change."""
        try:
            status = self.path.stat()
        except OSError as error:
            return f"{self.name} {error.strerror}"
        return f"{self.name} {status.st_size} {status.st_mtime_ns}"

    def touched_at(self) -> datetime:
        """Return the time at which content or path of the file last changed, by the file system's clock.

        For a file that was moved into place, or whose times a copying program set, it is the time of that change. A
        file that vanished after it was listed counts as still changing: the next search may find it by its new name.
        """
        try:
            return datetime.fromtimestamp(self.path.stat().st_ctime, tz=UTC)
        except OSError:
            return datetime.max.replace(tzinfo=UTC)


def find_files(settings: Settings, day: date, *, skipped: list[str] | None = None) -> list[RawFile | BrokenInput]:
    """Return the files of `day` by name, each once, with the targets whose expansion of the template matched it.

    The template is `raw.exposures`: `{day}` (2026-01-31, or any date format such as `{day:%Y/%m/%d}`), `{tenant}`,
    `{surface}`, and the wildcards `*`, `?`, `[...]` and `**`. Without any file the list is empty. A folder that may not
    be listed, a dangling link and a name that is not UTF-8 are `BrokenInput`s of the targets whose pattern they match.
    Names that `is_uncommitted` skips are appended to `skipped`.

    Raises `ConfigurationError` naming the template if it has an unknown field or no day.
    """
    template = settings.raw.exposures
    check_template(template)
    matched: dict[str, tuple[Entry, list[Target]]] = {}
    for row in settings.targets:
        for entry in walk(expand(template, day, tenant=row.tenant, surface=row.surface), folder=settings.base):
            _, targets = matched.setdefault(entry.name, (entry, []))
            if row.target not in targets:  # `**` may match the same name in several ways
                targets.append(row.target)
    if skipped is not None:
        skipped += sorted(name for name, (entry, _) in matched.items() if entry.skipped)
    taken = [pair for _, pair in sorted(matched.items()) if not pair[0].skipped]
    return [_input(entry, tuple(sorted(targets)), folder=settings.base) for entry, targets in taken]


def _input(entry: Entry, targets: tuple[Target, ...], *, folder: Path) -> RawFile | BrokenInput:
    if entry.fault is not None:
        return BrokenInput(entry.name, targets, entry.fault)
    return RawFile(entry.name, folder / entry.name, entry.size, targets)
