"""Recommendations from a release: by kind, a blend of history, neighbours and popularity, and by vectors."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from heapq import nsmallest
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from recsys_assets.errors import CorruptObjectError
from recsys_assets.kind_descriptions import BLEND
from recsys_assets.serving.row_index import Lookup
from recsys_assets.serving.served import CountedItem, Neighbors, ScoredItem, UserItems

if TYPE_CHECKING:
    from numpy.typing import NDArray  # numpy takes longer to import than the reader, and most services need none

_TINY = 1e-30  # avoids division by zero for a vector of zeros
RECENT_STEPS: Final = 5  # number of last steps whose neighbours count: earlier steps say little about the next
NEAREST: Final = 60  # Weight of the last step. Every distance up to RECENT_STEPS divides it.
HISTORY_TO_NEIGHBORS: Final = (2, 1)
_SHARE: Final = 10**12  # sum of the weights of a list when lists of several kinds are combined
_MILLIONTHS: Final = 10**6  # scores are converted to whole millionths

Weights: TypeAlias = Mapping[str, int]
Steps: TypeAlias = Sequence[
    Sequence[str]
]  # Items of a session by timestamp, oldest first. Without order within one timestamp.
_FILLS: Final = "popularity"  # The preferred list without a key. Otherwise the first by name.
_NOTHING: Final[Weights] = {}


class Ids(msgspec.Struct, frozen=True, eq=False):
    """Ascending ids of users or of items, as stored in the file: found by binary search, without unpacking them all."""

    text: memoryview
    ends: "NDArray[Any]"

    @classmethod
    def of(cls, arrays: "Mapping[str, NDArray[Any]]", column: str) -> "Ids":
        """Return the ids of `column`. Raises `CorruptObjectError` if the arrays have none."""
        if not {f"{column}.text", f"{column}.ends"} <= arrays.keys():
            raise CorruptObjectError(
                f"no {column}.text and {column}.ends among {sorted(arrays)}: not a kind of vectors"
            )
        return cls(arrays[f"{column}.text"].data, arrays[f"{column}.ends"])

    def __len__(self) -> int:
        """Return the number of ids."""
        return len(self.ends)

    def __getitem__(self, row: int) -> str:
        """Return the id of a row."""
        return bytes(self._bytes(row)).decode()

    def find(self, key: str) -> int | None:
        """Return the row of an id, or None if it has none."""
        wanted, low, high = key.encode(errors="surrogatepass"), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._bytes(low) == wanted else None

    def _bytes(self, row: int) -> bytes:
        return self.text[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])].tobytes()


class Factors(msgspec.Struct, frozen=True, eq=False):
    """Vectors of users and items of one release. Create it once per release and keep it."""

    users: Ids
    items: Ids
    user_vectors: "NDArray[Any]"
    item_vectors: "NDArray[Any]"
    item_lengths: "NDArray[Any]"
    blocked: frozenset[str] = frozenset()  # items that are never returned

    @classmethod
    def of(cls, arrays: "Mapping[str, NDArray[Any]]", *, blocked: frozenset[str] = frozenset()) -> "Factors":
        """Return the factors that an artifact's arrays hold. Raises `CorruptObjectError` if they hold none."""
        import numpy as np  # noqa: PLC0415 - slow to import, and needed only here

        users, items = (Ids.of(arrays, column) for column in ("user_id", "item_id"))
        vectors = arrays["item_factors"]
        return cls(users, items, arrays["user_factors"], vectors, np.linalg.norm(vectors, axis=1), blocked)

    def for_user(
        self, user_id: str, limit: int = 10, *, without: Collection[str] = ()
    ) -> tuple[ScoredItem, ...] | None:
        """Return the items with the highest scores for a user, except `without`, ties by id. None for an unknown user.

        The score is the dot product of both vectors: around 1 for likely items, around 0 for others.
        """
        row = self.users.find(user_id)
        return None if row is None else self._best(self.item_vectors @ self.user_vectors[row], limit, without)

    def like_item(self, item_id: str, limit: int = 10) -> tuple[ScoredItem, ...] | None:
        """Return the items with the highest cosine similarity to an item, or None if the item is unknown or blocked."""
        row = None if item_id in self.blocked else self.items.find(item_id)
        if row is None:
            return None
        products = self.item_vectors @ self.item_vectors[row]
        lengths = (self.item_lengths * self.item_lengths[row]).clip(_TINY)
        return self._best(products / lengths, limit, (item_id,))

    def _best(self, scores: "NDArray[Any]", limit: int, without: Collection[str]) -> tuple[ScoredItem, ...]:
        hidden = {self.items.find(item) for item in (*without, *self.blocked)}
        wanted = min(limit + len(hidden), len(scores))
        if not wanted:
            return ()
        # Only items that can be returned are sorted: a partition scans the others once.
        near = (scores >= scores[scores.argpartition(-wanted)[-wanted]]).nonzero()[0]
        best = near[(-scores[near]).argsort(kind="stable")].tolist()
        shown = [row for row in best if row not in hidden][:limit]
        return tuple(ScoredItem(self.items[row], float(scores[row])) for row in shown)


