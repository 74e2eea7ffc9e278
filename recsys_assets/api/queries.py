"""Query types of all routes, their validation, and pages of lists with cursors."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Annotated, Final, Generic, Literal, TypeVar

import msgspec

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import BadRequestError, RefusedError
from recsys_assets.identity import Target
from recsys_assets.release.layout import release_prefix
from recsys_assets.storage.store import ObjectStore

MAX_PAGE: Final = 100
MAX_ROWS: Final = 200
MAX_DEPTH: Final = 4
MAX_LISTED = 20_000  # maximum objects of one listing per request

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Version = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(\.[a-z0-9]{1,20})?$(?!\n)", min_length=64, max_length=85)]
ReleaseName = Annotated[
    str,
    msgspec.Meta(
        pattern="^(live|[0-9a-f]{8,64})$", max_length=64, description="a release id, its first digits, or `live`"
    ),
]
Day = Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$", min_length=10, max_length=10)]
_NEXT: Final = "`next` of the page before"
Number = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,15}$", max_length=15, description=_NEXT)]
Cursor = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}-[0-9a-f]{64}$", max_length=83, description=_NEXT)]
PageSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)]
RowsSize = Annotated[int, msgspec.Meta(ge=1, le=MAX_ROWS)]
Depth = Annotated[int, msgspec.Meta(ge=0, le=MAX_DEPTH)]
Place = Annotated[int, msgspec.Meta(ge=0, le=2**32)]
Search = Annotated[str, msgspec.Meta(max_length=1000, description="the id of one row: an item or a user")]

Query = TypeVar("Query", bound="NoQuery")


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Query without parameters, the base of every other query."""


class PageQuery(NoQuery, frozen=True, kw_only=True):
    """A page of a list."""

    limit: PageSize = 20
    cursor: Number | None = None


class OverviewQuery(NoQuery, frozen=True, kw_only=True):
    """A page of the overview of targets."""

    q: Annotated[str, msgspec.Meta(max_length=200, description="part of the target's name")] | None = None
    health: Literal["problem", "refused", "stale", "no data", "held", "fresh"] | None = None
    sort: Literal["worst", "name", "age", "empty"] = "worst"
    limit: PageSize = 50
    cursor: Number | None = None
    refresh: Annotated[int, msgspec.Meta(ge=10, le=3600)] | None = None  # seconds after which the page loads again


class TargetQuery(NoQuery, frozen=True, kw_only=True):
    """One target."""

    tenant: Name
    surface: Name


class TargetPageQuery(TargetQuery, frozen=True, kw_only=True):
    """A page of the releases of a target."""

    limit: PageSize = 20
    cursor: Cursor | None = None


class JournalQuery(TargetQuery, frozen=True, kw_only=True):
    """A page of a target's journal."""

    limit: PageSize = 20
    cursor: Number | None = None


class ReleaseQuery(TargetQuery, frozen=True, kw_only=True):
    """One release of a target."""

    release: ReleaseName


class TreeQuery(TargetQuery, frozen=True, kw_only=True):
    """Inputs of a target's release, to a depth."""

    release: ReleaseName = "live"
    depth: Depth = 2


class DiffQuery(TargetQuery, frozen=True, kw_only=True):
    """Two releases of a target."""

    before: ReleaseName
    after: ReleaseName = "live"


class RecommendationsQuery(TargetQuery, frozen=True, kw_only=True):
    """Comparison of two releases of a target by their recommendations for one item or user."""

    id: Search | None = None
    before: ReleaseName | None = None  # None: the release that was live before `after`
    after: ReleaseName = "live"
    sample: Annotated[int, msgspec.Meta(ge=0, le=2**31)] | None = None  # seed of a random sample of ids


class AtQuery(TargetQuery, frozen=True, kw_only=True):
    """A time."""

    time: Annotated[datetime, msgspec.Meta(tz=True, description="such as 2026-01-31T04:00:00Z")]


class DayQuery(TargetPageQuery, frozen=True, kw_only=True):
    """One day of input of a target."""

    day: Day


class OneDayQuery(TargetQuery, frozen=True, kw_only=True):
    """One day of a target."""

    day: Day


class ArtifactQuery(NoQuery, frozen=True, kw_only=True):
    """One artifact by its version. Target and kind are optional and make the search faster."""

    version: Version
    tenant: Name | None = None
    surface: Name | None = None
    kind: Name | None = None


