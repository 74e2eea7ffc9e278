"""Build metrics of a target: age of its data, last attempt, gates, artifacts and runs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from itertools import islice, takewhile
from typing import Final, NamedTuple

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from recsys_assets.evidence import Scalar, Verdict
from recsys_assets.identity import Target, end_of, parse_rfc3339, rfc3339
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import DONE, HELD, IMPORT, LOST, REFUSED, TEST, UNCHANGED, newest_first
from recsys_assets.release.releases import find_readable_release
from recsys_assets.release.staged import find_report_of_day, find_report_of_kind
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.status import BUILD, GATE, TargetStatus, status

BUILD_HELP: Final[Mapping[str, str]] = {
    "recsys_build_data_through_timestamp_seconds": "End of the last day in the live data.",
    "recsys_build_max_age_seconds": "Age of live data above which the target is stale.",
    "recsys_build_swapped_timestamp_seconds": "Time of the last swap of the pointer.",
    "recsys_build_held": "Whether a hold keeps automation from shipping.",
    "recsys_build_problems": "Number of problems in the status.",
    "recsys_build_last_attempt": "Outcome of the last attempt at the pointer: 1 for that outcome, 0 for the others.",
    "recsys_build_last_attempt_timestamp_seconds": "Time of the last attempt at the pointer.",
    "recsys_build_artifact_rows": "Rows of the live artifact.",
    "recsys_build_artifact_bytes": "Bytes of the live artifact.",
    "recsys_build_gates": "Number of gate verdicts on the newest evaluated day, by subject.",
    "recsys_build_measured_timestamp_seconds": "Time at which the metrics of this target were read from the store.",
    "recsys_build_last_test": "Outcome of the last test of an imported file: 1 for that outcome.",
    "recsys_build_last_test_timestamp_seconds": "Time of the last test of a file of the kind.",
    "recsys_build_tests": "Tests of files of the kind in the last 7 days, by outcome and actor.",
    "recsys_build_run_success": "Whether the last run of the target succeeded.",
    "recsys_build_run_seconds": "Duration of the last run of the target.",
    "recsys_build_run_timestamp_seconds": "Time at which the last run of the target ended.",
}
TESTS_SINCE = timedelta(days=7)
PASSED = "passed"
MAX_RECENT = 1000  # journal entries
MAX_ACTORS = 20
OTHERS = "others"
OUTCOMES = (DONE, UNCHANGED, "older", HELD, REFUSED, "other")


class Sample(msgspec.Struct, frozen=True):
    """One sample: metric name, labels and value."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Gauges(Collector):
    """Collector of samples taken at one time. `help_texts` has one sentence for each metric.

    With `with_empty`, metrics without samples are exposed as well, as scrapers expect of a service.
    """

    samples: Iterable[Sample]
    help_texts: Mapping[str, str] = field(default_factory=lambda: BUILD_HELP)
    with_empty: bool = False

    def collect(self) -> Iterator[Metric]:
        """Yield every metric once, as a gauge, in the order of first appearance."""
        families: dict[str, GaugeMetricFamily] = {}
        for name in self.help_texts if self.with_empty else ():
            families[name] = GaugeMetricFamily(name, self.help_texts[name])
        for sample in self.samples:
            family = families.get(sample.name)
            if family is None:
                family = families[sample.name] = GaugeMetricFamily(sample.name, self.help_texts[sample.name])
            family.add_sample(sample.name, dict(sample.labels), float(sample.value))
        return iter(families.values())


def registry_of(collector: Collector) -> CollectorRegistry:
    """Return a registry with only this collector."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry


class RunEnd(msgspec.Struct, frozen=True):
    """End of a target's run: success, time, and duration in seconds."""

    success: bool
    at: datetime
    seconds: float


def measure_target(
    store: ObjectStore, settings: Settings, target_settings: TargetSettings, *, day: date | None, now: datetime
) -> Iterator[Sample]:
    """Yield the metrics of a target in the store, with the gate verdicts of `day`, the newest that was built.

    Unknown values have no sample: a target that never shipped has no age. Ages are exported as timestamps, so that they
    keep growing between measurements.
    """
    (target_status,) = status(store, [target_settings.target], now=now)
    sample = partial(Sample, labels=_labels(target_settings))
    yield sample("recsys_build_measured_timestamp_seconds", value=now.timestamp())
    yield sample("recsys_build_max_age_seconds", value=settings.freshness_for(target_settings).max_age_hours * 3600)
    yield sample("recsys_build_held", value=target_status.hold is not None)
    yield sample("recsys_build_problems", value=len(target_status.problems))
    if target_status.data_through is not None:
        yield sample(
            "recsys_build_data_through_timestamp_seconds", value=end_of(target_status.data_through).timestamp()
        )
    if target_status.updated_at is not None:
        yield sample("recsys_build_swapped_timestamp_seconds", value=target_status.updated_at.timestamp())
    yield from _last_attempt(target_settings, target_status)
    yield from _live_artifacts(store, target_settings, target_status)
    if day is not None:
        yield from _verdicts(store, settings, target_settings, day)


def measure_run(target_settings: TargetSettings, run: RunEnd) -> Iterator[Sample]:
    """Yield the metrics of a target's last run."""
    labels = _labels(target_settings)
    yield Sample("recsys_build_run_success", labels, run.success)
    yield Sample("recsys_build_run_seconds", labels, run.seconds)
    yield Sample("recsys_build_run_timestamp_seconds", labels, run.at.timestamp())


