"""Outcomes of exposures: rates of clicks and purchases with intervals, and verdicts on rollouts (ship, hold or fail).

Exposures of one person are correlated, so a person (or else a session) is one cluster, and intervals are those of a
ratio of sums over clusters.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any, Final

import msgspec
import polars as pl

from recsys_assets.identity import REQUEST_TAG
from recsys_assets.quality.outcome_report import (
    ALL,
    METRICS,
    VISITORS,
    Difference,
    OutcomeRow,
    OutcomeVerdict,
    RolloutOutcome,
    Share,
    StepKeys,
)

_PAIR: Final = ("request_id", "item_id")


class FeedbackNames(msgspec.Struct, frozen=True):
    """Values of `event` for each type of feedback. An event without a value is an exposure."""

    exposure: str = "impression"
    click: str = "click"
    purchase: str = "purchase"


class OutcomeRules(msgspec.Struct, frozen=True):
    """Confidence level, allowed loss as a share of the live rate, and minimum keys per arm."""

    level: float = 0.95
    margin: float = 0.02
    min_keys: int = 100


class RolloutStep(msgspec.Struct, frozen=True):
    """Period in which a candidate served a share (percent) of the keys next to the live release."""

    release: str
    against: str
    share: int
    since: datetime
    until: datetime | None


class Exposures(msgspec.Struct, frozen=True, eq=False):
    """Exposures: one row per request and item, with its click and purchase.

    `frame` has the columns `ts`, `key`, `visitor`, `release` (16 digits), `kind`, `click` and `purchase` (bool).
    """

    frame: pl.DataFrame
    untagged: int
    unmatched: int


def find_exposures(events: pl.DataFrame, names: FeedbackNames) -> Exposures:
    """Return the exposures of events with the columns ts, key, visitor, request_id, item_id and event, in any order.

    A click or purchase belongs to the exposure of its request and item, and counts once even if it was sent repeatedly.
    """
    tag = pl.col("request_id")
    tagged = events.with_columns(
        tag.str.extract(REQUEST_TAG, n).alias(name) for n, name in ((1, "release"), (2, "kind"))
    )
    is_shown = pl.col("event").is_null() | (pl.col("event") == names.exposure)
    shown = tagged.filter(is_shown)
    exposures = (
        shown.filter(pl.col("release").is_not_null())
        .sort("ts", *_PAIR)
        .unique(_PAIR, keep="first", maintain_order=True)
    )
    unmatched = 0
    for metric, name in zip(METRICS, (names.click, names.purchase), strict=True):
        hits = tagged.filter(pl.col("event") == name, pl.col("release").is_not_null()).select(_PAIR).unique()
        unmatched += len(hits.join(exposures, on=_PAIR, how="anti"))
        marked = hits.with_columns(pl.lit(value=True).alias(metric))
        exposures = exposures.join(marked, on=_PAIR, how="left", maintain_order="left").with_columns(
            pl.col(metric).fill_null(value=False)
        )
    columns = ("ts", "key", "visitor", "release", "kind", *METRICS)
    return Exposures(exposures.select(columns), shown["release"].null_count(), unmatched)


def rates(exposures: Exposures, rules: OutcomeRules) -> tuple[OutcomeRow, ...]:
    """Return the rates of each release, for all kinds and each kind, all visitors and each group, in this order."""
    frame = exposures.frame
    every = {name: pl.lit(value).alias(name) for name, value in (("kind", ""), ("visitor", ALL))}
    groupings = [
        frame.with_columns(*(every[name] for name in left_out))
        for left_out in ((), ("kind",), ("visitor",), tuple(every))
    ]
    by = ("release", "kind", "visitor")
    table = sum_by_key(pl.concat(groupings), by).unique(by, keep="first", maintain_order=True).sort(by)
    order = {name: n for n, name in enumerate(VISITORS)}
    rows = [_row(sums, rules) for sums in table.iter_rows(named=True)]
    return tuple(sorted(rows, key=lambda row: (row.release, row.kind, order.get(row.visitor, len(order)))))


def _row(sums: dict[str, Any], rules: OutcomeRules) -> OutcomeRow:
    click, purchase = (_share(sums, metric, rules.level) for metric in METRICS)
    return OutcomeRow(
        release=sums["release"],
        kind=sums["kind"],
        visitor=sums["visitor"],
        keys=sums["keys"],
        click=click,
        purchase=purchase,
    )


def sum_by_key(frame: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return per group the keys, the exposures, and the sums of hits, squares and products over keys (Float64)."""
    by_key = frame.group_by(*by, "key").agg(
        pl.len().cast(pl.Float64).alias("n"), *(pl.col(m).sum().cast(pl.Float64) for m in METRICS)
    )
    products = [
        expression
        for m in METRICS
        for expression in (
            pl.col(m).sum().alias(m),
            (pl.col(m) ** 2).sum().alias(f"{m}_squares"),
            (pl.col(m) * pl.col("n")).sum().alias(f"{m}_products"),
        )
    ]
    squares = (pl.col("n") ** 2).sum().alias("squares")
    return by_key.group_by(by).agg(pl.len().alias("keys"), pl.col("n").sum(), squares, *products)


