"""Raw files of a day on disk, and the path template by which they are found, also in a bucket.

The glob of the template skips unfinished and outdated files. Unreadable files are returned with their error.
"""

import glob
import hashlib
import os
import re
import stat
import string
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target
from recsys_assets.ingest.sources.forms import bare_name
from recsys_assets.ingest.sources.source import BrokenInput
from recsys_assets.ingest.sources.streams import FileStream, SeekableFile
from recsys_assets.settings.settings import Settings

_FIELDS = ("day", "tenant", "surface")
# Days that differ in day, month and year: a template that maps two of them to the same pattern mixes days.
_PROBES = (date(2026, 1, 1), date(2026, 1, 2), date(2026, 2, 1), date(2027, 1, 1))
_WILDCARD = re.compile(r"[*?[]")
_ESCAPED = re.compile(r"\[[*?[]\]")
# Endings that programs give to unfinished files, to earlier versions, and to checksums and markers.
_ENDING = re.compile(
    r"(~|#|\.(tmp|temp|part|partial|filepart|crdownload|opdownload|download|aria2|bak|backup|old|orig|save|sw[opx]|swap|"
    r"inprogress|in-progress|uploading|upload|copying|writing|incomplete|lock|lck|crc|md5|sha\d+|(sha\d*|md5|)sums?|blake\w+|"
    r"ok|done|success|complete|ctl|rsync|_copying_|!ut|!qb|!sync|bc!|new|pending|unconfirmed|rej|etag|asc|sig|"
    r"rpm(save|new|orig)|dpkg-\w+|ucf-\w+|gstmp|dtapart|xltmp|aspera-ckpt|lftp-pget-status|goutputstream|sync-conflict|sb)"
    r"([-._](?=[\w-]*\d)[\w-]+|\d+)?|\._copying_|[-_](bak|backup|tmp|temp|old|orig)\d*)$"
)
# The same endings before the extension, as in events.tmp.jsonl.
_INFIX = re.compile(r"\.(tmp|temp|bak|backup|partial|filepart|inprogress|uploading|incomplete)\.[a-z]\w*$")


def expand(template: str, day: date, *, tenant: str, surface: str) -> str:
    """Return the glob pattern of one target and day. Wildcards in tenant and surface are escaped."""
    return template.format(day=day, tenant=glob.escape(tenant), surface=glob.escape(surface))


def check_template(template: str, *, key: str = "raw.exposures") -> None:
    """Raise `ConfigurationError` if the template cannot be expanded, or maps different days to one pattern.

    `key` is the configuration key of the template.
    """
    try:
        fields = [(name, spec, conv) for _, name, spec, conv in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ConfigurationError(f"{key} is {template!r}: {error}; write {{{{ for a brace") from error
    for name, spec, conversion in fields:
        if name not in _FIELDS or conversion or (spec and name != "day"):
            raise ConfigurationError(
                f"{key} is {template!r}: unknown field {name!r}; there are {{day}}, {{tenant}}, {{surface}}"
            )
    patterns = {expand(template, probe, tenant="t", surface="s") for probe in _PROBES}
    if len(patterns) < len(_PROBES):
        raise ConfigurationError(f"{key} is {template!r}: it gives several days the same file; add {{day}}")


def fixed_part(pattern: str) -> str:
    """Return the part before the first wildcard, with which every matching name begins."""
    return _WILDCARD.split(pattern, maxsplit=1)[0]


def has_wildcard(segment: str) -> bool:
    """Return whether a segment of a pattern holds a wildcard that is not escaped."""
    return _WILDCARD.search(_ESCAPED.sub("", segment)) is not None


def unescape(segment: str) -> str:
    """Return the name that a segment without wildcards spells."""
    return _ESCAPED.sub(lambda match: match[0][1], segment)


def matches(pattern: str, key: str) -> bool:
    """Return whether the key of an object matches a glob, by the same rules as the paths of files.

    `*`, `?` and `[...]` match within a segment, `**` matches any number of segments. Hidden names match too:
    `is_uncommitted` skips them, so that they can be reported.
    """
    return _match(pattern.split("/"), key.split("/"))


def _match(segments: Sequence[str], parts: Sequence[str]) -> bool:
    if not segments:
        return not parts
    first, rest = segments[0], segments[1:]
    if first == "**":
        return any(_match(rest, parts[n:]) for n in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], first) and _match(rest, parts[1:])


def is_uncommitted(pattern: str, name: str) -> bool:
    """Return whether a file or folder that matches a glob is skipped, by the conventions of data lakes.

    Skipped are files and folders that begin with `.` or `_` (except partition folders, `_column=value`), and files
    with an ending of backups, unfinished uploads, checksums and markers, in any case and compression. A name is not
    skipped for a part that the pattern itself spells: a whole segment, or its beginning or ending.
    """
    segments = [segment if has_wildcard(segment) else unescape(segment) for segment in pattern.split("/")]
    *folders, last = name.rstrip("/").split("/")
    if name.endswith("/"):
        return any(_is_hidden(folder, segments) for folder in (*folders, last))
    return any(_is_hidden(folder, segments) for folder in folders) or _is_unfinished(last, segments)


def _is_hidden(folder: str, segments: Sequence[str]) -> bool:
    if folder in segments or folder in {".", ".."} or (folder.startswith(".") and _is_spelled_out(".", segments)):
        return False
    return folder.startswith(".") or (
        folder.startswith("_") and "=" not in folder and not _is_spelled_out("_", segments)
    )


def _is_unfinished(name: str, segments: Sequence[str]) -> bool:
    if not has_wildcard(segments[-1]):
        return False
    if name[0] in "._#" and not segments[-1].startswith(name[0]):
        return True
    ending = _ENDING.search(bare_name(name)) or _INFIX.search(bare_name(name))
    return ending is not None and not bare_name(segments[-1]).endswith(ending[0])


def _is_spelled_out(first: str, segments: Sequence[str]) -> bool:
    """Return whether a folder segment with wildcards begins with exactly this character."""
    return any(segment.startswith(first) and has_wildcard(segment) for segment in segments[:-1])


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
                if _dangles(full_path) and not is_uncommitted(self.pattern, prefix + name):
                    yield _dangling_link(prefix + name)
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
            elif _dangles(self.folder / path):
                yield _dangling_link(path)
        else:
            yield from self._file(path, listed=listed)

    def _file(self, path: str, *, listed: bool) -> Iterator[Entry]:
        """Yield an entry for a file, perhaps skipped or with a fault, and nothing for a folder or a missing file."""
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


def _dangles(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


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
