"""Names of files that are no data yet or not any more: unfinished uploads, backups, hidden and uncommitted files."""

import re
from collections.abc import Sequence

from recsys_assets.ingest.sources.forms import bare_name
from recsys_assets.ingest.sources.templates import has_wildcard, unescape

_ENDINGS = re.compile(
    r"(~|#|\.(tmp|temp|part|partial|filepart|crdownload|opdownload|download|aria2|bak|backup|old|orig|save|sw[opx]|swap|"
    r"inprogress|in-progress|uploading|upload|copying|writing|incomplete|lock|lck|crc|md5|sha1|sha256|sha512|sum|ok|done|"
    r"success|ctl|rsync|_copying_|!ut)([-._]?\d+)?|\._copying_)$"
)


def is_uncommitted(pattern: str, name: str) -> bool:
    """Return whether a file or folder that a glob takes is passed over all the same, by the convention of every lake.

    Passed over are files and folders that begin with `.` or `_` (but folders of a partition, `_column=value`), and
    files that end as backups, unfinished uploads, checksums and marks do, whatever their case and compression. What
    the pattern itself spells, as a whole segment or as its beginning or ending, is asked for and taken.
    """
    asked = [segment if has_wildcard(segment) else unescape(segment) for segment in pattern.split("/")]
    *folders, last = name.rstrip("/").split("/")
    if name.endswith("/"):
        return any(_is_hidden(folder, asked) for folder in (*folders, last))
    return any(_is_hidden(folder, asked) for folder in folders) or _is_unfinished(last, asked)


def _is_hidden(folder: str, asked: Sequence[str]) -> bool:
    if folder in asked or folder in {".", ".."} or (folder.startswith(".") and _spelt(".", asked)):
        return False
    return folder.startswith(".") or (folder.startswith("_") and "=" not in folder and not _spelt("_", asked))


def _is_unfinished(name: str, asked: Sequence[str]) -> bool:
    if not has_wildcard(asked[-1]):
        return False
    if name[0] in "._#" and not asked[-1].startswith(name[0]):
        return True
    ending = _ENDINGS.search(bare_name(name))
    return ending is not None and not bare_name(asked[-1]).endswith(ending[0])


def _spelt(first: str, asked: Sequence[str]) -> bool:
    """Return whether a segment with wildcards begins with this very character."""
    return any(segment.startswith(first) and has_wildcard(segment) for segment in asked[:-1])
