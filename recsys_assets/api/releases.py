"""Endpoints of releases and the journal: lists, evidence, diffs, reports, and the live release at a time."""

from collections.abc import Mapping
from datetime import datetime
from itertools import islice

import msgspec
from msgspec.structs import replace

from recsys_assets.api.context import ApiContext
from recsys_assets.api.problems import redact, redact_entry
from recsys_assets.api.queries import (
    MAX_LISTED,
    AtQuery,
    DiffQuery,
    JournalQuery,
    Page,
    ReleaseQuery,
    TargetPageQuery,
    TreeQuery,
    page_of,
    recorded_releases,
)
from recsys_assets.api.release_detail import Node, ReleaseView, target_tree, view_release
from recsys_assets.errors import UnknownAddressError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target
from recsys_assets.release.documents import JournalEntry, Release
from recsys_assets.release.journal import read_entry, tail
from recsys_assets.release.labels import LIVE, Labelled, labelled
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import (
    effective,
    find_readable_release,
    live_at,
    read_release,
    resolve_id,
    versions_of,
)
from recsys_assets.upkeep.diff import KindDiff, diff
from recsys_assets.upkeep.report import report_release
from recsys_assets.upkeep.report_document import Report, Section


class ReleaseRow(msgspec.Struct, frozen=True):
    """One release in a list. `problem` explains null values."""

    id: str
    live: bool
    bad: bool
    pinned: bool
    data_through: str | None
    recorded_at: str | None
    versions: dict[str, str]
    problem: str | None


class DiffView(msgspec.Struct, frozen=True):
    """Differences of release `after` from release `before`, by kind."""

    before: str
    before_data_through: str
    after: str
    after_data_through: str
    kinds: tuple[KindDiff, ...]


def list_releases(context: ApiContext, query: TargetPageQuery) -> Page[ReleaseRow]:
    """Return the recorded releases of a target, last recorded first, whether shipped or not."""
    target = context.find(query.tenant, query.surface)
    releases = list(islice(recorded_releases(context.store, target, cursor=query.cursor), query.limit + 1))
    page = page_of(releases, [item.cursor for item in releases], limit=query.limit)
    live = live_id(context, target)
    now = context.now()
    marked = {label: set(islice(labelled(context.store, target, label, now=now), MAX_LISTED)) for label in Labelled}
    rows = (_row(context, target, item.id, live=live, marked=marked) for item in page.items)
    return Page(tuple(rows), page.next)


def show_release(context: ApiContext, query: ReleaseQuery) -> ReleaseView:
    """Return one release with its evidence."""
    target = context.find(query.tenant, query.surface)
    release = find_named(context, target, query.release)
    return view_release(context, target, release, live=release.id == live_id(context, target))


def show_tree(context: ApiContext, query: TreeQuery) -> Node:
    """Return the inputs of a target's release, down to raw files, to the requested depth."""
    target = context.find(query.tenant, query.surface)
    if query.release == LIVE and live_id(context, target) is None:
        return target_tree(target, None, depth=query.depth)
    return target_tree(target, find_named(context, target, query.release), depth=query.depth)


def show_diff(context: ApiContext, query: DiffQuery) -> DiffView:
    """Return the items that enter, leave and move from one release to another: exact counts and first items."""
    target = context.find(query.tenant, query.surface)
    before, after = (find_named(context, target, name) for name in (query.before, query.after))
    with context.heavy.pass_through():
        difference = diff(context.store, target, before.id, after.id)
    return DiffView(before.id, before.data_through, after.id, after.data_through, difference.kinds)


def find_named(context: ApiContext, target: Target, name: str) -> Release:
    """Return the record of a release by its id, the id's first digits, or `live`.

    Raises `UnknownAddressError` if there is none.
    """
    release_id = live_id(context, target) if name == LIVE else resolve_id(context.store, target, name)
    if release_id is None:
        raise UnknownAddressError(f"{target} has no release {name}: see its list of releases")
    return read_release(context.store, target, release_id)


def live_id(context: ApiContext, target: Target) -> str | None:
    """Return the id of the live release, or None if nothing is live."""
    current = read_current(context.store, target)
    return current.release_id if current else None


def _row(
    context: ApiContext, target: Target, release_id: str, *, live: str | None, marked: Mapping[Labelled, set[str]]
) -> ReleaseRow:
    record = find_readable_release(context.store, target, release_id)
    problem = None if record else "its record cannot be read: see `recsys-assets verify`"
    return ReleaseRow(
        id=release_id,
        live=release_id == live,
        bad=release_id in marked[Labelled.BAD],
        pinned=release_id in marked[Labelled.PINNED],
        data_through=record.data_through if record else None,
        recorded_at=record.recorded_at if record else None,
        versions=versions_of(record) if record else {},
        problem=problem,
    )


def show_report(context: ApiContext, query: ReleaseQuery) -> Report:
    """Return the report of a release: its changes, gate results and inputs."""
    target = context.find(query.tenant, query.surface)
    release = find_named(context, target, query.release)
    with context.heavy.pass_through():
        report = report_release(context.store, target, release, live=release.id == live_id(context, target))
    return replace(report, sections=tuple(_redact(section) for section in report.sections))


def _redact(section: Section) -> Section:
    rows = tuple(tuple(_hidden(cell) for cell in row) for row in section.rows)
    return replace(section, message=tuple(redact(line) for line in section.message), rows=rows)


def _hidden(cell: Scalar) -> Scalar:
    return redact(cell) if isinstance(cell, str) else cell


class LiveView(msgspec.Struct, frozen=True):
    """Release that was live at a time, its start, and the artifacts that are no longer stored."""

    release: str
    since: datetime | None
    entry: JournalEntry
    data_through: str | None
    collected: tuple[str, ...]


def show_at(context: ApiContext, query: AtQuery) -> LiveView:
    """Return the release that was live at a time, by the journal.

    Raises `UnknownAddressError` if nothing was live then.
    """
    target = context.find(query.tenant, query.surface)
    then = live_at(context.store, target, query.time)
    if then is None:
        raise UnknownAddressError(f"{target} had no live release at {query.time.isoformat()}: choose a later time")
    return LiveView(
        release=then.release_id,
        since=effective(then.entry),
        entry=redact_entry(then.entry),
        data_through=then.record.data_through if then.record else None,
        collected=then.collected,
    )


def list_journal(context: ApiContext, query: JournalQuery) -> Page[JournalEntry]:
    """Return a page of a target's journal, newest first, including refusals."""
    target = context.find(query.tenant, query.surface)
    before = None if query.cursor is None else int(query.cursor)
    newest = tail(context.store, target)
    first = newest.sequence if newest else 0
    if before is not None:
        first = min(first, before - 1)
    numbers = list(range(first, max(first - query.limit, 0) - 1, -1))[: query.limit + 1]
    numbers = [number for number in numbers if number > 0]
    page = page_of(numbers, [str(number) for number in numbers], limit=query.limit)
    return Page(tuple(redact_entry(read_entry(context.store, target, n)) for n in page.items), page.next)
