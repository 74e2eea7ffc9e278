"""Rows of an artifact in shards: the hash of an id selects the shard, and shards are cached in memory."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Generic

import msgspec
from cachetools import LRUCache
from msgspec.structs import replace

from recsys_assets.artifact_format import is_index_kind, shard_of
from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.release.shards import ShardIndex, parse_index, read_blob
from recsys_assets.serving.row_index import Lookup, Row, RowForm
from recsys_assets.serving.served import SHAPES, ServedArtifact, form_of_kind, prove
from recsys_assets.serving.threads import renew_after_fork
from recsys_assets.storage.store import ObjectStore


class ShardCache:
    """The most recently used shards of one target, of any release, with at most `max_bytes` in memory.

    Successive releases share the shards that did not change. If several threads need the same shard, one reads it. The
    others wait and get its result or its error. Errors are not cached: the next call reads again.
    """

    def __init__(self, store: ObjectStore, target: Target, *, max_bytes: int) -> None:
        self._store, self._target = store, target
        self._shards: LRUCache[ArtifactRef, Lookup[Any]] = LRUCache(max_bytes, getsizeof=_held_bytes)
        self._flying: dict[ArtifactRef, Future[Lookup[Any]]] = {}
        self._lock = threading.Lock()
        renew_after_fork(self)

    def held_bytes(self, refs: Iterable[ArtifactRef]) -> int:
        """Return the bytes in memory of those of the given shards that are cached, with their indexes."""
        wanted = set(refs)
        with self._lock:
            return sum(rows.held_bytes for ref, rows in self._shards.items() if ref in wanted)

    def rows(self, ref: ArtifactRef) -> Lookup[Any]:
        """Return the rows of a shard.

        Raises `NotFoundError` if it is missing, `CorruptObjectError` if it is not the version in `ref`, and what the
        store raises: a shard that cannot be read is never treated as empty.
        """
        with self._lock:
            cached = self._shards.get(ref)
            if cached is not None:
                return cached
            flight = self._flying.get(ref)
            mine = flight is None
            if flight is None:
                flight = self._flying[ref] = Future()
        return self._fly(ref, flight) if mine else flight.result()

    def after_fork(self) -> None:
        """Drop pending reads of the parent's threads, which do not exist in the child."""
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
        """Cache a shard, evicting others. A shard larger than the whole cache is not cached."""
        with self._lock, suppress(ValueError):
            self._flying.pop(ref, None)
            self._shards[ref] = rows  # ValueError: larger than the whole cache

    def _land(self, ref: ArtifactRef) -> None:
        with self._lock:
            self._flying.pop(ref, None)


def _held_bytes(rows: Lookup[Any]) -> int:
    return rows.held_bytes


class ShardedRows(msgspec.Struct, Generic[Row], frozen=True, eq=False):
    """All rows of an index of shards, with the lookups of a single object. Each shard is read when it is needed."""

    form: RowForm[Row]
    index: ShardIndex
    cache: ShardCache

    def __len__(self) -> int:
        """Return the number of rows in all shards."""
        return self.index.rows

    def __iter__(self) -> Iterator[Row]:
        """Yield every row, shard after shard, by id within each. Reads all shards within the memory of the cache."""
        return (row for ref in self.index.refs for row in self.cache.rows(ref))

    @property
    def held_bytes(self) -> int:
        """Bytes of its cached shards in memory."""
        return self.cache.held_bytes(self.index.refs)

    def row(self, number: int) -> Row:
        """Return the row at a position, counted shard after shard.

        Raises `IndexError` for a position beyond the end.
        """
        for ref, shard in zip(self.index.refs, self.index.shards, strict=True):
            if number < shard.rows:
                return self.cache.rows(ref).row(number)
            number -= shard.rows
        raise IndexError(number)

    def find(self, key: str) -> Row | None:
        """Return the row of an id, or None if there is none in its shard.

        Raises the errors of `ShardCache.rows` if that shard cannot be read, because it may contain the row.
        """
        number = shard_of(key, len(self.index.shards))
        return self.cache.rows(self.index.ref_of(self.index.shards[number])).find(key)


def with_shards(artifact: ServedArtifact, target: Target, cache: ShardCache) -> ServedArtifact:
    """Return an index artifact with the rows of its shards, read through `cache`. Other artifacts are unchanged.

    Raises `CorruptObjectError` if the index is not one of this target and kind.
    """
    if not is_index_kind(artifact.kind):
        return artifact
    name = f"{artifact.kind} {artifact.version[:12]}"
    index = parse_index(bytes(artifact.data), target, artifact.kind, name=name)
    rows = ShardedRows(_form(index, name), index, cache)
    return replace(artifact, window_start=index.window.start, window_end=index.window.end, rows=rows)


def _form(index: ShardIndex, name: str) -> RowForm[Any]:
    """Return the layout of the rows of a kind. For an unknown kind, the key in its index decides."""
    candidates = (shape for shape in SHAPES if shape.close == b"]}" and shape.key == index.key)
    form = form_of_kind(index.artifact_type) or next(candidates, None)
    if form is None or form.key != index.key:
        raise CorruptObjectError(f"{name} has the key {index.key!r}, which is not the key of its kind: build it again")
    return form
