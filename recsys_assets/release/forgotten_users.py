"""Users to forget, stored only as keyed hashes, so that no build and no concurrent ship brings one back."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from secrets import token_hex

from msgspec import UNSET

from recsys_assets.errors import ConfigurationError, ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, create_document, decode, encode, read_document
from recsys_assets.release.documents import ForgottenUser, ForgottenUsersKey
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import FORGOTTEN, forgotten_key
from recsys_assets.retry import retry_conflicts
from recsys_assets.storage.store import ObjectStore

_KEY = "key"
_NOTE = re.compile(r"([^/]+)/([^/]+)/([0-9a-f]{64}|key)\.json")
_MARK_DIGITS = 32
_TRIES = 10


@dataclass(frozen=True, slots=True)
class ForgottenUsers:
    """Users of one target whose events are dropped: hash of the user -> the last dropped day.

    `fault`: the secret cannot be read, so no user can be recognised and the target must not be built.
    """

    key: bytes = field(default=b"", repr=False)
    through: Mapping[str, date] = field(default_factory=dict[str, date])
    fault: str | None = None

    def __bool__(self) -> bool:
        """Return True if any user is to be forgotten."""
        return bool(self.through)

    def hides(self, user: str, day: date) -> bool:
        """Return True if a user's events of a day are dropped. Later events come from a user who returned."""
        last = self.through.get(_hash(self.key, user))
        return last is not None and day <= last

    def mark(self, day: date) -> str | None:
        """Return a hash of the set of users hidden on a day, or None if there are none.

        A canonical record stores this hash. A record with another hash may contain a user forgotten since.
        """
        names = sorted(name for name, last in self.through.items() if day <= last)
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:_MARK_DIGITS] if names else None


def read_forgotten(store: ObjectStore) -> dict[tuple[str, str], ForgottenUsers]:
    """Return the users to forget by (tenant, surface). Costs one listing if there are none.

    An unreadable note hides its user on every day. An unreadable secret is the `fault` of its target. Other objects are
    ignored here. `verify` lists them as strays.
    """
    return _read(store, FORGOTTEN)


def read_forgotten_of(store: ObjectStore, target: Target) -> ForgottenUsers:
    """Return the users of one target to forget. Raises `CorruptObjectError` if the target's secret cannot be read."""
    by_target = _read(store, f"{FORGOTTEN}{target.tenant}/{target.surface}/")
    forgotten = by_target.get((target.tenant, target.surface), ForgottenUsers())
    if forgotten.fault is not None:
        raise CorruptObjectError(forgotten.fault)
    return forgotten


def is_anybody_forgotten(store: ObjectStore, target: Target) -> bool:
    """Return True if a user of the target was ever forgotten. Makes one request, because publishing avoids listings."""
    return store.stat(forgotten_key(target, _KEY)) is not None


def _read(store: ObjectStore, prefix: str) -> dict[tuple[str, str], ForgottenUsers]:
    names: dict[tuple[str, str], list[str]] = {}
    for item in store.list(prefix):
        note = _NOTE.fullmatch(item.key.removeprefix(FORGOTTEN))
        if note is not None:
            names.setdefault((note[1], note[2]), []).append(note[3])
    return {
        owner: _of_target(store, Target(*owner), [name for name in of_target if name != _KEY])
        for owner, of_target in names.items()
    }


def forgotten_since(store: ObjectStore, target: Target, instant: str) -> int:
    """Return the number of users of a target forgotten after an RFC 3339 timestamp. Unreadable notes count.

    Artifacts built before may contain these users. The hashes do not show which artifact contains which user.
    """
    prefix = f"{FORGOTTEN}{target.tenant}/{target.surface}/"
    notes = (item.key for item in store.list(prefix) if _NOTE.fullmatch(item.key.removeprefix(FORGOTTEN)))
    keys = [key for key in notes if key != forgotten_key(target, _KEY)]
    return sum(1 for key in keys if _noted_after(store, key, parse_rfc3339(instant)))


def _noted_after(store: ObjectStore, key: str, instant: datetime) -> bool:
    try:
        note = read_document(store, key, ForgottenUser)
        return note.pseudonym is not True and parse_rfc3339(note.at) > instant
    except (CorruptObjectError, ConfigurationError):
        return True
    except NotFoundError:
        return False


