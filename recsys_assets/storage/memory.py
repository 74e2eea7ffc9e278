"""Store in memory that fails on request, for tests of code that uses a store, and for demonstrations."""

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from recsys_assets.storage.store import Listed, StoredObject, check_key, check_prefix


class FaultMode(StrEnum):
    """Kind of failure of a call."""

    FAIL = "fail"  # no reply, nothing applied
    LOSE_REPLY = "lose_reply"  # applied, then no reply
    LOSE_REQUEST = "lose_request"  # not applied, and the caller cannot know
    DENY = "deny"  # no permission
    CUT = "cut"  # a listing ends early without an error
    IGNORE = "ignore"  # the condition of a write is ignored
    HOLD = "hold"  # A delete gets no reply, and is applied when `deliver` is called, whatever object exists then.


class Fault(msgspec.Struct, frozen=True):
    """Failure of the `nth` call of a verb under a prefix, counted from `inject`, and of the next `times - 1` calls."""

    verb: str
    how: FaultMode
    nth: int = 1
    times: int = 1
    prefix: str = ""


@dataclass(slots=True)
class _Armed:
    fault: Fault
    seen: int = 0

    def strikes(self, verb: str, key: str) -> bool:
        if verb != self.fault.verb or not key.startswith(self.fault.prefix):
            return False
        self.seen += 1
        return self.fault.nth <= self.seen < self.fault.nth + self.fault.times


@dataclass(slots=True)
class MemoryStore:
    """Objects in a dictionary. The etag is a hash of the content, as on S3, so that equal bytes have equal etags.

    `on_call(verb, key)` runs before every call and may use the store itself, so that tests can interleave two writers.
    """

    name: str = "store"
    clock: Callable[[], float] = time.time
    on_call: Callable[[str, str], None] | None = None
    objects: dict[str, tuple[bytes, float]] = field(default_factory=dict[str, tuple[bytes, float]])
    _armed: list[_Armed] = field(default_factory=list[_Armed])
    _held: list[str] = field(default_factory=list[str])
    _lock: threading.RLock = field(default_factory=threading.RLock)
    public_root: str | None = None

    @property
    def root_uri(self) -> str:
        """`memory://` and the store's name."""
        return f"memory://{self.name}"

    @property
    def uri_roots(self) -> tuple[str, ...]:
        """The public root, if there is one, then `root_uri`."""
        return (self.root_uri,) if self.public_root is None else (self.public_root, self.root_uri)

    def inject(self, *faults: Fault) -> None:
        """Make calls fail from now on."""
        self._armed.extend(_Armed(fault) for fault in faults)

    def heal(self) -> None:
        """Remove all faults."""
        self._armed.clear()

    def deliver(self) -> tuple[str, ...]:
        """Apply every held delete, as a network eventually does. Returns their keys."""
        delivered, self._held = tuple(self._held), []
        for key in delivered:
            self.objects.pop(key, None)
        return delivered

    def get(self, key: str, *, max_bytes: int) -> StoredObject:
        """Return the object."""
        with self._call("get", key):
            return self._read(key, max_bytes)

    def get_if_changed(self, key: str, *, etag: str, max_bytes: int) -> StoredObject | None:
        """Return the object, or None if its etag is still `etag`. Faults of `get` apply."""
        with self._call("get", key):
            return None if _etag(self._there(key)) == etag else self._read(key, max_bytes)

    def stat(self, key: str) -> Listed | None:
        """Return size and time of the last write of the object, or None if it is absent."""
        with self._call("stat", key):
            stored = self.objects.get(key)
            return Listed(key, len(stored[0]), stored[1]) if stored else None

    def create(self, key: str, data: bytes) -> str:
        """Write a new object. Raises `ConflictError` if the key exists."""
        with self._call("create", key) as ignore:
            if key in self.objects and not ignore:
                raise ConflictError(f"{key} exists already")
            return self._write(key, data)

    def swap(self, key: str, data: bytes, *, expected: str) -> str:
        """Replace the object that was read with etag `expected`. Raises `ConflictError` if it has changed."""
        with self._call("swap", key) as ignore:
            stored = self.objects.get(key)
            if not ignore and (stored is None or _etag(stored[0]) != expected):
                raise ConflictError(f"{key} is another object than {expected} by now")
            return self._write(key, data)

    def put(self, key: str, data: bytes) -> str:
        """Write the object unconditionally."""
        with self._call("put", key):
            return self._write(key, data)

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects below `prefix`, by key."""
        check_prefix(prefix)
        with self._call("list", prefix) as cut:
            keys = sorted(key for key in self.objects if key.startswith(prefix))
            shown = keys[: len(keys) // 2] if cut else keys
            listed = [Listed(key, len(self.objects[key][0]), self.objects[key][1]) for key in shown]
        yield from listed

    def delete(self, key: str) -> None:
        """Remove the object. An absent object is not an error."""
        with self._call("delete", key):
            self.objects.pop(key, None)

    def delete_unchanged(self, key: str, *, expected: str) -> None:
        """Remove the object that was read with etag `expected`. Raises `ConflictError` if it has changed."""
        with self._call("delete_unchanged", key) as ignore:
            stored = self.objects.get(key)
            if not ignore and (stored is None or _etag(stored[0]) != expected):
                raise ConflictError(f"{key} is another object than {expected} by now")
            self.objects.pop(key, None)

    def _read(self, key: str, max_bytes: int) -> StoredObject:
        data = self._there(key)
        if len(data) > max_bytes:
            raise CorruptObjectError(f"{key} has {len(data)} bytes, expected at most {max_bytes}")
        return StoredObject(data, _etag(data))

    def _there(self, key: str) -> bytes:
        try:
            return self.objects[key][0]
        except KeyError as error:
            raise NotFoundError(f"{key} is not in the store") from error

    def _write(self, key: str, data: bytes) -> str:
        self.objects[key] = (bytes(data), self.clock())
        return _etag(data)

    @contextmanager
    def _call(self, verb: str, key: str) -> Generator[bool]:
        """Run one call with its fault. Yields whether the call has to ignore its condition or cut its list."""
        if verb != "list":
            check_key(key)
        if self.on_call is not None:
            self.on_call(verb, key)
        with self._lock:
            how = next((a.fault.how for a in list(self._armed) if a.strikes(verb, key)), None)
            if how is FaultMode.HOLD:
                self._held.append(key)
            _before(how, verb, key)
            yield how in {FaultMode.CUT, FaultMode.IGNORE}
            if how is FaultMode.LOSE_REPLY:
                raise _silence(verb, key)


def _before(how: FaultMode | None, verb: str, key: str) -> None:
    if how is FaultMode.FAIL:
        raise StoreUnavailableError(f"{key}: {verb} got no answer (as requested): nothing has changed; try again")
    if how is FaultMode.DENY:
        raise ConfigurationError(f"{key}: {verb} is not permitted (as requested): give this user permission")
    if how in {FaultMode.LOSE_REQUEST, FaultMode.HOLD}:
        raise _silence(verb, key)


def _silence(verb: str, key: str) -> StoreUnavailableError:
    kind = OutcomeUnknownError if verb in {"create", "swap", "delete_unchanged"} else StoreUnavailableError
    return kind(f"{key}: {verb} got no reply (as requested): it may have been applied")


def _etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
