"""Gauges of the build side: plain samples, grouped by metric as `prometheus_client` exposes, writes and pushes them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BUILD_HELP: Final[Mapping[str, str]] = {
    "recsys_build_data_through_timestamp_seconds": "End of the last day in the live data.",
    "recsys_build_max_age_seconds": "Age of live data above which the target is stale.",
    "recsys_build_swapped_timestamp_seconds": "When the pointer was swapped last.",
    "recsys_build_held": "Whether a hold keeps automation from shipping.",
    "recsys_build_problems": "How many problems status knows of.",
    "recsys_build_last_attempt": "How the last attempt at the pointer ended: 1 for that outcome, 0 for the others.",
    "recsys_build_last_attempt_timestamp_seconds": "When the last attempt at the pointer ended.",
    "recsys_build_artifact_rows": "Rows of the live artifact.",
    "recsys_build_artifact_bytes": "Bytes of the live artifact.",
    "recsys_build_gates": "Verdicts of the gates on the newest day that was judged, by subject.",
    "recsys_build_measured_timestamp_seconds": "When the numbers of this target were taken from the store.",
    "recsys_build_run_success": "Whether the last run of the target ended well.",
    "recsys_build_run_seconds": "How long the last run of the target took.",
    "recsys_build_run_timestamp_seconds": "When the last run of the target ended.",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One number: the metric, its labels, its value."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Gauges(Collector):
    """Samples taken at one moment, as a collector to register; `help_texts` has one sentence for each metric.

    A metric with a text and no sample is exposed without one where `with_empty` is set, as scrapers expect of a
    service that has nothing to report yet.
    """

    samples: Iterable[Sample]
    help_texts: Mapping[str, str] = field(default_factory=lambda: BUILD_HELP)
    with_empty: bool = False

    def collect(self) -> Iterator[Metric]:
        """Yield every metric once, all of them gauges, in the order in which they first appear."""
        found: dict[str, GaugeMetricFamily] = {}
        for name in self.help_texts if self.with_empty else ():
            found[name] = GaugeMetricFamily(name, self.help_texts[name])
        for sample in self.samples:
            family = found.get(sample.name)
            if family is None:
                family = found[sample.name] = GaugeMetricFamily(sample.name, self.help_texts[sample.name])
            family.add_sample(sample.name, dict(sample.labels), float(sample.value))
        return iter(found.values())


def registry_of(collector: Collector) -> CollectorRegistry:
    """Return a registry with this one collector in it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return registry
