"""Canonical days in the store: reads verified by the record, and commits by compare-and-swap, bytes before record."""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.events.erase_users import erase_from_events
from recsys_assets.events.event_files import decode_events, encode_events
from recsys_assets.events.events import Events
from recsys_assets.identity import Target
from recsys_assets.kinds.registry import KINDS
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode, find_readable, if_readable
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.fault_points import reach
from recsys_assets.release.forgotten_users import ForgottenUsers, read_forgotten_of
from recsys_assets.release.layout import canonical_key, canonical_next_key, canonical_record_key
from recsys_assets.retry import Pause, retry_conflicts, wait
from recsys_assets.storage.store import ObjectStore

MAX_DAY_BYTES = 4_000_000_000
_TRIES = 10
MAX_BYTES = 256_000_000  # larger days are not cached: the memory is needed to build kinds


class StoredDay(msgspec.Struct, frozen=True):
    """A canonical day as it was read: its record and its bytes, each with its etag, or None if missing.

    `record` is also None if it cannot be read or does not match the bytes: the day must be rebuilt.
    """

    record: CanonicalRecord | None = None
    record_etag: str | None = None
    data: bytes | None = None
    etag: str | None = None
    was_read: bool = True


NOT_READ: Final = StoredDay(was_read=False)
"""A day that was not read: if it exists, creating it raises a conflict."""


def read_stored_day(store: ObjectStore, target: Target, day: date) -> StoredDay:
    """Return a canonical day, after completing a commit that was interrupted between the bytes and the record."""
    key = canonical_record_key(target, day)
    try:
        stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
    except NotFoundError:
        return StoredDay()
    record = if_readable(lambda: decode(stored.data, CanonicalRecord, name=key))
    try:
        parquet = store.get(canonical_key(target, day), max_bytes=MAX_DAY_BYTES)
    except NotFoundError:
        return StoredDay(None, stored.etag)
    digest = hashlib.sha256(parquet.data).hexdigest()
    if record is not None and record.digest == digest:
        return StoredDay(record, stored.etag, parquet.data, parquet.etag)
    following = _find_next(store, target, day, digest)
    if following is None:
        return StoredDay(None, stored.etag, parquet.data, parquet.etag)
    etag = store.swap(key, encode(following), expected=stored.etag)
    store.delete(canonical_next_key(target, day, digest))
    return StoredDay(following, etag, parquet.data, parquet.etag)


def commit_day(
    store: ObjectStore, target: Target, day: date, *, over: StoredDay, data: bytes, record: CanonicalRecord
) -> None:
    """Replace a canonical day, which was read as `over`, by `data` with `record`.

    Raises `ConflictError` if another writer replaced it since: read the day again. An interrupted commit is completed
    by the next `read_stored_day`.
    """
    commit_bytes(store, target, day, over=over, data=data, record=record)
    commit_record(store, target, day, over=over, record=record)


def commit_bytes(
    store: ObjectStore, target: Target, day: date, *, over: StoredDay, data: bytes, record: CanonicalRecord
) -> None:
    """Write the bytes of a day, the first half of `commit_day`. Without a record, they are not part of any day yet."""
    if over.record_etag is not None:
        store.put(canonical_next_key(target, day, record.digest), encode(record))
    _write_bytes(store, canonical_key(target, day), over, data, record.digest)
    reach("canonical.after_bytes")


def commit_record(store: ObjectStore, target: Target, day: date, *, over: StoredDay, record: CanonicalRecord) -> None:
    """Write the record of a day whose bytes are written, the second half of `commit_day`."""
    key = canonical_record_key(target, day)
    if over.record_etag is None:
        store.create(key, encode(record))
        return
    store.swap(key, encode(record), expected=over.record_etag)
    store.delete(canonical_next_key(target, day, record.digest))


def is_same_day(record: CanonicalRecord | None, other: CanonicalRecord) -> bool:
    """Return whether two records have the same bytes, counts and inputs. Their gate results may differ."""
    return record is not None and with_results_of(record, other) == record


def with_results_of(before: CanonicalRecord, record: CanonicalRecord) -> CanonicalRecord:
    """Return a record with the gate results of the one before, which have its digest, until the gates are evaluated."""
    return msgspec.structs.replace(record, gates=before.gates, profile=before.profile, v=before.v)


def _write_bytes(store: ObjectStore, key: str, over: StoredDay, data: bytes, digest: str) -> None:
    """Replace the Parquet object that was read. Bytes without a record are not part of any day and are replaced.

    Raises `ConflictError` if bytes exist and `over` was not read, because the day may have a record.
    """
    if over.etag is not None:
        if over.data is None or hashlib.sha256(over.data).hexdigest() != digest:
            store.swap(key, data, expected=over.etag)
        return
    try:
        store.create(key, data)
    except ConflictError:
        if not over.was_read:
            raise
        left = store.get(key, max_bytes=MAX_DAY_BYTES)
        if hashlib.sha256(left.data).hexdigest() != digest:
            store.swap(key, data, expected=left.etag)


