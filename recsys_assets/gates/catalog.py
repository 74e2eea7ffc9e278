"""Gates of artifacts built from a catalog, against the live one: lost items, changed entries, unknown items."""

from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import numpy as np
import polars as pl

from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.evidence import NO_BASELINE, Verdict
from recsys_assets.gates.gate import Gate, Result, at_most
from recsys_assets.settings.gates import CatalogGate, CatalogSettings

_FEWEST: Final = 20  # Live items, shared items or events. A share of fewer is chance.
_LOST = ("share of live items that are missing in the catalog", "max_lost_share")
_CHANGED = ("share of items whose {entries} differ from the live ones", "max_changed_share")
_ITEM: Final = "item_id"


class CatalogChange(msgspec.Struct, frozen=True):
    """Difference between a catalog and the live one, and the numbers of the day's events on unknown items."""

    live_items: int
    lost: int  # live items that are missing in the new catalog
    both: int  # items in both catalogs
    changed: int  # items in both whose entries differ
    events: int = 0  # events of the day that the artifact is built for
    unknown: int = 0  # events on items that are missing in the new catalog
    unknown_to_live: int = 0  # events on items that are missing in the live catalog
    entries: str = "tags"  # what an item's entries are called in messages


class HasCatalogChange(Protocol):
    """Facts with the change of a catalog, or None if there is no live one to compare with."""

    @property
    def catalog(self) -> CatalogChange | None:
        """The difference from the live catalog."""
        ...


def compare_catalogs(rows: Rows | Vectors, live: Rows | Vectors, events: pl.DataFrame) -> CatalogChange | None:
    """Compare an artifact that was built from a catalog with the live one, and with the events of a day.

    `events` has the columns `item_id` (String, distinct) and `count` (integer). Returns None if either artifact has no
    item ids. The entries of an item are the members of its list, in any order. An item that has only a value or a
    vector has no entries that could differ, because numbers change with every build.
    """
    new, old = _entries(rows), _entries(live)
    if new is None or old is None:
        return None
    both = new.join(old, on=_ITEM, suffix="_live")
    unknown = [events.join(items, on=_ITEM, how="anti")["count"].sum() for items in (new, old)]
    return CatalogChange(
        live_items=len(old),
        lost=len(old) - len(both),
        both=len(both),
        changed=both.filter(pl.col("entries") != pl.col("entries_live")).height,
        events=int(events["count"].sum()),
        unknown=int(unknown[0]),
        unknown_to_live=int(unknown[1]),
        entries=(rows.shape.entries if isinstance(rows, Rows) else None) or "entries",
    )


def _entries(rows: Rows | Vectors) -> pl.DataFrame | None:
    """Return `item_id` (String, distinct) and `entries` (String): the sorted members, so that order is ignored."""
    if isinstance(rows, Vectors):
        table = rows.tables.get(_ITEM)
        return None if table is None else pl.DataFrame({_ITEM: table.ids, "entries": ""})
    if rows.shape.key != _ITEM:
        members = rows.member_ids.gather(pl.Series(rows.members).unique()) if rows.shape.column == _ITEM else None
        return None if members is None else pl.DataFrame({_ITEM: members}).with_columns(entries=pl.lit(""))
    lists = np.repeat(np.arange(len(rows.keys)), np.diff(rows.offsets))
    members = pl.DataFrame({"list": lists, "member": rows.member_ids.gather(pl.Series(rows.members))})
    joined = members.group_by("list").agg(pl.col("member").sort().str.join("\x1f").alias("entries"))
    items = pl.DataFrame({"list": np.arange(len(rows.keys)), _ITEM: rows.key_ids.gather(pl.Series(rows.keys))})
    return items.join(joined, on="list", how="left").select(_ITEM, pl.col("entries").fill_null(""))


def catalog_gates(limits: CatalogSettings) -> list[Gate[HasCatalogChange]]:
    """Return the gates that compare a catalog with the live one, in the order of the report."""
    rules = {
        CatalogGate.LOST: MaxLostItems(limits.max_lost_share),
        CatalogGate.CHANGED: MaxChangedItems(limits.max_changed_share),
        CatalogGate.UNKNOWN: MaxUnknownEvents(limits.max_unknown_rise),
    }
    return [Gate(gate.value, rule, limits.mode) for gate, rule in rules.items()]


@dataclass(frozen=True, slots=True)
class MaxLostItems:
    """The maximum share of live items that may be missing in a new catalog."""

    max_lost_share: float

    def __call__(self, facts: HasCatalogChange) -> Result:
        """Compare the share of missing items with the limit."""
        change = facts.catalog
        return _share(change, change and change.lost, change and change.live_items, self.max_lost_share, _LOST)


@dataclass(frozen=True, slots=True)
class MaxChangedItems:
    """The maximum share of items whose entries, such as tags, may change at once."""

    max_changed_share: float

    def __call__(self, facts: HasCatalogChange) -> Result:
        """Compare the share of items whose entries differ from the live ones with the limit."""
        change = facts.catalog
        label = (_CHANGED[0].format(entries=change.entries), _CHANGED[1]) if change else _CHANGED
        return _share(change, change and change.changed, change and change.both, self.max_changed_share, label)


@dataclass(frozen=True, slots=True)
class MaxUnknownEvents:
    """The maximum rise of the share of events on items without a catalog row, over that of the live catalog."""

    max_unknown_rise: float

    def __call__(self, facts: HasCatalogChange) -> Result:
        """Compare the shares of the day's events on items that are missing in the new and in the live catalog."""
        change = facts.catalog
        if change is None or change.events < _FEWEST:
            return _share(change, None, change and change.events, 0.0, ("", ""))
        live = change.unknown_to_live / change.events
        subject = f"share of the day's events on items that are missing in the catalog (live: {live:.4g})"
        limit = live + self.max_unknown_rise * (1 - live)
        setting = f"gates.catalog.max_unknown_rise ({self.max_unknown_rise:g})"
        return at_most(change.unknown / change.events, limit, setting=setting, what=subject)


def _share(
    change: CatalogChange | None, part: int | None, whole: int | None, limit: float, label: tuple[str, str]
) -> Result:
    """Compare a share with its limit. Passes with a reason if nothing is live or the numbers are too small."""
    if change is None:
        return Result(Verdict.PASSED, None, NO_BASELINE)
    if not whole or whole < _FEWEST or part is None:
        return Result(Verdict.PASSED, None, f"not judged: {whole or 0} are too few, at least {_FEWEST} are needed")
    return at_most(part / whole, limit, setting=f"gates.catalog.{label[1]}", what=label[0])
