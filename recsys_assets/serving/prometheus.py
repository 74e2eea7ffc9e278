"""Metrics of readers for `prometheus_client`: lookups by kind and release, latency, failures, age of the release."""

import os
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from recsys_assets.serving.counting import BUCKETS, counts_by_release
from recsys_assets.serving.reader import Reader

_TARGET = ("tenant", "surface", "process")
_BOUNDS = (*map(str, BUCKETS), "+Inf")


class ReaderCollector(Collector):
    """The readers of this process: `REGISTRY.register(ReaderCollector(reader))`.

    Every sample has the process id as a label, so that the metrics of workers that are scraped in turn through one port
    do not mix. A forked worker starts at zero. There are samples of the served release of each reader, of the previous
    one, and of the candidate of a rollout.
    """

    def __init__(self, *readers: Reader) -> None:
        self._readers = readers

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all readers."""
        process = str(os.getpid())
        answers = CounterMetricFamily(
            "recsys_reader_answers",
            "Lookups by result: answered, empty, unknown or failed.",
            labels=(*_TARGET, "release", "kind", "result"),
        )
        short = CounterMetricFamily(
            "recsys_reader_short_answers",
            "Lists with fewer items than short_below.",
            labels=(*_TARGET, "release", "kind"),
        )
        seconds = HistogramMetricFamily(
            "recsys_reader_lookup_seconds",
            "Duration of lookups; one in 64 is measured.",
            labels=(*_TARGET, "release", "kind"),
        )
        failures = CounterMetricFamily(
            "recsys_reader_refresh_failures",
            "Failed refreshes, by problem.",
            labels=(*_TARGET, "problem"),
        )
        age = GaugeMetricFamily(
            "recsys_reader_swapped_timestamp_seconds",
            "Time of the swap of the pointer to the served release.",
            labels=_TARGET,
        )
        for reader in self._readers:
            status = reader.status()
            target_labels = [status.target.tenant, status.target.surface, process]
            counters = reader.all_counters
            for release, kinds in counts_by_release(counters).items():
                for kind, counts in kinds.items():
                    labels = [*target_labels, release, kind]
                    for result in ("answered", "empty", "unknown", "failed"):
                        answers.add_metric([*labels, result], getattr(counts, result))
                    short.add_metric(labels, counts.short)
                    latencies = (
                        counter.kinds[kind].latencies() for counter in counters if counter.release_id == release
                    )
                    sums = accumulate(map(sum, zip(*latencies, strict=True)))
                    seconds.add_metric(labels, list(zip(_BOUNDS, sums, strict=True)), sum_value=None)
            for problem, times in reader.refresh_failures.items():
                failures.add_metric([*target_labels, problem.value], times)
            if status.updated_at is not None:
                age.add_metric(target_labels, status.updated_at.timestamp())
        yield from (answers, short, seconds, failures, age)
