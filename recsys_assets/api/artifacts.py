"""Endpoints of artifacts by version: metadata, rows, inputs, and the releases that contain them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
from starlette.responses import Response

from recsys_assets.api.actions import ActionRequest
from recsys_assets.api.artifact_bytes import Located, load, locate, media_type
from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import (
    ArtifactPageQuery,
    ArtifactQuery,
    ArtifactTreeQuery,
    DayQuery,
    Page,
    Recorded,
    RowsFileQuery,
    RowsQuery,
    recorded_releases,
)
from recsys_assets.api.release_detail import LEVELS, ArtifactEvidence, Node, artifact_tree, day_of_input, view_member
from recsys_assets.api.table_formats import choose_format, is_table, open_table, send_rows
from recsys_assets.errors import BadRequestError, UnknownAddressError
from recsys_assets.identity import Target
from recsys_assets.release.documents import Member, Release
from recsys_assets.release.releases import find_readable_release
from recsys_assets.serving.served import ServedArtifact

MEDIA = "application/json"
MAX_HOLDERS = 100  # releases read per request


class Metadata(msgspec.Struct, frozen=True):
    """Metadata of one artifact, whose bytes were verified for the response."""

    version: str
    kind: str
    tenant: str
    surface: str
    level: int
    label: str
    bytes: int
    media_type: str
    stored_at: datetime
    window_start: str
    window_end: str
    rows: int | None  # None for a kind without row lookup


class Expanded(msgspec.Struct, frozen=True):
    """An artifact with the evidence of a release that contains it (None if none of the latest does)."""

    artifact: Metadata
    release: str | None
    evidence: ArtifactEvidence | None


class Holder(msgspec.Struct, frozen=True):
    """A release that contains an artifact, or was built from a day of input."""

    release: str
    data_through: str
    recorded_at: str
    kinds: tuple[str, ...]


class RowsPage(msgspec.Struct, frozen=True):
    """A page of an artifact's decoded rows, in stored order or by support, or the row of one id.

    `total` counts the rows that match the prefix.
    """

    version: str
    kind: str
    total: int
    start: int
    rows: tuple[Mapping[str, Any], ...]
    next: int | None


def show_metadata(context: ApiContext, query: ArtifactQuery) -> Metadata:
    """Return the metadata of an artifact, after its bytes were read and verified."""
    return _metadata(context, locate(context, query))


def show_expanded(context: ApiContext, query: ArtifactQuery) -> Expanded:
    """Return the metadata of an artifact, with its evidence in the last recorded release that contains it."""
    located = locate(context, query)
    release, member = next(_holding(context, located), (None, None))
    evidence = view_member(located.target, member, stored=True) if member else None
    return Expanded(_metadata(context, located), release.id if release else None, evidence)


def show_artifact_tree(context: ApiContext, query: ArtifactTreeQuery) -> Node:
    """Return the inputs of an artifact, down to raw files, by the last recorded release that contains it.

    Raises `UnknownAddressError` if no recorded release contains it.
    """
    located = locate(context, query)
    for release, member in _holding(context, located):
        return artifact_tree(release, member, depth=query.depth)
    raise UnknownAddressError(f"none of the last {MAX_HOLDERS} releases contains this version: its tree is unknown")


def list_users(context: ApiContext, query: ArtifactPageQuery) -> Page[Holder]:
    """Return the releases that contain an artifact, last recorded first. An empty page may have a successor."""
    located = locate(context, query)
    return _page(
        context,
        located.target,
        cursor=query.cursor,
        limit=query.limit,
        uses=lambda release: [m.ref.kind for m in release.members if _is_part(located, m)],
    )


def list_day_users(context: ApiContext, query: DayQuery) -> Page[Holder]:
    """Return the releases built from a day of input, with the kinds that use it."""
    target = context.find(query.tenant, query.surface)

    def uses(release: Release) -> list[str]:
        return [m.ref.kind for m in release.members if query.day in {day_of_input(i.name, target) for i in m.inputs}]

    return _page(context, target, cursor=query.cursor, limit=query.limit, uses=uses)


def list_rows(context: ApiContext, query: RowsQuery) -> RowsPage:
    """Return a page of an artifact's rows, or the row of one id. Imported tables have no ids to look up."""
    located = locate(context, query)
    rows = _rows(context, located, query)
    if query.id is not None:
        return RowsPage(located.version, located.kind, rows.total, 0, rows.read(0, 1), None)
    stop = min(query.start + query.limit, rows.total)
    page = rows.read(query.start, stop)
    following = stop if stop < rows.total and page else None
    return RowsPage(located.version, located.kind, rows.total, query.start, page, following)


