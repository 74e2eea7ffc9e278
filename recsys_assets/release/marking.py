"""Manual labels: mark a release bad or pinned, tag it, or undo that. Each action is journaled."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from recsys_assets.errors import ConfigurationError, NotFoundError, RefusedError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.documents import JournalEntry, Tag
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.labels import (
    LIVE,
    Labelled,
    check_tag,
    find_label,
    find_tag,
    is_over,
    lift_label,
    put_label,
    put_tag,
    remove_tag,
)
from recsys_assets.release.pointer import read_current
from recsys_assets.release.recovery import record_unmoved
from recsys_assets.release.releases import read_release, refs_of, resolve_id
from recsys_assets.release.rollout import end_rollout
from recsys_assets.release.shards import missing_blobs
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

_ACTIONS = {
    (Labelled.BAD, True): "mark_bad",
    (Labelled.BAD, False): "unmark_bad",
    (Labelled.PINNED, True): "pin",
    (Labelled.PINNED, False): "unpin",
}
_STATES = {Labelled.BAD: "is marked bad", Labelled.PINNED: "is pinned"}


class MarkOutcome(msgspec.Struct, frozen=True):
    """Outcome of marking or tagging a release, with its id and the journal entry (None: dry run)."""

    message: str
    release: str | None
    entry: JournalEntry | None


class _Change(msgspec.Struct, frozen=True):
    """Change of a label or tag, as it is journaled."""

    action: str
    message: str
    details: Mapping[str, Scalar]
    changed: bool


def mark(
    store: ObjectStore,
    target: Target,
    label: Labelled,
    release: str,
    *,
    by: Actor,
    now: Clock,
    until: datetime | None = None,
    dry_run: bool = False,
) -> MarkOutcome:
    """Label a release, given by its id, the first 8 or more digits of it, its tag, or `live`.

    With `until` the label expires.

    The outcome is `unchanged` if the release has the label. Its first reason and end stay. Raises `NotFoundError` for
    an unrecorded release, `RefusedError` for a pin on a collected one, `ConfigurationError` for an `until` in the past.
    """
    release_id, at = _find(store, target, release), now()
    if until is not None and until <= at:
        raise ConfigurationError(f"{rfc3339(until)} is in the past (it is {rfc3339(at)}): choose a later end")
    if label is Labelled.PINNED:
        _check_kept(store, target, release_id)
    before = find_label(store, target, label, release_id)
    is_new = before is None or is_over(before, at)
    end = f" until {rfc3339(until)}" if until else ""
    message = f"release {release_id[:12]} {_STATES[label]}{end if is_new else ' already'}"
    if dry_run:
        return MarkOutcome(f"dry run: {message}", release_id, None)
    ensure_proven(store)
    changed = put_label(store, target, label, release_id, by=by, now=at, until=until)
    if label is Labelled.BAD:
        end_rollout(store, target, why="it is marked bad", by=by, now=now, of=release_id)
    elif changed:
        _keep_or_lift(store, target, release_id)
    details = {"release": release_id} | ({"until": rfc3339(until)} if until else {})
    change = _Change(_ACTIONS[label, True], message, details, changed=changed)
    return MarkOutcome(message, release_id, _record(store, target, change, by=by, now=now))


def unmark(
    store: ObjectStore,
    target: Target,
    label: Labelled,
    release: str,
    *,
    by: Actor,
    now: Clock,
    dry_run: bool = False,
) -> MarkOutcome:
    """Remove a label from a release. The outcome is `unchanged` if it has none. Raises as `mark` does."""
    release_id = _find(store, target, release)
    was_on = find_label(store, target, label, release_id) is not None
    state = (
        f"{_STATES[label].replace('is ', 'is no longer ', 1)}"
        if was_on
        else _STATES[label].replace("is ", "is not ", 1)
    )
    message = f"release {release_id[:12]} {state}"
    if dry_run:
        return MarkOutcome(f"dry run: {message}", release_id, None)
    ensure_proven(store)
    lift_label(store, target, label, release_id)
    change = _Change(_ACTIONS[label, False], message, {"release": release_id}, changed=was_on)
    return MarkOutcome(message, release_id, _record(store, target, change, by=by, now=now))


def tag(
    store: ObjectStore, target: Target, name: str, release: str | None, *, by: Actor, now: Clock, dry_run: bool = False
) -> MarkOutcome:
    """Give a release (as `mark` takes it) a name that a rollback accepts, or remove the name (None).

    A tagged release is not collected. Raises as `mark` does, and `ConfigurationError` for an invalid name.
    """
    before, release_id = find_tag(store, target, check_tag(name)), None
    had = before.release if before else None
    if release is not None:
        release_id = _find(store, target, release)
        _check_kept(store, target, release_id)
    message = _renaming(name, had, release_id)
    if dry_run:
        return MarkOutcome(f"dry run: {message}", release_id, None)
    ensure_proven(store)
    if release_id is None:
        remove_tag(store, target, name)
    elif had != release_id:
        document = Tag(name=name, release=release_id, at=rfc3339(now()), actor=by.name, reason=by.reason)
        had = put_tag(store, target, document)
        message = _renaming(name, had, release_id)
    details: dict[str, Scalar] = {"tag": name, "release": release_id, "release_before": had}
    change = _Change("tag" if release_id else "untag", message, details, changed=had != release_id)
    return MarkOutcome(message, release_id, _record(store, target, change, by=by, now=now))


def _find(store: ObjectStore, target: Target, release: str) -> str:
    """Return the id of a recorded release. Raises `NotFoundError` or `CorruptObjectError` without a readable record."""
    if release == LIVE:
        current = read_current(store, target)
        release_id = current.release_id if current else None
    else:
        release_id = resolve_id(store, target, release)
    if release_id is None:
        raise NotFoundError(f"{target}: release {release} is not recorded: see `recsys-assets log`")
    read_release(store, target, release_id)
    return release_id


def _check_kept(store: ObjectStore, target: Target, release_id: str) -> None:
    """Raise `RefusedError` if a blob of a release is missing: it can no longer be kept."""
    missing = missing_blobs(store, target, refs_of(read_release(store, target, release_id)))
    if missing:
        kinds = ", ".join(sorted({ref.kind for ref in missing}))
        raise RefusedError(
            f"{target}: release {release_id[:12]} cannot be kept: its {kinds} was collected. Choose a release that "
            "`recsys-assets verify` lists, or build its day again"
        )


def _keep_or_lift(store: ObjectStore, target: Target, release_id: str) -> None:
    """Check again after a new pin: a collection under way may have decided before the pin existed."""
    try:
        _check_kept(store, target, release_id)
    except RefusedError:
        lift_label(store, target, Labelled.PINNED, release_id)
        raise


def _renaming(name: str, had: str | None, release_id: str | None) -> str:
    if release_id is None:
        return f"{name} was release {had[:12]} and is now unused" if had else f"{name} is not the name of a release"
    if had == release_id:
        return f"{name} is release {release_id[:12]} already"
    return f"{name} is release {release_id[:12]}" + (f", and was {had[:12]}" if had else "")


def _record(store: ObjectStore, target: Target, change: _Change, *, by: Actor, now: Clock) -> JournalEntry:
    return record_unmoved(
        store,
        target,
        read_current(store, target),
        action=change.action,
        outcome=journal.DONE if change.changed else journal.UNCHANGED,
        by=by,
        now=now,
        message=change.message,
        details=change.details,
    )
