"""Releases that were live before, found by the journal and their records alone, and loaded as the live one is."""

from datetime import datetime
from itertools import islice

from recsys_assets.errors import CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import Target
from recsys_assets.release.blob import read_blob
from recsys_assets.release.documents import Release
from recsys_assets.release.history import effective, live_at
from recsys_assets.release.journal import changes
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.releases import read_release
from recsys_assets.serving.loading import Limits
from recsys_assets.serving.served import ServedArtifact, prove
from recsys_assets.serving.shard_cache import ShardCache
from recsys_assets.serving.sharded_rows import with_shards
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.storage.store import ObjectStore

_LOOKED_AT = 20  # changes of the pointer, in search of a release that can be served


def load_at(store: ObjectStore, target: Target, instant: datetime, *, limits: Limits) -> Snapshot:
    """Return the release that was live at an instant; nothing is changed.

    Raises `RefusedError` if nothing was live then or its artifacts are collected by now, `CorruptObjectError` if they
    are not what the record says.
    """
    then = live_at(store, target, instant)
    if then is None:
        raise RefusedError(f"{target}: nothing was live at {instant.isoformat()}: ask for a later time")
    if then.record is None or then.collected:
        gone = ", ".join(then.collected) or "its record"
        raise RefusedError(
            f"{target}: release {then.release_id[:12]} was live at {instant.isoformat()}, and {gone} is gone from the "
            "store: restore it from a backup, or build its day again"
        )
    return _load(store, target, then.record, since=effective(then.entry) or instant, limits=limits)


def load_previous(store: ObjectStore, target: Target, *, besides: str, limits: Limits) -> Snapshot | None:
    """Return the latest release that was live, can be proven and is not marked bad, or None; `besides` is not asked."""
    for entry in islice(changes(store, target), _LOOKED_AT):
        since = effective(entry)
        if entry.after is None or entry.after == besides or since is None:
            continue
        if find_label(store, target, Labelled.BAD, entry.after) is not None:
            continue
        try:
            record = read_release(store, target, entry.after)
            return _load(store, target, record, since=since, limits=limits)
        except (NotFoundError, CorruptObjectError):
            continue  # the one before it may do; `recsys-assets verify` names what is wrong with each
    return None


def _load(store: ObjectStore, target: Target, record: Release, *, since: datetime, limits: Limits) -> Snapshot:
    """Load what a record names; sizes are the record's, so that they are checked before anything is read."""
    shards = ShardCache(store, target, max_bytes=limits.shard_bytes)
    refs = record.artifacts
    size = sum(ref.size for ref in refs.values())
    if size > limits.release_bytes:
        raise CorruptObjectError(
            f"release {record.id[:12]} of {target} takes {size} bytes: more than Limits.release_bytes allows"
        )
    artifacts: dict[str, ServedArtifact] = {}
    for kind, ref in refs.items():
        data = read_blob(store, target, ref)
        proven = prove(target, ref.kind, ref.version, data, name=f"{ref.kind} {ref.version}")
        artifacts[kind] = with_shards(proven, target, shards)
    return Snapshot(target, record.id, since, artifacts)
