"""Rankings of an artifact's rows by support, and search by id prefix."""

import threading
from array import array
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from cachetools import LRUCache

from recsys_assets.errors import BadRequestError
from recsys_assets.serving.row_index import Lookup

MAX_RANKED: Final = 100_000  # maximum rows of a ranked artifact: ranking decodes all of them
_CACHED_RANKINGS: Final = 8


class Ranking(msgspec.Struct, frozen=True):
    """Ids of all rows in stored order, and row positions by descending support."""

    ids: tuple[str, ...]
    strongest: "array[int]"

    def places(self, *, prefix: str, by_support: bool) -> Sequence[int]:
        """Return the positions of the rows whose id begins with a prefix, by support or in stored order."""
        order: Sequence[int] = self.strongest if by_support else range(len(self.ids))
        return [position for position in order if self.ids[position].startswith(prefix)] if prefix else order


class Rankings:
    """LRU cache of rankings by version, whose rows never change."""

    def __init__(self) -> None:
        self._rankings: LRUCache[str, Ranking] = LRUCache(_CACHED_RANKINGS)
        self._lock = threading.Lock()

    def of(self, version: str, rows: Lookup[Any]) -> Ranking:
        """Return the ranking of an artifact's rows. Raises `BadRequestError` if there are more than `MAX_RANKED`."""
        if len(rows) > MAX_RANKED:
            raise BadRequestError(
                f"this artifact has {len(rows)} rows, at most {MAX_RANKED} can be ranked or searched by prefix: omit "
                "sort and prefix, or look up one id"
            )
        with self._lock:
            ranking = self._rankings.get(version)
            if ranking is None:
                ranking = self._rankings[version] = _rank(rows)
        return ranking


def _rank(rows: Lookup[Any]) -> Ranking:
    id_of = rows.form.id_of
    ids: list[str] = []
    supports: list[float] = []
    for row in rows:
        ids.append(id_of(row))
        supports.append(support_of(row))
    return Ranking(
        tuple(ids), array("I", sorted(range(len(ids)), key=lambda position: (-supports[position], ids[position])))
    )


def support_of(row: Any) -> float:
    """Return the support of a row: its count, the sum of its entries' counts or scores, or the number of its tags."""
    own = getattr(row, "count", None)
    if isinstance(own, int):
        return own
    entries = getattr(row, "items", None)
    if entries is None:
        return len(getattr(row, "tags", ()))
    return sum(getattr(entry, "count", 0) or getattr(entry, "score", 0.0) for entry in entries)
