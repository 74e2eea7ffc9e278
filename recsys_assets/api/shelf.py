"""Proven artifacts kept at hand, the least lately asked for given up first, within so many bytes."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from recsys_assets.serving.served import ServedArtifact
from recsys_assets.sharding import is_index_kind

MAX_BYTES = 128_000_000


@dataclass(frozen=True, slots=True)
class Shelf:
    """Artifacts by version. A version is the hash of its content, so what lies here is never out of date."""

    max_bytes: int = MAX_BYTES
    _kept: OrderedDict[str, ServedArtifact] = field(default_factory=OrderedDict[str, ServedArtifact])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, version: str, load: Callable[[], ServedArtifact]) -> ServedArtifact:
        """Return the artifact of a version, loaded if it is not at hand; one over the bound is not kept."""
        with self._lock:
            known = self._kept.get(version)
            if known is not None:
                self._kept.move_to_end(version)
                return known
        loaded = load()
        with self._lock:
            self._kept[version] = loaded
            self._kept.move_to_end(version)
            while self._kept and sum(map(_held_bytes, self._kept.values())) > self.max_bytes:
                self._kept.popitem(last=False)
        return loaded


def _held_bytes(kept: ServedArtifact) -> int:
    """Return the bytes of an artifact; of an index, also those of the shards that were asked for so far."""
    shards = kept.rows.held_bytes if kept.rows is not None and is_index_kind(kept.kind) else 0
    return len(kept.data) + shards
