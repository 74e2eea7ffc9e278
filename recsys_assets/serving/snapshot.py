"""One release, whole and proven, in memory: what a request holds from its start to its end, and asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from recsys_assets.errors import NotFoundError, RecsysAssetsError
from recsys_assets.identity import Target, form_of, tag_request
from recsys_assets.serving.blocking import NOTHING, without_blocked
from recsys_assets.serving.counting import SAMPLED, KindCounter, ReleaseCounter
from recsys_assets.serving.lookups import FORMS, CountedItem, ScoredItem
from recsys_assets.serving.recommending import blend
from recsys_assets.serving.row_index import Lookup
from recsys_assets.serving.served import ServedArtifact

if TYPE_CHECKING:
    from numpy.typing import NDArray  # numpy takes longer to import than the reader, and most services need none

    from recsys_assets.serving.factors import Factors

MAX_UNPACKED_BYTES = 1_000_000_000
RECOMMENDED = 20


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """All artifacts of one release; it never changes, and lives as long as somebody holds it.

    A lookup in a kind that the release does not have raises `NotFoundError`, and counts as one of an unknown id; an id
    that the artifact does not have is None, which is not the same as a user without items.
    """

    target: Target
    release_id: str
    updated_at: datetime
    artifacts: Mapping[str, ServedArtifact]
    pointer_digest: str | None = None  # SHA-256 of the pointer's bytes; None where a past release was asked for
    blocked: frozenset[str] = NOTHING  # items that no lookup names, though the release may
    counted_by: InitVar[ReleaseCounter | None] = None
    counter: ReleaseCounter = field(init=False)
    askable: Mapping[str, tuple[Callable[[str], Any], KindCounter]] = field(init=False)

    def __post_init__(self, counted_by: ReleaseCounter | None) -> None:
        """Put what finds rows beside what counts the questions: one look-up for each question."""
        rows = self.lookups
        counter = counted_by or ReleaseCounter(self.release_id, {**FORMS, **rows})
        object.__setattr__(self, "counter", counter)
        askable = {kind: (found.find, counter.kinds[kind]) for kind, found in rows.items()}
        object.__setattr__(self, "askable", askable)

    def __enter__(self) -> Self:
        """Hold the release for the length of a block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of it; the memory is freed with its last holder."""

    def request_id(self, own: str, *, kind: str = "") -> str:
        """Return the id to log with the events of an answer: what it led to is then reported by release and kind."""
        return tag_request(self.release_id, kind, own)

    def without(self, blocked: frozenset[str]) -> Self:
        """Return the same release, counted by the same counter, whose lookups name none of the blocked items.

        The bytes of `content`, and what `arrays` and `table` make of them, are as they were built.
        """
        if blocked == self.blocked:
            return self
        artifacts = {
            kind: one if one.rows is None else replace(one, rows=without_blocked(one.rows, blocked))
            for kind, one in self.artifacts.items()
        }
        return replace(self, artifacts=artifacts, blocked=blocked, counted_by=self.counter)

    def counted_from_zero(self) -> Self:
        """Return the same release with a counter of its own, from zero."""
        found = replace(self)
        found.counter.set_short_below(self.counter.short_below)
        return found

    def counting_on(self, counter: ReleaseCounter) -> Self:
        """Return the same release whose answers go on being counted by a counter that there was."""
        return replace(self, counted_by=counter)

    @property
    def versions(self) -> dict[str, str]:
        """Version by kind, as the pointer names them: a kind in shards is named by its index."""
        return {artifact.kind: artifact.version for artifact in self.artifacts.values()}

    @property
    def size(self) -> int:
        """Bytes of all blobs; of kinds in shards, of their indexes."""
        return sum(len(artifact.data) for artifact in self.artifacts.values())

    @property
    def held_bytes(self) -> int:
        """Bytes that the release keeps in memory: its blobs, and what finds rows in them."""
        return sum(one.rows.held_bytes if one.rows else len(one.data) for one in self.artifacts.values())

    @property
    def lookups(self) -> dict[str, Lookup[Any]]:
        """Rows by kind, of the kinds that have rows; what is asked of them is not counted."""
        return {kind: one.rows for kind, one in self.artifacts.items() if one.rows is not None}

    def recommend(
        self, *, user_id: str | None = None, recent: Sequence[str] = (), limit: int = RECOMMENDED
    ) -> list[str]:
        """Return at most `limit` items that are not among the recent ones, the best first.

        `recent` are the items of the session, oldest first. A user's history weighs twice as much as the neighbours of
        the last items, and popularity fills what is short: the `blend` that the back-test scores. A kind that the
        release does not have adds nothing.
        """
        return blend(self.lookups, ask=self.find).recommend(user_id, [(item,) for item in recent], limit=limit)

    def top_items(self, limit: int = 100) -> list[CountedItem]:
        """Return the most counted items, the first first."""
        counter = self._asking("popularity")[1]
        rows = self.rows("popularity")
        found: list[CountedItem] = counter.ask(lambda _: [rows.row(n) for n in range(min(limit, len(rows)))], "")
        if len(found) < min(limit, counter.short_below):
            counter.note_few(len(found))
        return found

    def neighbors(self, item_id: str) -> tuple[CountedItem, ...] | None:
        """Return the items most often seen beside an item, or None if it has none."""
        return self._items("cooc", item_id)

    def next_items(self, item_id: str) -> tuple[CountedItem, ...] | None:
        """Return the items that came right after an item in most sessions, or None if none did often enough."""
        return self._items("item_seq", item_id)

    def for_user(self, user_id: str) -> tuple[ScoredItem, ...] | None:
        """Return what a user was shown most, or None if the user is unknown."""
        return self._items("implicit", user_id)

    def next_for_user(self, user_id: str) -> tuple[ScoredItem, ...] | None:
        """Return what came next for a user most often, or None if the user is unknown."""
        return self._items("session_seq", user_id)

    def tags(self, item_id: str) -> tuple[str, ...] | None:
        """Return the tags of an item, or None if the catalog has none."""
        find, counter = self._asking("content_sim")
        row = counter.ask(find, item_id)
        if row is None:
            return None
        if not row.tags:
            counter.note_few(0)
        return row.tags

    def find(self, kind: str, key: str) -> Any:
        """Return the row of an id in any kind, or None; counted as unknown where it is None, and never as empty.

        Raises `NotFoundError` if the release has no such kind, or its rows have no shape that is known.
        """
        find, counter = self._asking(kind)
        return counter.ask(find, key)

    def content(self, kind: str) -> bytes:
        """Return the proven bytes of any kind, as they were built or imported; their form is `form_of(version)`.

        Of a kind in shards these are its index's; the rows are in `rows(kind)`.

        Raises `NotFoundError` if the release has no such kind.
        """
        artifact = self.artifacts.get(kind)
        if artifact is None:
            raise self._missing(kind)
        return bytes(artifact.data)

    def arrays(self, kind: str, *, max_bytes: int = MAX_UNPACKED_BYTES) -> "dict[str, NDArray[Any]]":
        """Return the arrays of an imported npz or safetensors by name; unpacked again each time, so keep them.

        Raises `NotFoundError` if the release has no such kind, `InputError` or `LimitExceededError` if its bytes hold
        no arrays, or unpack to more than `max_bytes`.
        """
        from recsys_assets.imports.inspecting import read_arrays  # noqa: PLC0415 - most services look up JSON alone

        data = self.content(kind)
        return read_arrays(data, form_of(self.artifacts[kind].version), name=kind, max_unpacked_bytes=max_bytes)

    def factors(self, kind: str = "als_factors") -> "Factors":
        """Return the vectors of users and items of a kind, ready to be asked; made again each time, so keep them.

        They name none of the items that are `blocked` now: make them again when that changes.

        Raises `NotFoundError` if the release has no such kind, `CorruptObjectError` if it is none of users and items.
        """
        from recsys_assets.serving.factors import Factors  # noqa: PLC0415 - most services look up JSON alone

        return Factors.of(self.arrays(kind), blocked=self.blocked)

    def table(self, kind: str) -> Any:
        """Return the rows of an imported Parquet or JSON-lines file as an Arrow table; read on each call, so keep it.

        Raises `NotFoundError` if the release has no such kind, `InputError` if its bytes are no table.
        """
        from recsys_assets.imports.inspecting import read_table  # noqa: PLC0415 - most services look up JSON alone

        return read_table(self.content(kind), form_of(self.artifacts[kind].version), name=kind)

    def rows(self, kind: str) -> Lookup[Any]:
        """Return the rows of any kind, one that this package does not know too: `rows(kind).find(id)`, or iterate.

        Raises `NotFoundError` if the release has no such kind, or its rows have no shape that is known.
        """
        artifact = self.artifacts.get(kind)
        if artifact is None or artifact.rows is None:
            raise self._missing(kind)
        return artifact.rows

    def _items(self, kind: str, key: str) -> tuple[Any, ...] | None:
        """Return the list of an id, counted, or None: what `KindCounter.ask` does, without its calls.

        This is where a service spends its time: a call less for each question is worth the second writing.
        """
        try:
            find, counter = self.askable[kind]
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

    def _asking(self, kind: str) -> tuple[Callable[[str], Any], KindCounter]:
        """Return what finds the rows of a kind, and what counts the questions."""
        found = self.askable.get(kind)
        if found is None:
            raise self._lacking(kind)
        return found

    def _lacking(self, kind: str) -> NotFoundError:
        """Return that the release has no such kind, after counting the question: so a kind that is gone shows."""
        counter = self.counter.kinds.get(kind)
        if counter is not None:
            counter.ask(lambda _: None, "")
        return self._missing(kind)

    def _missing(self, kind: str) -> NotFoundError:
        return NotFoundError(
            f"release {self.release_id[:12]} of {self.target} has no {kind}: it has {', '.join(self.artifacts)}"
        )
