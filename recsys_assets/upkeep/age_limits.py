"""Age limits: deletion of old raw parts, quarantined lines, staged references and canonical days that nothing needs.

All limits are off by default. The journal and release records have none. Artifacts are collected when no release needs
them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import Final

import msgspec

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


class AgeLimits(msgspec.Struct, frozen=True):
    """Maximum age in days by setting name, and the number of days that builds still read."""

    days: Mapping[str, int]
    needed_days: int = 1  # newest canonical days kept for the longest window and for gate comparisons
    staged_days: int = 1  # newest staged days kept: the oldest one that an import may use

    @property
    def off(self) -> bool:
        """Whether no limit is set."""
        return not self.days


class ExpiredObject(msgspec.Struct, frozen=True):
    """Object past its age limit, with the setting and the object's day."""

    item: Listed
    setting: str
    day: date


def find_expired(
    store: ObjectStore, target: Target, limits: AgeLimits, *, now: Clock, retention: Retention
) -> tuple[ExpiredObject, ...]:
    """Return a target's objects past their limits that no retained release, window or import needs.

    Raises `RefusedError` if the objects to keep cannot be determined with certainty.
    """
    kept_days = _kept_days(store, target, limits, now=now, retention=retention) if CANONICAL in limits.days else {}
    newest_staged = max((day for _, day in _dated(store, staged_prefix(target))), default=date.min)
    expired: list[ExpiredObject] = []
    for setting, item, day in _objects(store, target, limits):
        if (now().date() - day).days <= limits.days[setting] or (setting == CANONICAL and day in kept_days):
            continue
        if setting == STAGING and (newest_staged - day).days < limits.staged_days:
            continue
        expired.append(ExpiredObject(item, setting, day))
    return tuple(expired)


def find_expired_quarantine(store: ObjectStore, limits: AgeLimits, *, now: Clock) -> tuple[ExpiredObject, ...]:
    """Return the quarantined objects of all targets that are past their limit."""
    days = limits.days.get(QUARANTINE)
    dated = _dated(store, "quarantine/") if days is not None else ()
    return tuple(
        ExpiredObject(item, QUARANTINE, day) for item, day in dated if days and (now().date() - day).days > days
    )


def delete_expired(
    store: ObjectStore, target: Target, old: Sequence[ExpiredObject], *, by: Actor, now: Clock
) -> tuple[ExpiredObject, ...]:
    """Delete objects past their limits and return the deleted ones. A canonical day rebuilt concurrently stays.

    A day's record is deleted first, only if it is unchanged since it was read: a day without a record counts as never
    built, whatever else is left of it.
    """
    rebuilt = {item.day for item in old if item.setting == CANONICAL and not _drop_record(store, target, item.day)}
    deleted = [expired for expired in old if expired.setting != CANONICAL or expired.day not in rebuilt]
    for expired in deleted:
        store.delete(expired.item.key)
    if deleted:
        settings = [expired.setting for expired in deleted]
        counts = {setting: settings.count(setting) for setting in sorted(set(settings))}
        named = ", ".join(f"{count} by retention.{setting}" for setting, count in counts.items())
        change = PointerChange(store, target, COLLECT, by, now)
        append_entry(change, f"deleted {len(deleted)} objects past their age limits: {named}", counts)
    return tuple(deleted)


def explain_age(
    store: ObjectStore, target: Target, key: str, limits: AgeLimits, *, now: Clock, retention: Retention
) -> str | None:
    """Explain why an object with an age limit is kept or deleted. Returns None for keys without an age limit."""
    setting, prefix = next(((name, p) for name, p in _prefixes(target, key).items() if key.startswith(p)), (None, ""))
    match = _DAY.match(key.removeprefix(prefix)) if setting else None
    if setting is None or match is None:
        return None
    if setting not in limits.days:
        return f"{key} is kept: retention.{setting} is not set"
    if store.stat(key) is None:
        return f"{key} is not in the store"
    day = date.fromisoformat(match[1])
    old = find_expired_quarantine(store, limits, now=now) if setting == QUARANTINE else ()
    old = old or find_expired(store, target, limits, now=now, retention=retention)
    if any(expired.item.key == key for expired in old):
        return f"{key} is past retention.{setting} = {limits.days[setting]}: the next `collect --apply` deletes it"
    reason = _kept_days(store, target, limits, now=now, retention=retention).get(day) if setting == CANONICAL else None
    left = limits.days[setting] - (now().date() - day).days
    return f"{key} is kept: {reason or (f'{left} more days' if left >= 0 else 'a later build still reads it')}"


def _prefixes(target: Target, key: str) -> dict[str, str]:
    """Return the key prefix of each setting. Raw parts are below their day."""
    match = _DAY.match(key.removeprefix("raw/"))
    raw = raw_prefix(date.fromisoformat(match[1]), target) if match else ""
    prefixes = {STAGING: staged_prefix(target), CANONICAL: canonical_prefix(target), QUARANTINE: "quarantine/"}
    return {**prefixes, **({RAW: "raw/"} if raw and key.startswith(raw) else {})}


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
            with suppress(ValueError):  # not a valid day: a stray, which `verify` lists
                yield item, date.fromisoformat(match[1])


def _kept_days(
    store: ObjectStore, target: Target, limits: AgeLimits, *, now: Clock, retention: Retention
) -> dict[date, str]:
    """Return the reason to keep each canonical day: a window may need it, or a retained release was built from it."""
    reasons: dict[date, str] = {}
    newest = max((day for _, day in _dated(store, canonical_prefix(target))), default=date.max)
    for back in range(limits.needed_days):
        reasons[newest - timedelta(days=back)] = "a window or a comparison with earlier days may need it"
    for release_id, reason in read_roots(store, target, retention, now=now()).releases.items():
        for used in read_release(store, target, release_id).canonical:
            reasons[date.fromisoformat(used.day)] = f"release {release_id[:12]} was built from it: {reason}"
    return reasons


def _drop_record(store: ObjectStore, target: Target, day: date) -> bool:
    """Delete a day's record if it is unchanged since it was read. Returns whether the day may be deleted.

    The quarantined rows of its catalog are deleted first: a rebuild of the day assumes that there are none.
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
    except UnsafeStoreError:  # the store has no conditional deletes
        store.delete(key)
    return True
