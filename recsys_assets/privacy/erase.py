"""Erasure of a user from a day's raw parts and quarantine, committed by the swap of the day's record."""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import date

import msgspec

from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.events.erase_users import IsHidden, erase_from_part
from recsys_assets.events.event_files import decode_part, encode_part
from recsys_assets.identity import Target
from recsys_assets.ingest.quarantine import ERASED
from recsys_assets.pipeline.canonical import MAX_PART_BYTES
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.privacy.search import line_names
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode
from recsys_assets.release.documents import Input
from recsys_assets.release.fault_points import reach
from recsys_assets.release.layout import canonical_prefix, raw_record_key
from recsys_assets.retry import Pause, retry_conflicts, wait
from recsys_assets.storage.store import ObjectStore

_RAW = "raw/"
_TRIES = 10


def raw_days(store: ObjectStore) -> list[date]:
    """Return the days with raw data, oldest first. Stray objects are ignored."""
    return _days(item.key.removeprefix(_RAW).partition("/")[0] for item in store.list(_RAW))


def canonical_days(store: ObjectStore, target: Target) -> list[date]:
    """Return the stored canonical days of a target, oldest first. Stray objects are ignored."""
    prefix = canonical_prefix(target)
    return _days(item.key.removeprefix(prefix).partition(".")[0] for item in store.list(prefix))


def _days(texts: Iterator[str]) -> list[date]:
    days: set[date] = set()
    for text in texts:
        with suppress(ValueError):
            days.add(date.fromisoformat(text))
    return sorted(days)


class EraseOutcome(msgspec.Struct, frozen=True):
    """Outcome of an erasure: erased events and blanked lines of a day. `fault`: why the day could not be read."""

    events: int = 0
    lines: int = 0
    fault: str | None = None


def erase_from_raw(
    store: ObjectStore, target: Target, day: date, names: Collection[str], *, dry_run: bool, pause: Pause = wait
) -> EraseOutcome:
    """Erase a user, under any of these names, from a target's parts and the quarantine of a day. Returns the counts.

    The remaining rows are written under new keys, then the record is swapped, then the old objects are deleted: after
    an interruption the record refers to complete objects, and a rerun continues. Raises `ConflictError` if other
    writers kept changing the record.
    """
    key = raw_record_key(day)

    def erase_once() -> EraseOutcome:
        try:
            stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
            record = decode(stored.data, RawRecord, name=key)
        except NotFoundError:
            return EraseOutcome()
        except CorruptObjectError as error:
            return EraseOutcome(fault=str(error))
        erasure = _Erasure(store, target, names, dry_run=dry_run)
        changed = erasure.without_user(record)
        if dry_run or changed == record:
            return erasure.result
        reach("forget.before_raw_record")
        store.swap(key, encode(changed), expected=stored.etag)
        reach("forget.after_raw_record")
        for replaced in _object_keys(record) - _object_keys(changed):
            store.delete(replaced)
        return erasure.result

    return retry_conflicts(erase_once, name=key, tries=_TRIES, pause=pause)


def _object_keys(record: RawRecord) -> set[str]:
    return {stored.name for stored in (*record.quarantine, *(part for share in record.targets for part in share.parts))}


class _Erasure:
    """One pass over a day's record: writes the remaining rows of each object, and counts the erased ones."""

    def __init__(self, store: ObjectStore, target: Target, names: Collection[str], *, dry_run: bool) -> None:
        self._store = store
        self._target = target
        self._names = names
        self._dry_run = dry_run
        self.result = EraseOutcome()

    def without_user(self, record: RawRecord) -> RawRecord:
        """Return the record without the user's events and lines. Sets `result`."""
        parts: list[tuple[Input, int]] = []
        targets = list(record.targets)
        for n, share in enumerate(targets):
            if (share.tenant, share.surface) == (self._target.tenant, self._target.surface):
                parts = [self._part(part, self._names.__contains__) for part in share.parts]
                gone = sum(count for _, count in parts)
                targets[n] = msgspec.structs.replace(
                    share, parts=tuple(part for part, _ in parts), events=share.events - gone
                )
        lines = [self._lines(quarantined) for quarantined in record.quarantine]
        self.result = EraseOutcome(sum(count for _, count in parts), sum(count for _, count in lines))
        return msgspec.structs.replace(
            record, targets=tuple(targets), quarantine=tuple(quarantined for quarantined, _ in lines)
        )

    def _part(self, part: Input, is_hidden: IsHidden) -> tuple[Input, int]:
        try:
            data = self._store.get(part.name, max_bytes=MAX_PART_BYTES).data
            decoded = decode_part(data)
        except (NotFoundError, CorruptObjectError):
            return part, 0  # nothing can be built from it: a new run of raw excludes the user
        left = erase_from_part(decoded, is_hidden)
        gone = len(decoded) - len(left)
        return (self._write(part, encode_part(left)), gone) if gone else (part, 0)

    def _lines(self, quarantined: Input) -> tuple[Input, int]:
        """Blank the text of every quarantined line that may contain the user, in any spelling of the id."""
        try:
            data = self._store.get(quarantined.name, max_bytes=MAX_PART_BYTES).data
        except NotFoundError:
            return quarantined, 0
        lines = list(_blanked(data, self._names))
        gone = sum(1 for _, is_blank in lines if is_blank)
        return (self._write(quarantined, b"".join(line for line, _ in lines)), gone) if gone else (quarantined, 0)

    def _write(self, old: Input, data: bytes) -> Input:
        """Write the remaining rows under a new key of number and content hash, as `raw` does."""
        digest = hashlib.sha256(data).hexdigest()
        prefix, _, name = old.name.rpartition("/")
        number, _, rest = name.partition("-")
        key = f"{prefix}/{number}-{digest[:16]}{rest[rest.find('.') :]}"
        if not self._dry_run:
            self._store.put(key, data)
        return Input(name=key, digest=digest, size=len(data))


def _blanked(data: bytes, names: Collection[str]) -> Iterator[tuple[bytes, bool]]:
    for line in data.splitlines(keepends=True):
        try:
            reject = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            texts = msgspec.json.decode(line, type=dict[str, object])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            yield line, False  # Not a quarantine line: the final search reports it if it contains the user.
            continue
        if texts.get("text") != ERASED and line_names(texts, names):
            blank = msgspec.Raw(msgspec.json.encode(ERASED))
            yield msgspec.json.encode({**reject, "text": blank, "detail": blank}) + b"\n", True
        else:
            yield line, False
