"""Collection: moves unneeded artifacts to the trash and deletes them after the grace period. A dry run by default."""

import re
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from recsys_assets.errors import RefusedError
from recsys_assets.identity import Target, parse_rfc3339
from recsys_assets.release import journal
from recsys_assets.release.change import PointerChange
from recsys_assets.release.documents import CollectedBlob, JournalEntry, Sweep
from recsys_assets.release.fault_points import reach
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.layout import (
    blob_key,
    blob_prefix,
    canonical_prefix,
    staged_prefix,
    trashed_key,
    version_of_name,
)
from recsys_assets.release.pointer import read_current
from recsys_assets.release.recovery import recover
from recsys_assets.release.trash import (
    empty_sweep,
    is_trashed,
    may_still_delete,
    repair_records,
    restore_from_trash,
    take_back,
    trashed,
)
from recsys_assets.retry import Pause, wait
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import Listed, ObjectStore
from recsys_assets.upkeep.heartbeats import dead_heartbeats, delete_heartbeats
from recsys_assets.upkeep.roots import Retention, Roots, read_roots
from recsys_assets.upkeep.sweep import COLLECT, announce_sweep, carry_out, find_sweep

_BLOB = re.compile(r"([^/]+)/([0-9a-f]{64}\.[a-z0-9]{1,20})")


class Collection(msgspec.Struct, frozen=True):
    """Result of a collection or its dry run. The tuples contain keys with sizes in bytes."""

    applied: bool
    taken: tuple[Listed, ...]  # artifacts moved to the trash
    emptied: tuple[Listed, ...]  # deleted from the trash
    kept: tuple[Listed, ...]
    unknown: tuple[Listed, ...]  # below the artifacts' prefix, but not artifacts: not touched
    left_alone: dict[str, tuple[int, int]]  # number and bytes of objects never collected here, by prefix
    stale_intents: tuple[str, ...]  # intents of changes that crashed longer than the grace period ago
    dead_heartbeats: tuple[str, ...]  # keys of consumers that have been silent for a long time: deleted
    entry: JournalEntry | None = None

    @property
    def taken_bytes(self) -> int:
        """Bytes moved to the trash."""
        return sum(item.size for item in self.taken)


def collect(
    store: ObjectStore,
    target: Target,
    *,
    by: Actor,
    now: Clock,
    retention: Retention | None = None,
    apply: bool = False,
    pause: Pause = wait,
) -> Collection:
    """Move unneeded artifacts older than the grace period to the trash. Delete those in the trash for a grace period.

    Age is never enough: live, retained, pinned, announced and staged artifacts stay. Raises `RefusedError`, before
    anything is changed, if the artifacts to keep cannot be determined with certainty.
    """
    retention = retention or Retention()
    change = PointerChange(store, target, COLLECT, by, now, pause=pause)
    if apply:
        ensure_proven(store)
        _finish_earlier(change, retention)
    plan = _plan(change, retention, apply=apply)
    if not apply:
        return plan
    done = replace(plan, applied=True, taken=())
    if plan.taken or plan.stale_intents:
        sweep = announce_sweep(change, [_taken(target, item) for item in plan.taken])
        took = {blob_key(target, taken.kind, taken.version) for taken in carry_out(change, sweep, retention)}
        done = replace(done, taken=tuple(item for item in plan.taken if item.key in took))
    # A collection whose deletes may be under way keeps its record, which warns processes that rebuild its artifacts.
    settled = [sweep for sweep in _ripe(change, retention) if not may_still_delete(store, target, sweep)]
    for sweep in settled:
        _empty(change, sweep, retention)
    done = replace(done, emptied=tuple(_contents(target, settled)))
    delete_heartbeats(store, plan.dead_heartbeats)
    return replace(done, entry=_record(change, done))


def explain(store: ObjectStore, target: Target, key: str, *, now: Clock, retention: Retention | None = None) -> str:
    """Explain in a sentence why the object at `key` is kept or collected."""
    retention = retention or Retention()
    if not key.startswith(blob_prefix(target)):
        return f"{key} is not an artifact of {target}: only artifacts and objects with an age limit are ever collected"
    named = _BLOB.fullmatch(key[len(blob_prefix(target)) :])
    listed = store.stat(key)
    if named is None:
        return f"{key} does not have the name of an artifact: it is not touched, and listed as unknown"
    roots = read_roots(store, target, retention, now=now())
    reason = roots.blobs.get((named[1], version_of_name(named[2])))
    if listed is None:
        return _explain_missing(store, target, key, reason, retention)
    if reason is not None:
        return f"{key} is kept: {reason}"
    if _is_young(listed, retention, now=now().timestamp()):
        return f"{key} is kept: nothing refers to it, but it was written within the last {retention.grace}"
    return f"{key} is not needed: the next collection moves it to the trash"


def restore(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, key: str | None = None, dry_run: bool = False
) -> tuple[str, ...]:
    """Restore every artifact in the trash, or only the one with this key. Returns the restored keys."""
    restored: list[str] = []
    for sweep in trashed(store, target):
        for taken in sweep.taken:
            blob = blob_key(target, taken.kind, taken.version)
            wanted = key in {None, blob} and blob not in restored
            if wanted and (
                is_trashed(store, target, sweep.id, taken) if dry_run else take_back(store, target, sweep.id, taken)
            ):
                restored.append(blob)
    if dry_run:
        return tuple(restored)
    change = PointerChange(store, target, COLLECT, by, now)
    append_entry(change, f"restored {len(restored)} artifacts from the trash", {"restored": len(restored)})
    return tuple(restored)


