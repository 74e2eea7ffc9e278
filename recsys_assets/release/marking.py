"""Mark a release as bad or pinned by hand, or take the mark off, and record that in the journal."""

from recsys_assets.errors import NotFoundError
from recsys_assets.identity import Target
from recsys_assets.release import journal
from recsys_assets.release.destination import resolve_id
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.labels import Labelled, find_label, lift_label, put_label
from recsys_assets.release.pointer import read_current
from recsys_assets.release.recovery import recover
from recsys_assets.release.releases import read_release
from recsys_assets.release.rollout import end_rollout
from recsys_assets.storage.proof import ensure_proven
from recsys_assets.storage.store import ObjectStore

_ACTIONS = {
    (Labelled.BAD, True): "mark_bad",
    (Labelled.BAD, False): "unmark_bad",
    (Labelled.PINNED, True): "pin",
    (Labelled.PINNED, False): "unpin",
}


def mark(
    store: ObjectStore, target: Target, label: Labelled, release: str, *, by: Actor, now: Clock, on: bool = True
) -> JournalEntry:
    """Put a mark on a release (its id, or 8 digits of it), or take it off; the outcome is `unchanged` if it was so.

    Raises `NotFoundError` if no such release is recorded.
    """
    release_id = resolve_id(store, target, release)
    if release_id is None:
        raise NotFoundError(f"{target}: no release {release} is recorded: see `recsys-assets log`")
    read_release(store, target, release_id)
    ensure_proven(store)
    if on:
        changed = put_label(store, target, label, release_id, by=by, now=now())
        if label is Labelled.BAD:
            end_rollout(store, target, why="it is marked bad", by=by, now=now, of=release_id)
    else:
        changed = find_label(store, target, label, release_id) is not None
        lift_label(store, target, label, release_id)
    current = read_current(store, target)
    last = recover(store, target, current, by=by, now=now()).last
    entry = journal.entry_of(
        action=_ACTIONS[label, on],
        outcome=journal.DONE if changed else journal.UNCHANGED,
        by=by,
        now=now(),
        live=current,
        message=f"release {release_id[:12]}",
        details={"release": release_id},
    )
    return journal.append(store, target, entry, after=last)
