"""Keyed hashes of user ids, which replace the ids in artifacts where `raw.user_key` is set."""

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recsys_assets.errors import ConfigurationError, InputError
from recsys_assets.ingest.white_space import trim

MIN_KEY_BYTES: Final = 32
_ENVIRONMENT, _FILE = "env:", "file:"


@dataclass(frozen=True, slots=True, repr=False)
class UserKey:
    """A secret of at least `MIN_KEY_BYTES` bytes, never shown in messages.

    Raises `ConfigurationError` for a shorter one.
    """

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_KEY_BYTES:
            raise ConfigurationError(
                f"the user key has {len(self.secret)} bytes, expected at least {MIN_KEY_BYTES}: "
                "make one by `openssl rand -hex 32`"
            )

    @property
    def id(self) -> str:
        """16 hexadecimal digits that identify this key in records and reveal nothing about it."""
        return hashlib.sha256(b"recsys-assets user key\0" + self.secret).hexdigest()[:16]

    def hash(self, user_id: str) -> str:
        """Return the lower-case hex HMAC-SHA-256 of an id that is already trimmed, as ingest trims it."""
        return hmac.digest(self.secret, user_id.encode(), "sha256").hex()


def read_user_key(location: str) -> UserKey:
    """Return the key in `env:NAME`, an environment variable, or `file:PATH`, without the white space around it.

    The text itself is the key: hexadecimal digits are not decoded. Raises `ConfigurationError` if there is no key or it
    is too short. The message names the location, never its content.
    """
    secret = _secret(location).strip()
    try:
        return UserKey(secret)
    except ConfigurationError as error:
        raise ConfigurationError(f"{location}: {error}") from None


def hash_user_id(user_id: str, key: UserKey) -> str:
    """Return the key by which user-keyed artifacts are looked up in place of a user's id.

    The id, as requests carry it, is trimmed as ingest trims it. Raises `InputError` for a blank id: artifacts hold
    nothing about anonymous users.
    """
    trimmed = trim(user_id)
    if not trimmed:
        raise InputError("user_id is blank: there is nothing to look up for an anonymous user")
    return key.hash(trimmed)


def _secret(location: str) -> bytes:
    if location.startswith(_ENVIRONMENT):
        name = location.removeprefix(_ENVIRONMENT)
        text = os.environ.get(name)
        if text is None:
            raise ConfigurationError(f"raw.user_key: ${name} is not set: put the key there, the one of the days before")
        return os.fsencode(text)
    if location.startswith(_FILE):
        path = Path(location.removeprefix(_FILE))
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"raw.user_key: cannot read {path}: {error.strerror}; put the key there") from None
    raise ConfigurationError("a user key is named by env:NAME or file:PATH, and never written out")
