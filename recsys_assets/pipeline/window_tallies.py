"""Tallies of a window's days: read as stored, built for days that have none, deleted once no window needs them."""

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
    """Return the tally of each day, oldest first: as stored, or made of the day's events and stored for tomorrow.

    A tally is found by the digest of its canonical day, its columns and the code that made it, so one of other events
    or of older code is never read; a damaged one is made again. What the kind stored for the same days under another
    address, or for days that have left the window, is deleted: nothing else ever needs it.
    """
    keys = {day: _key(target, kind, day, record) for day, record in records.items()}
    days = sorted(records)
    with overlapped(store) as side:
        asked = [side.start(_stored_tally, store, keys[day]) for day in days]
        stored = [(day, answer()) for day, answer in zip(days, asked, strict=True)]
    tallies = [_made_tally(store, target, kind, day, records[day], keys[day]) if t is None else t for day, t in stored]
    _sweep(store, target, kind, keys)
    return tallies


def _key(target: Target, kind: Kind, day: date, record: CanonicalRecord) -> str:
    return tally_key(target, kind.name, day, tally_address(record.digest, kind.event_columns))


def _stored_tally(store: ObjectStore, key: str) -> Events | None:
    try:
        return decode_tally(store.get(key, max_bytes=MAX_TALLY_BYTES).data)
    except (NotFoundError, CorruptObjectError):
        return None


def _made_tally(store: ObjectStore, target: Target, kind: Kind, day: date, record: CanonicalRecord, key: str) -> Events:
    """Make a tally of the day's events, one day at a time: they are far more than what is left of them."""
    tally = tally_day(read_events(store, target, day, record, columns=kind.event_columns), kind.event_columns)
    store.put(key, encode_tally(tally))
    return tally


def _sweep(store: ObjectStore, target: Target, kind: Kind, keys: Mapping[date, str]) -> None:
    """Delete what this window shows to be of no use; days after it belong to windows that were built before."""
    prefix, last, kept = tally_prefix(target, kind.name), max(keys), set(keys.values())
    for item in store.list(prefix):
        if item.key not in kept and item.key < f"{prefix}{last}/~":
            store.delete(item.key)
