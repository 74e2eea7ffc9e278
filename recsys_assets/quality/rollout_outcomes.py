"""Outcomes of rollouts: the ratio of keys checked, both sides compared, and what that says: ship, hold or fail.

Nothing else is compared: only the keys of a rollout were drawn at random.
"""

from collections.abc import Iterable
from datetime import timedelta
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any, Final

import polars as pl

from recsys_assets.quality.exposures import Exposures, OutcomeRules, RolloutStep, sum_by_key, worth_of
from recsys_assets.quality.outcome_report import METRICS, Difference, OutcomeVerdict, RolloutOutcome, StepKeys

SETTLING: Final = timedelta(minutes=5)  # of each step: readers still follow the one before
_MISMATCH: Final = 0.001  # a ratio of keys that is less probable than this is no chance
_MOST_MIXED: Final = 0.05  # of the keys on both sides at one step


def judge_rollouts(
    exposures: Exposures, steps: Iterable[RolloutStep], rules: OutcomeRules
) -> tuple[RolloutOutcome, ...]:
    """Return what each rollout says of users, the newest first; one without exposures on either side is left out.

    Steps are compared by themselves and then taken together, weighted by their keys: as the share grows the hours of
    the day change, too.
    """
    by_rollout: dict[tuple[str, str], list[RolloutStep]] = {}
    for step in sorted(steps, key=lambda step: step.since, reverse=True):
        by_rollout.setdefault((step.release, step.against), []).insert(0, step)
    found = (_judge(exposures.frame, of, rules) for of in by_rollout.values())
    return tuple(one for one in found if one is not None)


def _judge(frame: pl.DataFrame, steps: list[RolloutStep], rules: OutcomeRules) -> RolloutOutcome | None:
    keys: list[StepKeys] = []
    sums: list[dict[str, dict[str, Any]]] = []
    for step in steps:
        sides = {step.release[:16]: "candidate", step.against[:16]: "live"}
        until = pl.lit(value=True) if step.until is None else pl.col("ts") < step.until
        shown = frame.filter(pl.col("ts") >= step.since + SETTLING, until, pl.col("release").is_in(list(sides)))
        shown = shown.with_columns(pl.col("release").replace(sides).alias("side"))
        if not shown.is_empty():
            keys.append(_keys(shown, step))
            sums.append({one["side"]: one for one in sum_by_key(shown, ["side"]).iter_rows(named=True)})
    if not keys:
        return None
    both = [one for one in sums if len(one) == 2]  # noqa: PLR2004 - the sides
    differences = tuple(_difference(both, metric, rules) for metric in METRICS) if both else ()
    verdict, why = _verdict(keys, both, differences, rules)
    first = steps[0]
    return RolloutOutcome(
        release=first.release,
        against=first.against,
        verdict=verdict,
        why=why,
        steps=tuple(keys),
        differences=differences,
    )


def _keys(shown: pl.DataFrame, step: RolloutStep) -> StepKeys:
    """Count the keys of a step by the side that answered them first, beside the share that was to be."""
    sides = (
        shown.sort("ts", "side").group_by("key").agg(pl.col("side").first(), pl.col("side").n_unique().alias("sides"))
    )
    of, candidate, share = len(sides), int((sides["side"] == "candidate").sum()), step.share / 100
    error = sqrt(of * share * (1 - share))
    return StepKeys(
        share=step.share,
        since=step.since.isoformat().replace("+00:00", "Z"),
        keys=of,
        candidate=candidate,
        mixed=int((sides["sides"] > 1).sum()),
        probability=erfc(abs(candidate - of * share) / error / sqrt(2)) if error else 1.0,
    )


def _difference(steps: list[dict[str, dict[str, Any]]], metric: str, rules: OutcomeRules) -> Difference:
    total, parts = 0.0, [0.0, 0.0]
    variance = 0.0
    for sides in steps:
        pair = [sides[name] for name in ("live", "candidate")]
        weight = 1 / sum(1 / one["keys"] for one in pair)
        total += weight
        for number, one in enumerate(pair):
            parts[number] += weight * one[metric] / one["n"]
            variance += weight * weight * _variance(one, metric)
    live, candidate = (part / total for part in parts)
    reach = NormalDist().inv_cdf((1 + rules.level) / 2) * sqrt(variance) / total
    difference = candidate - live
    return Difference(
        metric=metric,
        live=live,
        candidate=candidate,
        difference=difference,
        low=difference - reach,
        high=difference + reach,
    )


def _variance(sums: dict[str, Any], metric: str) -> float:
    """Return the variance of a rate, of which one hit more and one less are taken to be possible (Agresti, Caffo)."""
    size = worth_of(sums, metric)
    rate = (sums[metric] / sums["n"] * size + 1) / (size + 2)
    return rate * (1 - rate) / (size + 2)


def _verdict(
    keys: list[StepKeys],
    both: list[dict[str, dict[str, Any]]],
    differences: tuple[Difference, ...],
    rules: OutcomeRules,
) -> tuple[OutcomeVerdict, str]:
    """Return the decision, and why: what cannot be trusted or is too little holds, before any rate is looked at."""
    mixed, of = sum(one.mixed for one in keys), sum(one.keys for one in keys)
    worst = min(keys, key=lambda one: one.probability)
    if worst.probability * len(keys) < _MISMATCH:
        why = (
            f"{worst.candidate:,} of {worst.keys:,} keys got the candidate at {worst.share} %: no chance explains that"
        )
        return OutcomeVerdict.HOLD, f"{why}; are events lost on one side?"
    if mixed > _MOST_MIXED * of:
        return (
            OutcomeVerdict.HOLD,
            f"{mixed:,} of {of:,} keys were answered by both sides: what does the service draw by?",
        )
    fewest = min((sum(sides[name]["keys"] for sides in both) for name in ("live", "candidate")), default=0)
    if fewest < rules.min_keys:
        return OutcomeVerdict.HOLD, f"{fewest:,} keys on the smaller side, {rules.min_keys:,} are asked for"
    return _by_rates(differences, rules)


def _by_rates(differences: tuple[Difference, ...], rules: OutcomeRules) -> tuple[OutcomeVerdict, str]:
    texts = {one.metric: f"{one.metric} rate {one.candidate:.2%}, live {one.live:.2%}" for one in differences}
    within = {one.metric: one.low >= -rules.margin * one.live for one in differences}
    worse = [one.metric for one in differences if one.high < 0 and not within[one.metric]]
    if worse:
        return OutcomeVerdict.FAIL, f"worse beyond doubt: {'; '.join(texts[metric] for metric in worse)}"
    if within[METRICS[0]]:
        return OutcomeVerdict.SHIP, f"not worse by more than {rules.margin:.0%}: {texts[METRICS[0]]}"
    return OutcomeVerdict.HOLD, f"too few to say: {texts[METRICS[0]]}"
