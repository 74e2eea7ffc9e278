"""Metrics of readers for `prometheus_client`: answers by kind and release, latency, failures, age of what is served."""

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

    Every sample has the process id as a label, so that workers that are scraped by turns behind one port do not mix;
    a forked worker begins at zero. Of each reader the release that serves, the one before, and the candidate
    of a rollout have samples.
    """

    def __init__(self, *readers: Reader) -> None:
        self._readers = readers

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all readers."""
        process = str(os.getpid())
        answers = CounterMetricFamily(
            "recsys_reader_answers",
            "Questions by result: answered, empty, unknown or failed.",
            labels=(*_TARGET, "release", "kind", "result"),
        )
        short = CounterMetricFamily(
            "recsys_reader_short_answers",
            "Answers with fewer items than the service wants.",
            labels=(*_TARGET, "release", "kind"),
        )
        seconds = HistogramMetricFamily(
            "recsys_reader_lookup_seconds",
            "Time of lookups, of one question in 64.",
            labels=(*_TARGET, "release", "kind"),
        )
        failures = CounterMetricFamily(
            "recsys_reader_refresh_failures",
            "Looks at the store that brought nothing, by problem.",
            labels=(*_TARGET, "problem"),
        )
        age = GaugeMetricFamily(
            "recsys_reader_swapped_timestamp_seconds", "When the pointer to what is served was swapped.", labels=_TARGET
        )
        for reader in self._readers:
            status = reader.status()
            of_target = [status.target.tenant, status.target.surface, process]
            counters = reader.all_counters
            for release, kinds in counts_by_release(counters).items():
                for kind, counts in kinds.items():
                    labels = [*of_target, release, kind]
                    for result in ("answered", "empty", "unknown", "failed"):
                        answers.add_metric([*labels, result], getattr(counts, result))
                    short.add_metric(labels, counts.short)
                    asked = (one.kinds[kind].latencies() for one in counters if one.release_id == release)
                    sums = accumulate(map(sum, zip(*asked, strict=True)))
                    seconds.add_metric(labels, list(zip(_BOUNDS, sums, strict=True)), sum_value=None)
            for problem, times in reader.refresh_failures.items():
                failures.add_metric([*of_target, problem.value], times)
            if status.updated_at is not None:
                age.add_metric(of_target, status.updated_at.timestamp())
        yield from (answers, short, seconds, failures, age)
