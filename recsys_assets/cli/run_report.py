"""Lines of `run` about each asset of a Dagster run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.checks import UNDECIDED
from recsys_assets.dagster_defs.outcomes import reason_of
from recsys_assets.dagster_defs.stopping import STOPPED
from recsys_assets.evidence import LEFT_OUT
from recsys_assets.identity import is_version

_DIGITS = 8
_STYLES = {"ok": "", "skipped": "yellow", "unsure": "yellow", "failed": "bold red"}


@dataclass(frozen=True, slots=True)
class AssetLine:
    """One asset on one day: what came out, or why nothing did."""

    day: date
    asset: str
    state: str  # ok | skipped | unsure (a required gate could not decide) | failed
    message: str

    @property
    def text(self) -> str:
        """The line as printed; most fit into 80 columns."""
        return f"{self.day} {self.asset:<24} {self.state:<7} {self.message}"

    @property
    def style(self) -> str:
        """How a terminal shows it."""
        return _STYLES[self.state]

    @property
    def failed(self) -> bool:
        """Whether the day did not do what it should have."""
        return self.state == "failed"


def read_result(result: dg.ExecuteInProcessResult, day: date) -> Iterator[AssetLine]:
    """Yield one line per asset that was materialized, skipped for want of input, or failed (a refusing gate too)."""
    for event in result.all_events:
        kind = event.event_type_value
        if kind == "ASSET_MATERIALIZATION":
            materialization = event.step_materialization_data.materialization
            yield AssetLine(day, _name(materialization.asset_key), "ok", _message(materialization.metadata))
        elif kind == "ASSET_OBSERVATION" and event.asset_key is not None:
            observation = event.asset_observation_data.asset_observation
            yield AssetLine(day, _name(observation.asset_key), "skipped", observation.description or "")
        elif kind == "ASSET_CHECK_EVALUATION":
            evaluation = event.asset_check_evaluation_data
            asset = f"{_name(evaluation.asset_key)} {evaluation.check_name}"
            if not evaluation.passed:
                yield AssetLine(day, asset, "failed", evaluation.description or "refused")
            elif UNDECIDED in evaluation.metadata:
                yield AssetLine(day, asset, "unsure", str(evaluation.metadata[UNDECIDED].value))
        elif kind == "STEP_FAILURE" and not _is_refused_check(event) and (reason := reason_of(event)) != STOPPED:
            yield AssetLine(day, (event.step_key or "?").replace("__", "/"), "failed", reason)


def _name(key: dg.AssetKey) -> str:
    return "/".join(key.path)


def _message(metadata: Mapping[str, Any]) -> str:
    shown = {
        key: metadata[key].value
        for key in ("rows", "events", "out_of_window", "skipped", "version", "outcome", "release", LEFT_OUT)
        if key in metadata
    }
    return " ".join(f"{key}={_short(value)}" for key, value in shown.items())


def _short(value: object) -> object:
    """Return a hash by its first digits, enough to name a release by; `log --json` has all of it."""
    return value[:_DIGITS] if isinstance(value, str) and is_version(value) else value


def _is_refused_check(event: dg.DagsterEvent) -> bool:
    """Return whether a step failed only because its check refused, which its evaluation reports already."""
    error = event.step_failure_data.error
    return error is not None and error.cls_name == "DagsterAssetCheckFailedError"
