"""One complete, verified release in memory, with the lookups of a request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec

from recsys_assets.errors import NotFoundError, RecsysAssetsError
from recsys_assets.identity import Target, form_of, tag_request
from recsys_assets.serving.blocking import NOTHING, without_blocked
from recsys_assets.serving.counting import SAMPLED, KindCounter, ReleaseCounter
from recsys_assets.serving.recommending import blend
from recsys_assets.serving.row_index import Lookup
from recsys_assets.serving.served import FORMS, CountedItem, ScoredItem, ServedArtifact

if TYPE_CHECKING:
    from numpy.typing import NDArray  # numpy takes longer to import than the reader, and most services need none

    from recsys_assets.serving.recommending import Factors

MAX_UNPACKED_BYTES = 1_000_000_000
RECOMMENDED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All artifacts of one release. Immutable, and in memory for as long as it is referenced.

    A lookup in a kind that is not in the release raises `NotFoundError` and counts as unknown. A lookup of an id that
    is not in the artifact returns None, which is different from a user without items.
    """

    target: Target
    release_id: str
    updated_at: datetime
    artifacts: Mapping[str, ServedArtifact]
    pointer_digest: str | None = None  # SHA-256 of the pointer's bytes, None for a past release
    blocked: frozenset[str] = NOTHING  # items that lookups never return, even if they are in the release
    counted_by: InitVar[ReleaseCounter | None] = None
    counter: ReleaseCounter = field(init=False)
    finders: Mapping[str, tuple[Callable[[str], Any], KindCounter]] = field(init=False)

    def __post_init__(self, counted_by: ReleaseCounter | None) -> None:
        """Store the finder and the counter of each kind together, so that a lookup is one dictionary access."""
        rows = self.lookups
        counter = counted_by or ReleaseCounter(self.release_id, {**FORMS, **rows})
        object.__setattr__(self, "counter", counter)
        finders = {kind: (lookup.find, counter.kinds[kind]) for kind, lookup in rows.items()}
        object.__setattr__(self, "finders", finders)

    def __enter__(self) -> Self:
        """Hold the release for the length of a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: memory is freed when the last reference ends."""

    def request_id(self, own: str, *, kind: str = "") -> str:
        """Return the id to log with the events of this request, so that results are reported by release and kind."""
        return tag_request(self.release_id, kind, own)

    def without(self, blocked: frozenset[str]) -> Self:
        """Return the same release with the same counter, whose lookups return none of the blocked items.

        The results of `content`, `arrays` and `table` stay as they were built.
        """
        if blocked == self.blocked:
            return self
        artifacts = {
            kind: item if item.rows is None else msgspec.structs.replace(item, rows=without_blocked(item.rows, blocked))
            for kind, item in self.artifacts.items()
        }
        return replace(self, artifacts=artifacts, blocked=blocked, counted_by=self.counter)

    def counted_from_zero(self) -> Self:
        """Return the same release with a new counter that starts at zero."""
        copy = replace(self)
        copy.counter.set_short_below(self.counter.short_below)
        return copy

    def counting_on(self, counter: ReleaseCounter) -> Self:
        """Return the same release with lookups counted by an existing counter."""
        return replace(self, counted_by=counter)

    @property
    def versions(self) -> dict[str, str]:
        """Versions by kind, as in the pointer. For a kind in shards, the version of its index."""
        return {artifact.kind: artifact.version for artifact in self.artifacts.values()}

    @property
    def size(self) -> int:
        """Bytes of all blobs. For kinds in shards, the bytes of their indexes."""
        return sum(len(artifact.data) for artifact in self.artifacts.values())

    @property
    def held_bytes(self) -> int:
        """Bytes of the release in memory: its blobs and the indexes of their rows."""
        return sum(item.rows.held_bytes if item.rows else len(item.data) for item in self.artifacts.values())

    @property
    def lookups(self) -> dict[str, Lookup[Any]]:
        """Rows of each kind that has rows. Lookups through them are not counted."""
        return {kind: item.rows for kind, item in self.artifacts.items() if item.rows is not None}

    def recommend(
        self, *, user_id: str | None = None, recent: Sequence[str] = (), limit: int = RECOMMENDED
    ) -> list[str]:
        """Return at most `limit` items, except the recent ones, the best first.

        `recent` are the items of the session, oldest first. A user's history weighs twice as much as the neighbours of
        the last items, and popularity fills the remaining places: the `blend` that the back-test scores. Kinds that are
        not in the release are ignored.
        """
        return blend(self.lookups, ask=self.find).recommend(user_id, [(item,) for item in recent], limit=limit)

    def top_items(self, limit: int = 100) -> list[CountedItem]:
        """Return the items with the highest counts, the highest first."""
        counter = self._finder("popularity")[1]
        rows = self.rows("popularity")
        items: list[CountedItem] = counter.ask(lambda _: [rows.row(n) for n in range(min(limit, len(rows)))], "")
        if len(items) < min(limit, counter.short_below):
            counter.note_few(len(items))
        return items

    def neighbors(self, item_id: str) -> tuple[CountedItem, ...] | None:
        """Return the items most often seen in the same sessions as an item, or None if it has none."""
        return self._items("cooc", item_id)

    def next_items(self, item_id: str) -> tuple[CountedItem, ...] | None:
        """Return the items that most often followed an item directly in sessions, or None if it has none."""
        return self._items("item_seq", item_id)

    def for_user(self, user_id: str) -> tuple[ScoredItem, ...] | None:
        """Return the items that a user was shown most, or None if the user is unknown."""
        return self._items("implicit", user_id)

    def next_for_user(self, user_id: str) -> tuple[ScoredItem, ...] | None:
        """Return the items that most often came next for a user, or None if the user is unknown."""
        return self._items("session_seq", user_id)

    def tags(self, item_id: str) -> tuple[str, ...] | None:
        """Return the tags of an item, or None if the catalog has none."""
        find, counter = self._finder("content_sim")
        row = counter.ask(find, item_id)
        if row is None:
            return None
        if not row.tags:
            counter.note_few(0)
        return row.tags

    def find(self, kind: str, key: str) -> Any:
        """Return the row of an id in any kind, or None. None counts as unknown, and a list without items as empty.

        Raises `NotFoundError` if the release has no such kind, or its rows have no known shape.
        """
        find, counter = self._finder(kind)
        return counter.ask(find, key)

    def content(self, kind: str) -> bytes:
        """Return the verified bytes of any kind, as they were built or imported. Their format is `form_of(version)`.

        For a kind in shards these are the bytes of its index. Its rows are in `rows(kind)`.

        Raises `NotFoundError` if the release has no such kind.
        """
        artifact = self.artifacts.get(kind)
        if artifact is None:
            raise self._missing(kind)
        return bytes(artifact.data)

    def arrays(self, kind: str, *, max_bytes: int = MAX_UNPACKED_BYTES) -> "dict[str, NDArray[Any]]":
        """Return the arrays of an imported npz or safetensors file by name.

        They are unpacked on each call, so keep them.

        Raises `NotFoundError` if the release has no such kind, `InputError` or `LimitExceededError` if its bytes
        contain no arrays, or unpack to more than `max_bytes`.
        """
        from recsys_assets.imports.inspecting import read_arrays  # noqa: PLC0415 - most services look up JSON alone

        data = self.content(kind)
        return read_arrays(data, form_of(self.artifacts[kind].version), name=kind, max_unpacked_bytes=max_bytes)

    def factors(self, kind: str = "als_factors") -> "Factors":
        """Return the vectors of users and items of a kind, ready for lookups.

        They are created on each call, so keep them. Items that are `blocked` now are excluded: call it again when that
        set changes.

        Raises `NotFoundError` if the release has no such kind, `CorruptObjectError` if it has no such vectors.
        """
        from recsys_assets.serving.recommending import Factors  # noqa: PLC0415 - most services look up JSON alone

        return Factors.of(self.arrays(kind), blocked=self.blocked)

    def table(self, kind: str) -> Any:
        """Return the rows of an imported Parquet or JSON-lines file as an Arrow table.

        It is read on each call, so keep it.

        Raises `NotFoundError` if the release has no such kind, `InputError` if its bytes are not a table.
        """
        from recsys_assets.imports.inspecting import read_table  # noqa: PLC0415 - most services look up JSON alone

        return read_table(self.content(kind), form_of(self.artifacts[kind].version), name=kind)

    def rows(self, kind: str) -> Lookup[Any]:
        """Return the rows of any kind, including unknown kinds: use `rows(kind).find(id)`, or iterate.

        Raises `NotFoundError` if the release has no such kind, or its rows have no shape that is known.
        """
        artifact = self.artifacts.get(kind)
        if artifact is None or artifact.rows is None:
            raise self._missing(kind)
        return artifact.rows

    def _items(self, kind: str, key: str) -> tuple[Any, ...] | None:
        """Return the list of an id, counted, or None: `KindCounter.ask` with its calls inlined.

        A service spends its time here: one call less per lookup is worth the duplicate code.
        """
        try:
            find, counter = self.finders[kind]
        except KeyError:
            raise self._lacking(kind) from None
        if next(counter.asked.up) & SAMPLED:
            try:
                row = find(key)
            except RecsysAssetsError:
                next(counter.failed.up)
                raise
        else:
            row = counter.time(find, key)
        if row is None:
            next(counter.unknown.up)
            return None
        items: tuple[Any, ...] = row.items
        if len(items) < counter.short_below:
            counter.note_few(len(items))
        return items

    def _finder(self, kind: str) -> tuple[Callable[[str], Any], KindCounter]:
        """Return the function that finds rows of a kind, and the counter of its lookups."""
        finder = self.finders.get(kind)
        if finder is None:
            raise self._lacking(kind)
        return finder

    def _lacking(self, kind: str) -> NotFoundError:
        """Count a lookup in a kind without rows, so that a missing kind is visible in metrics, and return the error."""
        counter = self.counter.kinds.get(kind)
        if counter is not None:
            counter.ask(lambda _: None, "")
        return self._missing(kind)

    def _missing(self, kind: str) -> NotFoundError:
        return NotFoundError(
            f"release {self.release_id[:12]} of {self.target} has no {kind}: it has {', '.join(self.artifacts)}"
        )
