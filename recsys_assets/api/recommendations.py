"""Comparison of two releases by their recommendations for one item or user, per kind."""

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from random import Random
from typing import Any, Final

import msgspec

from recsys_assets.api.artifacts import list_rows
from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import RecommendationsQuery, RowsQuery
from recsys_assets.artifact_format import SHARDS_FORM
from recsys_assets.catalog.catalog_row import Display
from recsys_assets.identity import JSON_FORM, ArtifactRef, Target, form_of
from recsys_assets.kind_descriptions import Shape, describe
from recsys_assets.release.documents import Release

SHOWN: Final = 20  # entries per list
SAMPLED: Final = 20  # lookups of a sample
SAMPLED_SHOWN: Final = 6  # entries per list of a sample
_EXAMPLES: Final = 6
_MATCHES: Final = 12


class ComparedEntry(msgspec.Struct, frozen=True):
    """One entry of a list: id, value (None if the kind has none), and difference from the other release."""

    item: str
    value: float | None
    change: str  # new | gone | up | down, or empty
    other: int | None  # rank in the other release, from 1


class ComparedKind(msgspec.Struct, frozen=True):
    """Lists of one kind from two releases. A side is None if the release has no row of the id."""

    kind: str
    summary: str
    is_keyed: bool  # looked up by id, instead of one list for all
    first: tuple[ComparedEntry, ...] | None
    second: tuple[ComparedEntry, ...] | None


def find_answers(
    context: ApiContext, target: Target, query: RecommendationsQuery, first: Release, second: Release
) -> tuple[ComparedKind, ...]:
    """Return the lists of both releases by kind. Kinds without row lookup are excluded.

    Without an id only the kinds with one list for all are included.
    """
    compared: list[ComparedKind] = []
    for kind in sorted(first.artifacts.keys() | second.artifacts.keys()):
        shape = _shape_of(kind, first, second)
        if shape is not None and (shape.key is None or query.id is not None):
            compared.append(_ask(context, target, kind, shape, query.id, (first, second), shown=SHOWN))
    return tuple(compared)


def _ask(
    context: ApiContext,
    target: Target,
    kind: str,
    shape: Shape,
    row_id: str | None,
    sides: tuple[Release, Release],
    *,
    shown: int,
) -> ComparedKind:
    """Return the lists of one kind from both releases."""
    first, second = (
        _entries(context, target, release.artifacts.get(kind), shape, row_id, shown=shown) for release in sides
    )
    description = describe(kind)
    return ComparedKind(
        kind,
        description.summary if description else "",
        shape.key is not None,
        _marked(first, second, shape, absent="gone"),
        _marked(second, first, shape, absent="new"),
    )


class SampledQuestion(msgspec.Struct, frozen=True):
    """One lookup of a random sample: an item or a user of the second release, and both lists."""

    asked: str
    is_item: bool
    answers: ComparedKind


def sample_questions(
    context: ApiContext, target: Target, seed: int, first: Release, second: Release
) -> tuple[SampledQuestion, ...]:
    """Return both releases' lists for random ids, cycling through the kinds with lookup by id.

    The same seed selects the same ids of the same release. Kinds whose members are not items, such as tags, are
    excluded.
    """
    kinds: dict[str, tuple[Shape, int]] = {}
    for kind, ref in sorted(second.artifacts.items()):
        shape = _shape_of(kind, first, second)
        if shape is not None and shape.key is not None and shape.value is not None:
            total = list_rows(context, _rows_query(target, ref, limit=1)).total
            if total:
                kinds[kind] = shape, total
    random = Random(seed)  # noqa: S311 - a sample for display
    samples: dict[tuple[str, str], SampledQuestion] = {}
    for kind in islice(cycle(kinds), SAMPLED):
        shape, total = kinds[kind]
        rows_query = msgspec.structs.replace(
            _rows_query(target, second.artifacts[kind], limit=1), start=random.randrange(total)
        )
        row_id = str(list_rows(context, rows_query).rows[0][shape.row_id])
        answers = _ask(context, target, kind, shape, row_id, (first, second), shown=SAMPLED_SHOWN)
        samples[kind, row_id] = SampledQuestion(row_id, shape.key == "item_id", answers)
    return tuple(samples.values())


def find_examples(context: ApiContext, target: Target, release: Release) -> dict[str, tuple[str, ...]]:
    """Return the first item ids and user ids of a release, as examples for lookups."""
    examples: dict[str, tuple[str, ...]] = {}
    for kind, ref in release.artifacts.items():
        shape = _shape_of(kind, release)
        if shape is None or shape.key is None or shape.key in examples:
            continue
        page = list_rows(context, _rows_query(target, ref, limit=_EXAMPLES))
        if page.rows:
            examples[shape.key] = tuple(str(row[shape.key]) for row in page.rows)
    return examples


def find_matches(displays: Mapping[str, Display], text: str) -> tuple[str, ...]:
    """Return some items whose id begins with a text, or whose title contains it."""
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
    context: ApiContext, target: Target, ref: ArtifactRef | None, shape: Shape, row_id: str | None, *, shown: int
) -> Sequence[Any] | None:
    if ref is None:
        return None
    if shape.key is None:
        return list_rows(context, _rows_query(target, ref, limit=shown)).rows
    rows = list_rows(context, msgspec.structs.replace(_rows_query(target, ref, limit=1), id=row_id)).rows
    return rows[0][shape.entries or ""][:shown] if rows else None


def _rows_query(target: Target, ref: ArtifactRef, *, limit: int) -> RowsQuery:
    return RowsQuery(version=ref.version, tenant=target.tenant, surface=target.surface, limit=limit)


def _marked(
    entries: Sequence[Any] | None, others: Sequence[Any] | None, shape: Shape, *, absent: str
) -> tuple[ComparedEntry, ...] | None:
    """Return the entries compared with the other release's. `absent` marks those that it lacks."""
    if entries is None:
        return None
    places = {_id_of(entry, shape): rank for rank, entry in enumerate(others or (), start=1)}
    compared: list[ComparedEntry] = []
    for rank, entry in enumerate(entries, start=1):
        item = _id_of(entry, shape)
        other = places.get(item)
        value = entry[shape.value] if isinstance(entry, Mapping) and shape.value else None
        compared.append(ComparedEntry(item, value, _change(rank, other, absent=absent), other))
    return tuple(compared)


def _change(rank: int, other: int | None, *, absent: str) -> str:
    if other is None:
        return absent
    if rank == other or absent == "gone":  # the first list marks only lost entries, the second new and moved ones
        return ""
    return "up" if rank < other else "down"


def _id_of(entry: Any, shape: Shape) -> str:
    return entry[shape.member] if isinstance(entry, Mapping) else str(entry)
