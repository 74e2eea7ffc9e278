"""The back-test of many days: what each staged, beside what is live, or, where live has seen it all, the day before."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product

from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.errors import CorruptObjectError, LimitExceededError, NotFoundError
from recsys_assets.gates.backtest import NotTested, Why
from recsys_assets.identity import Target
from recsys_assets.manifest.documents import CanonicalRecord
from recsys_assets.manifest.encoding import find_document
from recsys_assets.manifest.layout import canonical_record_key, raw_record_key
from recsys_assets.stages.backtest import Outcome, compare_on_held_out
from recsys_assets.stages.records import RawRecord
from recsys_assets.stages.sides import Side, live_side, staged_side
from recsys_assets.storage.store import ObjectStore

LIVE = "live"


@dataclass(frozen=True, slots=True)
class DayTested:
    """One day: beside what it was compared (`live`, or a day as written), and what came out."""

    day: date
    against: str
    found: Outcome | NotTested


def backtest_days(
    store: ObjectStore, settings: Settings, row: TargetSettings, days: Sequence[date]
) -> Iterator[DayTested]:
    """Yield, for each day, its staged artifacts compared on held-out events; nothing ships and no gate is asked.

    The baseline is the live release. Where live was made from the events in question, or is the day's own, it is what
    the day before staged; the day after says more than the day's own last part, so that it goes first with both. A day
    that was not built, or cannot be read, says so.
    """
    live = live_side(store, row.target)
    for day in days:
        try:
            yield _test(store, settings, row, day, live)
        except (CorruptObjectError, LimitExceededError, NotFoundError) as error:
            yield DayTested(day, "", NotTested(Why.FAILED, str(error)))


def _test(store: ObjectStore, settings: Settings, row: TargetSettings, day: date, live: Side | None) -> DayTested:
    kinds, before = settings.artifacts.kinds, day - timedelta(days=1)
    candidate = staged_side(store, row.target, day, kinds=kinds)
    if candidate is None:
        return DayTested(day, "", _not_staged(store, row.target, day))
    sides = {LIVE: live, str(before): staged_side(store, row.target, before, kinds=kinds)}
    tested = DayTested(day, "", NotTested(Why.INCONCLUSIVE, f"nothing else is live, and {before} is not built"))
    for only, (name, baseline) in product((True, False), sides.items()):
        if baseline is None or baseline.release == candidate.release:
            continue
        found = compare_on_held_out(
            store, settings, row, day, candidate=candidate, baseline=baseline, next_day_only=only
        )
        tested = DayTested(day, name, found)
        if isinstance(found, Outcome):
            break
    return tested


def _not_staged(store: ObjectStore, target: Target, day: date) -> NotTested:
    """Say why a day has nothing to compare: building it again helps only where it has events."""
    if find_document(store, canonical_record_key(target, day), CanonicalRecord) is not None:
        return NotTested(Why.FAILED, f"{day} has not staged every kind: build it")
    if find_document(store, raw_record_key(day), RawRecord) is not None:
        return NotTested(Why.INCONCLUSIVE, f"{day} has no events of {target}")
    return NotTested(Why.INCONCLUSIVE, f"nothing was read of {day}: no file came, or the day was never built")
