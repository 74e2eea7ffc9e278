"""Weights of events by their age in days: half after each half-life, as whole thousandths, so that sums are exact."""

from collections.abc import Sequence
from decimal import Decimal, localcontext
from typing import Final

import numpy as np
import polars as pl

from recsys_assets.compiled.strings import Codes, Numbers
from recsys_assets.events.events import Events

AGE = "age"  # the column of `Events` that counts days back from the window's last one; absent: all of one day
TODAY: Final = 1000  # what an event of the window's last day weighs where older ones weigh less
_DIGITS = 50  # far more than a rounding to whole thousandths could notice


def with_ages(days: Sequence[Events], ages: Sequence[int]) -> list[Events]:
    """Return the events of days, each with the column `AGE`."""
    return [
        Events(day.codes.with_columns(pl.lit(age, pl.UInt32).alias(AGE)), day.ids)
        for day, age in zip(days, ages, strict=True)
    ]


def weights_by_age(half_life_days: int, *, oldest: int) -> Numbers:
    """Return what an event of each age up to `oldest` days weighs, in thousandths: half after a half-life, never none.

    Exponential decay, computed in decimals and rounded once: no machine's logarithm decides about a score.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        exact = (TODAY * Decimal(2) ** (Decimal(-age) / half_life_days) for age in range(oldest + 1))
        return np.array([max(1, int(weight.to_integral_value())) for weight in exact], np.int64)


def ages_of(events: Events) -> Codes:
    """Return the age of each row in days; zeros if all are of the window's last day."""
    if AGE in events.codes.columns:
        return events.codes[AGE].to_numpy()
    return np.zeros(len(events.codes), np.uint32)


def row_weights(events: Events, half_life_days: int) -> Numbers:
    """Return what each row weighs, in thousandths."""
    ages = ages_of(events)
    return weights_by_age(half_life_days, oldest=int(ages.max(initial=0)))[ages]
