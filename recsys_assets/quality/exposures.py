"""Outcomes of what was shown: click and purchase rates by release, kind and visitor, with intervals.

Exposures of one person are alike, so a person (else a session) is one draw: intervals are those of a ratio of sums over
clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from math import sqrt
from statistics import NormalDist
from typing import Any, Final

import polars as pl

from recsys_assets.identity import REQUEST_TAG
from recsys_assets.quality.outcome_report import ALL, METRICS, VISITORS, OutcomeRow, Share

_PAIR: Final = ("request_id", "item_id")


@dataclass(frozen=True, slots=True)
class Names:
    """What the kinds of feedback are called; an event without one is an exposure."""

    exposure: str = "impression"
    click: str = "click"
    purchase: str = "purchase"


@dataclass(frozen=True, slots=True)
class OutcomeRules:
    """How sure intervals are, what loss is allowed (of the live rate), and how many keys each side must have."""

    level: float = 0.95
    margin: float = 0.02
    min_keys: int = 100


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """A time in which a candidate answered a share (percent) of the keys beside what was live."""

    release: str
    against: str
    share: int
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class Exposures:
    """What was shown: a row for each request and item, with whether it was clicked and bought.

    `frame` has the columns `ts`, `key`, `visitor`, `release` (16 digits), `kind`, `click`, `purchase`.
    """

    frame: pl.DataFrame
    untagged: int
    unmatched: int


def find_exposures(events: pl.DataFrame, names: Names) -> Exposures:
    """Return the exposures of events with the columns ts, key, visitor, request_id, item_id and event, in any order.

    A click or purchase belongs to the exposure of its request and item; each counts once, however often it was sent.
    """
    tag = pl.col("request_id")
    tagged = events.with_columns(
        tag.str.extract(REQUEST_TAG, n).alias(name) for n, name in ((1, "release"), (2, "kind"))
    )
    is_shown = pl.col("event").is_null() | (pl.col("event") == names.exposure)
    shown = tagged.filter(is_shown)
    found = (
        shown.filter(pl.col("release").is_not_null())
        .sort("ts", *_PAIR)
        .unique(_PAIR, keep="first", maintain_order=True)
    )
    unmatched = 0
    for metric, name in zip(METRICS, (names.click, names.purchase), strict=True):
        hits = tagged.filter(pl.col("event") == name, pl.col("release").is_not_null()).select(_PAIR).unique()
        unmatched += len(hits.join(found, on=_PAIR, how="anti"))
        marked = hits.with_columns(pl.lit(value=True).alias(metric))
        found = found.join(marked, on=_PAIR, how="left", maintain_order="left").with_columns(
            pl.col(metric).fill_null(value=False)
        )
    columns = ("ts", "key", "visitor", "release", "kind", *METRICS)
    return Exposures(found.select(columns), shown["release"].null_count(), unmatched)


def rates(exposures: Exposures, rules: OutcomeRules) -> tuple[OutcomeRow, ...]:
    """Return the rates of each release: of all kinds and of each, of all visitors and of each group, in this order."""
    frame = exposures.frame
    every = {name: pl.lit(value).alias(name) for name, value in (("kind", ""), ("visitor", ALL))}
    forms = [
        frame.with_columns(*(every[name] for name in left_out))
        for left_out in ((), ("kind",), ("visitor",), tuple(every))
    ]
    by = ("release", "kind", "visitor")
    table = sum_by_key(pl.concat(forms), by).unique(by, keep="first", maintain_order=True).sort(by)
    order = {name: n for n, name in enumerate(VISITORS)}
    rows = [_row(one, rules) for one in table.iter_rows(named=True)]
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
    """Return, for each group, the keys, the exposures, and the sums of hits, their squares and products by key."""
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
    """Return a rate with Wilson's interval, for as many draws as the clusters are worth."""
    hits, of = sums[metric], sums["n"]
    rate, size, z = hits / of, worth_of(sums, metric), NormalDist().inv_cdf((1 + level) / 2)
    middle = (rate + z * z / (2 * size)) / (1 + z * z / size)
    reach = z / (1 + z * z / size) * sqrt(rate * (1 - rate) / size + z * z / (4 * size * size))
    return Share(hits=int(hits), of=int(of), rate=rate, low=max(middle - reach, 0.0), high=min(middle + reach, 1.0))


def worth_of(sums: dict[str, Any], metric: str) -> float:
    """Return how many independent draws the exposures are worth: between the keys that there are and the exposures."""
    keys, of, rate = sums["keys"], sums["n"], sums[metric] / sums["n"]
    spread = sums[f"{metric}_squares"] - 2 * rate * sums[f"{metric}_products"] + rate * rate * sums["squares"]
    if keys < 2 or spread <= 0 or not 0 < rate < 1:  # noqa: PLR2004 - one key has no spread
        return float(keys)
    variance = keys / (keys - 1) * spread / (of * of)
    return max(min(rate * (1 - rate) / variance, of), 1.0)
