"""Documents of artifact trees, as frozen values: a node's revision, an entry of the log, and ids that sort by time."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from recsys_assets.errors import ConfigurationError, InvalidNodeError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import check_segment
from recsys_assets.release.documents import Record

FORMAT: Final = 1

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no letter that looks like a digit
_ULID: Final = re.compile(f"[0-7][{_ALPHABET}]{{25}}", re.ASCII)
_RANDOM_BITS: Final = 80
_TIME_CHARACTERS: Final = 10
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_ulid(at: datetime, *, after: str | None = None) -> str:
    """Return a ULID: 26 characters, of which the first ten are the milliseconds of an instant, the others random.

    One of the same millisecond as `after` is the next number after it: what one writer saves stays in its order.
    """
    number = (at - _EPOCH) // timedelta(milliseconds=1) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    if after is not None and after[:_TIME_CHARACTERS] == _spelled(number)[:_TIME_CHARACTERS]:
        number = sum(_ALPHABET.index(letter) << 5 * place for place, letter in enumerate(reversed(after))) + 1
    return _spelled(number)


def _spelled(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_ulid(text: str) -> bool:
    """Return whether a text is a ULID in capital letters, as nodes are named."""
    return _ULID.fullmatch(text) is not None


class NodeChange(StrEnum):
    """What an entry of the log says happened to a node."""

    CREATE = "create"
    REVISE = "revise"
    DELETE = "delete"  # into the trash: its bytes stay for the grace
    RESTORE = "restore"
    PURGE = "purge"  # of ids whose bytes are deleted for good: none of them ever comes back


class StoredContent(Record, frozen=True):
    """The bytes beside a node's data: their SHA-256, size and content type; of an artifact, where they are stored."""

    digest: str
    size: int
    content_type: str
    artifact: str | None = None  # the key of a registered artifact; None: the node's own bytes


class NodeDocument(Record, frozen=True):
    """One revision of a node, whole: its place, its data, and what its content is."""

    id: str
    hierarchy: str
    parent: str | None
    level: int
    revision: int
    created_at: str
    updated_at: str
    data: Mapping[str, Any]
    content: StoredContent | None = None
    origin: str | None = None
    v: int = FORMAT


class NodeRecord(Record, frozen=True):
    """One revision of a node as the log lists it: enough to find it, to order it and to filter by."""

    id: str
    parent: str | None
    level: int
    revision: int
    created_at: str
    updated_at: str
    document: str  # SHA-256 of the `NodeDocument`
    content: StoredContent | None
    fields: Mapping[str, Scalar]  # of the metadata, those that can be searched
    origin: str | None = None  # what it was registered from: at most one node has it


class TreeEntry(Record, frozen=True):
    """One entry of a hierarchy's log: who changed what, when and why; it names the entry before it by its SHA-256."""

    sequence: int
    previous: str
    nonce: str  # so that no two writers write the same bytes
    at: str
    actor: str
    reason: str
    change: str
    ids: tuple[str, ...]
    run_id: str | None = None
    node: NodeRecord | None = None  # of a change that makes a revision
    v: int = FORMAT


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A named tree: the labels of its levels, from the root down, and the most bytes of one content."""

    name: str
    levels: tuple[str, ...]
    max_bytes: int = 100_000_000

    def __post_init__(self) -> None:
        check_segment(self.name, what="hierarchy")
        if not self.levels or len(set(self.levels)) < len(self.levels) or not all(self.levels):
            raise ConfigurationError(
                f"hierarchy {self.name} has the levels {list(self.levels)}: expected at least one, no two alike"
            )

    def label(self, level: int) -> str:
        """Return what a level is called; one that the hierarchy has no more, by its number."""
        return self.levels[level] if level < len(self.levels) else f"level {level}"

    def below(self, parent: NodeRecord | None) -> int:
        """Return the level of a child; `InvalidNodeError` below the last one."""
        level = 0 if parent is None else parent.level + 1
        if parent is not None and level >= len(self.levels):
            raise InvalidNodeError(
                f"{parent.id} is of the level {self.label(parent.level)!r}, the last one of {self.name} "
                f"({', '.join(self.levels)}): it takes no children; name a parent above it"
            )
        return level