def _share(sums: dict[str, Any], metric: str, level: float) -> Share:
    """Return a rate with Wilson's interval for the effective sample size of the clusters."""
    hits, of = sums[metric], sums["n"]
    rate, size, z = hits / of, effective_size(sums, metric), NormalDist().inv_cdf((1 + level) / 2)
    middle = (rate + z * z / (2 * size)) / (1 + z * z / size)
    reach = z / (1 + z * z / size) * sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    return Share(hits=int(hits), of=int(of), rate=rate, low=max(middle - reach, 0.0), high=min(middle + reach, 1.0))


def effective_size(sums: dict[str, Any], metric: str) -> float:
    """Return the effective sample size of the exposures, at most their number."""
    keys, of, rate = sums["keys"], sums["n"], sums[metric] / sums["n"]
    spread = sums[f"{metric}_squares"] - 2 * rate * sums[f"{metric}_products"] + rate * rate * sums["squares"]
    if keys < 2 or spread <= 0 or not 0 < rate < 1:  # noqa: PLR2004 - one key has no spread
        return float(keys)
    variance = keys / (keys - 1) * spread / (of * of)
    return max(min(rate * (1 - rate) / variance, of), 1.0)


SETTLING: Final = timedelta(minutes=5)  # start of each step, in which readers may still follow the step before
_MISMATCH: Final = 0.001  # a less probable ratio of keys is a sample ratio mismatch
_MOST_MIXED: Final = 0.05  # maximum share of keys served by both releases in one step


def judge_rollouts(
    exposures: Exposures, steps: Iterable[RolloutStep], rules: OutcomeRules
) -> tuple[RolloutOutcome, ...]:
    """Return the outcome of each rollout, newest first. A rollout without exposures is excluded.

    Only rollouts are compared, because only their keys were assigned at random. Steps are compared separately and then
    combined, weighted by their keys, because the hours of the day change together with the share.
    """
    by_rollout: dict[tuple[str, str], list[RolloutStep]] = {}
    for step in sorted(steps, key=lambda step: step.since, reverse=True):
        by_rollout.setdefault((step.release, step.against), []).insert(0, step)
    outcomes = (_judge(exposures.frame, of_rollout, rules) for of_rollout in by_rollout.values())
    return tuple(outcome for outcome in outcomes if outcome is not None)


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
            sums.append({side["side"]: side for side in sum_by_key(shown, ["side"]).iter_rows(named=True)})
    if not keys:
        return None
    both = [of_step for of_step in sums if len(of_step) == 2]  # noqa: PLR2004 - candidate and live
    differences = tuple(_difference(both, metric, rules) for metric in METRICS) if both else ()
    verdict, reason = _verdict(keys, both, differences, rules)
    first = steps[0]
    return RolloutOutcome(
        release=first.release,
        against=first.against,
        verdict=verdict,
        why=reason,
        steps=tuple(keys),
        differences=differences,
    )


def _keys(shown: pl.DataFrame, step: RolloutStep) -> StepKeys:
    """Count the keys of a step by the release that served them first, with the probability of that ratio."""
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
        weight = 1 / sum(1 / arm["keys"] for arm in pair)
        total += weight
        for number, arm in enumerate(pair):
            parts[number] += weight * arm[metric] / arm["n"]
            variance += weight * weight * _variance(arm, metric)
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
    """Return the variance of a rate after adding one hit and one miss (Agresti and Caffo 2000)."""
    size = effective_size(sums, metric)
    rate = (sums[metric] / sums["n"] * size + 1) / (size + 2)
    return rate * (1 - rate) / (size + 2)


def _verdict(
    keys: list[StepKeys],
    both: list[dict[str, dict[str, Any]]],
    differences: tuple[Difference, ...],
    rules: OutcomeRules,
) -> tuple[OutcomeVerdict, str]:
    """Return the verdict and its reason. Untrustworthy or insufficient data means HOLD before any rate is compared."""
    mixed, of = sum(step.mixed for step in keys), sum(step.keys for step in keys)
    worst = min(keys, key=lambda step: step.probability)
    if worst.probability * len(keys) < _MISMATCH:
        reason = f"{worst.candidate:,} of {worst.keys:,} keys got the candidate at {worst.share} %, which is not chance"
        return OutcomeVerdict.HOLD, f"{reason}; check whether events of one release are lost"
    if mixed > _MOST_MIXED * of:
        return (
            OutcomeVerdict.HOLD,
            f"{mixed:,} of {of:,} keys were served by both releases; check the key that the service assigns by",
        )
    fewest = min((sum(sides[name]["keys"] for sides in both) for name in ("live", "candidate")), default=0)
    if fewest < rules.min_keys:
        return OutcomeVerdict.HOLD, f"{fewest:,} keys on the smaller side, {rules.min_keys:,} are required"
    return _by_rates(differences, rules)


def _by_rates(differences: tuple[Difference, ...], rules: OutcomeRules) -> tuple[OutcomeVerdict, str]:
    texts = {part.metric: f"{part.metric} rate {part.candidate:.2%}, live {part.live:.2%}" for part in differences}
    within = {part.metric: part.low >= -rules.margin * part.live for part in differences}
    worse = [part.metric for part in differences if part.high < 0 and not within[part.metric]]
    if worse:
        return OutcomeVerdict.FAIL, f"significantly worse: {'; '.join(texts[metric] for metric in worse)}"
    if within[METRICS[0]]:
        return OutcomeVerdict.SHIP, f"not worse by more than {rules.margin:.0%}: {texts[METRICS[0]]}"
    return OutcomeVerdict.HOLD, f"too little data: {texts[METRICS[0]]}"
