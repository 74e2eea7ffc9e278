"""Reading of canonical days: bytes proven by their record, and the day that was judged last kept for its kernels.

A run judges a day and then builds up to four kinds of it: so it is decoded once, not five times. Days are known by
their digest, and equal digests are equal bytes: what is kept never differs from what the store would give.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from recsys_assets.errors import (
    ConflictError,
    CorruptObjectError,
)
from recsys_assets.events.events import Events
from recsys_assets.events.parquet import decode_events
from recsys_assets.identity import Target
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.canonical_commit import read_stored_day
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_key
from recsys_assets.storage.store import ObjectStore

MAX_BYTES = 256_000_000  # a larger day is read again each time: its memory is needed for the work itself


@dataclass(slots=True)
class RecentDay:
    """At most one day, of at most `max_bytes`, in the columns that kernels read."""

    max_bytes: int = MAX_BYTES
    _kept: tuple[str, Events] | None = None

    def keep(self, digest: str, events: Events) -> None:
        """Keep a day in place of the one before, if it is small enough."""
        read = events.only({column for kind in KINDS.values() for column in kind.event_columns})
        self._kept = (digest, read) if read.size <= self.max_bytes else None

    def find(self, digest: str, columns: Iterable[str]) -> Events | None:
        """Return these columns of the day with this digest, if it is the one that is kept."""
        if self._kept is None or self._kept[0] != digest or not self._kept[1].holds(columns):
            return None
        return self._kept[1].only(columns)

    def forget(self) -> None:
        """Let go of what is kept: its memory is needed for another day."""
        self._kept = None


RECENT = RecentDay()


def read_events(
    store: ObjectStore,
    target: Target,
    day: date,
    record: CanonicalRecord,
    *,
    columns: tuple[str, ...] | None = None,
) -> Events:
    """Return a canonical day, or some of its columns, if the stored bytes are those of its record.

    Columns of the day that this process judged last are cached, and nothing is read.
    """
    found = None if columns is None else RECENT.find(record.digest, columns)
    return found or read_columns(store, target, day, record, columns)


def read_columns(
    store: ObjectStore, target: Target, day: date, record: CanonicalRecord, columns: tuple[str, ...] | None = None
) -> Events:
    """Return some columns of a canonical day, or all, decoded from proven bytes."""
    return decode_events(read_day(store, target, day, record), columns)


def read_day(store: ObjectStore, target: Target, day: date, record: CanonicalRecord) -> bytes:
    """Return the stored bytes of a canonical day if they are those of its record.

    Raises `ConflictError` if the day was rebuilt since the record was read, else `CorruptObjectError`.
    """
    key = canonical_key(target, day)
    try:
        data = store.get(key, max_bytes=record.size).data
    except CorruptObjectError:  # larger
        data = b""
    if hashlib.sha256(data).hexdigest() == record.digest:
        return data
    now = read_stored_day(store, target, day).record
    if now is not None and now.digest != record.digest:
        raise ConflictError(f"{key} was rebuilt meanwhile: build again")
    raise CorruptObjectError(f"{key} is not what its record says: build the day again")
