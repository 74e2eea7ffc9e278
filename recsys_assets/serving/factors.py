"""Factors as services ask them: what a user may like, and which items are like one, by the vectors of a release."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recsys_assets.errors import CorruptObjectError
from recsys_assets.serving.lookups import ScoredItem

if TYPE_CHECKING:
    from numpy.typing import NDArray  # numpy takes longer to import than the reader, and most services need none


_TINY = 1e-30  # keeps a vector of zeros from being divided by none


@dataclass(frozen=True, slots=True, eq=False)
class Ids:
    """The ids of one sort, ascending, as they are in the file: found by halving, so that none is unpacked."""

    text: memoryview
    ends: "NDArray[Any]"

    @classmethod
    def of(cls, arrays: "Mapping[str, NDArray[Any]]", column: str) -> "Ids":
        """Return the ids of `column`; `CorruptObjectError` if the arrays have none."""
        if not {f"{column}.text", f"{column}.ends"} <= arrays.keys():
            raise CorruptObjectError(f"no {column}.text and {column}.ends among {sorted(arrays)}: no kind of vectors")
        return cls(arrays[f"{column}.text"].data, arrays[f"{column}.ends"])

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.ends)

    def __getitem__(self, row: int) -> str:
        """Return the id of a row."""
        return bytes(self._bytes(row)).decode()

    def find(self, one: str) -> int | None:
        """Return the row of an id, or None if it has none."""
        wanted, low, high = one.encode(errors="surrogatepass"), 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._bytes(low) == wanted else None

    def _bytes(self, row: int) -> bytes:
        return self.text[int(self.ends[row - 1]) if row else 0 : int(self.ends[row])].tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """The vectors of users and items of one release; made once and kept for as long as the release is."""

    users: Ids
    items: Ids
    user_vectors: "NDArray[Any]"
    item_vectors: "NDArray[Any]"
    item_lengths: "NDArray[Any]"
    blocked: frozenset[str] = frozenset()  # items that are never named

    @classmethod
    def of(cls, arrays: "Mapping[str, NDArray[Any]]", *, blocked: frozenset[str] = frozenset()) -> "Factors":
        """Return the factors that an artifact's arrays hold; `CorruptObjectError` if they hold none."""
        import numpy as np  # noqa: PLC0415 - only who asks for factors has to wait for it

        users, items = (Ids.of(arrays, column) for column in ("user_id", "item_id"))
        vectors = arrays["item_factors"]
        return cls(users, items, arrays["user_factors"], vectors, np.linalg.norm(vectors, axis=1), blocked)

    def for_user(
        self, user_id: str, limit: int = 10, *, without: Collection[str] = ()
    ) -> tuple[ScoredItem, ...] | None:
        """Return what a user likes best but `without` some, or None if the user is unknown; ties by id.

        The score is the product of both vectors: around 1 for what the user is sure to like, around 0 for the rest.
        """
        row = self.users.find(user_id)
        return None if row is None else self._best(self.item_vectors @ self.user_vectors[row], limit, without)

    def like_item(self, item_id: str, limit: int = 10) -> tuple[ScoredItem, ...] | None:
        """Return the items liked by the same users, or None if the item is unknown: by the cosine of both vectors."""
        row = None if item_id in self.blocked else self.items.find(item_id)
        if row is None:
            return None
        products = self.item_vectors @ self.item_vectors[row]
        lengths = (self.item_lengths * self.item_lengths[row]).clip(_TINY)
        return self._best(products / lengths, limit, (item_id,))

    def _best(self, scores: "NDArray[Any]", limit: int, without: Collection[str]) -> tuple[ScoredItem, ...]:
        hidden = {self.items.find(one) for one in (*without, *self.blocked)}
        wanted = min(limit + len(hidden), len(scores))
        if not wanted:
            return ()
        # Sorted are only those that can be shown: a partition passes over the others once.
        near = (scores >= scores[scores.argpartition(-wanted)[-wanted]]).nonzero()[0]
        best = near[(-scores[near]).argsort(kind="stable")].tolist()
        shown = [row for row in best if row not in hidden][:limit]
        return tuple(ScoredItem(self.items[row], float(scores[row])) for row in shown)
