"""Signed pointers: who moved a pointer proves it, and readers with a public key take nothing that is not proven so.

In the manner of TUF: each signature names the target, a version that only grows, and its end. It is stored beside the
pointer, under a name made of the pointer's own bytes, and is written before the pointer moves: a reader that sees a
pointer finds its signature, whichever of two publishers won.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recsys_assets.errors import (
    ConfigurationError,
    CorruptObjectError,
    NotFoundError,
    UntrustedError,
)
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode
from recsys_assets.release.documents import FORMAT, Record
from recsys_assets.release.journal import Clock
from recsys_assets.release.layout import release_key, signature_key
from recsys_assets.release.pointer import parse_stored_pointer
from recsys_assets.storage.store import ObjectStore

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PURPOSE: Final = b"recsys-assets pointer signature 1\n"  # so that a signature over other bytes means nothing here
_ENVIRONMENT, _FILE = "env:", "file:"


class Statement(Record, frozen=True):
    """What is signed of a pointer: whose it is, its bytes, the release and its record, since when and how long."""

    tenant: str
    surface: str
    version: int  # microseconds of the pointer's `updated_at`, which grows with every move
    pointer: str  # SHA-256 of the pointer's bytes, which name every artifact by its content
    release: str
    record: str | None  # SHA-256 of the release record; None where there was none to read
    signed_at: str
    expires: str
    v: int = FORMAT


class SignedStatement(Record, frozen=True):
    """A statement as the bytes that were signed, and signatures by key id, in hex."""

    signed: str
    signatures: Mapping[str, str]
    v: int = FORMAT


@dataclass(frozen=True, slots=True)
class Signer:
    """The private keys that sign, all of them each time, and how long a signature holds."""

    keys: Mapping[str, "Ed25519PrivateKey"] = field(repr=False)
    valid: timedelta
    now: Clock = lambda: datetime.now(UTC)

    @property
    def trust(self) -> "Trust":
        """The public halves: one of them is enough."""
        return Trust({name: key.public_key() for name, key in self.keys.items()})

    def sign(self, store: ObjectStore, target: Target, pointer: bytes) -> tuple[str, bytes]:
        """Return the key and the bytes of a signature of a pointer; the release's record is read for it."""
        current = parse_stored_pointer(store, target, pointer, etag="")
        now = self.now()
        try:
            record = sha256(store.get(release_key(target, current.release_id), max_bytes=MAX_DOCUMENT_BYTES).data)
        except NotFoundError:
            record = None
        statement = Statement(
            tenant=target.tenant,
            surface=target.surface,
            version=version_of(current.updated_at),
            pointer=sha256(pointer),
            release=current.release_id,
            record=record,
            signed_at=rfc3339(now),
            expires=rfc3339(now + self.valid),
        )
        text = encode(statement)
        signatures = {name: key.sign(PURPOSE + text).hex() for name, key in sorted(self.keys.items())}
        document = SignedStatement(signed=text.decode(), signatures=signatures)
        return signature_key(target, statement.version, statement.pointer), encode(document)


