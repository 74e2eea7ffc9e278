"""Sync: a sink made to follow the store's pointer, every row written and read back before one document names it."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    RefusedError,
)
from recsys_assets.identity import Target, parse_rfc3339
from recsys_assets.messages import plural
from recsys_assets.release.blocking import blocked_ids
from recsys_assets.release.document_encoding import decode, encode
from recsys_assets.release.documents import Member
from recsys_assets.release.fault_points import reach
from recsys_assets.release.journal import Clock
from recsys_assets.release.layout import blob_key
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.releases import read_release
from recsys_assets.retry import attempts
from recsys_assets.sharding import index_kind, is_index_kind, sharded_kind
from recsys_assets.sinks.pointer import (
    SinkPointer,
    Space,
    announce,
    expire,
    forget_removed,
    new_space,
    switch,
)
from recsys_assets.sinks.rows import BUCKETS_AT_ONCE, objects_of, write_space
from recsys_assets.sinks.sink import Sink, bucket_name, pointer_key
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.retire import retired_at

_TRIES: Final = 5


class SyncState(StrEnum):
    """What one sync came to."""

    UNCHANGED = "unchanged"
    SWITCHED = "switched"
    PROVEN = "proven"  # asked to, every row was read back, and what differed was written again
    RETIRED = "retired"
    NOTHING_LIVE = "nothing_live"


@dataclass(frozen=True, slots=True)
class SinkRules:
    """What a sink takes and how long it keeps it; see `SinkSettings`."""

    name: str
    prefix: str
    kinds: tuple[str, ...]
    keep: int
    grace: timedelta


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one target in one sink."""

    tenant: str
    surface: str
    sink: str
    state: SyncState
    release: str | None
    written: int = 0
    removed: int = 0  # versions
    message: str = ""


@dataclass(slots=True)
class _Sync:
    """One sync of one target: where from, where to, and what of it was proven so far."""

    sink: Sink
    store: ObjectStore
    target: Target
    rules: SinkRules
    now: Clock
    proven: dict[str, Space]  # by name
    written: int = 0

    @property
    def key(self) -> str:
        return pointer_key(self.rules.prefix, self.target)

    def swap(self, pointer: SinkPointer, before: bytes | None) -> bytes:
        data = encode(pointer)
        self.sink.swap_pointer(self.key, data, expected=before)
        return data


def read_sink_pointer(sink: Sink, prefix: str, target: Target) -> tuple[SinkPointer, bytes | None]:
    """Return what a sink serves of a target, and its bytes (None: nothing yet); `CorruptObjectError` for others'."""
    key = pointer_key(prefix, target)
    data = sink.read_pointer(key)
    if data is None:
        return SinkPointer(tenant=target.tenant, surface=target.surface), None
    pointer = decode(data, SinkPointer, name=f"{key} of the sink")
    if (pointer.tenant, pointer.surface) != (target.tenant, target.surface):
        raise CorruptObjectError(f"{key} of the sink is of {pointer.tenant}/{pointer.surface}: give it a prefix alone")
    return pointer, data


def sync_target(
    sink: Sink, store: ObjectStore, target: Target, rules: SinkRules, *, now: Clock, verify: bool = False
) -> Synced:
    """Make a sink serve what is live, whatever it serves now: forward after a ship, back after a rollback.

    Rows of a version that the sink still has are not written again, unless `verify` finds them to differ. Killed
    anywhere, what services read is whole, and the next call goes on. Several at once write the same rows, and one of
    them switches. Raises `RefusedError` if the store's pointer is older than the one followed so far, whatever the
    sink or the store raise, and `ConflictError` if others change either without end.
    """
    sync = _Sync(sink, store, target, rules, now, {})
    conflict: ConflictError | None = None
    for _ in attempts(_TRIES):
        try:
            return _follow(sync, verify=verify)
        except ConflictError as error:
            conflict = error
    raise ConflictError(f"{target}: sink {rules.name} or what is live changed {_TRIES} times meanwhile: {conflict}")


def _follow(sync: _Sync, *, verify: bool) -> Synced:
    """Do it once: the sink's pointer is read before the store's, so that its condition covers what the store says."""
    pointer, before = read_sink_pointer(sync.sink, sync.rules.prefix, sync.target)
    current = read_current(sync.store, sync.target)
    if current is None:
        return _without_live(sync, pointer, before)
    if pointer.updated_at and parse_rfc3339(pointer.updated_at) > current.updated_at:
        raise RefusedError(
            f"{sync.target}: sink {sync.rules.name} follows a pointer of {pointer.updated_at}, the store's is of "
            f"{current.pointer.updated_at}: old bytes were put back (`recsys-assets restore-pointer`), or another "
            "store writes to this sink (give each its own prefix)"
        )
    members = _chosen(sync, current)
    blocked = tuple(sorted(blocked_ids(sync.store, sync.target, now=sync.now())))
    served = {kind: space.version for kind, space in pointer.kinds.items()}
    is_same = (pointer.updated_at, served, pointer.blocked) == (
        current.pointer.updated_at,
        {kind: member.ref.version for kind, member in members.items()},
        blocked,
    )
    if is_same and not verify:
        removed = _sweep(sync, pointer, before)
        message = f"serves release {current.release_id[:12]}"
        return _synced(sync, SyncState.UNCHANGED, current.release_id, removed, message)
    pointer, before, spaces = _announced(sync, pointer, before, members)
    for kind, space in spaces.items():
        if space.name not in sync.proven and (verify or space.name not in pointer.written):
            done = write_space(
                sync.sink, sync.store, sync.target, space, members[kind], what=f"sinks.{sync.rules.name}"
            )
            sync.proven[space.name] = done.space
            sync.written += done.written
    reach("sink.before_switch")
    latest = read_current(sync.store, sync.target)
    if latest is None or latest.etag != current.etag:
        raise ConflictError("another release became live meanwhile")
    after = switch(
        pointer,
        release=current.release_id,
        updated_at=current.pointer.updated_at,
        kinds={kind: sync.proven.get(space.name, space) for kind, space in spaces.items()},
        blocked=blocked,
        now=sync.now(),
    )
    data = sync.swap(after, before)
    reach("sink.after_switch")
    removed = _sweep(sync, after, data)
    state = SyncState.PROVEN if is_same else SyncState.SWITCHED
    message = f"{'holds' if is_same else 'switched to'} release {current.release_id[:12]}"
    return _synced(sync, state, current.release_id, removed, message)


