"""Stored format of artifacts: envelope, version, escaping, limits of head and tail, and the shard of a key.

Writers (`encoding`, tests) and readers (`release`, `serving`, `encoding`) share this module. It does not import
dataframe libraries, so that rollback and serving stay light.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from mmap import mmap
from typing import Final, Literal, NamedTuple, TypeAlias

from recsys_assets.errors import CorruptObjectError, LimitExceededError
from recsys_assets.identity import ArtifactRef, Target, Window, rfc3339

ENVELOPE_FIELDS: Final = frozenset({"v", "artifact_type", "tenant", "surface", "segment", "window", "build"})
ZEROED_BUILD: Final = b',"build":{"built_at":"","version":""}}'
SPECIAL_CHARACTERS: Final = (
    r'["\\<>&\x00-\x1f\u2028\u2029]'  # regular expression of the characters that `quote` escapes
)
MAX_HEAD_BYTES: Final = 10_000  # four names of at most 200 bytes, six times larger if every byte is escaped
_NO_VERSION = "0" * 64
_TAIL_BYTES: Final = len(b',"build":{"built_at":"2026-01-01T00:00:00Z","version":"","source_hash":""}}') + 2 * 64
ESCAPES: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})

_STRING = rb'("(?:[^"\\]|\\.)*")'
_INSTANT = rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)"'
_HEAD = re.compile(
    rb'\{"v":1,"artifact_type":' + _STRING + rb',"tenant":' + _STRING + rb',"surface":' + _STRING + rb","
    rb'(?:"segment":' + _STRING + rb",)?"
    rb'"window":\{"start":' + _INSTANT + rb',"end":' + _INSTANT + rb'\},"([a-z_]+)":'
)
_TAIL = re.compile(
    rb',"build":\{"built_at":' + _INSTANT + rb',"version":"([0-9a-f]{64})","source_hash":"([0-9a-f]{64})"\}\}'
)
SHARDS_FORM: Final = "shards"  # extension of an index's file, and format in its version
SHARD_RULE: Final = "sha256-be64-mod"  # name of the rule of `shard_of` in an index
MAX_SHARDS: Final = 4096  # a release lists each shard: more would exceed the size limit of one document

NEVER: Final = "never"
OVER_MAX_BYTES: Final = "over_max_bytes"
Sharding: TypeAlias = int | Literal["never", "over_max_bytes"]

_HASHED_BYTES = 8
_SUFFIX = f".{SHARDS_FORM}"


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored artifact: its reference and its bytes, which are determined by the version."""

    ref: ArtifactRef
    data: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """Head of a blob, before its rows: kind, target, and window in RFC 3339."""

    kind: str
    tenant: str
    surface: str
    segment: str | None
    window_start: str
    window_end: str


class Document(NamedTuple):
    """One parsed artifact: its envelope, the name of its array, and the byte range `[start, stop)` of the array."""

    envelope: Envelope
    body: str
    start: int
    stop: int


class Hashes(NamedTuple):
    """SHA-256 of all bytes, and of the content with `build` zeroed. The latter is None if they are not an artifact."""

    digest: str
    version: str | None


def quote(text: str) -> str:
    r"""Return one string as a JSON literal: `" \` escaped, `\b \f \n \r \t` short, `< > &` and U+2028/2029 as \\u."""
    return json.dumps(text, ensure_ascii=False).translate(ESCAPES)


def unquote(literal: str) -> str | None:
    """Return the text of a JSON literal if `quote` would write it identically, else None."""
    try:
        text = json.loads(literal)
    except ValueError:
        return None
    return text if isinstance(text, str) and _is_unicode(text) and quote(text) == literal else None


def head_of(body: str, *, kind: str, target: Target, window: Window) -> bytes:
    """Return the bytes before the array called `body`."""
    segment = f'"segment":{quote(target.segment)},' if target.segment else ""
    span = f'"window":{{"start":"{rfc3339(window.start)}","end":"{rfc3339(window.end)}"}}'
    return owner_head(kind, target) + f'{segment}{span},"{body}":'.encode()


def owner_head(kind: str, target: Target) -> bytes:
    """Return the bytes with which every artifact of a kind and target begins."""
    tenant, surface = quote(target.tenant), quote(target.surface)
    return f'{{"v":1,"artifact_type":{quote(kind)},"tenant":{tenant},"surface":{surface},'.encode()


def tail_of(version: str, window: Window) -> bytes:
    """Return the bytes after the array."""
    return f',"build":{{"built_at":"{rfc3339(window.end)}","version":"{version}","source_hash":"{version}"}}}}'.encode()


def tail_size(window: Window) -> int:
    """Return the number of bytes after the array of any blob of a window."""
    return len(tail_of(_NO_VERSION, window))


