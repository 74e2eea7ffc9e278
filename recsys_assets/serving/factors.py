"""Recommendations and similar items from the vectors of users and items of a release."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from recsys_assets.errors import CorruptObjectError
from recsys_assets.serving.served import ScoredItem

if TYPE_CHECKING:
    from numpy.typing import NDArray  # numpy takes longer to import than the reader, and most services need none


_TINY = 1e-30  # avoids division by zero for a vector of zeros


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
