"""Overview of all targets: health and cause of each, with search, filters, orders and pages."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from recsys_assets.api.problems import redact
from recsys_assets.api.queries import OverviewQuery, Page, page_of
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import end_of
from recsys_assets.pipeline.freshness import look_at_targets
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import REFUSED, message_of
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.answer_guard import live_empty_share
from recsys_assets.upkeep.staleness import Cause, Freshness
from recsys_assets.upkeep.status import TargetStatus

_log = logging.getLogger(__name__)

_TIMES_KEPT: Final = 10  # multiple of its duration for which a result is cached: at most a tenth of one CPU
_SHORT_SECONDS: Final = 0.5  # slower results are renewed in the background while the previous one is shown
_MAX_AGE_SECONDS: Final = 120.0
_IDLE_SECONDS: Final = 60.0  # minimum pause between renewals without requests


class TargetHealth(StrEnum):
    """Health of a target, in descending order of urgency."""

    PROBLEM = "problem"
    REFUSED = "refused"
    STALE = "stale"
    NO_DATA = "no data"
    HELD = "held"
    FRESH = "fresh"


_URGENCY: Final[Mapping[TargetHealth, int]] = {health: n for n, health in enumerate(TargetHealth)}
_REFUSALS: Final = {Cause.GATE_REFUSED, Cause.REFUSED, Cause.CONFLICT, Cause.BUILD_FAILED}


class TargetSummary(msgspec.Struct, frozen=True):
    """One target in the overview. Unknown values are None, and `problems` explains them."""

    tenant: str
    surface: str
    health: TargetHealth
    why: str
    release: str | None
    data_end: datetime | None  # the end of the last day in the live data
    last: JournalEntry | None
    serving: int  # consumers with a heartbeat that serve the live release
    consumers: int  # consumers with a heartbeat
    asked: int  # lookups by consumers in the live release
    empty_share: float | None  # share of lookups without items
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name for people: tenant/surface."""
        return f"{self.tenant}/{self.surface}"


class OverviewPage(msgspec.Struct, frozen=True):
    """One page of the overview, with the number of matching targets per state."""

    page: Page[TargetSummary]
    counts: Mapping[str, int]
    total: int
    matching: int
    seen_at: datetime


class TargetSummaries(msgspec.Struct, frozen=True):
    """Summaries of all targets at one time."""

    summaries: tuple[TargetSummary, ...]
    seen_at: datetime


@dataclass(slots=True)
class Overview:
    """Cache of the last summaries, kept for a time proportional to their cost."""

    _last: TargetSummaries | None = None
    _taken: float = 0.0  # time of the last summaries, on the monotonic clock
    spent_seconds: float = 0.0  # duration of the last renewal
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, take: Callable[[], TargetSummaries]) -> TargetSummaries:
        """Return cached summaries, or those of `take`. Slow ones are renewed in the background."""
        started = time.monotonic()
        age = started - self._taken
        cached_seconds = self.spent_seconds * _TIMES_KEPT
        if self._last is not None and age < cached_seconds:
            return self._last
        if (
            self._last is not None
            and self.spent_seconds > _SHORT_SECONDS
            and age < max(_MAX_AGE_SECONDS, 2 * cached_seconds)
        ):
            if self._lock.acquire(blocking=False):
                threading.Thread(target=self._renew_and_unlock, args=(take,), daemon=True).start()
            return self._last
        with self._lock:
            if self._last is not None and self._taken > started:  # renewed by another thread while this one waited
                return self._last
            return self._renew(take)

    def keep_warm(
        self, take: Callable[[], TargetSummaries], after: Callable[[TargetSummaries], None], stop: threading.Event
    ) -> None:
        """Renew the summaries repeatedly until `stop`, so that requests do not wait for many targets.

        `after` is called with each result. Store errors are only logged, because requests report them, too.
        """
        while not stop.is_set():
            try:
                with self._lock:
                    look = self._renew(take)
                after(look)
            except RecsysAssetsError as error:
                _log.warning("overview_not_renewed retry=yes error=%s", error)
            stop.wait(max(self.spent_seconds * _TIMES_KEPT, _IDLE_SECONDS))

    def _renew_and_unlock(self, take: Callable[[], TargetSummaries]) -> None:
        try:
            self._renew(take)
        finally:
            self._lock.release()

    def _renew(self, take: Callable[[], TargetSummaries]) -> TargetSummaries:
        began = time.monotonic()
        self._last = take()
        self._taken = time.monotonic()
        self.spent_seconds = self._taken - began
        return self._last


