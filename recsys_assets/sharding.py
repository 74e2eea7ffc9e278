"""Sharding of an artifact that outgrows one object: the shard that holds a key, and the name of the index."""

import hashlib
from typing import Final, Literal, TypeAlias

SHARDS_FORM: Final = "shards"  # the ending of an index's file, and the form in its version
RULE: Final = "sha256-be64-mod"  # as an index names the rule of `shard_of`
MAX_SHARDS: Final = 4096  # a release lists each: more would outgrow what is read of one document

NEVER: Final = "never"
OVER_MAX_BYTES: Final = "over_max_bytes"
Sharding: TypeAlias = int | Literal["never", "over_max_bytes"]

_HASHED_BYTES = 8
_SUFFIX = f".{SHARDS_FORM}"


def shard_of(key: str, count: int) -> int:
    """Return the number of the shard, of `count`, that holds a key.

    The first eight bytes of SHA-256 of the key's UTF-8 bytes, read as a big-endian number, modulo `count`: services in
    any language find it without a library.
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:_HASHED_BYTES]) % count


def index_kind(kind: str) -> str:
    """Return the kind under which the index of a kind's shards stands; no other kind is called so: none has a dot."""
    return f"{kind}{_SUFFIX}"


def is_index_kind(kind: str) -> bool:
    """Return whether a kind is that of an index."""
    return kind.endswith(_SUFFIX)


def sharded_kind(kind: str) -> str:
    """Return the kind whose rows stand behind a kind's name: of an index's kind, that of its shards."""
    return kind.removesuffix(_SUFFIX)
