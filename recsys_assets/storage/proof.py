"""Daily probe that a store honours conditional writes, recorded in the store with the format of its layout."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol, runtime_checkable

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import ConfigurationError, ConflictError, CorruptObjectError, NotFoundError, UnsafeStoreError
from recsys_assets.identity import parse_rfc3339, rfc3339, utc_now
from recsys_assets.storage.store import ObjectStore

# Format of the layout below a root. It is raised when an older package could not read it, or would damage it.
FORMAT: Final = 1
KEY: Final = "registry/store.json"
_MAX_BYTES: Final = 10_000
_WRITES: Final = 3
PROVEN_FOR: Final = timedelta(days=1)
_MAX_ROOTS: Final = 20


@runtime_checkable
class KnowsLifecycleRules(Protocol):
    """A store whose server may delete objects by rules of its own."""

    def expiring_rules(self) -> tuple[str, ...]:
        """Return the names of the rules that delete objects of this store by age."""
        ...


class _Proof(msgspec.Struct, frozen=True, omit_defaults=True):
    """Document at `KEY`. Unknown fields are accepted, because later formats may add some."""

    v: int
    root: str  # a proof that was copied to another store with everything else is not valid there
    at: str | None = None  # time of the probe, absent in stores of earlier versions
    uri_roots: tuple[str, ...] = ()  # roots under which pointers were written, here or in the store it was copied from


class ProbeResult(msgspec.Struct, frozen=True):
    """One guarantee that was tried on a store, and whether it held."""

    name: str
    held: bool


def ensure_proven(store: ObjectStore, *, now: Callable[[], datetime] = utc_now) -> None:
    """Probe this store and record the result in it. Returns at once, after one read, if it was probed within a day.

    The probe is repeated each day, because a server that is reconfigured, or a new proxy in front of it, may stop
    honouring conditions. Raises `UnsafeStoreError` if the store ignores conditions, `ConfigurationError` if a newer
    package wrote it.
    """
    proof = _read_proof(store)
    public = store.uri_roots[0]
    if proof is not None and proof.root == store.root_uri and _is_recent(proof, now()):
        if public not in _roots_of(proof):
            _write_proof(store, proof, at=proof.at)
        return
    failed = [result.name for result in probe(store) if not result.held]
    if failed:
        if proof is not None:
            store.delete(KEY)  # deleted so that no other process trusts it in the meantime
        raise UnsafeStoreError(
            f"{store.root_uri} does not keep its word ({'; '.join(failed)}): two publishers could both win, or "
            "objects could vanish. Use a folder, a bucket of Amazon, Google or Azure, or another S3 server that "
            "honours If-Match and If-None-Match"
        )
    _write_proof(store, proof, at=rfc3339(now()))


def written_roots(store: ObjectStore) -> tuple[str, ...]:
    """Return the roots under which URIs of this store's pointers were written, including earlier public roots.

    The result is empty if no proof can be read: pointers with URIs under such roots are then refused.
    """
    try:
        proof = _read_proof(store)
    except (ConfigurationError, CorruptObjectError):
        return ()
    return _roots_of(proof) if proof is not None else ()


def _roots_of(proof: _Proof) -> tuple[str, ...]:
    return proof.uri_roots or (proof.root,)


def _write_proof(store: ObjectStore, before: _Proof | None, *, at: str | None) -> None:
    """Record that the store was probed, and all roots under which pointers were written, the newest last."""
    earlier = _roots_of(before) if before is not None else ()
    own = store.uri_roots[0]
    roots = (*(root for root in earlier if root != own), own)[-_MAX_ROOTS:]
    more = roots if roots != (store.root_uri,) else ()
    store.put(KEY, msgspec.json.encode(_Proof(v=FORMAT, root=store.root_uri, at=at, uri_roots=more)))


def _is_recent(proof: _Proof, now: datetime) -> bool:
    """Return whether a proof is within a day of now in either direction, because clocks of two machines differ."""
    try:
        return proof.at is not None and abs(now - parse_rfc3339(proof.at)) < PROVEN_FOR
    except ConfigurationError:
        return False


def require_begun(store: ObjectStore) -> None:
    """Raise `ConfigurationError` unless this store was initialized: a missing mount must not look like a new store."""
    if not check_format(store):
        raise ConfigurationError(
            f"{store.root_uri} has no {KEY} of its own, which storage.must_exist requires: is the disk mounted, "
            "are bucket and prefix right? Initialize a new store, or a copy of one, once by `recsys-assets init`"
        )


def check_format(store: ObjectStore) -> bool:
    """Return whether this store was initialized. Raises `ConfigurationError` if this package cannot read its format."""
    proof = _read_proof(store)
    return proof is not None and proof.root == store.root_uri


def _read_proof(store: ObjectStore) -> _Proof | None:
    """Return the stored proof, which may be that of another store, or None if there is none.

    Raises `CorruptObjectError` if it cannot be decoded, `ConfigurationError` if it has another format.
    """
    try:
        proof = decoder_of(_Proof).decode(store.get(KEY, max_bytes=_MAX_BYTES).data)
    except NotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptObjectError(f"{KEY} cannot be read: {error}; remove it: the next run writes it again") from error
    if proof.v != FORMAT:
        step = "upgrade the package" if proof.v > FORMAT else "migrate it as the change log says"
        raise ConfigurationError(f"{store.root_uri} has format {proof.v}, this package supports {FORMAT}: {step}")
    return proof


def probe(store: ObjectStore) -> tuple[ProbeResult, ...]:
    """Try the guarantees of `ObjectStore` on a temporary object, which is removed afterwards."""
    key = f"probe/{secrets.token_hex(16)}.json"
    try:
        return _try_all(store, key)
    finally:
        store.delete(key)


def _try_all(store: ObjectStore, key: str) -> tuple[ProbeResult, ...]:
    first = store.create(key, b"one")
    again = _loses(lambda: store.create(key, b"two"))
    second = store.swap(key, b"two", expected=store.get(key, max_bytes=9).etag)
    stale = _loses(lambda: store.swap(key, b"three", expected=first))
    read = store.get(key, max_bytes=9)
    third = store.swap(key, b"six", expected=read.etag)
    listed = [item.key for item in store.list("probe/")]
    store.delete(key)
    store.create(key, b"ten")  # of the same size as the deleted object, and perhaps with the same time
    other = _loses(lambda: store.swap(key, b"five", expected=third))
    store.delete(key)
    gone = _loses(lambda: store.swap(key, b"four", expected=third))
    return (
        ProbeResult("a second create of one key fails", again),
        ProbeResult("a swap of what has changed since fails", stale),
        ProbeResult("a swap of what is gone fails", gone),
        ProbeResult("a swap of what is gone and was created again fails", other),
        ProbeResult("what was written is read back", (read.data, read.etag) == (b"two", second)),
        ProbeResult("what was written is listed", key in listed),
        ProbeResult("three writes of one size have three marks", len({first, second, third}) == _WRITES),
        ProbeResult("no lifecycle rule deletes objects by age", not _expiring_rules(store)),
    )


def _expiring_rules(store: ObjectStore) -> tuple[str, ...]:
    return store.expiring_rules() if isinstance(store, KnowsLifecycleRules) else ()


def _loses(write: Callable[[], str]) -> bool:
    try:
        write()
    except ConflictError:
        return True
    return False