class ArtifactPageQuery(ArtifactQuery, frozen=True, kw_only=True):
    """A page of the releases that contain an artifact."""

    limit: PageSize = 20
    cursor: Cursor | None = None


class ArtifactTreeQuery(ArtifactQuery, frozen=True, kw_only=True):
    """Inputs of an artifact, to a depth."""

    depth: Depth = 2


class RowsQuery(ArtifactQuery, frozen=True, kw_only=True):
    """A page of an artifact's rows, optionally with an id prefix, or the row of one id."""

    limit: RowsSize = 50
    start: Place = 0
    id: Search | None = None
    prefix: Annotated[str, msgspec.Meta(max_length=1000, description="how the rows' ids begin")] | None = None
    sort: Literal["stored", "support"] | None = None  # None: as they are stored


class RowsFileQuery(ArtifactQuery, frozen=True, kw_only=True):
    """A page of an artifact's rows as JSON, or its rows as a file."""

    limit: RowsSize | None = None  # None: a page of 50, or all rows of a file
    start: Place = 0
    id: Search | None = None
    prefix: Annotated[str, msgspec.Meta(max_length=1000, description="how the rows' ids begin")] | None = None
    sort: Literal["stored", "support"] | None = None
    format: Literal["json", "csv", "parquet"] | None = None


def read_query(
    form: type[Query], path: dict[str, str], query: Iterable[tuple[str, str]], *, lenient: bool = False
) -> Query:
    """Return the parameters as a validated query. Raises `BadRequestError` that names the first invalid one.

    With `lenient`, empty parameters are ignored, because HTML forms send all their fields.
    """
    given = dict(path)
    for name, value in query:
        if name in given:
            raise BadRequestError(f"parameter {name[:100]!r} is given twice, expected once")
        if value or not lenient:
            given[name] = value
    if any("\x00" in value for value in given.values()):
        raise BadRequestError("a parameter contains a NUL character")
    try:
        decoder_of(form)  # builds the decoder in one thread only
        parsed = msgspec.convert(given, form, strict=False)
    except msgspec.ValidationError as error:
        allowed = ", ".join(field.name for field in msgspec.structs.fields(form)) or "none"
        raise BadRequestError(f"{str(error)[:500]}; parameters of this endpoint: {allowed}") from error
    for name, value in given.items():
        held = getattr(parsed, name)  # msgspec accepts "null" for optional numbers, and seconds as times
        if held is None or (isinstance(held, datetime) and value[4:5] != "-"):
            raise BadRequestError(f"parameter {name!r} is {value[:100]!r}: write it as described, or omit it")
    return parsed


Item = TypeVar("Item")


class Page(msgspec.Struct, Generic[Item], frozen=True):
    """A page of a list, with the cursor of the next page (None for the last page)."""

    items: tuple[Item, ...]
    next: str | None


class Recorded(msgspec.Struct, frozen=True):
    """One release in the store: its id, and the time of its record in POSIX microseconds."""

    id: str
    written: int

    @property
    def cursor(self) -> str:
        """Cursor of the page after this release."""
        return f"{self.written}-{self.id}"


def recorded_releases(store: ObjectStore, target: Target, *, cursor: str | None) -> Iterator[Recorded]:
    """Yield the releases of a target with a record, last written first, after the one of a cursor.

    Raises `RefusedError` if the target has more than `MAX_LISTED` releases.
    """
    prefix = release_prefix(target)
    listed = list(islice(store.list(prefix), MAX_LISTED + 1))
    if len(listed) > MAX_LISTED:
        raise RefusedError(f"{target} has more than {MAX_LISTED} releases: too many to look through")
    releases = [
        Recorded(item.key[len(prefix) :].removesuffix(".json"), round(item.modified * 1_000_000)) for item in listed
    ]
    releases.sort(key=_last_written_first)
    after = None if cursor is None else _last_written_first(_recorded(cursor))
    return (item for item in releases if after is None or _last_written_first(item) > after)


def page_of(items: list[Item], cursors: list[str], *, limit: int) -> Page[Item]:
    """Return a page of the first `limit` items. `items` has one more if there is a next page."""
    more = len(items) > limit
    return Page(tuple(items[:limit]), cursors[limit - 1] if more else None)


def _recorded(cursor: str) -> Recorded:
    written, _, release_id = cursor.partition("-")
    return Recorded(release_id, int(written))


def _last_written_first(item: Recorded) -> tuple[int, str]:
    return -item.written, item.id
