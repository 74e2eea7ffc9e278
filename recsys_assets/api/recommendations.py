"""Recommendations of two releases side by side: the answers of each kind to one item or user, with what moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random
from typing import Any, Final

import msgspec

from recsys_assets.api.artifacts import list_rows
from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import RecommendationsQuery, RowsQuery
from recsys_assets.catalog.display import Display
from recsys_assets.identity import JSON_FORM, ArtifactRef, Target, form_of
from recsys_assets.kind_descriptions import Shape, describe
from recsys_assets.release.documents import Release
from recsys_assets.sharding import SHARDS_FORM

SHOWN: Final = 20  # entries of one list
SAMPLED: Final = 20  # questions of a sample
SAMPLED_SHOWN: Final = 6  # entries of each of its lists
_EXAMPLES: Final = 6
_MATCHES: Final = 12


@dataclass(frozen=True, slots=True)
class ComparedEntry:
    """One entry of a list: its id, its value (None: the kind has none), and how it differs from the other release."""

    item: str
    value: float | None
    change: str  # new | gone | up | down, or empty
    other: int | None  # its place in the other release, from 1


@dataclass(frozen=True, slots=True)
class ComparedKind:
    """The answers of one kind by each of two releases; a side is None where the release has no row of the id."""

    kind: str
    summary: str
    is_keyed: bool  # whether it answers to an id, or with one list for all
    first: tuple[ComparedEntry, ...] | None
    second: tuple[ComparedEntry, ...] | None


def find_answers(
    context: ApiContext, target: Target, query: RecommendationsQuery, first: Release, second: Release
) -> tuple[ComparedKind, ...]:
    """Return what both releases answer, kind by kind; kinds without rows to look up are left out.

    Without an id only the kinds that hold one list for everybody answer.
    """
    found: list[ComparedKind] = []
    for kind in sorted(first.artifacts.keys() | second.artifacts.keys()):
        shape = _shape_of(kind, first, second)
        if shape is not None and (shape.key is None or query.id is not None):
            found.append(_ask(context, target, kind, shape, query.id, (first, second), shown=SHOWN))
    return tuple(found)


def _ask(
    context: ApiContext,
    target: Target,
    kind: str,
    shape: Shape,
    asked: str | None,
    sides: tuple[Release, Release],
    *,
    shown: int,
) -> ComparedKind:
    """Return what one kind of both releases answers."""
    first, second = (_entries(context, target, one.artifacts.get(kind), shape, asked, shown=shown) for one in sides)
    description = describe(kind)
    return ComparedKind(
        kind,
        description.summary if description else "",
        shape.key is not None,
        _marked(first, second, shape, absent="gone"),
        _marked(second, first, shape, absent="new"),
    )


@dataclass(frozen=True, slots=True)
class SampledQuestion:
    """One question of a random sample: an item or a user that the second release knows, and both answers."""

    asked: str
    is_item: bool
    answers: ComparedKind


def sample_questions(
    context: ApiContext, target: Target, seed: int, first: Release, second: Release
) -> tuple[SampledQuestion, ...]:
    """Return both releases' answers to random questions, the kinds that answer to an id taking turns.

    The same seed asks the same of the same release. Kinds whose members are no items, like tags, are not asked.
    """
    kinds: dict[str, tuple[Shape, int]] = {}
    for kind, ref in sorted(second.artifacts.items()):
        shape = _shape_of(kind, first, second)
        if shape is not None and shape.key is not None and shape.value is not None:
            total = list_rows(context, _rows_query(target, ref, limit=1)).total
            if total:
                kinds[kind] = shape, total
    random = Random(seed)  # noqa: S311 - a draw for eyes
    found: dict[tuple[str, str], SampledQuestion] = {}
    for kind in islice(cycle(kinds), SAMPLED):
        shape, total = kinds[kind]
        one = msgspec.structs.replace(
            _rows_query(target, second.artifacts[kind], limit=1), start=random.randrange(total)
        )
        asked = str(list_rows(context, one).rows[0][shape.row_id])
        answers = _ask(context, target, kind, shape, asked, (first, second), shown=SAMPLED_SHOWN)
        found[kind, asked] = SampledQuestion(asked, shape.key == "item_id", answers)
    return tuple(found.values())


def find_examples(context: ApiContext, target: Target, release: Release) -> dict[str, tuple[str, ...]]:
    """Return the first ids that a release knows, of items and of users, to be asked for."""
    found: dict[str, tuple[str, ...]] = {}
    for kind, ref in release.artifacts.items():
        shape = _shape_of(kind, release)
        if shape is None or shape.key is None or shape.key in found:
            continue
        page = list_rows(context, _rows_query(target, ref, limit=_EXAMPLES))
        if page.rows:
            found[shape.key] = tuple(str(row[shape.key]) for row in page.rows)
    return found


def find_matches(displays: Mapping[str, Display], text: str) -> tuple[str, ...]:
    """Return some items whose id begins with a text, or whose title has it in it."""
    wanted = text.casefold()
    fits = (
        item
        for item, display in displays.items()
        if item.startswith(text) or (display.title and wanted in display.title.casefold())
    )
    return tuple(islice(fits, _MATCHES))


def _shape_of(kind: str, *releases: Release) -> Shape | None:
    """Return the shape of a kind whose rows can be looked up in every release that has it, else None."""
    description = describe(kind)
    refs = [release.artifacts[kind] for release in releases if kind in release.artifacts]
    readable = all(form_of(ref.version) in {JSON_FORM, SHARDS_FORM} for ref in refs)
    return description.shape if description and isinstance(description.shape, Shape) and readable else None


def _entries(
    context: ApiContext, target: Target, ref: ArtifactRef | None, shape: Shape, asked: str | None, *, shown: int
) -> Sequence[Any] | None:
    if ref is None:
        return None
    if shape.key is None:
        return list_rows(context, _rows_query(target, ref, limit=shown)).rows
    rows = list_rows(context, msgspec.structs.replace(_rows_query(target, ref, limit=1), id=asked)).rows
    return rows[0][shape.entries or ""][:shown] if rows else None


def _rows_query(target: Target, ref: ArtifactRef, *, limit: int) -> RowsQuery:
    return RowsQuery(version=ref.version, tenant=target.tenant, surface=target.surface, limit=limit)


def _marked(
    entries: Sequence[Any] | None, others: Sequence[Any] | None, shape: Shape, *, absent: str
) -> tuple[ComparedEntry, ...] | None:
    """Return the entries with how each differs from the other release's; `absent` marks those that it lacks."""
    if entries is None:
        return None
    places = {_id_of(one, shape): place for place, one in enumerate(others or (), start=1)}
    found: list[ComparedEntry] = []
    for place, one in enumerate(entries, start=1):
        item = _id_of(one, shape)
        other = places.get(item)
        value = one[shape.value] if isinstance(one, Mapping) and shape.value else None
        found.append(ComparedEntry(item, value, _change(place, other, absent=absent), other))
    return tuple(found)


def _change(place: int, other: int | None, *, absent: str) -> str:
    if other is None:
        return absent
    if place == other or absent == "gone":  # the first list says what goes, the second what comes and moves
        return ""
    return "up" if place < other else "down"


def _id_of(entry: Any, shape: Shape) -> str:
    return entry[shape.member] if isinstance(entry, Mapping) else str(entry)
