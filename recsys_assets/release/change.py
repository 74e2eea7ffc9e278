"""The commit protocol of a pointer: read, judge, check the blobs, swap and record, until an attempt succeeds."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex

import msgspec
from msgspec.structs import replace

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
from recsys_assets.release.trash import DELETE_LIFETIME, decode_sweep, lately_taken, restore_from_trash
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.storage.store import ObjectStore

MAX_ATTEMPTS = 10
_RECORDING_ATTEMPTS = 3


class MovePointer(msgspec.Struct, frozen=True):
    """Decision to move the pointer to these versions. The blobs in `refs` must exist at the swap."""

    versions: Mapping[str, str]
    refs: tuple[ArtifactRef, ...] = ()
    message: str = ""
    details: Mapping[str, Scalar] = msgspec.field(default_factory=dict[str, Scalar])


class KeepPointer(msgspec.Struct, frozen=True):
    """Decision to leave the pointer unchanged, with the outcome and message to journal."""

    outcome: str
    message: str
    details: Mapping[str, Scalar] = msgspec.field(default_factory=dict[str, Scalar])


Judge = Callable[[LivePointer | None, JournalHead], MovePointer | KeepPointer]


@dataclass(slots=True)
class SwapProgress:
    """Whether a swap was sent whose entry is not written yet: until then only the intent records its cause."""

    unrecorded: bool = False


class PointerChange(msgspec.Struct, frozen=True):
    """A change of one target's pointer: the action, its actor, and the clock."""

    store: ObjectStore
    target: Target
    action: str
    by: Actor
    now: Clock
    intent: str | None = None  # id of the intent while the change is under way
    under_way: "SwapProgress | None" = None  # announced changes only
    replaces_damage: bool = False  # replace an unreadable pointer as if none existed
    resets_time: bool = False  # allow a new time before a stored time in the future
    pause: Pause = wait  # between attempts


class _UnansweredSwap(msgspec.Struct, frozen=True):
    """A swap without a reply from the store: the pointer and journal head it was based on, and its decision."""

    before: LivePointer | None
    move: MovePointer
    head: JournalHead


class PointerBasis(msgspec.Struct, frozen=True):
    """The pointer and the journal's head as they were read before the change was announced.

    A change may swap this pointer without reading it again if `claim_from_collections` passed and every blob was
    verified after the announcement. A collection that began before is then visible, and one that began later has
    swapped the pointer.
    """

    current: LivePointer
    head: JournalHead


def change_pointer(change: PointerChange, judge: Judge, *, seen: PointerBasis | None = None) -> JournalEntry:
    """Change the pointer and return the journal entry. `judge` decides on the pointer that each attempt replaces.

    The first attempt uses the pointer in `seen`, if given, and does not read the store again.

    Raises what `judge` raises, `ConflictError` if other writers won every attempt, and `OutcomeUnknownError` or
    `StoreUnavailableError` if the store did not reply. A returned entry with sequence 0 could not be written; its
    message gives the reason. The swap is in effect then, and the next command records it with the cause from the
    intent.
    """
    sent: dict[str, _UnansweredSwap] = {}  # swaps without a reply, by the pointer's time
    head = seen.head if seen else None
    problem: ConflictError | StoreUnavailableError = ConflictError(f"{change.target}: no attempt was made")
    for _ in attempts(MAX_ATTEMPTS, pause=change.pause):
        current, etag = (seen.current, seen.current.etag) if seen else _read(change)
        tried = sent.get(current.pointer.updated_at) if current is not None else None
        if (
            current is not None and tried is not None and tried.move.versions == current.versions
        ):  # our own swap, not another writer's
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
    """Return the pointer, or None if it is absent or damaged, and the etag that the swap expects."""
    read = read_pointer if change.replaces_damage else read_current
    pointer = read(change.store, change.target)
    return pointer if isinstance(pointer, LivePointer) else None, pointer.etag if pointer is not None else None


def _recover(change: PointerChange, current: LivePointer | None, *, since: JournalHead | None) -> JournalHead:
    store, target = change.store, change.target
    return recover(store, target, current, by=change.by, now=change.now(), own_intent=change.intent, since=since)


