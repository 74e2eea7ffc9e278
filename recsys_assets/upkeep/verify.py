"""Verification of a store: reads every retained release, all of its blobs, and the journal, and reports faults."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from recsys_assets.errors import CorruptObjectError, NotFoundError, RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.messages import plural
from recsys_assets.release.blocking import blocked_faults
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, read_document
from recsys_assets.release.documents import Intent, Release
from recsys_assets.release.forgotten_users import note_faults
from recsys_assets.release.journal import LOST, newest_first
from recsys_assets.release.layout import intent_prefix, journal_key, journal_prefix, sweep_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.recovery import is_replay, is_unrecorded, read_journal_head
from recsys_assets.release.releases import read_release
from recsys_assets.release.shards import member_faults
from recsys_assets.release.trash import damaged_records, decode_sweep
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.roots import KEEP, retained_releases

_COLLECT = "`recsys-assets collect --apply`"
_ENTRY = re.compile(r"\d{12}\.json")
_ID = r"[0-9a-f]{64}"
_DAY = r"\d{4}-\d{2}-\d{2}"
_KNOWN = {  # Pattern of the stored names, by the prefix before the target.
    "artifacts": rf"[^/]+/{_ID}\.[a-z0-9]{{1,20}}",
    "canonical": rf"{_DAY}\.(?:parquet|json|gates\.json|profile\.json|[0-9a-f]{{16}}\.next\.json)",
    "staging": rf"{_DAY}(?:/[^/]+)?\.json",
    "releases": rf"{_ID}\.json",
    "intents": r"(?:[0-9a-f]{32}|sweep)\.json",
    "trash": rf"(?:[0-9a-f]{{32}}/(?:sweep\.json|[^/]+/{_ID}\.[a-z0-9]{{1,20}})|clock-[0-9a-f]{{16}}\.json)",
    "registry/current": r"manifest\.json",
    "registry/hold": r"hold\.json",
    "registry/blocked": r"items\.json",
    "registry/candidate": r"(?:manifest|rollout)\.json",
    "registry/journal": _ENTRY.pattern,
    "registry/bad": rf"{_ID}\.json",
    "registry/pinned": rf"{_ID}\.json",
    "registry/webhooks": r"[a-z0-9_-]{1,50}\.json",
    "registry/tags": r"[a-z][a-z0-9_-]{0,62}\.json",
    "registry/forgotten": rf"(?:{_ID}|key)\.json",
    "heartbeats": r"[^/]+\.json",
    "outcomes": rf"{_DAY}\.json",
    "tallies": rf"[^/]+/{_DAY}/{_ID}\.arrow",
    "registry/signatures": rf"\d{{20}}-{_ID}\.json",
}


class ReleaseCheck(msgspec.Struct, frozen=True):
    """A retained release, the reason it is retained, and its faults (none: it can be served)."""

    release_id: str
    why: str
    data_through: str | None
    faults: tuple[str, ...]


class Verification(msgspec.Struct, frozen=True):
    """Result for one target: checked releases, other problems, and notes that are not faults."""

    target: Target
    releases: tuple[ReleaseCheck, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()  # changes under way or interrupted, and strays: no fault of the live release

    @property
    def ok(self) -> bool:
        """Whether no fault or problem was found."""
        return not self.problems and not any(checked.faults for checked in self.releases)


def verify(
    store: ObjectStore,
    target: Target,
    *,
    keep: int = KEEP,
    more_problems: Sequence[str] = (),
    now: datetime | None = None,
) -> Verification:
    """Verify a target by reading every byte of every retained release, and return all faults.

    `more_problems` are added to the result, e.g. faults of signatures. Without `now` expired pins count as pins.
    """
    notes, unreadable = _read_intents(store, target)
    notes = (
        *notes,
        *(f"{key} is a stray: it was not written by this package and is never read" for key in strays(store, target)),
    )
    damaged = (*note_faults(store, target), *blocked_faults(store, target))
    trash = [f"{error}; {_COLLECT} rewrites it from its copies" for _, error in damaged_records(store, target)]
    problems = [*_journal_problems(store, target), *unreadable, *trash, *damaged, *more_problems]
    try:
        current = read_current(store, target)
    except CorruptObjectError as error:
        return Verification(target, (), (str(error), *problems), notes)
    if current is None:
        return Verification(target, (), ("nothing is live", *problems), notes)
    head = read_journal_head(store, target)
    if is_replay(head, current):
        problems.append(
            f"the pointer of {current.pointer.updated_at} is older than the one of {head.newest_at} in the journal"
        )
    elif is_unrecorded(head, current):
        problems.append("the last swap of the pointer is not in the journal: the next change, or `reindex`, records it")
    try:
        retained = retained_releases(store, target, current, keep=keep, now=now)
    except RecsysAssetsError as error:
        problems.append(str(error))
        retained = {current.release_id: "live"}
    checked = tuple(_check_release(store, target, release_id, reason) for release_id, reason in retained.items())
    return Verification(target, checked, tuple(problems), notes)


def strays(store: ObjectStore, target: Target) -> Iterator[str]:
    """Yield the key of every object below the target's prefixes that does not match their names."""
    for first, name in _KNOWN.items():
        prefix = f"{first}/{target.tenant}/{target.surface}/"
        for item in store.list(prefix):
            if not re.fullmatch(name, item.key.removeprefix(prefix)):
                yield item.key


def _check_release(store: ObjectStore, target: Target, release_id: str, reason: str) -> ReleaseCheck:
    try:
        release: Release = read_release(store, target, release_id)
    except (NotFoundError, CorruptObjectError) as error:
        return ReleaseCheck(release_id, reason, None, (str(error),))
    return ReleaseCheck(release_id, reason, release.data_through, member_faults(store, target, release.members))


def _journal_problems(store: ObjectStore, target: Target) -> Iterator[str]:
    """Yield the faults of the journal, by a listing, because the newest entry does not show gaps."""
    prefix = journal_prefix(target)
    names = [item.key for item in store.list(prefix) if _ENTRY.fullmatch(item.key.removeprefix(prefix))]
    newest = int(names[-1].rpartition("/")[2].removesuffix(".json")) if names else 0
    gaps = [n for n in range(1, newest + 1) if journal_key(target, n) not in set(names)]
    if gaps:
        lacks = f"the journal lacks {plural(len(gaps), 'entry')}, the first is {gaps[0]}"
        yield f"{lacks}: fix it by `recsys-assets reindex`"
    yield from (e.reason for e in newest_first(store, target) if e.action == LOST and e.sequence not in gaps)


def _read_intents(store: ObjectStore, target: Target) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return notes on changes under way or interrupted, and the faults of unreadable intents."""
    notes: list[str] = []
    unreadable: list[str] = []
    for item in store.list(intent_prefix(target)):
        if not re.fullmatch(_KNOWN["intents"], item.key.removeprefix(intent_prefix(target))):
            continue  # a stray, reported separately
        try:
            if item.key == sweep_key(target):
                decode_sweep(store.get(item.key, max_bytes=MAX_DOCUMENT_BYTES).data, name=item.key)
                notes.append(f"a collection is under way, or was interrupted: {_COLLECT} finishes it")
                continue
            intent = read_document(store, item.key, Intent)
        except NotFoundError:
            continue
        except CorruptObjectError as error:
            unreadable.append(str(error))
            continue
        notes.append(f"{intent.action} of {intent.at} by {intent.actor} is under way, or was interrupted")
    return tuple(notes), tuple(unreadable)