class Recommender(msgspec.Struct, frozen=True):
    """Weights of items as sums over a user's history and the items seen, in whole numbers.

    Whole numbers make a sum independent of its order, and the share of one item of a session can be subtracted again.
    Items without any weight follow in the order of `fill`, the highest count first.
    """

    of_user: Callable[[str], Weights] = lambda _: _NOTHING
    beside: Callable[[str], Weights] = lambda _: _NOTHING
    fill: Callable[[], Iterator[tuple[str, int]]] = lambda: iter(())

    def weigh(self, user: str | None, steps: Steps, *, unasked: int = 0) -> dict[str, int]:
        """Return the weights after these steps: neighbours of the last ones by 1 / distance, and the user's history.

        History weighs as much as all items seen together, except `unasked` items of the last step.
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
        """Return at most `limit` items that are not in `steps`, the highest weight first, ties by id."""
        seen = {item for step in steps for item in step}
        weights = {item: weight for item, weight in self.weigh(user, steps).items() if item not in seen}
        best = nsmallest(limit, weights, key=lambda item: (-weights[item], item))
        rest = (item for item, _ in self.fill() if item not in seen and item not in weights)
        return [*best, *islice(rest, limit - len(best))]


def recommenders(rows: Mapping[str, Lookup[Any]]) -> dict[str, Recommender]:
    """Return a recommender per kind, and `blend`, which combines all kinds.

    The shape of its rows decides how a kind is used: one list of items in its order, neighbours of the last items, or
    the user's own list. A kind without lists of items (tags) is excluded.
    """
    recommenders_by_kind = {
        kind: made for kind, lookup in sorted(rows.items()) if (made := _by_shape(lookup)) is not None
    }
    return {**recommenders_by_kind, BLEND: blend(rows)} if recommenders_by_kind else {}


def blend(rows: Mapping[str, Lookup[Any]], *, ask: Callable[[str, str], Any] | None = None) -> Recommender:
    """Return a recommender from a user's history and the neighbours of the last items, filled up from one list.

    The values of each list are normalised to shares, so that large counts of one kind do not outweigh another. All
    histories together weigh twice as much as all neighbours together. A kind that is one list only fills the
    remaining places. `ask` finds the row of an id in a kind instead of `rows`, for a reader that counts its lookups.
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
            _NOTHING
            if row is None
            else _positive({item.item_id: round(item.score * _MILLIONTHS) for item in row.items})
        )

    return of_user


def _beside(find: Callable[[str], Any]) -> Callable[[str], Weights]:
    def beside(item: str) -> Weights:
        row = find(item)
        return _NOTHING if row is None else _positive({near.item_id: near.count for near in row.items})

    return beside


def _positive(weights: Weights) -> Weights:
    """Return weights above 0 in the same order: imported scores may be negative, but weights must not be."""
    lowest = min(weights.values(), default=1)
    return weights if lowest > 0 else {item: weight - lowest + 1 for item, weight in weights.items()}


def _sum_of_shares(lists: Sequence[Callable[[str], Weights]], factor: int) -> Callable[[str], Weights]:
    def weigh(key: str) -> Weights:
        weights: defaultdict[str, int] = defaultdict(int)
        for ask in lists:
            row = ask(key)
            total = sum(row.values())
            for item, weight in row.items():
                weights[item] += max(weight * _SHARE * factor // total, 1)
        return weights

    return weigh
