"""Path template of the configuration, and the names of unfinished and outdated files that its glob skips."""

import glob
import re
import string
from collections.abc import Sequence
from datetime import date
from fnmatch import fnmatchcase

from recsys_assets.errors import ConfigurationError
from recsys_assets.ingest.sources.forms import bare_name

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
