"""Gates of a catalog's tags against the live ones: items lost, tags changed, and events on items that it lacks."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl

from recsys_assets.encoding.rows import Rows
from recsys_assets.evidence import NO_BASELINE, Verdict
from recsys_assets.gates.gate import Gate, Result, at_most
from recsys_assets.settings.gates import CatalogGate, CatalogSettings

_FEWEST: Final = 20  # items of live, items of both, or events: shares of fewer are chance
_LOST = ("share of live's items that the catalog lacks", "max_lost_share")
_CHANGED = ("share of items whose tags differ from live's", "max_changed_share")


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """How a catalog differs from the live one, and what the day's events find in either."""

    live_items: int
    lost: int  # of live's items, those that the new catalog does not have
    both: int
    changed: int  # of the items in both, those with other tags
    events: int = 0  # of the day that was built with it
    unknown: int = 0  # of them, those on items that the new catalog does not have
    unknown_to_live: int = 0


class HasCatalogChange(Protocol):
    """Facts that hold how a catalog changed; None where there is no live one to compare with."""

    @property
    def catalog(self) -> CatalogChange | None:
        """The difference from the live catalog."""
        ...


def compare_catalogs(rows: Rows, live: Rows, events: pl.DataFrame) -> CatalogChange:
    """Return how the tags of a catalog differ from live's; `events` are `item_id` (String) and `count` of a day."""
    new, old = _tags(rows), _tags(live)
    both = new.join(old, on="item_id", suffix="_live")
    lacking = [events.join(one, on="item_id", how="anti")["count"].sum() for one in (new, old)]
    return CatalogChange(
        live_items=len(old),
        lost=len(old) - len(both),
        both=len(both),
        changed=both.filter(pl.col("tags") != pl.col("tags_live")).height,
        events=int(events["count"].sum()),
        unknown=int(lacking[0]),
        unknown_to_live=int(lacking[1]),
    )


def _tags(rows: Rows) -> pl.DataFrame:
    """Return `item_id` and `tags`, a text of sorted tags, so that their order is no change."""
    lists = np.repeat(np.arange(len(rows.keys)), np.diff(rows.offsets))
    tags = pl.DataFrame({"list": lists, "tag": rows.member_ids.gather(pl.Series(rows.members))})
    joined = tags.group_by("list").agg(pl.col("tag").sort().str.join("\x1f").alias("tags"))
    items = pl.DataFrame({"list": np.arange(len(rows.keys)), "item_id": rows.key_ids.gather(pl.Series(rows.keys))})
    return items.join(joined, on="list", how="left").select("item_id", pl.col("tags").fill_null(""))


def catalog_gates(limits: CatalogSettings) -> list[Gate[HasCatalogChange]]:
    """Return every gate of a catalog against the live one, in the order of the report."""
    rules = {
        CatalogGate.LOST: Lost(limits.max_lost_share),
        CatalogGate.CHANGED: Changed(limits.max_changed_share),
        CatalogGate.UNKNOWN: UnknownToEvents(limits.max_unknown_rise),
    }
    return [Gate(gate.value, rule, limits.mode) for gate, rule in rules.items()]


@dataclass(frozen=True, slots=True)
class Lost:
    """The largest share of live's items that a new catalog may lack."""

    max_lost_share: float

    def __call__(self, facts: HasCatalogChange) -> Result:
        """Compare the share of items that are gone."""
        change = facts.catalog
        return _share(change, change and change.lost, change and change.live_items, self.max_lost_share, _LOST)


@dataclass(frozen=True, slots=True)
class Changed:
    """The largest share of items whose tags may change at once."""

    max_changed_share: float

    def __call__(self, facts: HasCatalogChange) -> Result:
        """Compare the share of items with other tags than live's."""
        change = facts.catalog
        return _share(change, change and change.changed, change and change.both, self.max_changed_share, _CHANGED)


@dataclass(frozen=True, slots=True)
class UnknownToEvents:
    """How much the share of the day's events on items without a catalog row may rise over live's on the same events."""

    max_unknown_rise: float

    def __call__(self, facts: HasCatalogChange) -> Result:
        """Compare what the day's events do not find in the new catalog with what they do not find in live's."""
        change = facts.catalog
        if change is None or change.events < _FEWEST:
            return _share(change, None, change and change.events, 0.0, ("", ""))
        live = change.unknown_to_live / change.events
        what = f"share of the day's events on items that the catalog does not know (live's: {live:.4g})"
        limit = live + self.max_unknown_rise * (1 - live)
        setting = f"gates.catalog.max_unknown_rise ({self.max_unknown_rise:g})"
        return at_most(change.unknown / change.events, limit, setting=setting, what=what)


def _share(
    change: CatalogChange | None, part: int | None, whole: int | None, most: float, of: tuple[str, str]
) -> Result:
    """Return the share beside its limit; a pass that says why where nothing is live or there is too little."""
    if change is None:
        return Result(Verdict.PASSED, None, NO_BASELINE)
    if not whole or whole < _FEWEST or part is None:
        return Result(Verdict.PASSED, None, f"not judged: {whole or 0} are too few, {_FEWEST} are needed")
    return at_most(part / whole, most, setting=f"gates.catalog.{of[1]}", what=of[0])
