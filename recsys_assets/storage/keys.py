"""Keys that a store takes: relative, plain segments, the same object on every store."""

import re

from recsys_assets.errors import UnsafeNameError
from recsys_assets.identity import MAX_SEGMENT_BYTES, check_segment

MAX_KEY_BYTES = 900
MAX_S3_PREFIX_BYTES = 120  # S3 ends at 1,024 bytes, the prefix, a slash and the key together
KEY_FILE = "key.json"  # the last segment of keys that hold a secret
_PLAIN = re.compile(r"[A-Za-z0-9_-]+(?:[/.][A-Za-z0-9_-]+)*", re.ASCII)


def check_key(key: str) -> str:
    """Return `key` if each of its segments is plain; raise `UnsafeNameError` before any I/O otherwise."""
    for segment in key.split("/"):
        check_segment(segment, what=f"segment of key {key[:200]!r}")
    if key.startswith("."):
        raise UnsafeNameError(f"key {key!r} begins with a dot: such names are the store's own")
    if len(key.encode()) > MAX_KEY_BYTES:
        raise UnsafeNameError(f"key {key[:40]!r}... takes {len(key.encode())} bytes: at most {MAX_KEY_BYTES}")
    return key


def is_key(name: str) -> bool:
    """Return whether `check_key` takes `name`; a listing passes over what no key can name, as nobody here wrote it."""
    if _PLAIN.fullmatch(name) and len(name) <= MAX_SEGMENT_BYTES:  # nearly all, a hundred times faster
        return True
    try:
        check_key(name)
    except UnsafeNameError:
        return False
    return True


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is empty, or plain segments ending with a slash: a listing never matches half a name."""
    if prefix and not prefix.endswith("/"):
        raise UnsafeNameError(f"prefix {prefix!r} does not end with a slash: it would match half a name")
    if prefix:
        check_key(prefix[:-1])
    return prefix


def check_s3_prefix(prefix: str) -> str:
    """Return `prefix` if every key fits below it in a bucket; raise `UnsafeNameError` otherwise."""
    check_key(prefix)
    size = len(prefix.encode())
    if size > MAX_S3_PREFIX_BYTES:
        raise UnsafeNameError(f"prefix {prefix[:40]!r}... takes {size} bytes: at most {MAX_S3_PREFIX_BYTES}")
    return prefix


def check_root(root: str) -> str:
    """Return `root` if URIs can be made of it; raise `UnsafeNameError` otherwise."""
    bad = sorted({c for c in root if c in "?#%" or not c.isprintable()})
    if bad:
        raise UnsafeNameError(f"storage root {root!r} holds {bad!r}, which no URI of a pointer may hold: use another")
    return root
