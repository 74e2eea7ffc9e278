"""Health and metrics of the API: liveness, readiness, and Prometheus metrics for a bounded number of targets."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from itertools import takewhile
from typing import Final

import msgspec
from prometheus_client import generate_latest

from recsys_assets.api.context import ApiContext
from recsys_assets.api.queries import NoQuery
from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.observability.build_metrics import (
    MAX_RECENT,
    Gauges,
    Sample,
    is_recent,
    recent_entries,
    registry_of,
    samples_of_tests,
)
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.layout import pointer_key
from recsys_assets.storage.store import ObjectStore, fan_out
from recsys_assets.upkeep.status import TargetStatus, status

_log = logging.getLogger(__name__)

MEDIA: Final = "text/plain; version=0.0.4; charset=utf-8"
MAX_TARGETS: Final = 200  # bounds the number of time series
KEPT_SECONDS: Final = 10.0
HELP: Final = {
    "recsys_target_live": "Whether the target has a live release.",
    "recsys_target_data_age_days": "Whole days between the end of the live data and now.",
    "recsys_target_swapped_timestamp_seconds": "Time of the last swap of the pointer.",
    "recsys_target_held": "Whether a hold keeps automation from shipping.",
    "recsys_target_last_attempt_refused": "Whether the last attempt to ship was refused.",
    "recsys_target_problems": "Number of problems in the status.",
    "recsys_target_questions": "Lookups by consumers in the live release and its predecessor, by kind.",
    "recsys_target_questions_without_items": "Lookups with an empty, unknown or failed answer.",
    "recsys_target_short_answers": "Answers with fewer items than the consumer requested.",
    "recsys_target_refresh_failures": "Failed polls of the store by live consumers since their start.",
    "recsys_target_last_test": "Outcome of the last test of an imported file: 1 for that outcome.",
    "recsys_target_last_test_timestamp_seconds": "Time of the last test of a file of the kind.",
    "recsys_target_tests": "Tests of files of the kind in the last 7 days, by outcome and actor.",
    "recsys_targets_left_out": "Number of targets without metrics, beyond the limit.",
}


class Health(msgspec.Struct, frozen=True):
    """`live`: the process answers. `ready`: the store answered just now. Otherwise `message` says why not."""

    live: bool
    ready: bool
    message: str

    @property
    def status(self) -> int:
        """HTTP status for probes: 200 if ready, else 503."""
        return HTTPStatus.OK if self.ready else HTTPStatus.SERVICE_UNAVAILABLE


class Liveness(msgspec.Struct, frozen=True):
    """The process answers. Restart it if this response is missing."""

    live: bool


def show_liveness(context: ApiContext, query: NoQuery) -> Liveness:  # noqa: ARG001 - as every handler is called
    """Return that the process answers, without accessing the store, whose faults do not need a restart."""
    return Liveness(live=True)


def show_health(context: ApiContext, query: NoQuery) -> Health:  # noqa: ARG001 - as every handler is called
    """Return whether the store answers a stat of the first target's pointer, with status 503 if it does not."""
    try:
        if context.targets:
            context.store.stat(pointer_key(context.targets[0]))
    except RecsysAssetsError:
        return Health(live=True, ready=False, message="the store does not answer")
    return Health(live=True, ready=True, message="the store answers")


@dataclass(slots=True)
class RecentEntries:
    """Cache of the journal entries from which tests are counted. Entries never change, so each is read once."""

    _entries: dict[Target, tuple[JournalEntry, ...]] = field(default_factory=dict[Target, tuple[JournalEntry, ...]])

    def of(self, store: ObjectStore, target: Target, *, now: datetime) -> tuple[JournalEntry, ...]:
        """Return the recent entries of a target, newest first, or the cached ones if the journal cannot be read."""
        cached = self._entries.get(target, ())
        read_to = cached[0].sequence if cached else 0
        try:
            new = tuple(takewhile(lambda entry: entry.sequence > read_to, recent_entries(store, target, now=now)))
        except RecsysAssetsError as error:  # also one of the problems in the status
            _log.warning("journal_unreadable target=%s effect=cached_tests error=%s", target, error)
            return cached
        recent = tuple(entry for entry in (*new, *cached) if is_recent(entry, now=now))[:MAX_RECENT]
        self._entries[target] = recent
        return recent


@dataclass(slots=True)
class Scrapes:
    """Cache of the last response for some seconds, so that many scrapers cause no more store reads than one."""

    kept_seconds: float = KEPT_SECONDS
    _entries: RecentEntries = field(default_factory=RecentEntries)
    _text: str = ""
    _until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def text(self, context: ApiContext) -> str:
        """Return the metrics, at most `kept_seconds` old. One thread at a time reads the store."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._text = metrics_text(context, self._entries)
                self._until = time.monotonic() + self.kept_seconds
            return self._text


def metrics_text(context: ApiContext, entries: RecentEntries | None = None) -> str:
    """Return the gauges of the first `MAX_TARGETS` targets in Prometheus format. Unknown values are omitted."""
    samples = (*_samples(context), *_tests(context, entries or RecentEntries()))
    gauges = Gauges(samples, help_texts=HELP, with_empty=True)
    return generate_latest(registry_of(gauges)).decode()


def _samples(context: ApiContext) -> Iterator[Sample]:
    shown = context.targets[:MAX_TARGETS]
    for row in status(context.store, shown, now=context.now()):
        labels = {"tenant": row.tenant, "surface": row.surface}
        yield from (Sample(name, labels, value) for name, value in _values(row))
        yield from _answers(row, labels)
        for problem, count in row.consumers.failures.items() if row.consumers else ():
            yield Sample("recsys_target_refresh_failures", {**labels, "problem": problem}, count)
    yield Sample("recsys_targets_left_out", {}, len(context.targets) - len(shown))


def _tests(context: ApiContext, entries: RecentEntries) -> Iterator[Sample]:
    """Yield samples of the file tests of targets with imported kinds."""
    rows = [row for row in context.settings.targets[:MAX_TARGETS] if context.settings.imports_for(row)]
    now = context.now()
    for row, entries_of_row in zip(
        rows, fan_out(lambda row: entries.of(context.store, row.target, now=now), rows), strict=True
    ):
        yield from samples_of_tests(entries_of_row, context.settings, row, prefix="recsys_target")


def _answers(row: TargetStatus, labels: Mapping[str, str]) -> Iterator[Sample]:
    """Yield the counts of consumers for the live release and the most queried earlier one."""
    earlier = max(
        (answers for answers in row.answers if not answers.live), key=lambda answers: answers.asked, default=None
    )
    for answers in row.answers:
        if answers.live or (earlier is not None and answers.release == earlier.release):
            more = {**labels, "kind": answers.kind, "release": "live" if answers.live else "before"}
            yield Sample("recsys_target_questions", more, answers.asked)
            yield Sample(
                "recsys_target_questions_without_items", more, answers.empty + answers.unknown + answers.failed
            )
            yield Sample("recsys_target_short_answers", more, answers.short)


def _values(row: TargetStatus) -> Iterator[tuple[str, float]]:
    yield "recsys_target_live", int(row.release is not None)
    yield "recsys_target_held", int(row.hold is not None)
    yield "recsys_target_problems", len(row.problems)
    if row.last is not None:
        yield "recsys_target_last_attempt_refused", int(row.last.outcome == "refused")
    if row.data_age_days is not None:
        yield "recsys_target_data_age_days", row.data_age_days
    if row.updated_at is not None:
        yield "recsys_target_swapped_timestamp_seconds", row.updated_at.timestamp()