def _without_live(sync: _Sync, pointer: SinkPointer, before: bytes | None) -> Synced:
    """Take away what is served of a target that was retired; a pointer that was lost takes nothing away."""
    if pointer.release is None:
        return _synced(sync, SyncState.NOTHING_LIVE, None, _sweep(sync, pointer, before), "nothing is live")
    if retired_at(sync.store, sync.target) is None:
        raise NotFoundError(
            f"{sync.target}: the store's pointer is gone; sink {sync.rules.name} goes on with release "
            f"{pointer.release[:12]}: `recsys-assets restore-pointer` puts it back"
        )
    after = switch(pointer, release=None, updated_at=pointer.updated_at, kinds={}, blocked=(), now=sync.now())
    removed = _sweep(sync, after, sync.swap(after, before))
    return _synced(sync, SyncState.RETIRED, None, removed, "retired, nothing is served")


def _synced(sync: _Sync, state: SyncState, release: str | None, removed: int, message: str) -> Synced:
    numbers = [f"{plural(sync.written, 'row')} written"] if sync.written else []
    numbers += [f"{plural(removed, 'old version')} removed"] if removed else []
    text = "; ".join([message, *numbers])
    target = sync.target
    return Synced(target.tenant, target.surface, sync.rules.name, state, release, sync.written, removed, text)


def _chosen(sync: _Sync, current: LivePointer) -> dict[str, Member]:
    """Return what the sink takes of a release, by kind: kinds with rows, of one in shards its index."""
    release = read_release(sync.store, sync.target, current.release_id)
    names = {member.ref.kind for member in release.members}
    found = {
        sharded_kind(member.ref.kind): member
        for member in release.members
        if index_kind(member.ref.kind) not in names and (is_index_kind(member.ref.kind) or _is_json(member))
    }
    if not sync.rules.kinds:
        return found
    missing = sorted(set(sync.rules.kinds) - {sharded_kind(name) for name in names})
    rowless = sorted(set(sync.rules.kinds) - set(found) - set(missing))
    if rowless:
        raise ConfigurationError(
            f"sinks.{sync.rules.name}.kinds names {', '.join(rowless)}, which have no rows to look up"
        )
    return {kind: member for kind, member in found.items() if kind in sync.rules.kinds}


def _is_json(member: Member) -> bool:
    return "." not in member.ref.version


def _announced(
    sync: _Sync, pointer: SinkPointer, before: bytes | None, members: Mapping[str, Member]
) -> tuple[SinkPointer, bytes | None, dict[str, Space]]:
    """Return the space of each version; those that are new stand in the sink's pointer before a row is written."""
    found = {kind: pointer.find(kind, member.ref.version) for kind, member in members.items()}
    new = {
        kind: new_space(pointer, sync.rules.prefix, sync.target, member.ref, objects_of(member), now=sync.now())
        for kind, member in members.items()
        if found[kind] is None
    }
    if new:
        pointer = announce(pointer, tuple(new.values()))
        before = sync.swap(pointer, before)
        reach("sink.after_announcement")
    return pointer, before, {kind: space or new[kind] for kind, space in found.items()}


def _sweep(sync: _Sync, pointer: SinkPointer, before: bytes | None) -> int:
    """Delete what nothing needs any more, announced first, so that it is served by nobody; return how many versions.

    Whoever is in the way does it.
    """

    def is_gone(space: Space) -> bool:
        return sync.store.stat(blob_key(sync.target, space.artifact_kind, space.version)) is None

    rules = sync.rules
    with suppress(ConflictError):
        after = expire(pointer, keep=rules.keep, grace=rules.grace, is_gone=is_gone, now=sync.now())
        if after is not pointer:
            before = sync.swap(after, before)
            reach("sink.after_expiry")
        if after.removing:
            for space in after.removing:
                names = [bucket_name(space.name, number) for number in range(space.buckets)]
                for start in range(0, len(names), BUCKETS_AT_ONCE):
                    sync.sink.delete_buckets(names[start : start + BUCKETS_AT_ONCE])
                    reach("sink.after_delete")
            sync.swap(forget_removed(after, after.removing), before)
            return len(after.removing)
    return 0