@dataclass(frozen=True, slots=True)
class Trust:
    """The public keys that a reader believes, by id, and how many of them must have signed."""

    keys: Mapping[str, "Ed25519PublicKey"]
    threshold: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.keys):
            raise ConfigurationError(
                f"threshold is {self.threshold} of {len(self.keys)} public keys: expected 1 to all"
            )

    @classmethod
    def of(cls, *places: str | Path, threshold: int = 1) -> "Trust":
        """Return the trust in public keys: PEM files, or `env:NAME` and `file:PATH`."""
        found = [_read_public(place) for place in places]
        return cls({key_id(key): key for key in found}, threshold)

    def check(self, store: ObjectStore, target: Target, pointer: bytes, *, now: datetime) -> Statement:
        """Return what was signed of a pointer; `UntrustedError` if it is unsigned, of other bytes, or expired."""
        statement = self.prove(store, target, pointer)
        if now >= parse_rfc3339(statement.expires):
            raise UntrustedError(
                f"{target}: the signature of its pointer expired at {statement.expires}: is the store held back, or "
                "does nobody sign any more? `recsys-assets sign` renews it"
            )
        return statement

    def prove(self, store: ObjectStore, target: Target, pointer: bytes) -> Statement:
        """Return what was signed of a pointer, however old; `UntrustedError` if that does not prove it."""
        current = parse_stored_pointer(store, target, pointer, etag="")
        version, digest = version_of(current.updated_at), sha256(pointer)
        key = signature_key(target, version, digest)
        try:
            document = decode(store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data, SignedStatement, name=key)
        except NotFoundError:
            raise UntrustedError(
                f"{target}: its pointer of {current.pointer.updated_at} is not signed ({key} is not there): ship or "
                "roll back with [signing] set, or `recsys-assets sign --unsigned` once it is known to be right"
            ) from None
        except CorruptObjectError as error:
            raise UntrustedError(str(error)) from error
        text = document.signed.encode()
        self._check_signatures(target, text, document.signatures)
        statement = decode(text, Statement, name=key)
        said = (statement.tenant, statement.surface, statement.version, statement.pointer, statement.release)
        if said != (target.tenant, target.surface, version, digest, current.release_id):
            raise UntrustedError(f"{target}: {key} is the signature of another pointer: it proves nothing here")
        return statement

    def _check_signatures(self, target: Target, text: bytes, signatures: Mapping[str, str]) -> None:
        known = [name for name in signatures if name in self.keys]
        good = [name for name in known if _holds(self.keys[name], signatures[name], text)]
        if len(good) < self.threshold:
            raise UntrustedError(
                f"{target}: {len(good)} of {self.threshold} signatures of its pointer hold: signed by "
                f"{', '.join(sorted(signatures)) or 'nobody'}, believed are {', '.join(sorted(self.keys))}"
            )


def version_of(updated_at: datetime) -> int:
    """Return the version of a pointer as signatures count it: every move is later than all before it."""
    return (updated_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def key_id(key: "Ed25519PublicKey") -> str:
    """Return 16 hexadecimal digits that identify a public key."""
    return sha256(key.public_bytes_raw())[:16]


def read_signer(places: Sequence[str], *, valid_days: float, now: Clock = lambda: datetime.now(UTC)) -> Signer:
    """Return the signer with the private keys in `env:NAME` or `file:PATH`, each an ed25519 key in PEM.

    Raises `ConfigurationError` naming the place, never what stands there.
    """
    keys = [_read_private(place) for place in places]
    return Signer({key_id(key.public_key()): key for key in keys}, timedelta(days=valid_days), now)


def _read_private(place: str) -> "Ed25519PrivateKey":
    private, serialization = _ed25519().Ed25519PrivateKey, _serialization()
    try:
        key = serialization.load_pem_private_key(_text_at(place), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"signing: what stands at {place} is no private key in PEM without a password"
        ) from error
    if not isinstance(key, private):
        raise ConfigurationError(f"signing: the key at {place} is not of ed25519: openssl genpkey -algorithm ed25519")
    return key


def _read_public(place: str | Path) -> "Ed25519PublicKey":
    public, serialization = _ed25519().Ed25519PublicKey, _serialization()
    try:
        key = serialization.load_pem_public_key(_text_at(str(place)))
    except ValueError as error:
        raise ConfigurationError(f"what stands at {place} is no public key in PEM: openssl pkey -pubout") from error
    if not isinstance(key, public):
        raise ConfigurationError(f"the public key at {place} is not of ed25519")
    return key


def _text_at(place: str) -> bytes:
    """Return what stands in `env:NAME`, `file:PATH` or a path; `ConfigurationError` names the place."""
    if place.startswith(_ENVIRONMENT):
        name = place.removeprefix(_ENVIRONMENT)
        if name not in os.environ:
            raise ConfigurationError(f"signing: ${name} is not set: put a key in PEM there")
        return os.fsencode(os.environ[name])
    path = Path(place.removeprefix(_FILE))
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"signing: cannot read {path}: {error.strerror}; put a key in PEM there") from None


def _holds(key: "Ed25519PublicKey", signature: str, text: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - an extra

    try:
        key.verify(bytes.fromhex(signature), PURPOSE + text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError("signatures need cryptography: pip install 'recsys-assets[signing]'") from error
    return ed25519


def _serialization() -> Any:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - an extra

    return serialization


def sha256(data: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()
