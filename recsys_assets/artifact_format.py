"""The one home of the stored form of an artifact: its envelope, its version, its escaping, and the limits on both ends.

Writers (`encoding`, tests) and readers (`release`, `serving`, `encoding`) ask this module. It imports no library of
frames, so that rollback and serving stay light.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from mmap import mmap
from typing import Final, NamedTuple

from recsys_assets.errors import CorruptObjectError, LimitExceededError
from recsys_assets.identity import ArtifactRef, Target, Window, rfc3339

ENVELOPE_FIELDS: Final = frozenset({"v", "artifact_type", "tenant", "surface", "segment", "window", "build"})
ZEROED_BUILD: Final = b',"build":{"built_at":"","version":""}}'
SPECIAL_CHARACTERS: Final = r'["\\<>&\x00-\x1f\u2028\u2029]'  # a regular expression: what `quote` escapes
MAX_HEAD_BYTES: Final = 10_000  # four names of at most 200 bytes, six times that when every byte is escaped
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


@dataclass(frozen=True, slots=True)
class Blob:
    """One artifact as it is stored: its reference and its bytes, which are a pure function of the version."""

    ref: ArtifactRef
    data: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """The statement of a blob about itself, before its rows: whose it is, and its window in RFC 3339."""

    kind: str
    tenant: str
    surface: str
    segment: str | None
    window_start: str
    window_end: str


class Document(NamedTuple):
    """One parsed artifact: its envelope, the name of its array, and the bytes `[start, stop)` that hold the array."""

    envelope: Envelope
    body: str
    start: int
    stop: int


class Hashes(NamedTuple):
    """SHA-256 of all bytes, and of the content: the same bytes with `build` zeroed; None if they are no artifact."""

    digest: str
    version: str | None


def quote(text: str) -> str:
    r"""Return one string as a JSON literal: `" \` escaped, `\b \f \n \r \t` short, `< > &` and U+2028/2029 as \\u."""
    return json.dumps(text, ensure_ascii=False).translate(ESCAPES)


def unquote(literal: str) -> str | None:
    """Return the text of a JSON literal if it is written as `quote` writes it, else None."""
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
    """Return the bytes behind the array."""
    return f',"build":{{"built_at":"{rfc3339(window.end)}","version":"{version}","source_hash":"{version}"}}}}'.encode()


def tail_size(window: Window) -> int:
    """Return how many bytes follow the array of every blob of a window."""
    return len(tail_of(_NO_VERSION, window))


def seal(content: bytes, window: Window) -> tuple[bytes, str]:
    """Return the bytes of the artifact whose head and array are `content`, and their version."""
    version = hashlib.sha256(content + ZEROED_BUILD).hexdigest()
    return content + tail_of(version, window), version


def parse(data: bytes | mmap, *, name: str) -> Document:
    """Return envelope and place of the array of an artifact's bytes; neither the array nor the version is judged.

    Raises `CorruptObjectError` if either end is not as a writer of this format leaves it, or the instant of building
    is not the window's end.
    """
    head, tail = _HEAD.match(data, 0, MAX_HEAD_BYTES), find_tail(data)
    if head is None:
        raise CorruptObjectError(f"{name} does not begin as an artifact does: {data[:120]!r}; build it again")
    if tail is None or tail.start() < head.end() or tail.group(2) != tail.group(3):
        raise CorruptObjectError(f"{name} ends with {data[-300:]!r}, not as an artifact does: build it again")
    start, end, body = (group.decode() for group in head.group(5, 6, 7))
    if tail.group(1).decode() != end:
        raise CorruptObjectError(f"{name} says that it was built at another time than its window's end: build it again")
    kind, tenant, surface = (_text(literal, name) for literal in head.group(1, 2, 3))
    segment = _text(head.group(4), name) if head.group(4) else None
    return Document(Envelope(kind, tenant, surface, segment, start, end), body, head.end(), tail.start())


def find_tail(data: bytes | mmap) -> re.Match[bytes] | None:
    """Return the match of an artifact's tail, which has one length, or None."""
    return _TAIL.fullmatch(data, max(0, len(data) - _TAIL_BYTES))


def hashes_of(data: bytes | mmap) -> Hashes:
    """Return both hashes, each byte hashed once: the texts differ in their ends only."""
    tail = find_tail(data)
    end = tail.start() if tail else len(data)
    content = hashlib.sha256(memoryview(data)[:end])
    proof = content.copy()
    proof.update(ZEROED_BUILD)
    content.update(memoryview(data)[end:])
    return Hashes(content.hexdigest(), proof.hexdigest() if tail else None)


def proven_version(data: bytes | mmap, hashes: Hashes, *, name: str) -> str:
    """Return the version that the bytes carry and prove; `CorruptObjectError` if they carry another, or none."""
    tail, version = find_tail(data), hashes.version
    if tail is None or version is None:
        raise CorruptObjectError(f"{name} does not end as an artifact does: build it again")
    carried = {part.decode() for part in tail.group(2, 3)}
    if carried != {version}:
        raise CorruptObjectError(f"{name} carries version {sorted(carried)}, its bytes prove {version}: build it again")
    return version


def version_of(data: bytes | mmap, *, name: str) -> str:
    """Return the version that the bytes prove: the hash of their content with `build` zeroed.

    Raises `CorruptObjectError` if the bytes carry another version than they prove, or are no artifact at all.
    """
    return proven_version(data, hashes_of(data), name=name)


def too_large(kind: str, target: Target, *, found: str, max_bytes: int) -> LimitExceededError:
    """Return the error that says how large a blob would be, and which settings change that."""
    return LimitExceededError(
        f"{kind} of {target} would have {found} bytes, artifacts.{kind}.max_bytes allows {max_bytes:,}: "
        "lower a cut (max_items, max_neighbors, max_items_per_user) or the factors, or raise max_bytes if consumers "
        "can read it",
    )


def _text(literal: bytes, name: str) -> str:
    text = unquote(literal.decode(errors="replace"))
    if not text:
        raise CorruptObjectError(f"{name} has {literal[:80]!r} in its envelope, which no writer writes: build it again")
    return text


def _is_unicode(text: str) -> bool:
    """Whether a text has no lone surrogates, which JSON can spell and UTF-8 cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
