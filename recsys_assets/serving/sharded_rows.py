"""Rows of an artifact in shards, found by id through the one shard that its hash names."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic

from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import Target
from recsys_assets.release.shards import ShardIndex, parse_index
from recsys_assets.serving.lookups import SHAPES, form_of_kind
from recsys_assets.serving.row_index import Form, Row
from recsys_assets.serving.served import ServedArtifact
from recsys_assets.serving.shard_cache import ShardCache
from recsys_assets.sharding import is_index_kind, shard_of


@dataclass(frozen=True, slots=True, eq=False)
class ShardedRows(Generic[Row]):
    """What an index stands for: looked up in as the rows of a single object are, each shard read when it is needed."""

    form: Form[Row]
    index: ShardIndex
    cache: ShardCache

    def __len__(self) -> int:
        """Return how many rows all shards have."""
        return self.index.rows

    def __iter__(self) -> Iterator[Row]:
        """Yield every row, shard after shard, by id within each: reads all shards, and holds no more than the cache."""
        return (row for ref in self.index.refs for row in self.cache.rows(ref))

    @property
    def held_bytes(self) -> int:
        """Bytes that its shards take in memory now."""
        return self.cache.held_bytes(self.index.refs)

    def row(self, number: int) -> Row:
        """Return the row at a position, counted shard after shard."""
        for ref, shard in zip(self.index.refs, self.index.shards, strict=True):
            if number < shard.rows:
                return self.cache.rows(ref).row(number)
            number -= shard.rows
        raise IndexError(number)

    def find(self, key: str) -> Row | None:
        """Return the row of an id, or None if there is none in its shard.

        Raises, where that shard cannot be read, what `ShardCache.rows` raises: it may hold the row.
        """
        number = shard_of(key, len(self.index.shards))
        return self.cache.rows(self.index.ref_of(self.index.shards[number])).find(key)


def with_shards(artifact: ServedArtifact, target: Target, cache: ShardCache) -> ServedArtifact:
    """Return an artifact with the rows that its shards hold, read through `cache`; one that is no index as it is.

    Raises `CorruptObjectError` if the index is not one of this target and kind.
    """
    if not is_index_kind(artifact.kind):
        return artifact
    name = f"{artifact.kind} {artifact.version[:12]}"
    index = parse_index(artifact.data, target, artifact.kind, name=name)
    rows = ShardedRows(_form(index, name), index, cache)
    return replace(artifact, window_start=index.window.start, window_end=index.window.end, rows=rows)


def _form(index: ShardIndex, name: str) -> Form[Any]:
    """Return how the rows of a kind are written; of an unknown kind by the key in its index."""
    likely = (shape for shape in SHAPES if shape.close == b"]}" and shape.key == index.key)
    form = form_of_kind(index.artifact_type) or next(likely, None)
    if form is None or form.key != index.key:
        raise CorruptObjectError(f"{name} finds rows by {index.key!r}, which no rows are found by: build it again")
    return form
