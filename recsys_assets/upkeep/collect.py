"""Collect: take what nothing needs into the trash, and, a grace later, delete it for good; a dry run by default."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
    rescue,
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


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection took, or, as a dry run, would take; every tuple holds keys with sizes in bytes."""

    applied: bool
    taken: tuple[Listed, ...]  # from the artifacts into the trash
    emptied: tuple[Listed, ...]  # from the trash, for good
    kept: tuple[Listed, ...]
    unknown: tuple[Listed, ...]  # among the artifacts, but none: left alone
    left_alone: dict[str, tuple[int, int]]  # objects and bytes of what is never collected here, by prefix
    stale_intents: tuple[str, ...]  # of changes that died before the grace
    dead_heartbeats: tuple[str, ...]  # keys of consumers that have been silent for long: deleted for good
    entry: JournalEntry | None = None

    @property
    def taken_bytes(self) -> int:
        """How much moves into the trash."""
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
    """Take what nothing needs and is older than the grace into the trash; empty what the trash holds for a grace.

    Nothing goes by age alone: what is live, retained, pinned, announced or staged stays, however old. Raises
    `RefusedError` when what is needed is not known for certain; then nothing was touched.
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
    # The record of a sweep whose deletes may be under way warns whoever rebuilds what it took.
    settled = [sweep for sweep in _ripe(change, retention) if not may_still_delete(store, target, sweep)]
    for sweep in settled:
        _empty(change, sweep, retention)
    done = replace(done, emptied=tuple(_contents(target, settled)))
    delete_heartbeats(store, plan.dead_heartbeats)
    return replace(done, entry=_record(change, done))


def explain(store: ObjectStore, target: Target, key: str, *, now: Clock, retention: Retention | None = None) -> str:
    """Say in a sentence why the object at `key` is kept, or why it is not."""
    retention = retention or Retention()
    if not key.startswith(blob_prefix(target)):
        return f"{key} is no artifact of {target}: only artifacts, and what has an age limit, are ever collected"
    named = _BLOB.fullmatch(key[len(blob_prefix(target)) :])
    found = store.stat(key)
    if named is None:
        return f"{key} is not named as artifacts are: it is left alone, and listed as unknown"
    roots = read_roots(store, target, retention, now=now())
    why = roots.blobs.get((named[1], version_of_name(named[2])))
    if found is None:
        return _explain_missing(store, target, key, why, retention)
    if why is not None:
        return f"{key} is kept: {why}"
    if _is_young(found, retention, now=now().timestamp()):
        return f"{key} is kept: nothing names it, but it was written within the last {retention.grace}"
    return f"{key} is not needed by anything: the next collection takes it into the trash"


def restore(
    store: ObjectStore, target: Target, *, by: Actor, now: Clock, key: str | None = None, dry_run: bool = False
) -> tuple[str, ...]:
    """Take everything in the trash, or the one artifact that `key` names, back to its place; return the keys."""
    back: list[str] = []
    for sweep in trashed(store, target):
        for taken in sweep.taken:
            place = blob_key(target, taken.kind, taken.version)
            wanted = key in {None, place} and place not in back
            if wanted and (
                is_trashed(store, target, sweep.id, taken) if dry_run else take_back(store, target, sweep.id, taken)
            ):
                back.append(place)
    if dry_run:
        return tuple(back)
    change = PointerChange(store, target, COLLECT, by, now)
    append_entry(change, f"took {len(back)} artifacts back from the trash", {"restored": len(back)})
    return tuple(back)


def _finish_earlier(change: PointerChange, retention: Retention) -> None:
    """Repair what the trash says of itself, and go on with a collection that was interrupted, before one is planned."""
    repair_records(change.store, change.target)
    sweep = find_sweep(change)
    if sweep is not None:
        carry_out(change, sweep, retention)


def _plan(change: PointerChange, retention: Retention, *, apply: bool) -> Collection:
    """Return what would be taken, from listings that are proven to be whole; to apply it, repair what is kept first."""
    store, target = change.store, change.target
    now = change.now()
    roots = read_roots(store, target, retention, now=now)
    listed = list(store.list(blob_prefix(target)))
    _check_whole(store, target, roots, {item.key for item in listed}, apply=apply)
    taken: list[Listed] = []
    kept: list[Listed] = []
    unknown: list[Listed] = []
    for item in listed:
        named = _BLOB.fullmatch(item.key[len(blob_prefix(target)) :])
        if named is None:
            unknown.append(item)
        elif (named[1], version_of_name(named[2])) in roots.blobs or _is_young(item, retention, now=now.timestamp()):
            kept.append(item)
        else:
            taken.append(item)
    return Collection(
        applied=False,
        taken=tuple(taken),
        emptied=tuple(_contents(target, _ripe(change, retention))),
        kept=tuple(kept),
        unknown=tuple(unknown),
        left_alone={prefix: _count(store, prefix) for prefix in (staged_prefix(target), canonical_prefix(target))},
        stale_intents=roots.stale_intents,
        dead_heartbeats=dead_heartbeats(store, target, now=now),
    )


def _check_whole(store: ObjectStore, target: Target, roots: Roots, listed: set[str], *, apply: bool) -> None:
    """Refuse a listing that lacks what is known to be there: it lacks other things too.

    An artifact that is kept and gone was hit by a delete that came late, from a collection that did not live to see
    it: with `apply` it is taken back from the trash.
    """
    for (kind, version), why in roots.named.items():
        key = blob_key(target, kind, version)
        if key in listed:
            continue
        if store.stat(key) is not None:
            raise RefusedError(f"{target}: the listing lacks {key}, which is there: try again; nothing is collected")
        if apply and not rescue(store, target, (roots.refs[kind, version],)):
            continue
        if why.endswith(": live"):
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
    """Return what has been in the trash for a grace, by the times that the collections themselves wrote down."""
    now = change.now()
    return [s for s in trashed(change.store, change.target) if now - parse_rfc3339(s.at) >= retention.grace]


def _contents(target: Target, sweeps: list[Sweep]) -> Iterator[Listed]:
    for sweep in sweeps:
        for taken in sweep.taken:
            yield Listed(trashed_key(target, sweep.id, taken.kind, taken.version), taken.size, 0.0)


def _empty(change: PointerChange, sweep: Sweep, retention: Retention) -> None:
    """Delete what one collection took for good, after taking back what is needed again."""
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


def _explain_missing(store: ObjectStore, target: Target, key: str, why: str | None, retention: Retention) -> str:
    needed = f"; it is needed: {why}" if why else ""
    for sweep in trashed(store, target):
        if any(blob_key(target, taken.kind, taken.version) == key for taken in sweep.taken):
            ripe = parse_rfc3339(sweep.at) + retention.grace
            return f"{key} is in the trash since {sweep.at}, until {ripe}: take it back by `collect --restore`{needed}"
    return f"{key} is not in the store{needed}"


def _count(store: ObjectStore, prefix: str) -> tuple[int, int]:
    sizes = [item.size for item in store.list(prefix)]
    return len(sizes), sum(sizes)


def _record(change: PointerChange, plan: Collection) -> JournalEntry:
    message = f"took {len(plan.taken)} artifacts into the trash, emptied {len(plan.emptied)} from it"
    return append_entry(
        change, message, {"taken": len(plan.taken), "taken_bytes": plan.taken_bytes, "emptied": len(plan.emptied)}
    )


def append_entry(change: PointerChange, message: str, details: dict[str, int]) -> JournalEntry:
    """Write down in the journal what was removed, or taken back."""
    store, target, by = change.store, change.target, change.by
    current = read_current(store, target)
    last = recover(store, target, current, by=by, now=change.now()).last
    entry = journal.entry_of(
        action=COLLECT, outcome=journal.DONE, by=by, now=change.now(), live=current, message=message, details=details
    )
    return journal.append(store, target, entry, after=last)
