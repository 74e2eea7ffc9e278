"""Back-test of one day or many: what a day staged beside a release that serves, on events that neither has seen."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from math import isfinite
from time import monotonic

from recsys_assets.errors import CorruptObjectError, LimitExceededError, NotFoundError
from recsys_assets.evidence import NO_BASELINE, GateReport, Scalar
from recsys_assets.gates.backtest import Backtested, Measured, NotTested, Why
from recsys_assets.gates.policy import backtest_policy
from recsys_assets.identity import Target, Window
from recsys_assets.pipeline.backtest_arms import (
    Arm,
    HeldOut,
    build_holdout,
    candidate_arm,
    hold_out_next_day,
    hold_out_part,
    live_arm,
    staged_arm,
)
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.quality.comparison import ComparedScores, ComparisonVerdict, Protocol, compare
from recsys_assets.quality.tasks import next_item_tasks
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key, raw_record_key
from recsys_assets.release.pointer import release_id_of
from recsys_assets.serving.loading import load_trial
from recsys_assets.settings.gates import BacktestSettings
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

_IS_WORSE = {ComparisonVerdict.WORSE: True, ComparisonVerdict.NOT_WORSE: False, ComparisonVerdict.INCONCLUSIVE: None}
LIVE = "live"


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """A comparison that was made: on which events, how many sessions, and what came out for each recommender."""

    held_out: HeldOut
    baseline: str
    sessions: int
    compared: tuple[ComparedScores, ...]


def backtest_day(context: DayContext, versions: Mapping[str, str]) -> GateReport:
    """Return the back-test's gate report of the release of `versions` (by kind) that the day staged.

    The report's facts name the held-out events by key and digest: neither is among the inputs that the release's
    record names, but where a part of the last day is held out, and holdout builds without that part were scored.
    """
    row, day = context.row, context.day
    policy = backtest_policy(context.settings, row)
    release = release_id_of(row.target, versions)
    candidate = candidate_arm(context.store, row.target, day, release=release, versions=versions)
    try:
        found = _beside_live(context, candidate)
    except (CorruptObjectError, LimitExceededError, NotFoundError) as error:
        found = NotTested(Why.FAILED, f"there was no back-test: {error}")
    facts = found.facts if isinstance(found, Backtested) else {}
    return policy.judge(release, found, numbers=facts)


def compare_on_held_out(
    context: DayContext, *, candidate: Arm, baseline: Arm, next_day_only: bool = False
) -> BacktestResult | NotTested:
    """Compare two sides on the next day, or, where it is not there, on the last part of `day`, built without it.

    Never on events that a side was built from: then, and without events, nothing is compared and it says why.
    Raises `LimitExceededError` after `gates.backtest.max_seconds`, `CorruptObjectError` or `NotFoundError` for a side
    that no reader would take.
    """
    store, row, day = context.store, context.row, context.day
    limits = context.settings.gates_for(row).backtest
    go_on = _deadline(limits.max_seconds)
    seen = [*candidate.inputs, *baseline.inputs]
    held = hold_out_next_day(store, row.target, day, seen=seen)
    if held is None and not next_day_only:
        # The candidate has seen its own last day, but a holdout build without the end of it has not.
        held = hold_out_part(store, row.target, day, share=limits.held_out_share, seen=baseline.inputs)
    if held is None:
        message = f"there are no events of {day} or the day after that release {baseline.release[:12]} has not seen"
        return NotTested(Why.INCONCLUSIVE, message)
    if len({*candidate.user_keys, *baseline.user_keys, held.user_key}) > 1:
        message = (
            f"users of {held.message}, the candidate and release {baseline.release[:12]} are not hashed by one key"
        )
        return NotTested(Why.INCONCLUSIVE, f"{message}: build the days again that stand under another")
    at = Window(day, day).end
    new = (
        load_trial(store, row.target, candidate.versions, at=at)
        if held.since is None
        else build_holdout(context, until=held.since, go_on=go_on)
    )
    live = load_trial(store, row.target, baseline.versions, at=at)
    tasks = next_item_tasks(held.events, limit=limits.max_samples, seed=limits.seed, since=held.since)
    compared = compare(new, live, tasks, _protocol(limits, held), go_on=go_on)
    return BacktestResult(held, baseline.release, len(tasks.tasks), tuple(compared))


def _beside_live(context: DayContext, candidate: Arm) -> Backtested | NotTested:
    live = live_arm(context.store, context.target)
    if live is None:
        return NotTested(Why.NOTHING_TO_LOSE, NO_BASELINE)
    if live.release == candidate.release:
        return NotTested(Why.NOTHING_TO_LOSE, "this very release is live")
    found = compare_on_held_out(context, candidate=candidate, baseline=live)
    return found if isinstance(found, NotTested) else _measured(found)


def _deadline(seconds: float) -> Callable[[], None]:
    started = monotonic()

    def go_on() -> None:
        if monotonic() - started > seconds:
            raise LimitExceededError(
                f"it took longer than gates.backtest.max_seconds ({seconds:g}): raise it, or lower max_samples"
            )

    return go_on


def _protocol(limits: BacktestSettings, held: HeldOut) -> Protocol:
    """Return how arms are compared; a holdout build may lose as much more as it lacks of a day that live has whole."""
    kept = 1.0 if held.since is None else 1 - limits.held_out_share
    return Protocol(
        k=limits.k,
        delta=1 - (1 - limits.delta) * kept,
        min_samples=limits.min_samples,
        rounds=limits.rounds,
        seed=limits.seed,
        level=limits.level,
    )


def _measured(outcome: BacktestResult) -> Backtested:
    """Return what the gates judge: numbers without frames."""
    measured = {
        one.name: Measured(
            outcome.sessions,
            one.candidate.ndcg,
            one.live.ndcg,
            one.low,
            one.high,
            one.allowed,
            worse=_IS_WORSE[one.verdict],
        )
        for one in outcome.compared
    }
    facts: dict[str, Scalar] = {**outcome.held_out.facts, "sessions": outcome.sessions, "live": outcome.baseline}
    for one in outcome.compared:
        facts |= _numbers(one)
    return Backtested(outcome.baseline, outcome.held_out.message, measured, facts)


def _numbers(one: ComparedScores) -> dict[str, Scalar]:
    return {
        f"hit_rate/{one.name}": one.candidate.hit_rate,
        f"mrr/{one.name}": one.candidate.mrr,
        f"ndcg/{one.name}": one.candidate.ndcg,
        f"coverage/{one.name}": one.candidate.coverage,
        f"live_ndcg/{one.name}": one.live.ndcg,
        f"difference/{one.name}": one.difference,
        **{
            f"difference_{side}/{one.name}": bound
            for side, bound in (("low", one.low), ("high", one.high))
            if isfinite(bound)
        },
    }


@dataclass(frozen=True, slots=True)
class DayTested:
    """One day: beside what it was compared (`live`, or a day as written), and what came out."""

    day: date
    against: str
    found: BacktestResult | NotTested


def backtest_days(
    store: ObjectStore, settings: Settings, row: TargetSettings, days: Sequence[date]
) -> Iterator[DayTested]:
    """Yield, for each day, its staged artifacts compared on held-out events; nothing ships and no gate is asked.

    The baseline is the live release. Where live was built from the events in question, or is the day's own, it is what
    the day before staged; the day after says more than the day's own last part, so that it goes first with both. A day
    that was not built, or cannot be read, says so.
    """
    live = live_arm(store, row.target)
    for day in days:
        try:
            yield _test(DayContext(store, settings, row, day), live)
        except (CorruptObjectError, LimitExceededError, NotFoundError) as error:
            yield DayTested(day, "", NotTested(Why.FAILED, str(error)))


def _test(context: DayContext, live: Arm | None) -> DayTested:
    store, row, day = context.store, context.row, context.day
    kinds, before = context.settings.artifacts.kinds, day - timedelta(days=1)
    candidate = staged_arm(store, row.target, day, kinds=kinds)
    if candidate is None:
        return DayTested(day, "", _not_staged(store, row.target, day))
    sides = {LIVE: live, str(before): staged_arm(store, row.target, before, kinds=kinds)}
    tested = DayTested(day, "", NotTested(Why.INCONCLUSIVE, f"nothing else is live, and {before} is not built"))
    for only, (name, baseline) in product((True, False), sides.items()):
        if baseline is None or baseline.release == candidate.release:
            continue
        found = compare_on_held_out(context, candidate=candidate, baseline=baseline, next_day_only=only)
        tested = DayTested(day, name, found)
        if isinstance(found, BacktestResult):
            break
    return tested


def _not_staged(store: ObjectStore, target: Target, day: date) -> NotTested:
    """Say why a day has nothing to compare: building it again helps only where it has events."""
    if find_document(store, canonical_record_key(target, day), CanonicalRecord) is not None:
        return NotTested(Why.FAILED, f"{day} has not staged every kind: build it")
    if find_document(store, raw_record_key(day), RawRecord) is not None:
        return NotTested(Why.INCONCLUSIVE, f"{day} has no events of {target}")
    return NotTested(Why.INCONCLUSIVE, f"nothing was read of {day}: no file came, or the day was never built")
