"""Gates of what is built from a catalog beside live's: items lost, entries changed, and events on items it lacks."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import polars as pl

from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.evidence import NO_BASELINE, Verdict
from recsys_assets.gates.gate import Gate, Result, at_most
from recsys_assets.settings.gates import CatalogGate, CatalogSettings

_FEWEST: Final = 20  # items of live, items of both, or events: shares of fewer are chance
_LOST = ("share of live's items that the catalog lacks", "max_lost_share")
_CHANGED = ("share of items whose {entries} differ from live's", "max_changed_share")
_ITEM: Final = "item_id"


@dataclass(frozen=True, slots=True)
class CatalogChange:
    """How a catalog differs from the live one, and what the day's events find in either."""

    live_items: int
    lost: int  # of live's items, those that the new catalog does not have
    both: int
    changed: int  # of the items in both, those with other entries
    events: int = 0  # of the day that was built with it
    unknown: int = 0  # of them, those on items that the new catalog does not have
    unknown_to_live: int = 0
    entries: str = "tags"  # the name of what an item has


class HasCatalogChange(Protocol):
    """Facts that hold how a catalog changed; None where there is no live one to compare with."""

    @property
    def catalog(self) -> CatalogChange | None:
        """The difference from the live catalog."""
        ...


def compare_catalogs(rows: Rows | Vectors, live: Rows | Vectors, events: pl.DataFrame) -> CatalogChange | None:
    """Return how what a catalog became differs from live's; `events` are `item_id` (String) and `count` of a day.

    None if either names no items. An item's entries are the members of its list, in any order; one that has a value or
    a vector alone has none that could differ: numbers move with every build.
    """
    new, old = _entries(rows), _entries(live)
    if new is None or old is None:
        return None
    both = new.join(old, on=_ITEM, suffix="_live")
    lacking = [events.join(one, on=_ITEM, how="anti")["count"].sum() for one in (new, old)]
    return CatalogChange(
        live_items=len(old),
        lost=len(old) - len(both),
        both=len(both),
        changed=both.filter(pl.col("entries") != pl.col("entries_live")).height,
        events=int(events["count"].sum()),
        unknown=int(lacking[0]),
        unknown_to_live=int(lacking[1]),
        entries=(rows.shape.entries if isinstance(rows, Rows) else None) or "entries",
    )


def _entries(rows: Rows | Vectors) -> pl.DataFrame | None:
    """Return `item_id` (distinct) and `entries`, a text of sorted members, so that their order is no change."""
    if isinstance(rows, Vectors):
        table = rows.tables.get(_ITEM)
        return None if table is None else pl.DataFrame({_ITEM: table.ids, "entries": ""})
    if rows.shape.key != _ITEM:
        named = rows.member_ids.gather(pl.Series(rows.members).unique()) if rows.shape.column == _ITEM else None
        return None if named is None else pl.DataFrame({_ITEM: named}).with_columns(entries=pl.lit(""))
    lists = np.repeat(np.arange(len(rows.keys)), np.diff(rows.offsets))
    members = pl.DataFrame({"list": lists, "member": rows.member_ids.gather(pl.Series(rows.members))})
    joined = members.group_by("list").agg(pl.col("member").sort().str.join("\x1f").alias("entries"))
    items = pl.DataFrame({"list": np.arange(len(rows.keys)), _ITEM: rows.key_ids.gather(pl.Series(rows.keys))})
    return items.join(joined, on="list", how="left").select(_ITEM, pl.col("entries").fill_null(""))


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
    """The largest share of items whose entries, like tags, may change at once."""

    max_changed_share: float

    def __call__(self, facts: HasCatalogChange) -> Result:
        """Compare the share of items with other entries than live's."""
        change = facts.catalog
        of = (_CHANGED[0].format(entries=change.entries), _CHANGED[1]) if change else _CHANGED
        return _share(change, change and change.changed, change and change.both, self.max_changed_share, of)


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