def erase_from_day(
    store: ObjectStore,
    target: Target,
    day: date,
    names: Collection[str] = (),
    *,
    dry_run: bool = False,
    pause: Pause = wait,
) -> int | None:
    """Erase all forgotten users, and those in `names`, from a canonical day, and return the number of erased events.

    The record stores the state of the list of forgotten users. Returns None if the day cannot be read and must be
    rebuilt. Raises `ConflictError` if other writers kept rewriting the day.
    """
    erase = partial(_erase_once, store, target, day, names, dry_run=dry_run)
    return retry_conflicts(erase, name=canonical_key(target, day), tries=_TRIES, pause=pause)


def _erase_once(store: ObjectStore, target: Target, day: date, names: Collection[str], *, dry_run: bool) -> int | None:
    over = read_stored_day(store, target, day)
    forgotten = read_forgotten_of(store, target)
    if over.record is None or over.data is None:
        return None if over.record_etag is not None else 0
    mark = forgotten.mark(day) or UNSET
    users = decode_events(over.data, ("user_id",)).ids["user_id"].to_list()
    hidden = {user for user in users if user in names or forgotten.hides(user, day)}
    if not hidden and (dry_run or over.record.erased == mark):
        return 0
    data, erased = over.data, 0
    if hidden:
        events = decode_events(over.data)
        left = erase_from_events(events, hidden.__contains__)
        erased, data = len(events.codes) - len(left.codes), encode_events(left)
    if not dry_run:
        record = _record_after_erasure(over.record, erased, data=data, mark=mark)
        commit_day(store, target, day, over=over, data=data, record=record)
    return erased


def _record_after_erasure(
    record: CanonicalRecord, erased: int, *, data: bytes, mark: str | UnsetType
) -> CanonicalRecord:
    """Return the record of a day from which `erased` events were erased, with `data` as the remaining bytes."""
    return msgspec.structs.replace(
        record,
        digest=hashlib.sha256(data).hexdigest(),
        size=len(data),
        rows=record.rows - erased,
        events=record.events - erased,
        erased=mark,
    )


def is_marked(record: CanonicalRecord, forgotten: ForgottenUsers, day: date) -> bool:
    """Return whether a day was written without all users who are forgotten at present."""
    return record.erased == (forgotten.mark(day) or UNSET)


def _find_next(store: ObjectStore, target: Target, day: date, digest: str) -> CanonicalRecord | None:
    record = find_readable(store, canonical_next_key(target, day, digest), CanonicalRecord)
    return record if record is not None and record.digest == digest else None


@dataclass(slots=True)
class RecentDay:
    """Cache of at most one day, up to `max_bytes`, with the columns that kernels read."""

    max_bytes: int = MAX_BYTES
    _cached: tuple[str, Events] | None = None

    def keep(self, digest: str, events: Events) -> None:
        """Cache a day instead of the previous one, if it is small enough."""
        read = events.only({column for kind in KINDS.values() for column in kind.event_columns})
        self._cached = (digest, read) if read.size <= self.max_bytes else None

    def find(self, digest: str, columns: Iterable[str]) -> Events | None:
        """Return these columns of the day with this digest, if it is cached."""
        if self._cached is None or self._cached[0] != digest or not self._cached[1].has_columns(columns):
            return None
        return self._cached[1].only(columns)

    def forget(self) -> None:
        """Empty the cache: its memory is needed for another day."""
        self._cached = None


RECENT = RecentDay()


def read_events(
    store: ObjectStore,
    target: Target,
    day: date,
    record: CanonicalRecord,
    *,
    columns: tuple[str, ...] | None = None,
) -> Events:
    """Return a canonical day, or some of its columns, verified by the digest in its record.

    Columns of the day that this process judged last are cached, and then nothing is read. Raises as `read_day` does.
    """
    cached = None if columns is None else RECENT.find(record.digest, columns)
    return cached or read_columns(store, target, day, record, columns)


def read_columns(
    store: ObjectStore, target: Target, day: date, record: CanonicalRecord, columns: tuple[str, ...] | None = None
) -> Events:
    """Return some or all columns of a canonical day, decoded from verified bytes. Raises as `read_day` does."""
    return decode_events(read_day(store, target, day, record), columns)


def read_day(store: ObjectStore, target: Target, day: date, record: CanonicalRecord) -> bytes:
    """Return the stored bytes of a canonical day, verified by the digest in its record.

    On a mismatch, raises `ConflictError` if the day was rebuilt since the record was read, else `CorruptObjectError`.
    """
    key = canonical_key(target, day)
    try:
        data = store.get(key, max_bytes=record.size).data
    except CorruptObjectError:  # larger than its record says
        data = b""
    if hashlib.sha256(data).hexdigest() == record.digest:
        return data
    now = read_stored_day(store, target, day).record
    if now is not None and now.digest != record.digest:
        raise ConflictError(f"{key} was rebuilt in the meantime: build again")
    raise CorruptObjectError(f"{key} is not what its record says: build the day again")
