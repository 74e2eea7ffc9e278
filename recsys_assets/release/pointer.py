"""The live pointer: its checks, the release that it names, and the compare-and-swap that changes it."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from recsys_assets.identity import Target, check_segment, is_version, parse_rfc3339, rfc3339
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode, find_stored
from recsys_assets.release.documents import Pointer
from recsys_assets.release.layout import blob_key, key_of_uri, pointer_key, uri_of_key, version_of_name
from recsys_assets.storage.proof import written_roots
from recsys_assets.storage.store import ObjectStore

POINTER_FORMAT: Final = 1
MAX_KINDS: Final = 100
_MAX_DAMAGED_BYTES = 1 << 30  # an oversized pointer has an etag too, so that it can be replaced
_TICK = timedelta(microseconds=1)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)  # Beyond any real clock. Few later timestamps exist.
MAX_AHEAD: Final = timedelta(days=1)  # a time further in the future means a wrong clock


class LivePointer(msgspec.Struct, frozen=True):
    """The live pointer as read: its document, its version per kind, its release id, and the store's etag."""

    pointer: Pointer
    versions: Mapping[str, str]
    release_id: str
    etag: str

    @property
    def updated_at(self) -> datetime:
        """Time of the swap that wrote this pointer."""
        return parse_rfc3339(self.pointer.updated_at)


class DamagedPointer(msgspec.Struct, frozen=True):
    """A stored pointer that cannot be trusted: its etag, and the fault."""

    etag: str
    fault: str


def release_id_of(target: Target, versions: Mapping[str, str]) -> str:
    """Return the id of a release: the SHA-256 over the target and the version of each kind."""
    parts = [target.tenant, target.surface, sorted(versions.items())]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def read_current(store: ObjectStore, target: Target) -> LivePointer | None:
    """Return the live pointer, or None if nothing was ever shipped.

    Raises `CorruptObjectError` if it cannot be trusted.
    """
    stored = find_stored(store, pointer_key(target))
    if stored is None:
        return None
    return parse_stored_pointer(store, target, stored.data, etag=stored.etag)


def read_pointer(store: ObjectStore, target: Target) -> LivePointer | DamagedPointer | None:
    """Return the pointer, a `DamagedPointer` with the etag that replacing it needs, or None if there is none."""
    key = pointer_key(target)
    try:
        stored = store.get(key, max_bytes=_MAX_DAMAGED_BYTES)
    except NotFoundError:
        return None
    try:
        return parse_stored_pointer(store, target, stored.data, etag=stored.etag)
    except CorruptObjectError as error:
        return DamagedPointer(stored.etag, str(error))


def parse_stored_pointer(store: ObjectStore, target: Target, data: bytes, *, etag: str) -> LivePointer:
    """Check a pointer's bytes as `parse_pointer` does, below the roots of this store.

    A store that is mounted elsewhere or was copied records the roots under which it was written. These are read only
    if a URI is below none of the store's own roots. Objects are always read below the store's own root. Raises
    `CorruptObjectError` as `parse_pointer` does.
    """
    try:
        return parse_pointer(store.uri_roots, target, data, etag=etag)
    except CorruptObjectError:
        others = written_roots(store)
        if set(others) <= set(store.uri_roots):
            raise
    return parse_pointer((*store.uri_roots, *others), target, data, etag=etag)


