"""Sync of a sink with the store's pointer: rows are written and read back before the sink's pointer refers to them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

import msgspec

from recsys_assets.artifact_format import index_kind, is_index_kind, sharded_kind
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
from recsys_assets.sinks.sink import Sink, bucket_name, pointer_key
from recsys_assets.sinks.spaces import (
    BUCKETS_AT_ONCE,
    SinkPointer,
    Space,
    announce,
    expire,
    forget_removed,
    new_space,
    objects_of,
    switch,
    write_space,
)
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.retire import retired_at

_TRIES: Final = 5


class SyncState(StrEnum):
    """Result of one sync."""

    UNCHANGED = "unchanged"
    SWITCHED = "switched"
    PROVEN = "proven"  # with `verify`: every row was read back, and those that differed were rewritten
    RETIRED = "retired"
    NOTHING_LIVE = "nothing_live"


class SinkRules(msgspec.Struct, frozen=True):
    """Kinds that a sink stores and its retention. See `SinkSettings`."""

    name: str
    prefix: str
    kinds: tuple[str, ...]
    keep: int
    grace: timedelta


class Synced(msgspec.Struct, frozen=True):
    """Outcome of syncing one target to one sink."""

    tenant: str
    surface: str
    sink: str
    state: SyncState
    release: str | None
    written: int = 0
    removed: int = 0  # number of versions
    message: str = ""


@dataclass(slots=True)
class _Sync:
    """State of one sync of one target: store, sink, rules, and the spaces verified so far."""

    sink: Sink
    store: ObjectStore
    target: Target
    rules: SinkRules
    now: Clock
    proven: dict[str, Space]  # spaces by name
    written: int = 0

    @property
    def key(self) -> str:
        return pointer_key(self.rules.prefix, self.target)

    def swap(self, pointer: SinkPointer, before: bytes | None) -> bytes:
        data = encode(pointer)
        self.sink.swap_pointer(self.key, data, expected=before)
        return data


def read_sink_pointer(sink: Sink, prefix: str, target: Target) -> tuple[SinkPointer, bytes | None]:
    """Return the sink's pointer for a target with its stored bytes, or an empty pointer and None if there is none.

    Raises `CorruptObjectError` if the pointer cannot be decoded or belongs to another target.
    """
    key = pointer_key(prefix, target)
    data = sink.read_pointer(key)
    if data is None:
        return SinkPointer(tenant=target.tenant, surface=target.surface), None
    pointer = decode(data, SinkPointer, name=f"{key} of the sink")
    if (pointer.tenant, pointer.surface) != (target.tenant, target.surface):
        raise CorruptObjectError(f"{key} of the sink is of {pointer.tenant}/{pointer.surface}: use a prefix of its own")
    return pointer, data


def sync_target(
    sink: Sink, store: ObjectStore, target: Target, rules: SinkRules, *, now: Clock, verify: bool = False
) -> Synced:
    """Make a sink serve the live release, whatever it serves now: forward after a ship, back after a rollback.

    Rows of a version that the sink still has are not written again, unless `verify` finds differences. If the process
    is killed at any point, services still read a complete release, and the next call continues. Concurrent syncs write
    the same rows, and one of them switches. Raises `RefusedError` if the store's pointer is older than the one
    followed so far, whatever the sink or the store raise, and `ConflictError` if others keep changing either.
    """
    sync = _Sync(sink, store, target, rules, now, {})
    conflict: ConflictError | None = None
    for _ in attempts(_TRIES):
        try:
            return _follow(sync, verify=verify)
        except ConflictError as error:
            conflict = error
    raise ConflictError(
        f"{target}: sink {rules.name} or the live release changed {_TRIES} times in the meantime: {conflict}"
    )


def _follow(sync: _Sync, *, verify: bool) -> Synced:
    """Sync once. The sink's pointer is read before the store's, so that its compare-and-swap covers both."""
    pointer, before = read_sink_pointer(sync.sink, sync.rules.prefix, sync.target)
    current = read_current(sync.store, sync.target)
    if current is None:
        return _without_live(sync, pointer, before)
    if pointer.updated_at and parse_rfc3339(pointer.updated_at) > current.updated_at:
        raise RefusedError(
            f"{sync.target}: sink {sync.rules.name} follows a pointer of {pointer.updated_at}, the store's is of "
            f"{current.pointer.updated_at}: either old bytes were put back (`recsys-assets restore-pointer`), or "
            "another store writes to this sink (give each its own prefix)"
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
            outcome = write_space(
                sync.sink, sync.store, sync.target, space, members[kind], what=f"sinks.{sync.rules.name}"
            )
            sync.proven[space.name] = outcome.space
            sync.written += outcome.written
    reach("sink.before_switch")
    latest = read_current(sync.store, sync.target)
    if latest is None or latest.etag != current.etag:
        raise ConflictError("another release became live in the meantime")
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
    """Stop serving a retired target.

    Raises `NotFoundError` if the pointer was lost and the target is not retired: the sink then keeps serving.
    """
    if pointer.release is None:
        return _synced(sync, SyncState.NOTHING_LIVE, None, _sweep(sync, pointer, before), "nothing is live")
    if retired_at(sync.store, sync.target) is None:
        raise NotFoundError(
            f"{sync.target}: the store's pointer is missing; sink {sync.rules.name} still serves release "
            f"{pointer.release[:12]}: put the pointer back by `recsys-assets restore-pointer`"
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
    """Return the members of a release that the sink stores, by kind: kinds with rows, or their index."""
    release = read_release(sync.store, sync.target, current.release_id)
    names = {member.ref.kind for member in release.members}
    members = {
        sharded_kind(member.ref.kind): member
        for member in release.members
        if index_kind(member.ref.kind) not in names and (is_index_kind(member.ref.kind) or _is_json(member))
    }
    if not sync.rules.kinds:
        return members
    missing = sorted(set(sync.rules.kinds) - {sharded_kind(name) for name in names})
    rowless = sorted(set(sync.rules.kinds) - set(members) - set(missing))
    if rowless:
        raise ConfigurationError(
            f"sinks.{sync.rules.name}.kinds lists {', '.join(rowless)}, which have no rows to look up"
        )
    return {kind: member for kind, member in members.items() if kind in sync.rules.kinds}


def _is_json(member: Member) -> bool:
    return "." not in member.ref.version


def _announced(
    sync: _Sync, pointer: SinkPointer, before: bytes | None, members: Mapping[str, Member]
) -> tuple[SinkPointer, bytes | None, dict[str, Space]]:
    """Return the space of each version. New spaces are added to the sink's pointer before a row is written."""
    spaces = {kind: pointer.find(kind, member.ref.version) for kind, member in members.items()}
    new = {
        kind: new_space(pointer, sync.rules.prefix, sync.target, member.ref, objects_of(member), now=sync.now())
        for kind, member in members.items()
        if spaces[kind] is None
    }
    if new:
        pointer = announce(pointer, tuple(new.values()))
        before = sync.swap(pointer, before)
        reach("sink.after_announcement")
    return pointer, before, {kind: space or new[kind] for kind, space in spaces.items()}


def _sweep(sync: _Sync, pointer: SinkPointer, before: bytes | None) -> int:
    """Delete versions that are no longer needed and return their number.

    They are listed in the pointer first, so that no sync serves them again. On a conflict, the sync that changed the
    pointer deletes them.
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
