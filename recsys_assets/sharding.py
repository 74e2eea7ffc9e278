"""Sharding of an artifact that is too large for one object: the shard of a key, and the kind of the index."""

import hashlib
from typing import Final, Literal, TypeAlias

SHARDS_FORM: Final = "shards"  # extension of an index's file, and format in its version
RULE: Final = "sha256-be64-mod"  # name of the rule of `shard_of` in an index
MAX_SHARDS: Final = 4096  # a release lists each shard: more would exceed the size limit of one document

NEVER: Final = "never"
OVER_MAX_BYTES: Final = "over_max_bytes"
Sharding: TypeAlias = int | Literal["never", "over_max_bytes"]

_HASHED_BYTES = 8
_SUFFIX = f".{SHARDS_FORM}"


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