def send_rows_of(context: ApiContext, request: ActionRequest) -> RowsPage | Response:
    """Return a page of an artifact's rows as JSON, or its rows as a CSV or Parquet file."""
    given: RowsFileQuery = request.query
    chosen = choose_format(given.format, request.headers.get("accept", ""))
    plain = {name: value for name, value in msgspec.structs.asdict(given).items() if name != "format"}
    query = RowsQuery(**{name: value for name, value in plain.items() if value is not None})
    if chosen == "json":
        return list_rows(context, query)
    located = locate(context, query)
    rows = _rows(context, located, query)
    stop = rows.total if given.limit is None else min(query.start + given.limit, rows.total)
    with context.heavy.pass_through():
        part = rows.read(0, 1) if query.id is not None else rows.read(query.start, stop)
        return send_rows(part, chosen, name=f"{located.kind}_{located.version[:12]}")


class _Rows(msgspec.Struct, frozen=True):
    """Selected rows: their number, and a function that reads those from a start to a stop position."""

    total: int
    read: Callable[[int, int], tuple[Mapping[str, Any], ...]]


def _rows(context: ApiContext, located: Located, query: RowsQuery) -> _Rows:
    served = load(context, located)
    if served.rows is None:
        return _file_rows(context, located, served, query)
    lookup = served.rows
    if query.id is not None:
        row = lookup.find(query.id)
        matches = () if row is None else (msgspec.to_builtins(row),)
        return _Rows(len(lookup), lambda start, stop: matches[start:stop])
    places: Sequence[int] = range(len(lookup))
    if query.prefix or query.sort == "support":
        ranking = context.rankings.of(located.version, lookup)
        places = ranking.places(prefix=query.prefix or "", by_support=query.sort == "support")
    return _Rows(len(places), lambda start, stop: tuple(msgspec.to_builtins(lookup.row(n)) for n in places[start:stop]))


def _file_rows(context: ApiContext, located: Located, served: ServedArtifact, query: RowsQuery) -> _Rows:
    kind = media_type(context.settings, located.kind, located.version)
    if not is_table(kind):
        raise BadRequestError(f"rows of {served.kind} cannot be looked up: read its content")
    if query.id is not None or query.prefix or query.sort == "support":
        raise BadRequestError(f"{served.kind} is a file of rows, which are not looked up by id: read pages of it")
    with context.heavy.pass_through():
        table = open_table(bytes(served.data), kind, name=f"{served.kind} {located.version[:12]}")
    return _Rows(table.num_rows, lambda start, stop: tuple(table.slice(start, max(stop - start, 0)).to_pylist()))


def _metadata(context: ApiContext, located: Located) -> Metadata:
    served = load(context, located)
    return Metadata(
        version=located.version,
        kind=located.kind,
        tenant=located.target.tenant,
        surface=located.target.surface,
        level=LEVELS.index("artifact"),
        label="artifact",
        bytes=len(served.data),
        media_type=media_type(context.settings, located.kind, located.version),
        stored_at=datetime.fromtimestamp(located.stored.modified, UTC),
        window_start=served.window_start,
        window_end=served.window_end,
        rows=None if served.rows is None else len(served.rows),
    )


def _holding(context: ApiContext, located: Located) -> Iterator[tuple[Release, Member]]:
    """Yield the releases that contain an artifact, among the last recorded ones."""
    for item in islice(recorded_releases(context.store, located.target, cursor=None), MAX_HOLDERS):
        release = _find(context, located.target, item)
        for member in release.members if release else ():
            if release and _is_part(located, member):
                yield release, member


def _is_part(located: Located, member: Member) -> bool:
    """Return whether an object is the member's artifact or one of its shards."""
    return any(ref.version == located.version for ref in member.refs)


def _page(
    context: ApiContext, target: Target, *, cursor: str | None, limit: int, uses: Callable[[Release], list[str]]
) -> Page[Holder]:
    """Return releases for which `uses` names kinds. The cursor continues after the last release read."""
    holders: list[Holder] = []
    looked, last = 0, None
    for item in recorded_releases(context.store, target, cursor=cursor):
        if looked == MAX_HOLDERS or len(holders) == limit:
            return Page(tuple(holders), last)
        looked, last = looked + 1, item.cursor
        release = _find(context, target, item)
        kinds = uses(release) if release else []
        if release and kinds:
            holders.append(Holder(release.id, release.data_through, release.recorded_at, tuple(kinds)))
    return Page(tuple(holders), None)


def _find(context: ApiContext, target: Target, item: Recorded) -> Release | None:
    """Return a release's record, or None if it cannot be read. `verify` reports such records."""
    return find_readable_release(context.store, target, item.id)
