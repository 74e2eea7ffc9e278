"""Shards in memory: read when one is asked for, proven, kept while there is room, the longest unused let go first."""

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from cachetools import LRUCache

from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.release.blob import read_blob
from recsys_assets.serving.row_index import Lookup
from recsys_assets.serving.served import prove
from recsys_assets.serving.threads import renew_after_fork
from recsys_assets.storage.store import ObjectStore


class ShardCache:
    """The shards of one target that were asked for lately, at most `max_bytes` of them, whatever release they are of.

    Neighbouring releases share the shards that did not change. Of threads that ask for the same shard at once one
    reads; the others wait for it and get what it got, also its error, which is not kept: who asks next tries again.
    """

    def __init__(self, store: ObjectStore, target: Target, *, max_bytes: int) -> None:
        self._store, self._target = store, target
        self._kept: LRUCache[ArtifactRef, Lookup[Any]] = LRUCache(max_bytes, getsizeof=_held_bytes)
        self._flying: dict[ArtifactRef, Future[Lookup[Any]]] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def held_bytes(self, refs: Iterable[ArtifactRef]) -> int:
        """Return the bytes of those of these shards that are kept, with what finds rows in them."""
        wanted = set(refs)
        with self._lock:
            return sum(rows.held_bytes for ref, rows in self._kept.items() if ref in wanted)

    def rows(self, ref: ArtifactRef) -> Lookup[Any]:
        """Return the rows of a shard.

        Raises `NotFoundError` if it is missing, `CorruptObjectError` if it is not exactly the one referred to, and
        what the store raises: never an empty shard in place of one that cannot be read.
        """
        with self._lock:
            found = self._kept.get(ref)
            if found is not None:
                return found
            flight = self._flying.get(ref)
            mine = flight is None
            if flight is None:
                flight = self._flying[ref] = Future()
        return self._fly(ref, flight) if mine else flight.result()

    def after_fork(self) -> None:
        """Forget flights of the parent's threads, which did not come along."""
        self._lock = threading.Lock()
        self._flying = {}

    def _fly(self, ref: ArtifactRef, flight: Future[Lookup[Any]]) -> Lookup[Any]:
        try:
            rows = self._read(ref)
        except BaseException as error:
            self._land(ref)
            flight.set_exception(error)
            raise
        self._keep(ref, rows)
        flight.set_result(rows)
        return rows

    def _read(self, ref: ArtifactRef) -> Lookup[Any]:
        name = f"shard {ref.version[:12]} of {ref.kind}"
        rows = prove(self._target, ref.kind, ref.version, read_blob(self._store, self._target, ref), name=name).rows
        if rows is None:
            raise CorruptObjectError(f"{name} has no rows that can be looked up: build it again")
        return rows

    def _keep(self, ref: ArtifactRef, rows: Lookup[Any]) -> None:
        """Keep a shard, and let go of others until all have room; one that alone is too large is not kept."""
        with self._lock, suppress(ValueError):
            self._flying.pop(ref, None)
            self._kept[ref] = rows  # ValueError: larger than the whole cache

    def _land(self, ref: ArtifactRef) -> None:
        with self._lock:
            self._flying.pop(ref, None)


def _held_bytes(rows: Lookup[Any]) -> int:
    return rows.held_bytes
