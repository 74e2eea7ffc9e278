"""Signed pointers: writers sign each pointer, and readers with a public key accept only signed pointers.

As in TUF, each signature contains the target, a version that only grows, and an expiry. Its key is derived from the
pointer's bytes, and it is written before the pointer moves: a reader of a pointer always finds its signature, whichever
of two publishers won.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from recsys_assets.errors import (
    ConfigurationError,
    CorruptObjectError,
    NotFoundError,
    UntrustedError,
)
from recsys_assets.identity import Target, parse_rfc3339, rfc3339, utc_now
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode
from recsys_assets.release.documents import FORMAT, Record
from recsys_assets.release.journal import Clock
from recsys_assets.release.layout import release_key, signature_key
from recsys_assets.release.pointer import parse_stored_pointer
from recsys_assets.storage.store import ObjectStore

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PURPOSE: Final = (
    b"recsys-assets pointer signature 1\n"  # domain separation: signatures made for another purpose are invalid here
)
_ENVIRONMENT, _FILE = "env:", "file:"


class Statement(Record, frozen=True):
    """Signed statement about a pointer: its target, digest, release and record, and the validity of the signature."""

    tenant: str
    surface: str
    version: int  # microseconds of the pointer's `updated_at`, which grows with every move
    pointer: str  # SHA-256 of the pointer's bytes, which contain the content hash of every artifact
    release: str
    record: str | None  # SHA-256 of the release record, None if there was none
    signed_at: str
    expires: str
    v: int = FORMAT


class SignedStatement(Record, frozen=True):
    """The signed bytes of a statement, and its signatures in hex by key id."""

    signed: str
    signatures: Mapping[str, str]
    v: int = FORMAT


@dataclass(frozen=True, slots=True)
class Signer:
    """Private keys, all of which sign each pointer, and the validity of a signature."""

    keys: Mapping[str, "Ed25519PrivateKey"] = field(repr=False)
    valid: timedelta
    now: Clock = utc_now

    @property
    def trust(self) -> "Trust":
        """Trust in the public keys, with a threshold of 1."""
        return Trust({name: key.public_key() for name, key in self.keys.items()})

    def sign(self, store: ObjectStore, target: Target, pointer: bytes) -> tuple[str, bytes]:
        """Return the storage key and the bytes of a pointer's signature. Reads the release record for its digest."""
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


class Trust(msgspec.Struct, frozen=True):
    """Public keys that a reader trusts, by id, and the number of them that must have signed."""

    keys: Mapping[str, "Ed25519PublicKey"]
    threshold: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= len(self.keys):
            raise ConfigurationError(
                f"threshold is {self.threshold} of {len(self.keys)} public keys: expected 1 to all"
            )

    @classmethod
    def of(cls, *places: str | Path, threshold: int = 1) -> "Trust":
        """Return the trust in public keys, each a PEM file, `env:NAME` or `file:PATH`.

        Raises `ConfigurationError` for an unreadable key or an impossible threshold.
        """
        keys = [_read_public(location) for location in places]
        return cls({key_id(key): key for key in keys}, threshold)

    def check(self, store: ObjectStore, target: Target, pointer: bytes, *, now: datetime) -> Statement:
        """Return the statement of a pointer. Raises `UntrustedError` if it is unsigned, of other bytes, or expired."""
        statement = self.prove(store, target, pointer)
        if now >= parse_rfc3339(statement.expires):
            raise UntrustedError(
                f"{target}: the signature of its pointer expired at {statement.expires}: an old copy of the store "
                "may be served, or signing has stopped. Renew it by `recsys-assets sign`"
            )
        return statement

    def prove(self, store: ObjectStore, target: Target, pointer: bytes) -> Statement:
        """Return the statement of a pointer, even if expired. Raises `UntrustedError` without a valid signature."""
        current = parse_stored_pointer(store, target, pointer, etag="")
        version, digest = version_of(current.updated_at), sha256(pointer)
        key = signature_key(target, version, digest)
        try:
            document = decode(store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data, SignedStatement, name=key)
        except NotFoundError:
            raise UntrustedError(
                f"{target}: its pointer of {current.pointer.updated_at} is not signed ({key} is missing): ship or roll "
                "back with [signing] set, or check the pointer and run `recsys-assets sign --unsigned`"
            ) from None
        except CorruptObjectError as error:
            raise UntrustedError(str(error)) from error
        text = document.signed.encode()
        self._check_signatures(target, text, document.signatures)
        statement = decode(text, Statement, name=key)
        signed = (statement.tenant, statement.surface, statement.version, statement.pointer, statement.release)
        if signed != (target.tenant, target.surface, version, digest, current.release_id):
            raise UntrustedError(f"{target}: {key} is the signature of another pointer")
        return statement

    def _check_signatures(self, target: Target, text: bytes, signatures: Mapping[str, str]) -> None:
        trusted = [name for name in signatures if name in self.keys]
        valid = [name for name in trusted if _is_valid(self.keys[name], signatures[name], text)]
        if len(valid) < self.threshold:
            raise UntrustedError(
                f"{target}: {len(valid)} of {self.threshold} signatures of its pointer are valid: signed by "
                f"{', '.join(sorted(signatures)) or 'no key'}, trusted are {', '.join(sorted(self.keys))}"
            )


def version_of(updated_at: datetime) -> int:
    """Return the version of a pointer in signatures: microseconds since 1970, which grow with every move."""
    return (updated_at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def key_id(key: "Ed25519PublicKey") -> str:
    """Return 16 hexadecimal digits that identify a public key."""
    return sha256(key.public_bytes_raw())[:16]


def read_signer(places: Sequence[str], *, valid_days: float, now: Clock = utc_now) -> Signer:
    """Return the signer with the private keys in `env:NAME` or `file:PATH`, each an ed25519 key in PEM.

    Raises `ConfigurationError` with the location of the key, never its content.
    """
    keys = [_read_private(location) for location in places]
    return Signer({key_id(key.public_key()): key for key in keys}, timedelta(days=valid_days), now)


def _read_private(location: str) -> "Ed25519PrivateKey":
    private, serialization = _ed25519().Ed25519PrivateKey, _serialization()
    try:
        key = serialization.load_pem_private_key(_text_at(location), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"signing: {location} is not a private key in PEM without a password") from error
    if not isinstance(key, private):
        raise ConfigurationError(
            f"signing: the key at {location} is not an ed25519 key: openssl genpkey -algorithm ed25519"
        )
    return key


def _read_public(location: str | Path) -> "Ed25519PublicKey":
    public, serialization = _ed25519().Ed25519PublicKey, _serialization()
    try:
        key = serialization.load_pem_public_key(_text_at(str(location)))
    except ValueError as error:
        raise ConfigurationError(f"{location} is not a public key in PEM: openssl pkey -pubout") from error
    if not isinstance(key, public):
        raise ConfigurationError(f"the public key at {location} is not an ed25519 key")
    return key


def _text_at(location: str) -> bytes:
    """Return the content of `env:NAME`, `file:PATH` or a path. Raises `ConfigurationError` if it is missing."""
    if location.startswith(_ENVIRONMENT):
        name = location.removeprefix(_ENVIRONMENT)
        if name not in os.environ:
            raise ConfigurationError(f"signing: ${name} is not set: put a key in PEM there")
        return os.fsencode(os.environ[name])
    path = Path(location.removeprefix(_FILE))
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"signing: cannot read {path}: {error.strerror}; put a key in PEM there") from None


def _is_valid(key: "Ed25519PublicKey", signature: str, text: bytes) -> bool:
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
