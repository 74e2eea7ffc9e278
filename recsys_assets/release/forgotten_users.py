"""Users who asked to be forgotten: known by a keyed hash alone, so that a rebuild does not bring them back."""

import hmac
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from secrets import token_hex

from recsys_assets.errors import ConfigurationError, ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release.document_encoding import create_document, encode, read_document
from recsys_assets.release.documents import ForgottenUser, ForgottenUsersKey
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import FORGOTTEN, forgotten_key
from recsys_assets.storage.store import ObjectStore

_KEY = "key"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Whose events of which days are dropped of one target: hash of the user -> the last day."""

    key: bytes = b""
    through: Mapping[str, date] = field(default_factory=dict[str, date])

    def __bool__(self) -> bool:
        """Return whether anybody is to be forgotten."""
        return bool(self.through)

    def hides(self, user: str, day: date) -> bool:
        """Return whether a user's events of a day are to be dropped; later ones were sent by somebody who came back."""
        last = self.through.get(_hash(self.key, user))
        return last is not None and day <= last


def read_forgotten(store: ObjectStore) -> dict[tuple[str, str], Forgotten]:
    """Return who is to be forgotten, by tenant and surface: one listing, and nothing more where nobody is.

    Raises `CorruptObjectError` for an entry that cannot be read: nothing is built that might bring somebody back.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for item in store.list(FORGOTTEN):
        tenant, surface, name = item.key.removeprefix(FORGOTTEN).split("/")
        found.setdefault((tenant, surface), []).append(name.removesuffix(".json"))
    return {
        place: _of_target(store, Target(*place), [name for name in names if name != _KEY])
        for place, names in found.items()
    }


def forgotten_since(store: ObjectStore, target: Target, instant: str) -> int:
    """Return how many users of a target were forgotten after an RFC 3339 instant; a note that cannot be read counts.

    What was built before may hold them: the hashes do not show which artifact names whom.
    """
    prefix = f"{FORGOTTEN}{target.tenant}/{target.surface}/"
    keys = [item.key for item in store.list(prefix) if item.key != forgotten_key(target, _KEY)]
    return sum(1 for key in keys if _noted_after(store, key, parse_rfc3339(instant)))


def _noted_after(store: ObjectStore, key: str, instant: datetime) -> bool:
    try:
        return parse_rfc3339(read_document(store, key, ForgottenUser).at) > instant
    except (CorruptObjectError, ConfigurationError):
        return True
    except NotFoundError:
        return False


def remember(store: ObjectStore, target: Target, user: str, *, through: date, by: Actor, now: datetime) -> str:
    """Note that a user's events up to a day are to be dropped, and return the name of the note; noted once is enough.

    Only a hash of the id is kept, keyed by a secret of this store: it hides an id that cannot be guessed from whoever
    reads the note, not from whoever reads the store.
    """
    name = _hash(_read_key(store, target), user)
    note = ForgottenUser(through=through.isoformat(), at=rfc3339(now), actor=by.name, reason=by.reason)
    try:
        create_document(store, forgotten_key(target, name), note)
    except ConflictError:
        if _through(store, target, name) < through:
            store.put(forgotten_key(target, name), encode(note))
    return name


def _of_target(store: ObjectStore, target: Target, names: list[str]) -> Forgotten:
    if not names:
        return Forgotten()
    return Forgotten(_read_key(store, target), {name: _through(store, target, name) for name in names})


def _through(store: ObjectStore, target: Target, name: str) -> date:
    key = forgotten_key(target, name)
    try:
        return date.fromisoformat(read_document(store, key, ForgottenUser).through)
    except ValueError as error:
        raise CorruptObjectError(f"{key} names no day: {error}; forget that user again") from error


def _read_key(store: ObjectStore, target: Target) -> bytes:
    """Return the target's key; the first who asks makes it."""
    key = forgotten_key(target, _KEY)
    if store.stat(key) is None:
        with suppress(ConflictError):
            create_document(store, key, ForgottenUsersKey(key=token_hex(32)))
    return bytes.fromhex(read_document(store, key, ForgottenUsersKey).key)


def _hash(key: bytes, user: str) -> str:
    return hmac.digest(key, user.encode(), "sha256").hex()
