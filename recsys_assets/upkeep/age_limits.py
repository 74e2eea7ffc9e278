"""Age limits: raw parts, quarantine, staged references and canonical days that are old and that nothing needs any more.

All are off by default. The journal, release records and artifacts have none: artifacts go when no release needs them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from recsys_assets.errors import ConflictError, NotFoundError, UnsafeStoreError
from recsys_assets.identity import Target
from recsys_assets.release.change import PointerChange
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.layout import (
    canonical_prefix,
    canonical_record_key,
    catalog_quarantine_key,
    raw_prefix,
    staged_prefix,
)
from recsys_assets.release.releases import read_release
from recsys_assets.storage.store import Listed, ObjectStore
from recsys_assets.upkeep.collect import append_entry
from recsys_assets.upkeep.roots import Retention, read_roots
from recsys_assets.upkeep.sweep import COLLECT

RAW, QUARANTINE, STAGING, CANONICAL = "raw_days", "quarantine_days", "staging_days", "canonical_days"
_DAY: Final = re.compile(r"(\d{4}-\d{2}-\d{2})[./]")


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """Days after which each sort of object goes, by the name of its setting; and how far back builds still look."""

    days: Mapping[str, int]
    needed_days: int = (
        1  # of canonical days before the newest: the longest window, and the past that gates compare with
    )
    staged_days: int = 1  # of staged references: the oldest that an import may stand in with

    @property
    def off(self) -> bool:
        """Whether nothing has a limit."""
        return not self.days


@dataclass(frozen=True, slots=True)
class ExpiredObject:
    """One object past its limit: the setting that says so, and the day that it is of."""

    item: Listed
    setting: str
    day: date


def find_old(
    store: ObjectStore, target: Target, limits: AgeLimits, *, now: Clock, retention: Retention
) -> tuple[ExpiredObject, ...]:
    """Return a target's objects that are past their limits and that no kept release, window or import needs.

    Raises `RefusedError` when what is kept is not known for certain.
    """
    kept = _kept_days(store, target, limits, now=now, retention=retention) if CANONICAL in limits.days else {}
    newest_staged = max((day for _, day in _dated(store, staged_prefix(target))), default=date.min)
    found: list[ExpiredObject] = []
    for setting, item, day in _objects(store, target, limits):
        if (now().date() - day).days <= limits.days[setting] or (setting == CANONICAL and day in kept):
            continue
        if setting == STAGING and (newest_staged - day).days < limits.staged_days:
            continue
        found.append(ExpiredObject(item, setting, day))
    return tuple(found)


def find_old_quarantine(store: ObjectStore, limits: AgeLimits, *, now: Clock) -> tuple[ExpiredObject, ...]:
    """Return the bad lines of all targets that are past their limit."""
    days = limits.days.get(QUARANTINE)
    dated = _dated(store, "quarantine/") if days is not None else ()
    return tuple(
        ExpiredObject(item, QUARANTINE, day) for item, day in dated if days and (now().date() - day).days > days
    )


def delete_old(
    store: ObjectStore, target: Target, old: Sequence[ExpiredObject], *, by: Actor, now: Clock
) -> tuple[ExpiredObject, ...]:
    """Delete what is past its limits, and return what went; a canonical day that is built again meanwhile stays.

    A day's record goes first, on condition that it still is the one that was read: a day without a record is one that
    was never built, whatever else of it is left.
    """
    rebuilt = {one.day for one in old if one.setting == CANONICAL and not _drop_record(store, target, one.day)}
    gone = [one for one in old if one.setting != CANONICAL or one.day not in rebuilt]
    for one in gone:
        store.delete(one.item.key)
    if gone:
        counts = {setting: sum(one.setting == setting for one in gone) for setting in sorted({o.setting for o in gone})}
        named = ", ".join(f"{count} by retention.{setting}" for setting, count in counts.items())
        change = PointerChange(store, target, COLLECT, by, now)
        append_entry(change, f"deleted {len(gone)} objects past their age limits: {named}", counts)
    return tuple(gone)


def explain_age(
    store: ObjectStore, target: Target, key: str, limits: AgeLimits, *, now: Clock, retention: Retention
) -> str | None:
    """Say why an object that has an age limit stays, or that it goes; None for a key of any other sort."""
    setting, prefix = next(((name, p) for name, p in _prefixes(target, key).items() if key.startswith(p)), (None, ""))
    match = _DAY.match(key.removeprefix(prefix)) if setting else None
    if setting is None or match is None:
        return None
    if setting not in limits.days:
        return f"{key} is kept: retention.{setting} is not set"
    if store.stat(key) is None:
        return f"{key} is not in the store"
    day = date.fromisoformat(match[1])
    old = find_old_quarantine(store, limits, now=now) if setting == QUARANTINE else ()
    old = old or find_old(store, target, limits, now=now, retention=retention)
    if any(one.item.key == key for one in old):
        return f"{key} is past retention.{setting} = {limits.days[setting]}: the next `collect --apply` deletes it"
    why = _kept_days(store, target, limits, now=now, retention=retention).get(day) if setting == CANONICAL else None
    left = limits.days[setting] - (now().date() - day).days
    return f"{key} is kept: {why or (f'{left} more days' if left >= 0 else 'a later build still looks at it')}"


def _prefixes(target: Target, key: str) -> dict[str, str]:
    """Return where the objects of each limit begin; those of a raw day are below the day."""
    match = _DAY.match(key.removeprefix("raw/"))
    raw = raw_prefix(date.fromisoformat(match[1]), target) if match else ""
    found = {STAGING: staged_prefix(target), CANONICAL: canonical_prefix(target), QUARANTINE: "quarantine/"}
    return {**found, **({RAW: "raw/"} if raw and key.startswith(raw) else {})}


def _objects(store: ObjectStore, target: Target, limits: AgeLimits) -> Iterator[tuple[str, Listed, date]]:
    for setting, prefix in ((STAGING, staged_prefix(target)), (CANONICAL, canonical_prefix(target))):
        if setting in limits.days:
            yield from ((setting, item, day) for item, day in _dated(store, prefix))
    if RAW in limits.days:
        yield from (
            (RAW, item, day) for item, day in _dated(store, "raw/") if item.key.startswith(raw_prefix(day, target))
        )


def _dated(store: ObjectStore, prefix: str) -> Iterator[tuple[Listed, date]]:
    for item in store.list(prefix):
        match = _DAY.match(item.key.removeprefix(prefix))
        if match:
            with suppress(ValueError):  # digits that are no day: a stray, which `verify` lists
                yield item, date.fromisoformat(match[1])


def _kept_days(
    store: ObjectStore, target: Target, limits: AgeLimits, *, now: Clock, retention: Retention
) -> dict[date, str]:
    """Return why each canonical day is kept that a release which is kept was built from, or a window may hold."""
    kept: dict[date, str] = {}
    newest = max((day for _, day in _dated(store, canonical_prefix(target))), default=date.max)
    for back in range(limits.needed_days):
        kept[newest - timedelta(days=back)] = "a window, or the comparison of a day with its past, may need it"
    for release_id, why in read_roots(store, target, retention, now=now()).releases.items():
        for used in read_release(store, target, release_id).canonical:
            kept[date.fromisoformat(used.day)] = f"release {release_id[:12]} was built from it: {why}"
    return kept


def _drop_record(store: ObjectStore, target: Target, day: date) -> bool:
    """Delete a day's record if it still is the one that was read; return whether the day may go.

    Bad rows of the catalog that it was built with go first: whoever builds the day again takes it that there are none.
    """
    key = canonical_record_key(target, day)
    store.delete(catalog_quarantine_key(target, day))
    try:
        stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
        store.delete_unchanged(key, expected=stored.etag)
    except NotFoundError:
        return True
    except ConflictError:
        return False
    except UnsafeStoreError:  # no conditional deletes here
        store.delete(key)
    return True