def measure_tests(
    store: ObjectStore, settings: Settings, target_settings: TargetSettings, *, now: datetime
) -> Iterator[Sample]:
    """Yield the metrics of tests of imported files, automatic and manual ones, by kind."""
    return samples_of_tests(
        recent_entries(store, target_settings.target, now=now), settings, target_settings, prefix="recsys_build"
    )


def recent_entries(store: ObjectStore, target: Target, *, now: datetime) -> Iterator[JournalEntry]:
    """Yield the journal entries that tests are counted from, newest first: of a week, at most `MAX_RECENT`."""
    return islice(takewhile(lambda entry: is_recent(entry, now=now), newest_first(store, target)), MAX_RECENT)


def is_recent(entry: JournalEntry, *, now: datetime) -> bool:
    """Return whether tests are counted from an entry. Lost entries have no time and are included."""
    return entry.action == LOST or entry.at >= rfc3339(now - TESTS_SINCE)


def samples_of_tests(
    entries: Iterable[JournalEntry], settings: Settings, target_settings: TargetSettings, *, prefix: str
) -> Iterator[Sample]:
    """Yield the metrics of tests in journal entries (newest first): last outcome, and counts by actor."""
    entries_of_tests = list(_tests(entries, set(settings.imports_for(target_settings))))
    actors = [*dict.fromkeys(test.actor for test in entries_of_tests)][:MAX_ACTORS]
    for kind in dict.fromkeys(test.kind for test in entries_of_tests):
        labels = {**_labels(target_settings), "kind": kind}
        last, *_ = tests = [test for test in entries_of_tests if test.kind == kind]
        yield Sample(f"{prefix}_last_test_timestamp_seconds", labels, parse_rfc3339(last.at).timestamp())
        counts = Counter((test.actor if test.actor in actors else OTHERS, test.outcome) for test in tests)
        for outcome in (PASSED, REFUSED):
            yield Sample(f"{prefix}_last_test", {**labels, "outcome": outcome}, outcome == last.outcome)
            for actor in dict.fromkeys(actor for actor, _ in counts):
                more = {**labels, "outcome": outcome, "actor": actor}
                yield Sample(f"{prefix}_tests", more, counts[actor, outcome])


class _Tested(NamedTuple):
    kind: str
    outcome: str
    at: str
    actor: str  # without the host, which may differ between builds


def _tests(entries: Iterable[JournalEntry], kinds: set[str]) -> Iterator[_Tested]:
    """Yield each test that entries (newest first) record, newest first.

    A build registers a file before its gates run, and journals only their refusal: both entries are one test.
    """
    refused: set[tuple[str, Scalar]] = set()
    for entry in entries:
        kind, day = str(entry.details.get("kind") or entry.details.get("step")), entry.details.get("day")
        actor = entry.actor.partition("@")[0]
        if kind not in kinds:
            continue
        if entry.action == BUILD and entry.details.get("error") == GATE:
            refused.add((kind, day))
            yield _Tested(kind, REFUSED, entry.at, actor)
        elif entry.action == TEST or (entry.action == IMPORT and (kind, day) not in refused):
            yield _Tested(kind, PASSED if entry.outcome == DONE else REFUSED, entry.at, actor)
        elif entry.action == IMPORT:
            refused.discard((kind, day))


def _last_attempt(target_settings: TargetSettings, target_status: TargetStatus) -> Iterator[Sample]:
    if target_status.last is None:
        return
    ended = target_status.last.outcome if target_status.last.outcome in OUTCOMES else "other"
    at = parse_rfc3339(target_status.last.at).timestamp()
    yield Sample("recsys_build_last_attempt_timestamp_seconds", _labels(target_settings), at)
    for outcome in OUTCOMES:
        yield Sample("recsys_build_last_attempt", {**_labels(target_settings), "outcome": outcome}, outcome == ended)


def _live_artifacts(
    store: ObjectStore, target_settings: TargetSettings, target_status: TargetStatus
) -> Iterator[Sample]:
    release = find_readable_release(
        store, target_settings.target, target_status.release
    )  # a damaged release is one of the problems
    for member in release.members if release else ():
        labels = {**_labels(target_settings), "kind": member.ref.kind}
        yield Sample("recsys_build_artifact_bytes", labels, member.size)
        rows = member.facts.get("rows")
        if isinstance(rows, int):
            yield Sample("recsys_build_artifact_rows", labels, rows)


def _verdicts(store: ObjectStore, settings: Settings, target_settings: TargetSettings, day: date) -> Iterator[Sample]:
    canonical = find_report_of_day(store, target_settings.target, day)
    reports = {"canonical": canonical}
    reports |= {
        kind: find_report_of_kind(store, target_settings.target, day, kind)
        for kind in settings.kinds_for(target_settings)
    }
    for subject, report in reports.items():
        for verdict in Verdict if report else ():
            labels = {**_labels(target_settings), "subject": subject, "verdict": verdict.value}
            count = sum(finding.verdict is verdict for finding in report.findings) if report else 0
            yield Sample("recsys_build_gates", labels, count)


def _labels(target_settings: TargetSettings) -> Mapping[str, str]:
    return {"tenant": target_settings.tenant, "surface": target_settings.surface}