def parse_pointer(roots: Sequence[str], target: Target, data: bytes, *, etag: str) -> LivePointer:
    """Check a pointer's bytes: five keys, this target, and only this target's blobs below one of the roots.

    Raises `CorruptObjectError` otherwise. `recsys-assets restore-pointer` restores the journal's last release.
    """
    key = pointer_key(target)
    pointer = decode(data, Pointer, name=key)
    if pointer.v != POINTER_FORMAT or (pointer.tenant, pointer.surface) != (target.tenant, target.surface):
        raise CorruptObjectError(f"{key} is format {pointer.v} of {pointer.tenant}/{pointer.surface}, not of {target}")
    if not 0 < len(pointer.current) <= MAX_KINDS:
        raise CorruptObjectError(f"{key} names {len(pointer.current)} artifacts: expected 1 to {MAX_KINDS}")
    try:
        if parse_rfc3339(pointer.updated_at) >= LATEST:
            raise CorruptObjectError(
                f"{key} has the impossible time {pointer.updated_at}: restore it by `recsys-assets restore-pointer`"
            )
        for kind in pointer.current:
            check_segment(kind, what="artifact kind")
    except ConfigurationError as error:
        raise CorruptObjectError(f"{key}: {error}") from error
    versions = {kind: _version_in(roots, target, kind, uri) for kind, uri in pointer.current.items()}
    return LivePointer(pointer, versions, release_id_of(target, versions), etag)


def make_pointer(
    root_uri: str, target: Target, versions: Mapping[str, str], *, now: datetime, after: datetime | None
) -> Pointer:
    """Return the pointer to `versions`, with a time later than `after` even if the clock has jumped back.

    Raises `ConfigurationError` for a time that readers would reject.
    """
    instant = now if after is None else max(now, after + _TICK)
    if instant >= LATEST:
        raise ConfigurationError(
            f"the pointer would get the impossible time {rfc3339(instant)}: correct the system clock"
        )
    current = {
        kind: uri_of_key(root_uri, blob_key(target, kind, version)) for kind, version in sorted(versions.items())
    }
    return Pointer(
        v=POINTER_FORMAT, tenant=target.tenant, surface=target.surface, current=current, updated_at=rfc3339(instant)
    )


def swap_pointer(store: ObjectStore, target: Target, pointer: Pointer, *, expected: str | None) -> LivePointer:
    """Replace the pointer whose etag is `expected` (None: create it) by `pointer`, or raise and leave it.

    A lost reply is resolved by reading the pointer back: `updated_at` makes the bytes of every pointer unique, so our
    bytes mean that our swap won, even if the last reply was a failed condition (a proxy may have sent our request
    twice). Raises `ConflictError` if another writer won, `OutcomeUnknownError` if the outcome cannot be determined.
    """
    key, data = pointer_key(target), encode(pointer)
    try:
        etag = store.create(key, data) if expected is None else store.swap(key, data, expected=expected)
    except (ConflictError, StoreUnavailableError) as error:
        etag = _read_back(store, key, data, expected=expected, error=error)
    return parse_pointer(store.uri_roots, target, data, etag=etag)


def _read_back(
    store: ObjectStore, key: str, data: bytes, *, expected: str | None, error: ConflictError | StoreUnavailableError
) -> str:
    """Return the etag if our bytes are stored after all. Otherwise raise the error for what is stored."""
    try:
        stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
    except NotFoundError:
        raise error from None
    except StoreUnavailableError as silent:
        raise OutcomeUnknownError(
            f"{key}: {error}; reading back failed too ({silent}): the swap may have won; "
            "check `recsys-assets status` first"
        ) from error
    if stored.data == data:
        return stored.etag
    if stored.etag == expected:
        raise error  # the old bytes are still stored: the store's reply was right
    raise ConflictError(f"{key} was changed by another writer: read it again") from error


def _version_in(roots: Sequence[str], target: Target, kind: str, uri: str) -> str:
    """Return the version that a URI names, if it is exactly the blob of this target and kind below one of the roots."""
    root = next((root for root in roots if uri.startswith(f"{root}/")), roots[0])
    key = key_of_uri(root, uri)
    version = version_of_name(key.rpartition("/")[2])
    if not is_version(version) or key != blob_key(target, kind, version):
        raise CorruptObjectError(
            f"{pointer_key(target)}: {kind} points at {uri[:500]!r}, which is not a {kind} blob of {target}"
        )
    return version
