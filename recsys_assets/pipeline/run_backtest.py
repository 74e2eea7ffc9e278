"""Back-test of one or more days: a day's staged artifacts against a release, on events that neither was built from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import product
from math import isfinite
from time import monotonic

import msgspec

from recsys_assets.errors import CorruptObjectError, LimitExceededError, NotFoundError
from recsys_assets.evidence import NO_BASELINE, GateReport, Scalar
from recsys_assets.gates.candidate import Backtested, Measured, NotComparedReason, NotTested
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
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

_IS_WORSE = {ComparisonVerdict.WORSE: True, ComparisonVerdict.NOT_WORSE: False, ComparisonVerdict.INCONCLUSIVE: None}
LIVE = "live"


class BacktestResult(msgspec.Struct, frozen=True):
    """Result of a comparison: held-out events, baseline release, number of sessions, and scores by recommender."""

    held_out: HeldOut
    baseline: str
    sessions: int
    compared: tuple[ComparedScores, ...]


def backtest_day(context: DayContext, versions: Mapping[str, str]) -> GateReport:
    """Back-test the staged release of `versions` (by kind) against the live one, and return the gate report.

    The report's facts have the key and digest of the held-out events. Neither is among the inputs in the release's
    record, unless a part of the last day is held out: then holdout builds without that part were scored.
    """
    row, day = context.row, context.day
    policy = backtest_policy(context.settings, row)
    release = release_id_of(row.target, versions)
    candidate = candidate_arm(context.store, row.target, day, release=release, versions=versions)
    try:
        outcome = _compare_with_live(context, candidate)
    except (CorruptObjectError, LimitExceededError, NotFoundError) as error:
        outcome = NotTested(NotComparedReason.FAILED, f"there was no back-test: {error}")
    facts = outcome.facts if isinstance(outcome, Backtested) else {}
    return policy.judge(release, outcome, numbers=facts)


def compare_on_held_out(
    context: DayContext, *, candidate: Arm, baseline: Arm, next_day_only: bool = False
) -> BacktestResult | NotTested:
    """Compare two arms on the next day or, if it cannot be used, on the last part of `day`.

    In the latter case, the candidate is built without that part. Arms are never compared on events that they were
    built from. If there are no other events, the result is `NotTested` with the reason. Raises `LimitExceededError`
    after `gates.backtest.max_seconds`, and `CorruptObjectError` or `NotFoundError` for an arm that no reader could
    load.
    """
    store, row, day = context.store, context.row, context.day
    limits = context.settings.gates_for(row).backtest
    go_on = _deadline(limits.max_seconds)
    seen = [*candidate.inputs, *baseline.inputs]
    held = hold_out_next_day(store, row.target, day, seen=seen)
    if held is None and not next_day_only:
        # The candidate was built from its whole last day. The holdout build is made without the end of that day.
        held = hold_out_part(store, row.target, day, share=limits.held_out_share, seen=baseline.inputs)
    if held is None:
        message = f"there are no events of {day} or the day after that release {baseline.release[:12]} has not seen"
        return NotTested(NotComparedReason.INCONCLUSIVE, message)
    if len({*candidate.user_keys, *baseline.user_keys, held.user_key}) > 1:
        message = (
            f"users of {held.message}, the candidate and release {baseline.release[:12]} are not hashed by one key"
        )
        return NotTested(NotComparedReason.INCONCLUSIVE, f"{message}: rebuild the days that have another key")
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


def _compare_with_live(context: DayContext, candidate: Arm) -> Backtested | NotTested:
    live = live_arm(context.store, context.target)
    if live is None:
        return NotTested(NotComparedReason.NOTHING_TO_LOSE, NO_BASELINE)
    if live.release == candidate.release:
        return NotTested(NotComparedReason.NOTHING_TO_LOSE, "this very release is live")
    result = compare_on_held_out(context, candidate=candidate, baseline=live)
    return result if isinstance(result, NotTested) else _measured(result)


def _deadline(seconds: float) -> Callable[[], None]:
    started = monotonic()

    def go_on() -> None:
        if monotonic() - started > seconds:
            raise LimitExceededError(
                f"it took longer than gates.backtest.max_seconds ({seconds:g}): raise it, or lower max_samples"
            )

    return go_on


def _protocol(limits: BacktestSettings, held: HeldOut) -> Protocol:
    """Return the protocol of a comparison.

    A holdout build lacks a part of a day that the live release has in full, so it may score lower by that share.
    """
    built_share = 1.0 if held.since is None else 1 - limits.held_out_share
    return Protocol(
        k=limits.k,
        delta=1 - (1 - limits.delta) * built_share,
        min_samples=limits.min_samples,
        rounds=limits.rounds,
        seed=limits.seed,
        level=limits.level,
    )


def _measured(outcome: BacktestResult) -> Backtested:
    """Return the numbers that the gates judge, without frames."""
    measured = {
        scores.name: Measured(
            outcome.sessions,
            scores.candidate.ndcg,
            scores.live.ndcg,
            scores.low,
            scores.high,
            scores.allowed,
            worse=_IS_WORSE[scores.verdict],
        )
        for scores in outcome.compared
    }
    facts: dict[str, Scalar] = {**outcome.held_out.facts, "sessions": outcome.sessions, "live": outcome.baseline}
    for scores in outcome.compared:
        facts |= _numbers(scores)
    return Backtested(outcome.baseline, outcome.held_out.message, measured, facts)


def _numbers(scores: ComparedScores) -> dict[str, Scalar]:
    return {
        f"hit_rate/{scores.name}": scores.candidate.hit_rate,
        f"mrr/{scores.name}": scores.candidate.mrr,
        f"ndcg/{scores.name}": scores.candidate.ndcg,
        f"coverage/{scores.name}": scores.candidate.coverage,
        f"live_ndcg/{scores.name}": scores.live.ndcg,
        f"difference/{scores.name}": scores.difference,
        **{
            f"difference_{side}/{scores.name}": bound
            for side, bound in (("low", scores.low), ("high", scores.high))
            if isfinite(bound)
        },
    }


class DayTested(msgspec.Struct, frozen=True):
    """Back-test of one day: its baseline (`live`, or the day before as text), and the result."""

    day: date
    against: str
    found: BacktestResult | NotTested


def backtest_days(
    store: ObjectStore, settings: Settings, row: TargetSettings, days: Sequence[date]
) -> Iterator[DayTested]:
    """Yield the back-test of each day's staged artifacts on held-out events. Nothing ships and no gate is evaluated.

    The baseline is the live release or, if that was built from the held-out events or is the day's own release, the
    staged artifacts of the day before. Events of the next day are tried first with both baselines, because they are
    better evidence than the last part of the day itself. The result of a day that was not built or cannot be read is
    `NotTested`.
    """
    live = live_arm(store, row.target)
    for day in days:
        try:
            yield _test(DayContext(store, settings, row, day), live)
        except (CorruptObjectError, LimitExceededError, NotFoundError) as error:
            yield DayTested(day, "", NotTested(NotComparedReason.FAILED, str(error)))


def _test(context: DayContext, live: Arm | None) -> DayTested:
    store, row, day = context.store, context.row, context.day
    kinds, before = context.settings.artifacts.kinds, day - timedelta(days=1)
    candidate = staged_arm(store, row.target, day, kinds=kinds)
    if candidate is None:
        return DayTested(day, "", _not_staged(store, row.target, day))
    baselines = {LIVE: live, str(before): staged_arm(store, row.target, before, kinds=kinds)}
    tested = DayTested(
        day, "", NotTested(NotComparedReason.INCONCLUSIVE, f"nothing else is live, and {before} is not built")
    )
    for only, (name, baseline) in product((True, False), baselines.items()):
        if baseline is None or baseline.release == candidate.release:
            continue
        result = compare_on_held_out(context, candidate=candidate, baseline=baseline, next_day_only=only)
        tested = DayTested(day, name, result)
        if isinstance(result, BacktestResult):
            break
    return tested


def _not_staged(store: ObjectStore, target: Target, day: date) -> NotTested:
    """Return the reason why a day has nothing to compare. A rebuild is suggested only if it has events."""
    if find_document(store, canonical_record_key(target, day), CanonicalRecord) is not None:
        return NotTested(NotComparedReason.FAILED, f"{day} has not staged every kind: build it")
    if find_document(store, raw_record_key(day), RawRecord) is not None:
        return NotTested(NotComparedReason.INCONCLUSIVE, f"{day} has no events of {target}")
    return NotTested(
        NotComparedReason.INCONCLUSIVE, f"nothing was read of {day}: no file came, or the day was never built"
    )