def look_at_all(store: ObjectStore, settings: Settings, *, now: datetime) -> TargetSummaries:
    """Return the summary of every configured target, in the order of the configuration."""
    seen = look_at_targets(store, settings, tuple(row.target for row in settings.targets), now=now)
    return TargetSummaries(tuple(_summary(row, age) for row, age in seen), now)


def select_targets(look: TargetSummaries, query: OverviewQuery) -> OverviewPage:
    """Return a page of the targets that match the query, in its order, by default the most urgent first."""
    named = [summary for summary in look.summaries if (query.q or "").casefold() in summary.name.casefold()]
    chosen = sorted((summary for summary in named if query.health in (None, summary.health)), key=_ORDERS[query.sort])
    start = int(query.cursor or 0)
    part = chosen[start : start + query.limit + 1]
    page = page_of(part, [str(start + n) for n in range(1, len(part) + 1)], limit=query.limit)
    health_counts = Counter(summary.health for summary in named)
    counts = {health.value: health_counts[health] for health in TargetHealth if health_counts[health]}
    return OverviewPage(page, counts, len(look.summaries), len(chosen), look.seen_at)


def _summary(row: TargetStatus, age: Freshness | None) -> TargetSummary:
    lookups, empty = live_empty_share(row.answers)
    consumers = row.consumers
    health = _health(row, age)
    return TargetSummary(
        tenant=row.tenant,
        surface=row.surface,
        health=health,
        why=redact(_why(row, age, health)),
        release=row.release,
        data_end=end_of(row.data_through) if row.data_through else None,
        last=row.last,
        serving=len(consumers.serving) if consumers else 0,
        consumers=len(consumers.serving) + len(consumers.behind) if consumers else 0,
        asked=lookups,
        empty_share=empty,
        problems=tuple(redact(problem) for problem in row.problems),
    )


def _why(row: TargetStatus, age: Freshness | None, health: TargetHealth) -> str:
    """Return the reason of a target's state: the cause of staleness, a refusal or a hold."""
    stale = "" if age is None or age.cause is Cause.FRESH else age.why
    if health is TargetHealth.REFUSED and row.last is not None and (age is None or age.cause not in _REFUSALS):
        return "; and ".join(filter(None, (message_of(row.last), stale)))
    if stale:
        return stale
    if health is TargetHealth.HELD and row.hold is not None:
        return f"held by {row.hold.actor}: {row.hold.reason}"
    return age.why if age else ""


def _health(row: TargetStatus, age: Freshness | None) -> TargetHealth:
    cause = age.cause if age else Cause.FRESH
    was_refused = row.last is not None and row.last.outcome == REFUSED and row.last.action in {"ship", "build"}
    if cause in {Cause.DAMAGED, Cause.STORE_DOWN}:
        return TargetHealth.PROBLEM
    if cause in _REFUSALS or was_refused:
        return TargetHealth.REFUSED
    if row.hold is not None:
        return TargetHealth.HELD
    if row.release is None:
        return TargetHealth.NO_DATA
    if cause is not Cause.FRESH:
        return TargetHealth.STALE
    return TargetHealth.PROBLEM if row.problems else TargetHealth.FRESH


def _oldest(summary: TargetSummary) -> float:
    """Return the end of a target's data in seconds, for sorting. A target without data sorts as oldest."""
    return summary.data_end.timestamp() if summary.data_end else 0.0


def _by_urgency(summary: TargetSummary) -> tuple[int, bool, float, str]:
    return _URGENCY[summary.health], not summary.problems, _oldest(summary), summary.name


def _by_name(summary: TargetSummary) -> str:
    return summary.name


def _by_age(summary: TargetSummary) -> tuple[float, str]:
    return _oldest(summary), summary.name


def _by_empty(summary: TargetSummary) -> tuple[float, str]:
    return -(summary.empty_share or 0.0), summary.name


_ORDERS: Final[Mapping[str, Callable[[TargetSummary], Any]]] = {
    "worst": _by_urgency,
    "name": _by_name,
    "age": _by_age,
    "empty": _by_empty,
}