@contextmanager
def announced(change: PointerChange, *, release_id: str, refs: tuple[ArtifactRef, ...]) -> Generator[PointerChange]:
    """Announce a change by an intent while it is under way: collection keeps its blobs, and a crash keeps its cause.

    The intent stays if the store does not reply: the change may have won, so none of it may be cleaned up. It also
    stays if a swap was sent and its journal entry is not written, whatever ended the change in between.
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
    """Remove the intent unless it is still needed. One left over only protects blobs, until collection removes it."""
    if not under_way.unrecorded:
        with suppress(StoreUnavailableError, ConfigurationError):
            change.store.delete(key)


def _note(change: PointerChange, *, unrecorded: bool) -> None:
    if change.under_way is not None:
        change.under_way.unrecorded = unrecorded


def look(change: PointerChange, refs: tuple[ArtifactRef, ...]) -> None:
    """Check that every blob exists and no collection may take it. Raises `RefusedError` or `ConflictError` if not."""
    claim_from_collections(change, refs)
    missing = restore_from_trash(change.store, change.target, missing_blobs(change.store, change.target, refs))
    if missing:
        names = ", ".join(f"{ref.kind} {ref.version[:12]}" for ref in missing)
        raise RefusedError(f"{change.target}: missing from the store: {names}; build the day again")


def claim_from_collections(change: PointerChange, refs: tuple[ArtifactRef, ...]) -> None:
    """Claim these blobs from a collection under way. Raises `ConflictError` if it takes one, or took one lately."""
    _claim(change, {(ref.kind, ref.version) for ref in refs})
    # Finished collections are checked last: one that ends in between was seen as under way, or is seen here.
    late = lately_taken(change.store, change.target, refs)  # a failed listing ends the attempt: never swap unchecked
    if late is not None:
        raise ConflictError(
            f"{change.target}: the collection of {late.at} by {late.actor} took an artifact of this release, and a "
            f"delete may still be under way: run again {DELETE_LIFETIME.seconds // 60} minutes after it"
        )


def _claim(change: PointerChange, wanted: set[tuple[str, str]]) -> None:
    """Remove these blobs from what an undecided collection may take, whether its process is alive or dead."""
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
    """Replace an unreadable record of a collection by an empty collection, and return it.

    The collector, if alive, checks before each move that the record is its own, and then ends. What it took is in the
    trash, whose timestamps make later changes wait as usual.
    """
    sweep = Sweep(
        id=token_hex(16),
        at=rfc3339(change.now()),
        actor=change.by.name,
        reason="replaced a collection record that could not be read",
        decided=False,
        taken=(),
    )
    change.store.swap(sweep_key(change.target), encode(sweep), expected=expected)
    return sweep


def is_clear_of_collections(change: PointerChange, refs: tuple[ArtifactRef, ...]) -> bool:
    """Return whether no collection may take one of these blobs. If one may, each attempt to swap checks again."""
    try:
        claim_from_collections(change, refs)
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
    stored_times = [t for t in (head.newest_at, current.updated_at if current else None) if t is not None]
    if change.resets_time:
        stored_times = [t for t in stored_times if t - now <= MAX_AHEAD]
    pointer = make_pointer(
        change.store.uri_roots[0], change.target, move.versions, now=now, after=max(stored_times, default=None)
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
    change: PointerChange, old: LivePointer | None, now: LivePointer, move: MovePointer, *, after: JournalEntry | None
) -> JournalEntry:
    entry = entry_of(
        action=change.action,
        outcome=DONE,
        by=change.by,
        now=change.now(),
        live=old,
        message=move.message,
        details={**move.details, "intent": change.intent} if change.intent else move.details,
    )
    entry = changed(entry, to=now)
    fault: RecsysAssetsError | None = None
    for _ in attempts(_RECORDING_ATTEMPTS, pause=change.pause):
        try:
            entry = append(change.store, change.target, entry, after=after)
        except RecsysAssetsError as error:  # the swap is in effect: an error would hide that
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
