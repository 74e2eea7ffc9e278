"""Tallies of a window's days: read from the store, built for days without one, deleted once no window needs them."""

from collections.abc import Mapping
from datetime import date

from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.events.events import Events
from recsys_assets.identity import Target
from recsys_assets.kinds.registry import Kind
from recsys_assets.kinds.tallies import MAX_TALLY_BYTES, decode_tally, encode_tally, tally_address, tally_day
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import tally_key, tally_prefix
from recsys_assets.storage.store import ObjectStore, overlapped


def read_tallies(
    store: ObjectStore, target: Target, kind: Kind, records: Mapping[date, CanonicalRecord]
) -> list[Events]:
    """Return the tally of each day, oldest first. A missing one is made of the day's events and stored.

    The key of a tally contains the digest of its canonical day, its columns and the version of its code, so a tally of
    other events or older code is never read. A damaged tally is rebuilt. The kind's tallies of the same days under
    another key, and of days that have left the window, are deleted.
    """
    keys = {day: _key(target, kind, day, record) for day, record in records.items()}
    days = sorted(records)
    with overlapped(store) as side:
        reads = [side.start(_find_tally, store, keys[day]) for day in days]
        stored = [(day, result()) for day, result in zip(days, reads, strict=True)]
    tallies = [_make_tally(store, target, kind, day, records[day], keys[day]) if t is None else t for day, t in stored]
    _delete_unused(store, target, kind, keys)
    return tallies


def _key(target: Target, kind: Kind, day: date, record: CanonicalRecord) -> str:
    return tally_key(target, kind.name, day, tally_address(record.digest, kind.event_columns))


def _find_tally(store: ObjectStore, key: str) -> Events | None:
    try:
        return decode_tally(store.get(key, max_bytes=MAX_TALLY_BYTES).data)
    except (NotFoundError, CorruptObjectError):
        return None


def _make_tally(store: ObjectStore, target: Target, kind: Kind, day: date, record: CanonicalRecord, key: str) -> Events:
    """Make and store a day's tally. One day at a time: its events need far more memory than their tally."""
    tally = tally_day(read_events(store, target, day, record, columns=kind.event_columns), kind.event_columns)
    store.put(key, encode_tally(tally))
    return tally


def _delete_unused(store: ObjectStore, target: Target, kind: Kind, keys: Mapping[date, str]) -> None:
    """Delete tallies that this window does not use. Those of later days belong to windows that were built already."""
    prefix, last, used_keys = tally_prefix(target, kind.name), max(keys), set(keys.values())
    for item in store.list(prefix):
        if item.key not in used_keys and item.key < f"{prefix}{last}/~":
            store.delete(item.key)
