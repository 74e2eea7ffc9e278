"""Tables of routes and actions: path, query type, response type and handler of each endpoint."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from recsys_assets.api import artifacts, health, operations, queries, releases, targets, trees
from recsys_assets.api.actions import Action, Endpoint
from recsys_assets.api.connections import RequestClass
from recsys_assets.api.context import ApiContext
from recsys_assets.api.lineage import Node
from recsys_assets.api.queries import Page
from recsys_assets.release.documents import JournalEntry
from recsys_assets.upkeep.report_document import Report
from recsys_assets.upkeep.staleness import Freshness

_TARGET: Final = "/v1/targets/{tenant}/{surface}"
_ARTIFACT: Final = "/v1/artifacts/{version}"


@dataclass(frozen=True, slots=True)
class Route(Endpoint):
    """One read endpoint: path, query type, response type and handler."""

    path: str
    query: type[queries.NoQuery]
    answer: Any
    handle: Callable[[ApiContext, Any], Any]
    cost: RequestClass = RequestClass.LIGHT


ROUTES: Final = (
    Route("/health", queries.NoQuery, health.Health, health.show_health, RequestClass.HEALTH),
    Route("/health/live", queries.NoQuery, health.Liveness, health.show_liveness, RequestClass.HEALTH),
    Route("/v1/targets", queries.PageQuery, Page[targets.TargetView], targets.list_targets),
    Route(_TARGET, queries.TargetQuery, targets.TargetView, targets.show_target),
    Route(f"{_TARGET}/freshness", queries.TargetQuery, Freshness, targets.show_freshness),
    Route(f"{_TARGET}/stats", queries.TargetQuery, targets.Stats, targets.show_stats),
    Route(f"{_TARGET}/releases", queries.TargetPageQuery, Page[releases.ReleaseRow], releases.list_releases),
    Route(f"{_TARGET}/releases/{{release}}", queries.ReleaseQuery, releases.ReleaseView, releases.show_release),
    Route(
        f"{_TARGET}/releases/{{release}}/report", queries.ReleaseQuery, Report, releases.show_report, RequestClass.HEAVY
    ),
    Route(f"{_TARGET}/tree", queries.TreeQuery, Node, releases.show_tree),
    Route(f"{_TARGET}/diff", queries.DiffQuery, releases.DiffView, releases.show_diff, RequestClass.HEAVY),
    Route(f"{_TARGET}/at", queries.AtQuery, releases.LiveView, releases.show_at),
    Route(f"{_TARGET}/journal", queries.JournalQuery, Page[JournalEntry], releases.list_journal),
    Route(f"{_TARGET}/days/{{day}}/usedby", queries.DayQuery, Page[artifacts.Holder], artifacts.list_day_users),
    Route(
        f"{_ARTIFACT}/metadata", queries.ArtifactQuery, artifacts.Metadata, artifacts.show_metadata, RequestClass.HEAVY
    ),
    Route(
        f"{_ARTIFACT}/expand", queries.ArtifactQuery, artifacts.Expanded, artifacts.show_expanded, RequestClass.HEAVY
    ),
    Route(f"{_ARTIFACT}/tree", queries.ArtifactTreeQuery, Node, artifacts.show_artifact_tree),
    Route(f"{_ARTIFACT}/usedby", queries.ArtifactPageQuery, Page[artifacts.Holder], artifacts.list_users),
)
CONTENT_PATH: Final = f"{_ARTIFACT}/content"
ACTIONS: Final[tuple[Action, ...]] = (
    Action(
        "POST",
        f"{_TARGET}/heartbeats",
        "write",
        queries.TargetQuery,
        targets.Beat,
        None,
        targets.receive_heartbeat,
        status=204,
        max_bytes=targets.MAX_HEARTBEAT_BYTES,
    ),
    Action(
        "GET",
        f"{_ARTIFACT}/rows",
        "read",
        queries.RowsFileQuery,
        None,
        artifacts.RowsPage,
        artifacts.send_rows_of,
        cost=RequestClass.HEAVY,
        files=("text/csv", "application/vnd.apache.parquet"),
    ),
    *trees.ACTIONS,
    *operations.ACTIONS,
)
