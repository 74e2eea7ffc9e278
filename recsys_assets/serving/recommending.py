"""Recommendations of a release: each kind by its own lookups, and a blend of history, neighbours and popularity."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from itertools import islice
from typing import Any, Final, TypeAlias

from recsys_assets.kind_descriptions import BLEND
from recsys_assets.serving.lookups import CountedItem, Neighbors, UserItems
from recsys_assets.serving.row_index import Lookup

RECENT_STEPS: Final = 5  # steps so far that ask for neighbours: what was seen long ago says little of what is next
NEAREST: Final = 60  # weight of the last step; every distance up to RECENT_STEPS divides it
HISTORY_TO_NEIGHBORS: Final = (2, 1)
_SHARE: Final = 10**12  # a list's weights sum up to it where lists of several kinds come together
_MILLIONTHS: Final = 10**6  # scores are held in them

Weights: TypeAlias = Mapping[str, int]
Steps: TypeAlias = Sequence[Sequence[str]]  # items of a session by instant, oldest first; within one there is no order
_FILLS: Final = "popularity"  # of several lists for everybody; else the first by name
_NOTHING: Final[Weights] = {}


@dataclass(frozen=True, slots=True)
class Recommender:
    """Weights of items as parts that add up over a user's history and the items seen; in whole numbers.

    So no order of a sum shows in it, and what one item of a session adds can be taken away again. Items without any
    weight follow in the order of `fill`, the most counted first.
    """

    of_user: Callable[[str], Weights] = lambda _: _NOTHING
    beside: Callable[[str], Weights] = lambda _: _NOTHING
    fill: Callable[[], Iterator[tuple[str, int]]] = lambda: iter(())

    def weigh(self, user: str | None, steps: Steps, *, unasked: int = 0) -> dict[str, int]:
        """Return the weights after these steps: neighbours of the last ones by 1 / distance, and the user's history.

        History weighs as much as the items seen together, less `unasked` of the last step.
        """
        weights: defaultdict[str, int] = defaultdict(int)
        seen = -unasked * NEAREST
        for distance, step in enumerate(reversed(steps[-RECENT_STEPS:]), start=1):
            share = NEAREST // distance
            seen += share * len(step)
            for item in step:
                for other, weight in self.beside(item).items():
                    weights[other] += weight * share
        if user is not None:
            for item, weight in self.of_user(user).items():
                weights[item] += weight * (seen or NEAREST)
        return weights

    def recommend(self, user: str | None, steps: Steps, *, limit: int) -> list[str]:
        """Return at most `limit` items that are not in `steps`, the heaviest first; of equal ones the lower id."""
        seen = {item for step in steps for item in step}
        weights = {item: weight for item, weight in self.weigh(user, steps).items() if item not in seen}
        best = nsmallest(limit, weights, key=lambda item: (-weights[item], item))
        rest = (item for item, _ in self.fill() if item not in seen and item not in weights)
        return [*best, *islice(rest, limit - len(best))]


def recommenders(rows: Mapping[str, Lookup[Any]]) -> dict[str, Recommender]:
    """Return, by kind, what recommends from its rows, and `blend`, which recommends from all of them.

    A kind is asked by the shape of its rows: one list of items as it is; neighbours of the last items; a user's own
    list. A kind without lists of items (tags) recommends nothing and is left out.
    """
    found = {kind: one for kind, lookup in sorted(rows.items()) if (one := _by_shape(lookup)) is not None}
    return {**found, BLEND: blend(rows)} if found else {}


def blend(rows: Mapping[str, Lookup[Any]], *, ask: Callable[[str, str], Any] | None = None) -> Recommender:
    """Return what recommends from a user's history and the neighbours of the last items, and fills from one list.

    Every list counts by its shares, so that counts of one kind do not drown those of another; lists of one sort
    together weigh as one, history twice as much as neighbours. The kind that is one list only fills what is short.
    `ask` finds the row of an id in a kind instead of the kind's rows, as a reader that counts its questions does.
    """

    def find(kind: str, key: str) -> Any:
        return rows[kind].find(key) if ask is None else ask(kind, key)

    shapes = {kind: _shape(rows[kind]) for kind in sorted(rows, key=lambda kind: (kind != _FILLS, kind))}
    history = [_of_user(partial(find, kind)) for kind, shape in shapes.items() if shape is UserItems]
    near = [_beside(partial(find, kind)) for kind, shape in shapes.items() if shape is Neighbors]
    lists = [_in_order(rows[kind]) for kind, shape in shapes.items() if shape is CountedItem]
    of_user, beside = HISTORY_TO_NEIGHBORS
    return Recommender(
        of_user=_sum_of_shares(history, of_user * max(len(near), 1)),
        beside=_sum_of_shares(near, beside * max(len(history), 1)),
        fill=lists[0] if lists else Recommender().fill,
    )


def _by_shape(rows: Lookup[Any]) -> Recommender | None:
    shape = _shape(rows)
    if shape is CountedItem:
        return Recommender(fill=_in_order(rows))
    if shape is UserItems:
        return Recommender(of_user=_of_user(rows.find))
    return Recommender(beside=_beside(rows.find)) if shape is Neighbors else None


def _shape(rows: Lookup[Any]) -> object:
    return rows.form.decoder.type


def _in_order(rows: Lookup[Any]) -> Callable[[], Iterator[tuple[str, int]]]:
    def fill() -> Iterator[tuple[str, int]]:
        for number in range(len(rows)):
            row = rows.row(number)
            yield row.item_id, row.count

    return fill


def _of_user(find: Callable[[str], Any]) -> Callable[[str], Weights]:
    def of_user(user: str) -> Weights:
        row = find(user)
        return (
            _NOTHING if row is None else _positive({one.item_id: round(one.score * _MILLIONTHS) for one in row.items})
        )

    return of_user


def _beside(find: Callable[[str], Any]) -> Callable[[str], Weights]:
    def beside(item: str) -> Weights:
        row = find(item)
        return _NOTHING if row is None else _positive({one.item_id: one.count for one in row.items})

    return beside


def _positive(weights: Weights) -> Weights:
    """Return weights above 0 in the same order: other teams' scores may be logarithms, and no weight is no place."""
    lowest = min(weights.values(), default=1)
    return weights if lowest > 0 else {item: weight - lowest + 1 for item, weight in weights.items()}


def _sum_of_shares(lists: Sequence[Callable[[str], Weights]], factor: int) -> Callable[[str], Weights]:
    def weigh(key: str) -> Weights:
        weights: defaultdict[str, int] = defaultdict(int)
        for ask in lists:
            found = ask(key)
            total = sum(found.values())
            for item, weight in found.items():
                weights[item] += max(weight * _SHARE * factor // total, 1)
        return weights

    return weigh
