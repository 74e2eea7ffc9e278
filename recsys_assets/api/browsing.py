"""Orders of an artifact's rows for people: by support, and those whose id begins with a prefix."""

import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cachetools import LRUCache

from recsys_assets.errors import BadRequestError
from recsys_assets.serving.row_index import Lookup

MAX_RANKED: Final = 100_000  # rows of an artifact that are ranked: all of them are decoded once for it
_KEPT: Final = 8  # artifacts


@dataclass(frozen=True, slots=True)
class Ranking:
    """The ids of all rows as they are stored, and the places of the rows, the strongest first."""

    ids: tuple[str, ...]
    strongest: "array[int]"

    def places(self, *, prefix: str, by_support: bool) -> Sequence[int]:
        """Return the places of the rows whose id begins with a prefix, in either order."""
        order: Sequence[int] = self.strongest if by_support else range(len(self.ids))
        return [place for place in order if self.ids[place].startswith(prefix)] if prefix else order


class Rankings:
    """Rankings by version, the least recently used evicted first; a version never changes its rows."""

    def __init__(self) -> None:
        self._kept: LRUCache[str, Ranking] = LRUCache(_KEPT)
        self._lock = threading.Lock()

    def of(self, version: str, rows: Lookup[Any]) -> Ranking:
        """Return the ranking of an artifact's rows; `BadRequestError` if there are more than are ranked."""
        if len(rows) > MAX_RANKED:
            raise BadRequestError(
                f"this artifact has {len(rows)} rows, at most {MAX_RANKED} are ranked or searched by prefix: leave out "
                "sort and prefix, or ask for one id"
            )
        with self._lock:
            known = self._kept.get(version)
            if known is None:
                known = self._kept[version] = _rank(rows)
        return known


def _rank(rows: Lookup[Any]) -> Ranking:
    id_of = rows.form.id_of
    ids: list[str] = []
    supports: list[float] = []
    for row in rows:
        ids.append(id_of(row))
        supports.append(support_of(row))
    return Ranking(tuple(ids), array("I", sorted(range(len(ids)), key=lambda place: (-supports[place], ids[place]))))


def support_of(row: Any) -> float:
    """Return how much a row rests on: its count, the sum of its entries' counts or scores, or how many they are."""
    own = getattr(row, "count", None)
    if isinstance(own, int):
        return own
    entries = getattr(row, "items", None)
    if entries is None:
        return len(getattr(row, "tags", ()))
    return sum(getattr(one, "count", 0) or getattr(one, "score", 0.0) for one in entries)
