"""The commit protocol of a pointer: read, judge, look at the blobs, swap, and record, until one attempt holds."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from secrets import token_hex

import msgspec

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    OutcomeUnknownError,
    RecsysAssetsError,
    RefusedError,
    StoreUnavailableError,
)
from recsys_assets.evidence import Scalar
from recsys_assets.identity import ArtifactRef, Target, rfc3339
from recsys_assets.release.document_encoding import create_document, encode, find_stored
from recsys_assets.release.documents import Intent, JournalEntry, Sweep
from recsys_assets.release.fault_points import reach
from recsys_assets.release.journal import DONE, MESSAGE, Actor, Clock, append, changed, entry_of
from recsys_assets.release.layout import intent_key, sweep_key
from recsys_assets.release.pointer import MAX_AHEAD, LivePointer, make_pointer, read_current, read_pointer, swap_pointer
from recsys_assets.release.recovery import JournalHead, recover
from recsys_assets.release.rollout import end_stale_rollout
from recsys_assets.release.shards import missing_blobs
from recsys_assets.release.trash import DELETE_LIFETIME, decode_sweep, lately_taken, rescue
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.storage.store import ObjectStore

MAX_ATTEMPTS = 10
_RECORDING_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class MovePointer:
    """The judgement that the pointer may go to these versions; `refs` are the blobs that must be there when it does."""

    versions: Mapping[str, str]
    refs: tuple[ArtifactRef, ...] = ()
    message: str = ""
    details: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])


@dataclass(frozen=True, slots=True)
class KeepPointer:
    """The judgement that the pointer stays, and why."""

    outcome: str
    message: str
    details: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])


Judge = Callable[[LivePointer | None, JournalHead], MovePointer | KeepPointer]


@dataclass(slots=True)
class SwapProgress:
    """Whether a swap was sent whose entry is not in the journal yet: only the announcement knows its cause then."""

    unrecorded: bool = False


@dataclass(frozen=True, slots=True)
class PointerChange:
    """What is done to which pointer, by whom, and by which clock."""

    store: ObjectStore
    target: Target
    action: str
    by: Actor
    now: Clock
    intent: str | None = None  # the announcement of this change, while it is under way
    under_way: "SwapProgress | None" = None  # of an announced change: whether its swap may have won without an entry
    replaces_damage: bool = False  # whether a pointer that cannot be read counts as none, and is replaced
    resets_time: bool = False  # whether a pointer's time that is yet to come may be followed by an earlier one
    pause: Pause = wait  # between attempts


@dataclass(frozen=True, slots=True)
class _UnansweredSwap:
    """A swap that got no answer: what it was judged on, and what it was to do."""

    before: LivePointer | None
    move: MovePointer
    head: JournalHead


@dataclass(frozen=True, slots=True)
class PointerBasis:
    """The pointer as it was read before the change was announced, and the journal's head then.

    A change may swap on it without reading it again if `look_for_collections` was asked and every blob was proven after
    the announcement: a collection that began before it shows there, and one that began later has swapped the pointer.
    """

    current: LivePointer
    head: JournalHead


def change_pointer(change: PointerChange, judge: Judge, *, seen: PointerBasis | None = None) -> JournalEntry:
    """Return the journal's entry of what became of the change; every attempt is judged on the pointer it replaces.

    The first attempt is made on what was `seen`, without another look at the store.

    Raises what `judge` raises; `ConflictError` when others kept winning; `OutcomeUnknownError` and
    `StoreUnavailableError` when the store stayed silent. An entry with sequence 0 could not be written, and its message
    says why: the swap stands, and the next command records it with the cause that was announced.
    """
    sent: dict[str, _UnansweredSwap] = {}  # what a swap without an answer tried, by the pointer's time
    head = seen.head if seen else None
    problem: ConflictError | StoreUnavailableError = ConflictError(f"{change.target}: no attempt was made")
    for _ in attempts(MAX_ATTEMPTS, pause=change.pause):
        current, etag = (seen.current, seen.current.etag) if seen else _read(change)
        tried = sent.get(current.pointer.updated_at) if current is not None else None
        if current is not None and tried is not None and tried.move.versions == current.versions:  # not a rival's
            return _record(change, tried.before, current, tried.move, after=tried.head.last)
        head = seen.head if seen else _recover(change, current, since=head)
        judged = judge(current, head)
        if isinstance(judged, KeepPointer):
            return _record_stay(change, current, judged, head)
        try:
            if current is not None and judged.versions != current.versions:
                end_stale_rollout(change.store, change.target, live=current.release_id, by=change.by, now=change.now)
            if not seen:
                look(change, judged.refs)
            swapped = _swap(change, current, judged, head, sent, expected=etag)
        except (ConflictError, StoreUnavailableError) as error:
            problem, seen = error, None
            continue
        reach(f"{change.action}.after_swap")
        return _record(change, current, swapped, judged, after=head.last)
    raise problem


def _read(change: PointerChange) -> tuple[LivePointer | None, str | None]:
    """Return the pointer, and the mark of the bytes in its place, which the swap replaces and nothing else."""
    read = read_pointer if change.replaces_damage else read_current
    found = read(change.store, change.target)
    return found if isinstance(found, LivePointer) else None, found.etag if found is not None else None


def _recover(change: PointerChange, current: LivePointer | None, *, since: JournalHead | None) -> JournalHead:
    store, target = change.store, change.target
    return recover(store, target, current, by=change.by, now=change.now(), own_intent=change.intent, since=since)


@contextmanager
def announced(change: PointerChange, *, release_id: str, refs: tuple[ArtifactRef, ...]) -> Generator[PointerChange]:
    """Yield the change as announced while it is under way: collection keeps its blobs, a crash keeps its cause.

    When the store stays silent the announcement stays: the change may have won, and nothing of it may be cleaned up.
    It also stays while a swap was sent and its entry is not written, whatever ended the change in between.
    """
    intent = Intent(
        id=token_hex(16),
        action=change.action,
        release=release_id,
        at=rfc3339(change.now()),
        actor=change.by.name,
        reason=change.by.reason,
        run_id=change.by.run_id,
        refs=refs,
    )
    key = intent_key(change.target, intent.id)
    create_document(change.store, key, intent)
    reach(f"{change.action}.after_intent")
    under_way = SwapProgress()
    try:
        yield replace(change, intent=intent.id, under_way=under_way)
    except StoreUnavailableError:
        raise
    except BaseException:
        _withdraw(change, key, under_way)
        raise
    _withdraw(change, key, under_way)


def _withdraw(change: PointerChange, key: str, under_way: SwapProgress) -> None:
    """Remove an announcement unless it is still needed; one that stays behind only protects, until collection."""
    if not under_way.unrecorded:
        with suppress(StoreUnavailableError, ConfigurationError):
            change.store.delete(key)


def _note(change: PointerChange, *, unrecorded: bool) -> None:
    if change.under_way is not None:
        change.under_way.unrecorded = unrecorded


def look(change: PointerChange, refs: tuple[ArtifactRef, ...]) -> None:
    """Look, right before the swap, that every blob is there and that no collection under way may take it."""
    look_for_collections(change, refs)
    missing = rescue(change.store, change.target, missing_blobs(change.store, change.target, refs))
    if missing:
        names = ", ".join(f"{ref.kind} {ref.version[:12]}" for ref in missing)
        raise RefusedError(f"{change.target}: missing from the store: {names}; build the day again")


def look_for_collections(change: PointerChange, refs: tuple[ArtifactRef, ...]) -> None:
    """Claim these blobs from a collection under way; raise `ConflictError` if it takes one, or took it a moment ago.

    A collection writes down what it may take, then swaps the pointer to itself, then deletes. So either we see what it
    wrote down, or our swap meets its swap and loses: a blob can not go between this look and a swap that wins.
    """
    _claim(change, {(ref.kind, ref.version) for ref in refs})
    # Only then those that are over: one that ends meanwhile is seen as under way, or here.
    late = lately_taken(change.store, change.target, refs)  # a listing that fails ends the attempt: no swap unchecked
    if late is not None:
        raise ConflictError(
            f"{change.target}: the collection of {late.at} by {late.actor} took an artifact of this release, and a "
            f"delete may still be under way: run again {DELETE_LIFETIME.seconds // 60} minutes after it"
        )


def _claim(change: PointerChange, wanted: set[tuple[str, str]]) -> None:
    """Strike these blobs off what a collection may take, while it has not decided: no matter if it is alive or dead."""
    key = sweep_key(change.target)
    stored = find_stored(change.store, key)
    if stored is None:
        return
    try:
        sweep = decode_sweep(stored.data, name=key)
    except CorruptObjectError:
        replace_damaged_sweep(change, expected=stored.etag)
        return
    left = tuple(taken for taken in sweep.taken if (taken.kind, taken.version) not in wanted)
    if len(left) == len(sweep.taken):
        return
    if sweep.decided:
        raise ConflictError(
            f"{change.target}: the collection of {sweep.at} by {sweep.actor} takes an artifact of this release: "
            "finish it by `recsys-assets collect --apply`, then run again"
        )
    change.store.swap(key, encode(msgspec.structs.replace(sweep, taken=left)), expected=stored.etag)


def replace_damaged_sweep(change: PointerChange, *, expected: str) -> Sweep:
    """Put a collection of nothing in the place of an announcement that cannot be read, and return it.

    Its collector, if it is alive, looks before each move whether the announcement is its own, and ends. What it has
    taken is in the trash, by whose times a change waits as ever.
    """
    sweep = Sweep(
        id=token_hex(16),
        at=rfc3339(change.now()),
        actor=change.by.name,
        reason="in the place of an announcement that could not be read",
        decided=False,
        taken=(),
    )
    change.store.swap(sweep_key(change.target), encode(sweep), expected=expected)
    return sweep


def is_clear_of_collections(change: PointerChange, refs: tuple[ArtifactRef, ...]) -> bool:
    """Return whether no collection may take one of these blobs: if one may, the swap looks until it is over."""
    try:
        look_for_collections(change, refs)
    except (ConflictError, StoreUnavailableError):
        return False
    return True


def _swap(
    change: PointerChange,
    current: LivePointer | None,
    move: MovePointer,
    head: JournalHead,
    sent: dict[str, _UnansweredSwap],
    *,
    expected: str | None,
) -> LivePointer:
    now = change.now()
    known = [t for t in (head.newest_at, current.updated_at if current else None) if t is not None]
    if change.resets_time:
        known = [t for t in known if t - now <= MAX_AHEAD]
    pointer = make_pointer(
        change.store.uri_roots[0], change.target, move.versions, now=now, after=max(known, default=None)
    )
    reach(f"{change.action}.before_swap")
    _note(change, unrecorded=True)
    try:
        return swap_pointer(change.store, change.target, pointer, expected=expected)
    except OutcomeUnknownError:
        sent[pointer.updated_at] = _UnansweredSwap(current, move, head)
        raise
    except (ConflictError, StoreUnavailableError):
        _note(change, unrecorded=bool(sent))
        raise


def _record(
    change: PointerChange,
    before: LivePointer | None,
    now: LivePointer,
    move: MovePointer,
    *,
    after: JournalEntry | None,
) -> JournalEntry:
    entry = entry_of(
        action=change.action,
        outcome=DONE,
        by=change.by,
        now=change.now(),
        live=before,
        message=move.message,
        details={**move.details, "intent": change.intent} if change.intent else move.details,
    )
    entry = changed(entry, to=now)
    fault: RecsysAssetsError | None = None
    for _ in attempts(_RECORDING_ATTEMPTS, pause=change.pause):
        try:
            entry = append(change.store, change.target, entry, after=after)
        except RecsysAssetsError as error:  # the swap stands in any case: nothing may be raised as if it did not
            fault = error
            continue
        _note(change, unrecorded=False)
        reach(f"{change.action}.after_journal")
        return entry
    message = f"{move.message}; the pointer has moved, but its journal entry could not be written ({fault}): the next "
    return msgspec.structs.replace(
        entry, details={**entry.details, MESSAGE: f"{message}command that changes this target records it"}
    )


def _record_stay(
    change: PointerChange, current: LivePointer | None, stay: KeepPointer, head: JournalHead
) -> JournalEntry:
    entry = entry_of(
        action=change.action,
        outcome=stay.outcome,
        by=change.by,
        now=change.now(),
        live=current,
        message=stay.message,
        details=stay.details,
    )
    return append(change.store, change.target, entry, after=head.last)
