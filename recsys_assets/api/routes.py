"""The table of routes: which address is answered by which function, from which question, by which value."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from recsys_assets.api import artifacts, asking, health, history, releases, reports, targets
from recsys_assets.api.lineage import Node
from recsys_assets.api.paging import Page
from recsys_assets.api.site import Site
from recsys_assets.release.documents import JournalEntry
from recsys_assets.upkeep.report_document import Report
from recsys_assets.upkeep.staleness import Freshness

_TARGET: Final = "/v1/targets/{tenant}/{surface}"
_ARTIFACT: Final = "/v1/artifacts/{version}"


@dataclass(frozen=True, slots=True)
class Route:
    """One address: its parameters' form, its answer's type, and the function from one to the other."""

    path: str
    asked: type[asking.Nothing]
    answer: Any
    handle: Callable[[Site, Any], Any]

    @property
    def name(self) -> str:
        """The operation's id: the function's name."""
        return self.handle.__name__

    @property
    def message(self) -> str:
        """What it answers, as the function's first line says."""
        return (self.handle.__doc__ or "").partition("\n")[0]


ROUTES: Final = (
    Route("/health", asking.Nothing, health.Health, health.show_health),
    Route("/health/live", asking.Nothing, health.Liveness, health.show_liveness),
    Route("/v1/targets", asking.PageAsked, Page[targets.TargetView], targets.list_targets),
    Route(_TARGET, asking.TargetAsked, targets.TargetView, targets.show_target),
    Route(f"{_TARGET}/freshness", asking.TargetAsked, Freshness, targets.show_freshness),
    Route(f"{_TARGET}/stats", asking.TargetAsked, targets.Stats, targets.show_stats),
    Route(f"{_TARGET}/releases", asking.TargetPageAsked, Page[releases.ReleaseRow], releases.list_releases),
    Route(f"{_TARGET}/releases/{{release}}", asking.ReleaseAsked, releases.ReleaseView, releases.show_release),
    Route(f"{_TARGET}/releases/{{release}}/report", asking.ReleaseAsked, Report, reports.show_report),
    Route(f"{_TARGET}/tree", asking.TreeAsked, Node, releases.show_tree),
    Route(f"{_TARGET}/diff", asking.DiffAsked, releases.DiffView, releases.show_diff),
    Route(f"{_TARGET}/at", asking.AtAsked, history.LiveView, history.show_at),
    Route(f"{_TARGET}/journal", asking.JournalAsked, Page[JournalEntry], history.list_journal),
    Route(f"{_TARGET}/days/{{day}}/usedby", asking.DayAsked, Page[artifacts.Holder], artifacts.list_day_users),
    Route(f"{_ARTIFACT}/metadata", asking.ArtifactAsked, artifacts.Metadata, artifacts.show_metadata),
    Route(f"{_ARTIFACT}/expand", asking.ArtifactAsked, artifacts.Expanded, artifacts.show_expanded),
    Route(f"{_ARTIFACT}/tree", asking.ArtifactTreeAsked, Node, artifacts.show_artifact_tree),
    Route(f"{_ARTIFACT}/usedby", asking.ArtifactPageAsked, Page[artifacts.Holder], artifacts.list_users),
    Route(f"{_ARTIFACT}/rows", asking.RowsAsked, artifacts.RowsPage, artifacts.list_rows),
)
CONTENT_PATH: Final = f"{_ARTIFACT}/content"