def add_forgotten_user(
    store: ObjectStore,
    target: Target,
    user: str,
    *,
    through: date,
    by: Actor,
    now: datetime,
    pseudonym: bool = False,
) -> str:
    """Note that a user's events up to a day are dropped, and return the name of the note. Idempotent.

    Only a keyed hash of the id is stored. The secret is in the same store. The hash hides an id that cannot be guessed
    from readers of the note, not from readers of the store. With `pseudonym`, `user` is the pseudonym of another note's
    id. Raises `ConflictError` if other writers kept changing the note, `CorruptObjectError` for an unreadable secret.
    """
    name = _hash(_read_key(store, target), user)
    note = ForgottenUser(
        through=through.isoformat(),
        at=rfc3339(now),
        actor=by.name,
        reason=by.reason,
        pseudonym=True if pseudonym else UNSET,
    )
    key = forgotten_key(target, name)
    lost = (ConflictError, NotFoundError)
    retry_conflicts(lambda: _write_note(store, key, note, through), name=key, tries=_TRIES, lost=lost)
    return name


def _write_note(store: ObjectStore, key: str, note: ForgottenUser, through: date) -> None:
    try:
        create_document(store, key, note)
    except ConflictError:
        stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
        if _through(stored.data, name=key) < through or not _is_readable(stored.data, name=key):
            store.swap(key, encode(note), expected=stored.etag)


def _of_target(store: ObjectStore, target: Target, names: list[str]) -> ForgottenUsers:
    if not names:
        return ForgottenUsers()
    try:
        key = bytes.fromhex(read_document(store, forgotten_key(target, _KEY), ForgottenUsersKey).key)
    except (NotFoundError, CorruptObjectError, ValueError) as error:
        fault = (
            f"{forgotten_key(target, _KEY)}, the secret for the forgotten users of {target}, cannot be read: {error}"
        )
        return ForgottenUsers(fault=f"{fault}; restore it from a backup; the target is not built without it")
    last_days: dict[str, date] = {}
    for name in names:
        with suppress(NotFoundError):
            note = forgotten_key(target, name)
            last_days[name] = _through(store.get(note, max_bytes=MAX_DOCUMENT_BYTES).data, name=note)
    return ForgottenUsers(key, last_days)


def _through(data: bytes, *, name: str) -> date:
    """Return the last day that a note hides. `date.max` for an unreadable note, so that its user stays hidden."""
    try:
        return date.fromisoformat(decode(data, ForgottenUser, name=name).through)
    except (CorruptObjectError, ValueError):
        return date.max


def _is_readable(data: bytes, *, name: str) -> bool:
    try:
        date.fromisoformat(decode(data, ForgottenUser, name=name).through)
    except (CorruptObjectError, ValueError):
        return False
    return True


def note_faults(store: ObjectStore, target: Target) -> tuple[str, ...]:
    """Return the unreadable notes of a target, each as a sentence with the remedy."""
    prefix = f"{FORGOTTEN}{target.tenant}/{target.surface}/"
    faults: list[str] = []
    for item in store.list(prefix):
        note = _NOTE.fullmatch(item.key.removeprefix(FORGOTTEN))
        if note is None or note[3] == _KEY:
            continue
        with suppress(NotFoundError):
            if not _is_readable(store.get(item.key, max_bytes=MAX_DOCUMENT_BYTES).data, name=item.key):
                faults.append(f"{item.key} cannot be read, so it hides its user on every day: forget that user again")
    return tuple(faults)


def _read_key(store: ObjectStore, target: Target) -> bytes:
    """Return the target's secret. Creates it if it does not exist."""
    key = forgotten_key(target, _KEY)
    if store.stat(key) is None:
        with suppress(ConflictError):
            create_document(store, key, ForgottenUsersKey(key=token_hex(32)))
    return bytes.fromhex(read_document(store, key, ForgottenUsersKey).key)


def _hash(key: bytes, user: str) -> str:
    return hmac.digest(key, user.encode(), "sha256").hex()
