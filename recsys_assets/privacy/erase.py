"""A user taken out of what stands in the store: parts, quarantine and canonical days, each day's records kept true."""

import hashlib
from collections.abc import Collection, Iterator
from datetime import date

import msgspec

from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.events.erase_users import IsHidden, erase_from_events, erase_from_part
from recsys_assets.events.parquet import encode_events
from recsys_assets.events.part_file import decode_part, encode_part
from recsys_assets.identity import Target
from recsys_assets.pipeline.canonical import MAX_PART_BYTES, read_events
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.release.document_encoding import encode, find_document
from recsys_assets.release.documents import CanonicalRecord, Input
from recsys_assets.release.layout import canonical_key, canonical_prefix, canonical_record_key, raw_record_key
from recsys_assets.storage.store import ObjectStore

ERASED = "(erased: a user who is forgotten)"
_RAW = "raw/"


def raw_days(store: ObjectStore) -> list[date]:
    """Return the days that were read, oldest first."""
    found = {item.key.removeprefix(_RAW).partition("/")[0] for item in store.list(_RAW)}
    return sorted(date.fromisoformat(text) for text in found)


def canonical_days(store: ObjectStore, target: Target) -> list[date]:
    """Return the canonical days of a target that stand, oldest first."""
    prefix = canonical_prefix(target)
    names = (item.key.removeprefix(prefix) for item in store.list(prefix))
    return sorted(date.fromisoformat(name.removesuffix(".parquet")) for name in names if name.endswith(".parquet"))


def erase_from_canonical(store: ObjectStore, target: Target, day: date, is_hidden: IsHidden, *, dry_run: bool) -> int:
    """Take hidden users out of a canonical day and its record; return how many events went, or would."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    if record is None:
        return 0
    users = read_events(store, target, day, record, columns=("user_id",)).ids["user_id"].to_list()
    if not any(map(is_hidden, users)):
        return 0
    events = read_events(store, target, day, record)
    left = erase_from_events(events, is_hidden)
    gone = len(events.codes) - len(left.codes)
    if not dry_run:
        data = encode_events(left)
        changed = msgspec.structs.replace(
            record,
            digest=hashlib.sha256(data).hexdigest(),
            size=len(data),
            rows=record.rows - gone,
            events=record.events - gone,
        )
        store.put(canonical_key(target, day), data)
        store.put(canonical_record_key(target, day), encode(changed))
    return gone


def erase_from_raw(
    store: ObjectStore, target: Target, day: date, names: Collection[str], *, dry_run: bool
) -> tuple[int, int]:
    """Take a user, under any of these names, out of a day's parts of a target and its quarantine; count what went.

    Returns the number of events and of lines.

    Broken off between a part and the day's record, the next run of this, or of raw, puts it right.
    """
    record = find_document(store, raw_record_key(day), RawRecord)
    if record is None:
        return 0, 0
    shares = {(share.tenant, share.surface): share for share in record.targets}
    share = shares.get((target.tenant, target.surface))
    parts = [_erase_part(store, part, names.__contains__, dry_run=dry_run) for part in share.parts] if share else []
    texts = [_erase_lines(store, kept, names, dry_run=dry_run) for kept in record.quarantine]
    events, lines = sum(gone for _, gone in parts), sum(gone for _, gone in texts)
    if share is not None:
        mine = msgspec.structs.replace(share, parts=tuple(part for part, _ in parts), events=share.events - events)
        shares[target.tenant, target.surface] = mine
    changed = msgspec.structs.replace(
        record, targets=tuple(shares.values()), quarantine=tuple(kept for kept, _ in texts)
    )
    if not dry_run and changed != record:
        store.put(raw_record_key(day), encode(changed))
    return events, lines


def _erase_part(store: ObjectStore, part: Input, is_hidden: IsHidden, *, dry_run: bool) -> tuple[Input, int]:
    try:
        data = store.get(part.name, max_bytes=MAX_PART_BYTES).data
        found = decode_part(data)
    except (NotFoundError, CorruptObjectError):
        return part, 0  # nothing can be built from it: raw of the day is run again, which forgets by itself
    left = erase_from_part(found, is_hidden)
    gone = len(found) - len(left)
    return _put(store, part.name, encode_part(left) if gone else data, changed=bool(gone) and not dry_run), gone


def _erase_lines(store: ObjectStore, kept: Input, names: Collection[str], *, dry_run: bool) -> tuple[Input, int]:
    """Blank the text of every line in quarantine that holds the user's id as a JSON string, or as it is."""
    try:
        data = store.get(kept.name, max_bytes=MAX_PART_BYTES).data
    except NotFoundError:
        return kept, 0
    lines = list(_blanked(data, names))
    gone = sum(1 for _, blank in lines if blank)
    written = b"".join(line for line, _ in lines) if gone else data
    return _put(store, kept.name, written, changed=bool(gone) and not dry_run), gone


def _blanked(data: bytes, names: Collection[str]) -> Iterator[tuple[bytes, bool]]:
    named = {form for name in names for form in (f'"{name}"', msgspec.json.encode(name).decode())}
    for line in data.splitlines(keepends=True):
        reject = msgspec.json.decode(line)
        if any(name in f"{reject['text']} {reject['detail']}" for name in named):
            yield msgspec.json.encode({**reject, "text": ERASED, "detail": ERASED}) + b"\n", True
        else:
            yield line, False


def _put(store: ObjectStore, key: str, data: bytes, *, changed: bool) -> Input:
    """Return what stands under the key from now on."""
    if changed:
        store.put(key, data)
    return Input(name=key, digest=hashlib.sha256(data).hexdigest(), size=len(data))