def seal(content: bytes, window: Window) -> tuple[bytes, str]:
    """Return the bytes of the artifact whose head and array are `content`, and their version."""
    version = hashlib.sha256(content + ZEROED_BUILD).hexdigest()
    return content + tail_of(version, window), version


def parse(data: bytes | mmap, *, name: str) -> Document:
    """Return envelope and array position of an artifact's bytes, without checking the array or the version.

    Raises `CorruptObjectError` if head or tail do not have this format, or if the build time is not the window's end.
    """
    head, tail = _HEAD.match(data, 0, MAX_HEAD_BYTES), find_tail(data)
    if head is None:
        raise CorruptObjectError(f"{name} does not begin like an artifact: {data[:120]!r}; rebuild it")
    if tail is None or tail.start() < head.end() or tail.group(2) != tail.group(3):
        raise CorruptObjectError(f"{name} ends with {data[-300:]!r}, not like an artifact: rebuild it")
    start, end, body = (group.decode() for group in head.group(5, 6, 7))
    if tail.group(1).decode() != end:
        raise CorruptObjectError(f"{name} has a build time other than its window's end: rebuild it")
    kind, tenant, surface = (_text(literal, name) for literal in head.group(1, 2, 3))
    segment = _text(head.group(4), name) if head.group(4) else None
    return Document(Envelope(kind, tenant, surface, segment, start, end), body, head.end(), tail.start())


def find_tail(data: bytes | mmap) -> re.Match[bytes] | None:
    """Return the match of an artifact's tail, which has a fixed length, or None."""
    return _TAIL.fullmatch(data, max(0, len(data) - _TAIL_BYTES))


def hashes_of(data: bytes | mmap) -> Hashes:
    """Return both hashes while hashing each byte once, because the two texts differ only in their tails."""
    tail = find_tail(data)
    end = tail.start() if tail else len(data)
    content = hashlib.sha256(memoryview(data)[:end])
    proof = content.copy()
    proof.update(ZEROED_BUILD)
    content.update(memoryview(data)[end:])
    return Hashes(content.hexdigest(), proof.hexdigest() if tail else None)


def proven_version(data: bytes | mmap, hashes: Hashes, *, name: str) -> str:
    """Return the version in the bytes if it matches their hash. Raises `CorruptObjectError` if not, or if missing."""
    tail, version = find_tail(data), hashes.version
    if tail is None or version is None:
        raise CorruptObjectError(f"{name} does not end like an artifact: rebuild it")
    carried = {part.decode() for part in tail.group(2, 3)}
    if carried != {version}:
        raise CorruptObjectError(
            f"{name} contains version {sorted(carried)}, but its bytes have version {version}: rebuild it"
        )
    return version


def version_of(data: bytes | mmap, *, name: str) -> str:
    """Return the version of the bytes: the hash of their content with `build` zeroed.

    Raises `CorruptObjectError` if the bytes contain another version, or are not an artifact.
    """
    return proven_version(data, hashes_of(data), name=name)


def too_large(kind: str, target: Target, *, found: str, max_bytes: int) -> LimitExceededError:
    """Return the error for a blob that is too large, with its size and the settings that change it."""
    return LimitExceededError(
        f"{kind} of {target} would have {found} bytes, artifacts.{kind}.max_bytes allows {max_bytes:,}: "
        "lower a cut (max_items, max_neighbors, max_items_per_user) or the factors, or raise max_bytes if consumers "
        "can read it",
    )


def _text(literal: bytes, name: str) -> str:
    text = unquote(literal.decode(errors="replace"))
    if not text:
        raise CorruptObjectError(f"{name} has {literal[:80]!r} in its envelope, which no writer produces: rebuild it")
    return text


def _is_unicode(text: str) -> bool:
    """Return whether a text has no lone surrogates, which JSON can express and UTF-8 cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def shard_of(key: str, count: int) -> int:
    """Return the number, below `count`, of the shard that contains a key.

    It is the first eight bytes of the SHA-256 of the key's UTF-8 bytes, read as a big-endian integer, modulo `count`,
    so that services in any language can compute it without a library.
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:_HASHED_BYTES]) % count


def index_kind(kind: str) -> str:
    """Return the kind of the index of a kind's shards. It has a dot, which other kinds cannot have."""
    return f"{kind}{_SUFFIX}"


def is_index_kind(kind: str) -> bool:
    """Return whether a kind is the kind of an index."""
    return kind.endswith(_SUFFIX)


def sharded_kind(kind: str) -> str:
    """Return the kind of the rows: for the kind of an index, the kind of its shards."""
    return kind.removesuffix(_SUFFIX)
