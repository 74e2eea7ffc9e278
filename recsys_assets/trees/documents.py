"""Stored documents of artifact trees: node revisions, log entries, and ids that sort by time."""

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import msgspec

from recsys_assets.errors import ConfigurationError, InvalidNodeError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import check_segment
from recsys_assets.release.documents import Record

FORMAT: Final = 1

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32, without letters that resemble digits
_ULID: Final = re.compile(f"[0-7][{_ALPHABET}]{{25}}", re.ASCII)
_RANDOM_BITS: Final = 80
_TIME_CHARACTERS: Final = 10
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def new_ulid(at: datetime, *, after: str | None = None) -> str:
    """Return a ULID: 26 characters, the first ten encode the milliseconds of `at`, the others are random.

    In the same millisecond as `after` it is the successor of `after`, so the ids of one writer keep their order.
    """
    number = (at - _EPOCH) // timedelta(milliseconds=1) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    if after is not None and after[:_TIME_CHARACTERS] == _spelled(number)[:_TIME_CHARACTERS]:
        number = sum(_ALPHABET.index(letter) << 5 * digit for digit, letter in enumerate(reversed(after))) + 1
    return _spelled(number)


def _spelled(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_ulid(text: str) -> bool:
    """Return whether a text is a ULID in capital letters."""
    return _ULID.fullmatch(text) is not None


class NodeChange(StrEnum):
    """Type of a change in the log."""

    CREATE = "create"
    REVISE = "revise"
    DELETE = "delete"  # Deletion to the trash, where the bytes stay for the grace period.
    RESTORE = "restore"
    PURGE = "purge"  # Permanent deletion of bytes. The ids are never reused.


class StoredContent(Record, frozen=True):
    """Reference to a node's content: SHA-256, size, content type, and the key of a registered artifact."""

    digest: str
    size: int
    content_type: str
    artifact: str | None = None  # key of a registered artifact, None for the node's own bytes


class NodeDocument(Record, frozen=True):
    """One complete revision of a node: position, data, and reference to its content."""

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
    """One revision of a node in the log: the fields needed to find, sort and filter it."""

    id: str
    parent: str | None
    level: int
    revision: int
    created_at: str
    updated_at: str
    document: str  # SHA-256 of the `NodeDocument`
    content: StoredContent | None
    fields: Mapping[str, Scalar]  # searchable metadata
    origin: str | None = None  # source of a registered node, unique in the tree


class TreeEntry(Record, frozen=True):
    """One entry of a hierarchy's log: change, actor, time and reason, chained by the previous entry's SHA-256."""

    sequence: int
    previous: str
    nonce: str  # makes the bytes of concurrent writers differ
    at: str
    actor: str
    reason: str
    change: str
    ids: tuple[str, ...]
    run_id: str | None = None
    node: NodeRecord | None = None  # only of changes that create a revision
    v: int = FORMAT


class Hierarchy(msgspec.Struct, frozen=True):
    """A named tree: labels of its levels from the root down, and maximum bytes of one content."""

    name: str
    levels: tuple[str, ...]
    max_bytes: int = 100_000_000

    def __post_init__(self) -> None:
        check_segment(self.name, what="hierarchy")
        if not self.levels or len(set(self.levels)) < len(self.levels) or not all(self.levels):
            raise ConfigurationError(
                f"hierarchy {self.name} has the levels {list(self.levels)}: expected at least one, all distinct"
            )

    def label(self, level: int) -> str:
        """Return the label of a level, or its number if the hierarchy no longer has it."""
        return self.levels[level] if level < len(self.levels) else f"level {level}"

    def below(self, parent: NodeRecord | None) -> int:
        """Return the level of a child. Raises `InvalidNodeError` below the last one."""
        level = 0 if parent is None else parent.level + 1
        if parent is not None and level >= len(self.levels):
            raise InvalidNodeError(
                f"{parent.id} is of the level {self.label(parent.level)!r}, the last one of {self.name} "
                f"({', '.join(self.levels)}): it cannot have children; choose a parent of a higher level"
            )
        return level
