"""The pointer: its checks, the release that it names, and the one way in which it changes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
_MAX_DAMAGED_BYTES = 1 << 30  # a pointer grown beyond all limits has a mark too
_TICK = timedelta(microseconds=1)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)  # no clock says that, and behind it there is hardly a later instant
MAX_AHEAD: Final = timedelta(days=1)  # a time that is further in the future comes of a clock that was wrong


@dataclass(frozen=True, slots=True)
class LivePointer:
    """The pointer as it was read: what it says, the versions it names, its release id, and the store's mark."""

    pointer: Pointer
    versions: Mapping[str, str]
    release_id: str
    etag: str

    @property
    def updated_at(self) -> datetime:
        """When it was swapped."""
        return parse_rfc3339(self.pointer.updated_at)


@dataclass(frozen=True, slots=True)
class DamagedPointer:
    """Bytes in the pointer's place that cannot be trusted: the store's mark of them, and what is wrong."""

    etag: str
    fault: str


def release_id_of(target: Target, versions: Mapping[str, str]) -> str:
    """Return the SHA-256 that names a release: of the target and each kind's version, nothing else."""
    parts = [target.tenant, target.surface, sorted(versions.items())]
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def read_current(store: ObjectStore, target: Target) -> LivePointer | None:
    """Return the live pointer, or None if nothing was ever shipped; `CorruptObjectError` if it cannot be trusted."""
    stored = find_stored(store, pointer_key(target))
    if stored is None:
        return None
    return parse_stored_pointer(store, target, stored.data, etag=stored.etag)


def read_pointer(store: ObjectStore, target: Target) -> LivePointer | DamagedPointer | None:
    """Return the pointer, or, of one that cannot be trusted, what it takes to replace exactly these bytes."""
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

    Where the store was written under other roots, seen from another mount or copied from elsewhere, it says so itself:
    these are asked for only if a URI is below none of its own. Whatever a URI names, it is read below the store's root.
    """
    try:
        return parse_pointer(store.uri_roots, target, data, etag=etag)
    except CorruptObjectError:
        others = written_roots(store)
        if set(others) <= set(store.uri_roots):
            raise
    return parse_pointer((*store.uri_roots, *others), target, data, etag=etag)


def parse_pointer(roots: Sequence[str], target: Target, data: bytes, *, etag: str) -> LivePointer:
    """Check a pointer's bytes: five keys, this target, and nothing but this target's blobs below one of the roots.

    Raises `CorruptObjectError`; put the journal's last release back by `recsys-assets restore-pointer`.
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
                f"{key} is of {pointer.updated_at}, which no clock says: put it back by `recsys-assets restore-pointer`"
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
    """Return the pointer to `versions`, its time later than `after`, however the clock may have jumped.

    Raises `ConfigurationError` for a time that no reader would take.
    """
    instant = now if after is None else max(now, after + _TICK)
    if instant >= LATEST:
        raise ConfigurationError(
            f"the pointer would be of {rfc3339(instant)}, which no clock says: set the clock right"
        )
    current = {
        kind: uri_of_key(root_uri, blob_key(target, kind, version)) for kind, version in sorted(versions.items())
    }
    return Pointer(
        v=POINTER_FORMAT, tenant=target.tenant, surface=target.surface, current=current, updated_at=rfc3339(instant)
    )


def swap_pointer(store: ObjectStore, target: Target, pointer: Pointer, *, expected: str | None) -> LivePointer:
    """Move the pointer from the one marked `expected` (None: from none) to `pointer`, or raise and leave it.

    A reply that was lost is resolved by reading back: `updated_at` makes every pointer's bytes unique, so our bytes
    there mean that we won, even when the last answer was a lost condition (something between us and the store may have
    sent our request twice). `ConflictError`: somebody else won. `OutcomeUnknownError`: nobody can know.
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
    """Return the etag if our bytes are there after all; else raise what that means."""
    try:
        found = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
    except NotFoundError:
        raise error from None
    except StoreUnavailableError as silent:
        raise OutcomeUnknownError(
            f"{key}: {error}; reading back failed too ({silent}): the swap may have won; "
            "see `recsys-assets status` before anything else"
        ) from error
    if found.data == data:
        return found.etag
    if found.etag == expected:
        raise error  # the old bytes are still there: what the store said stands
    raise ConflictError(f"{key} was changed by somebody else: read it again") from error


def _version_in(roots: Sequence[str], target: Target, kind: str, uri: str) -> str:
    """Return the version that a URI names, if it is exactly the blob of this target and kind below one of the roots."""
    root = next((root for root in roots if uri.startswith(f"{root}/")), roots[0])
    key = key_of_uri(root, uri)
    version = version_of_name(key.rpartition("/")[2])
    if not is_version(version) or key != blob_key(target, kind, version):
        raise CorruptObjectError(
            f"{pointer_key(target)}: {kind} points at {uri[:500]!r}, which is no {kind} blob of {target}"
        )
    return version
