"""Numbers as Prometheus reads them: samples, grouped by metric, each metric with its one sentence of help."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

HELP: Final[Mapping[str, str]] = {
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

    @property
    def line(self) -> str:
        """The sample as text."""
        labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in self.labels.items())
        return f"{self.name}{{{labels}}} {float(self.value)!r}"


def exposition(samples: Iterable[Sample]) -> str:
    """Return samples in the text format of Prometheus, every metric once, all of them gauges."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    return "".join(f"{line}\n" for name, found in by_name.items() for line in _family(name, found))


def _family(name: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {HELP[name]}"
    yield f"# TYPE {name} gauge"
    yield from (sample.line for sample in samples)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
