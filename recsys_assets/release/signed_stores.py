"""Stores that sign pointers on write, and stores that accept only signed pointers.

Also renews and checks signatures.
"""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import datetime
from typing import Final

from recsys_assets.errors import ConfigurationError, NotFoundError, StoreUnavailableError, UntrustedError
from recsys_assets.identity import Target, parse_rfc3339, utc_now
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, find_stored
from recsys_assets.release.journal import Clock
from recsys_assets.release.layout import POINTERS, pointer_key, release_key, signature_prefix, target_of_pointer
from recsys_assets.release.signatures import Signer, Statement, Trust, sha256, version_of
from recsys_assets.storage.proof import KnowsLifecycleRules
from recsys_assets.storage.store import Listed, ObjectStore, StoredObject


def renew(
    store: ObjectStore, signer: Signer, target: Target, *, unsigned: bool = False, dry_run: bool = False
) -> Statement | None:
    """Sign the live pointer again and return its statement (dry run: the current one), or None if nothing is live.

    The pointer must carry a signature by one of the signer's keys. Otherwise anyone with write access to the store
    could get their pointer signed. `unsigned` also signs a pointer without one. Raises `UntrustedError` without it.
    """
    current = find_stored(store, pointer_key(target))
    if current is None:
        return None
    with suppress(UntrustedError) if unsigned else nullcontext():
        signer.trust.prove(store, target, current.data)
    if not dry_run:
        key, data = signer.sign(store, target, current.data)
        store.put(key, data)
    return signer.trust.prove(store, target, current.data)


def keep_signed(store: ObjectStore, target: Target) -> None:
    """Renew the live pointer's signature after half of its validity. No-op for a store that does not sign.

    An unsigned pointer stays unsigned: the first signature must come from a ship or a person.
    """
    current = find_stored(store, pointer_key(target)) if isinstance(store, SigningStore) else None
    if isinstance(store, SigningStore) and current is not None:
        with suppress(UntrustedError):
            statement = store.signer.trust.prove(store, target, current.data)
            if store.signer.now() >= parse_rfc3339(statement.signed_at) + store.signer.valid / 2:
                renew(store, store.signer, target)


def signature_faults(store: ObjectStore, target: Target, trust: Trust, *, now: datetime) -> tuple[str, ...]:
    """Return the faults of the live pointer's signature: invalid, expired, or another release record than signed."""
    current = find_stored(store, pointer_key(target))
    if current is None:
        return ()
    try:
        statement = trust.check(store, target, current.data, now=now)
        record = store.get(release_key(target, statement.release), max_bytes=MAX_DOCUMENT_BYTES).data
    except (UntrustedError, NotFoundError) as error:
        return (str(error),)
    if statement.record is None or statement.record == sha256(record):
        return ()
    return (f"{release_key(target, statement.release)} is not the signed record: restore it from a backup",)


class _DelegatingStore:
    """Base of the two stores below: delegates every method to the inner store."""

    def __init__(self, store: ObjectStore) -> None:
        self.inner: Final = store

    @property
    def root_uri(self) -> str:
        """Root URI of the inner store."""
        return self.inner.root_uri

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """URI roots of the inner store."""
        return self.inner.uri_roots

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object."""
        return self.inner.get(key, max_bytes=max_bytes)

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag is still `etag`."""
        return self.inner.get_if_changed(key, etag=etag, max_bytes=max_bytes)

    def stat(self, key: str) -> Listed | None:
        """Return size and modification time of the object, or None."""
        return self.inner.stat(key)

    def create(self, key: str, data: bytes) -> str:
        """Write a new object."""
        return self.inner.create(key, data)

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object whose etag is `expected`."""
        return self.inner.swap(key, data, expected=expected)

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally."""
        return self.inner.put(key, data)

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object below `prefix`."""
        return self.inner.list(prefix)

    def delete(self, key: str) -> None:
        """Remove the object."""
        self.inner.delete(key)

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object whose etag is `expected`."""
        self.inner.delete_unchanged(key, expected=expected)

    def expiring_rules(self) -> tuple[str, ...]:
        """Return the lifecycle rules by which the server deletes objects by age."""
        return self.inner.expiring_rules() if isinstance(self.inner, KnowsLifecycleRules) else ()


class SigningStore(_DelegatingStore):
    """Store that signs every pointer before it moves, whether by ship, rollback, repair or collection."""

    def __init__(self, store: ObjectStore, signer: Signer) -> None:
        super().__init__(store)
        self.signer = signer

    def create(self, key: str, data: bytes) -> str:
        """Write a new object. A pointer is signed first."""
        self._sign(key, data)
        return self.inner.create(key, data)

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object whose etag is `expected`. A pointer is signed first, expired signatures are removed."""
        target = self._sign(key, data)
        etag = self.inner.swap(key, data, expected=expected)
        if target is not None:
            self._remove_expired(target)
        return etag

    def _sign(self, key: str, data: bytes) -> Target | None:
        target = target_of_pointer(key) if key.startswith(POINTERS) else None
        if target is not None:
            name, signature = self.signer.sign(self.inner, target, data)
            self.inner.put(name, signature)
        return target

    def _remove_expired(self, target: Target) -> None:
        """Remove signatures of pointers so old that all their signatures have expired."""
        prefix = signature_prefix(target)
        expired = version_of(self.signer.now() - 2 * self.signer.valid)
        with suppress(StoreUnavailableError, ConfigurationError):
            names = [item.key for item in self.inner.list(prefix)]
            for name in names[:-1]:
                version = name.removeprefix(prefix).partition("-")[0]
                if version.isdigit() and int(version) < expired:
                    self.inner.delete(name)


class TrustingStore(_DelegatingStore):
    """Store that returns a pointer only if its signature is valid at the time of the read."""

    def __init__(self, store: ObjectStore, trust: Trust, *, now: Clock = utc_now) -> None:
        super().__init__(store)
        self._trust = trust
        self._now = now
        self._checked: dict[
            str, tuple[str, bytes, datetime]
        ] = {}  # By key: etag and bytes of a valid pointer, expiry of its signature.

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object. Raises `UntrustedError` for a pointer without a valid signature."""
        return self._check(key, self.inner.get(key, max_bytes=max_bytes))

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag is still `etag` and its signature has not expired."""
        stored = self.inner.get_if_changed(key, etag=etag, max_bytes=max_bytes)
        if stored is not None:
            return self._check(key, stored)
        checked = self._checked.get(key)
        if checked is not None and checked[0] == etag and self._now() >= checked[2]:
            self._check(key, StoredObject(checked[1], etag))
        return None

    def _check(self, key: str, stored: StoredObject) -> StoredObject:
        target = target_of_pointer(key) if key.startswith(POINTERS) else None
        if target is not None:
            statement = self._trust.check(self.inner, target, stored.data, now=self._now())
            self._checked[key] = (stored.etag, stored.data, parse_rfc3339(statement.expires))
        return stored
