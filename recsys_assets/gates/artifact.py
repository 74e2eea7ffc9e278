"""Gates of one artifact: envelope, contract, size, days in the window, excluded share, and changes of its catalog."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec
import numpy as np
import polars as pl

from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.evidence import LEFT_OUT, NO_BASELINE, Finding, Scalar, Verdict
from recsys_assets.gates.drift import NoBaseline
from recsys_assets.gates.drift_distance import Drift
from recsys_assets.gates.gate import NO_LIMIT, Gate, Result, at_least, at_most, merged, same
from recsys_assets.kinds.params import KindParams
from recsys_assets.settings.gates import CatalogGate, CatalogSettings, CountGate, GateSettings
from recsys_assets.settings.settings import TargetSettings

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


class ArtifactFacts(msgspec.Struct, frozen=True):
    """Input of an artifact's gates: read from the stored bytes, except for the counts that only the build knows."""

    version: str
    size: int
    rows: int
    envelope: Mapping[str, Scalar]  # tenant, surface, segment, window_start, window_end as stored in the blob
    expected_window: Mapping[str, Scalar]  # window_start and window_end that follow from the day
    days: int  # days of the window that have a canonical day
    left_out_share: float
    bad_catalog_share: float
    bad_catalog_rows: str  # for people: number of bad rows by reason
    contract: tuple[Finding, ...]
    drift: Drift | NoBaseline = msgspec.field(default_factory=NoBaseline)  # drift from the live release
    # Change from the live artifact. None for kinds that are not built from the catalog.
    catalog: CatalogChange | None = None
    is_live: bool = False  # Whether the live release has an artifact of this kind. Only looked up for one without rows.
    content: Rows | Vectors | None = None  # the rows, for gates that check each of them

    def frame(self) -> pl.DataFrame:
        """Return the decoded rows: ids as strings, one row per member, empty if `content` is None."""
        return pl.DataFrame() if self.content is None else self.content.frame()


def artifact_gates(
    limits: GateSettings, row: TargetSettings, kind: str, params: KindParams, *, may_be_empty: str = ""
) -> list[Gate[ArtifactFacts]]:
    """Return the gates of an artifact except the drift gates, in the order of its report.

    `may_be_empty` is the reason for which an artifact of the kind may have no rows. If it is empty, an artifact without
    rows is refused.
    """
    envelope = {"kind": kind, "tenant": row.tenant, "surface": row.surface, "segment": row.segment}
    return [
        Gate("envelope", EnvelopeAsExpected(envelope)),
        Gate("contract", ArtifactContract(_scalars(params))),
        Gate(CountGate.NOT_EMPTY.value, ArtifactNotEmpty(limits.min_rows, may_be_empty)),
        Gate("size", ArtifactSize(params.max_bytes)),
        Gate(CountGate.DAYS.value, MinDays(params.min_days, params.window_days)),
        Gate(CountGate.LEFT_OUT_SHARE.value, ExcludedShare(limits.max_left_out_share)),
    ]


@dataclass(frozen=True, slots=True)
class EnvelopeAsExpected:
    """Kind, tenant, surface and segment that the blob must carry, in addition to the window of its day."""

    envelope: Mapping[str, Scalar]

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the blob's envelope with the expected one."""
        return same(facts.envelope, {**self.envelope, **facts.expected_window}, what="the artifact's envelope")


@dataclass(frozen=True, slots=True)
class ArtifactContract:
    """The contract of the kind under the parameters that the artifact was built with."""

    params: Mapping[str, Scalar]

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Return one result for all rules of the contract."""
        return merged(facts.contract, what="the artifact")


@dataclass(frozen=True, slots=True)
class ArtifactNotEmpty:
    """The minimum number of rows.

    If the kind may be empty, an artifact without rows is excluded from the release instead, unless the live release has
    one of this kind.
    """

    min_rows: int
    may_be_empty: str = field(default="", metadata=NO_LIMIT)

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the number of rows with the minimum."""
        if self.may_be_empty and facts.rows == 0 < self.min_rows:
            return self._left_out(is_live=facts.is_live)
        return at_least(facts.rows, self.min_rows, setting="gates.min_rows", what="number of rows")

    def _left_out(self, *, is_live: bool) -> Result:
        """Return an advice, or a refusal if services would lose the live artifact of this kind."""
        reason = {LEFT_OUT: self.may_be_empty}
        if not is_live:
            message = f"it is excluded from the release: it has no rows, as {self.may_be_empty}"
            return Result(Verdict.ADVISED, 0, message, compared=reason)
        message = f"it has no rows, as {self.may_be_empty}, and the live one has rows, which services would lose"
        remedy = ": fix the input, or ship without it by --override {gate} if that is intended"
        return Result(Verdict.REFUSED, 0, message, remedy, compared=reason)


@dataclass(frozen=True, slots=True)
class ArtifactSize:
    """The maximum size of an object, in bytes."""

    max_bytes: int

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the size of the largest object with the limit."""
        return at_most(facts.size, self.max_bytes, setting="max_bytes", what="size in bytes")


@dataclass(frozen=True, slots=True)
class MinDays:
    """The minimum number of days with events in a window of `window_days` days."""

    min_days: int
    window_days: int

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the number of days with events with the minimum."""
        subject = f"number of days with events among the window's {self.window_days}"
        return at_least(facts.days, self.min_days, setting="min_days", what=subject)


@dataclass(frozen=True, slots=True)
class ExcludedShare:
    """The maximum share of sessions or users that a kernel may exclude."""

    max_left_out_share: float

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the share that the build excluded with the limit."""
        subject = "share of sessions or users excluded as over-long or over-active"
        return at_most(facts.left_out_share, self.max_left_out_share, setting="gates.max_left_out_share", what=subject)


@dataclass(frozen=True, slots=True)
class BadCatalogShare:
    """The maximum share of bad rows in the catalog."""

    max_bad_catalog_share: float

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the share of bad rows with the limit. The message has the reasons with their counts."""
        reasons = f" ({facts.bad_catalog_rows}; see quarantine)" if facts.bad_catalog_rows else ""
        subject = f"share of bad rows in the catalog{reasons}"
        setting = "raw.max_bad_catalog_share"
        return at_most(facts.bad_catalog_share, self.max_bad_catalog_share, setting=setting, what=subject)


def _scalars(params: KindParams) -> dict[str, Scalar]:
    """Flatten parameters to scalars. A table (such as weights) becomes one entry per key."""
    flat: dict[str, Scalar] = {}
    for name, value in params.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": inner for key, inner in sorted(value.items())})
        else:
            flat[name] = ", ".join(f'"{item}"' for item in value) if isinstance(value, list) else value
    return flat