def _finish_earlier(change: PointerChange, retention: Retention) -> None:
    """Repair the records in the trash and finish an interrupted collection before a new one is planned."""
    repair_records(change.store, change.target)
    sweep = find_sweep(change)
    if sweep is not None:
        carry_out(change, sweep, retention)


def _plan(change: PointerChange, retention: Retention, *, apply: bool) -> Collection:
    """Return the plan of a collection from verified listings. With `apply`, missing needed blobs are restored first."""
    store, target = change.store, change.target
    now = change.now()
    roots = read_roots(store, target, retention, now=now)
    listed = list(store.list(blob_prefix(target)))
    _check_whole(store, target, roots, {item.key for item in listed}, apply=apply)
    taken: list[Listed] = []
    kept_objects: list[Listed] = []
    unknown: list[Listed] = []
    for item in listed:
        named = _BLOB.fullmatch(item.key[len(blob_prefix(target)) :])
        if named is None:
            unknown.append(item)
        elif (named[1], version_of_name(named[2])) in roots.blobs or _is_young(item, retention, now=now.timestamp()):
            kept_objects.append(item)
        else:
            taken.append(item)
    return Collection(
        applied=False,
        taken=tuple(taken),
        emptied=tuple(_contents(target, _ripe(change, retention))),
        kept=tuple(kept_objects),
        unknown=tuple(unknown),
        left_alone={prefix: _count(store, prefix) for prefix in (staged_prefix(target), canonical_prefix(target))},
        stale_intents=roots.stale_intents,
        dead_heartbeats=dead_heartbeats(store, target, now=now),
    )


def _check_whole(store: ObjectStore, target: Target, roots: Roots, listed: set[str], *, apply: bool) -> None:
    """Raise `RefusedError` if a listing lacks a blob that exists, because it may lack others too.

    A needed blob that is missing was hit by a late delete of a collection that crashed: with `apply` it is restored
    from the trash.
    """
    for (kind, version), reason in roots.named.items():
        key = blob_key(target, kind, version)
        if key in listed:
            continue
        if store.stat(key) is not None:
            raise RefusedError(f"{target}: the listing lacks {key}, which exists: retry; nothing is collected")
        if apply and not restore_from_trash(store, target, (roots.refs[kind, version],)):
            continue
        if reason.endswith(": live"):
            raise RefusedError(
                f"{target}: {key} of the live release is missing: roll back or build it again, unless "
                "`recsys-assets collect --apply` finds it in the trash; nothing is collected"
            )


def _is_young(item: Listed, retention: Retention, *, now: float) -> bool:
    return now - item.modified < retention.grace.total_seconds()


def _taken(target: Target, item: Listed) -> CollectedBlob:
    kind, _, name = item.key[len(blob_prefix(target)) :].partition("/")
    return CollectedBlob(kind=kind, version=version_of_name(name), size=item.size)


def _ripe(change: PointerChange, retention: Retention) -> list[Sweep]:
    """Return the collections in the trash for at least a grace period, by the times in their records."""
    now = change.now()
    return [s for s in trashed(change.store, change.target) if now - parse_rfc3339(s.at) >= retention.grace]


def _contents(target: Target, sweeps: list[Sweep]) -> Iterator[Listed]:
    for sweep in sweeps:
        for taken in sweep.taken:
            yield Listed(trashed_key(target, sweep.id, taken.kind, taken.version), taken.size, 0.0)


def _empty(change: PointerChange, sweep: Sweep, retention: Retention) -> None:
    """Delete the blobs of one collection permanently, after restoring those that are needed again."""
    store, target = change.store, change.target
    roots = read_roots(store, target, retention, now=change.now())
    needed = {(taken.kind, taken.version) for taken in sweep.taken} & roots.blobs.keys()
    for taken in sweep.taken:
        is_needed = (taken.kind, taken.version) in needed
        if is_needed and store.stat(blob_key(target, taken.kind, taken.version)) is None:
            take_back(store, target, sweep.id, taken)
    reach(f"{COLLECT}.before_emptying")
    empty_sweep(store, target, sweep, needed=needed)
    reach(f"{COLLECT}.after_emptying")


def _explain_missing(store: ObjectStore, target: Target, key: str, reason: str | None, retention: Retention) -> str:
    needed = f"; it is needed: {reason}" if reason else ""
    for sweep in trashed(store, target):
        if any(blob_key(target, taken.kind, taken.version) == key for taken in sweep.taken):
            ripe = parse_rfc3339(sweep.at) + retention.grace
            return f"{key} is in the trash since {sweep.at}, until {ripe}: restore it by `collect --restore`{needed}"
    return f"{key} is not in the store{needed}"


def _count(store: ObjectStore, prefix: str) -> tuple[int, int]:
    sizes = [item.size for item in store.list(prefix)]
    return len(sizes), sum(sizes)


def _record(change: PointerChange, plan: Collection) -> JournalEntry:
    message = f"moved {len(plan.taken)} artifacts to the trash, deleted {len(plan.emptied)} from it"
    return append_entry(
        change, message, {"taken": len(plan.taken), "taken_bytes": plan.taken_bytes, "emptied": len(plan.emptied)}
    )


def append_entry(change: PointerChange, message: str, details: dict[str, int]) -> JournalEntry:
    """Journal a deletion or a restore of objects."""
    store, target, by = change.store, change.target, change.by
    current = read_current(store, target)
    last = recover(store, target, current, by=by, now=change.now()).last
    entry = journal.entry_of(
        action=COLLECT, outcome=journal.DONE, by=by, now=change.now(), live=current, message=message, details=details
    )
    return journal.append(store, target, entry, after=last)
