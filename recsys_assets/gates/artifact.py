"""Gates of one artifact: envelope, contract, emptiness, size, days in the window, and the share that is excluded."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors
from recsys_assets.evidence import LEFT_OUT, Finding, Scalar, Verdict
from recsys_assets.gates.catalog import CatalogChange
from recsys_assets.gates.drift import NoBaseline
from recsys_assets.gates.drift_distance import Drift
from recsys_assets.gates.gate import NO_LIMIT, Gate, Result, at_least, at_most, merged, same
from recsys_assets.kinds.params import KindParams
from recsys_assets.settings.gates import CountGate, GateSettings
from recsys_assets.settings.target import TargetSettings


@dataclass(frozen=True, slots=True)
class ArtifactFacts:
    """What an artifact is judged by: read from the stored bytes, but for the counts that only the build knows."""

    version: str
    size: int
    rows: int
    envelope: Mapping[str, Scalar]  # tenant, surface, segment, window_start, window_end as the blob holds them
    expected_window: Mapping[str, Scalar]  # window_start, window_end that the day asks for
    days: int  # days of the window that had a canonical day
    left_out_share: float
    bad_catalog_share: float
    bad_catalog_rows: str  # how many bad rows for which reason, as people read it
    contract: tuple[Finding, ...]
    drift: Drift | NoBaseline = field(default_factory=NoBaseline)  # from the live release
    catalog: CatalogChange | None = None  # from the live one; None for kinds that are not made of the catalog
    is_live: bool = False  # whether services are served an artifact of this kind; looked up for one without rows
    content: Rows | Vectors | None = None  # the rows themselves, for gates that look at each

    def frame(self) -> pl.DataFrame:
        """Return the rows as people see them: ids as strings, one row per member."""
        return pl.DataFrame() if self.content is None else self.content.frame()


def artifact_gates(
    limits: GateSettings, row: TargetSettings, kind: str, params: KindParams, *, may_be_empty: str = ""
) -> list[Gate[ArtifactFacts]]:
    """Return the gates of an artifact but those of drift, in the order of its report.

    `may_be_empty` is why an artifact of the kind may be without rows; without a reason it is refused.
    """
    envelope = {"kind": kind, "tenant": row.tenant, "surface": row.surface, "segment": row.segment}
    return [
        Gate("envelope", EnvelopeAsExpected(envelope)),
        Gate("contract", ArtifactContract(_scalars(params))),
        Gate(CountGate.NOT_EMPTY.value, ArtifactNotEmpty(limits.min_rows, may_be_empty)),
        Gate("size", ArtifactSize(params.max_bytes)),
        Gate(CountGate.DAYS.value, Days(params.min_days, params.window_days)),
        Gate(CountGate.LEFT_OUT_SHARE.value, ExcludedShare(limits.max_left_out_share)),
    ]


@dataclass(frozen=True, slots=True)
class EnvelopeAsExpected:
    """Kind, tenant, surface and segment that the blob must name, beside the window of its day."""

    envelope: Mapping[str, Scalar]

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare what the blob says of itself with what was asked for."""
        return same(facts.envelope, {**self.envelope, **facts.expected_window}, what="the artifact's envelope")


@dataclass(frozen=True, slots=True)
class ArtifactContract:
    """The contract of the kind under the parameters that it was built with."""

    params: Mapping[str, Scalar]

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Return one result for all rules of the contract."""
        return merged(facts.contract, what="the artifact")


@dataclass(frozen=True, slots=True)
class ArtifactNotEmpty:
    """The fewest rows; an artifact without any, of a kind that may be so, is left out unless services have it."""

    min_rows: int
    may_be_empty: str = field(default="", metadata=NO_LIMIT)

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the number of rows with the fewest allowed."""
        if self.may_be_empty and facts.rows == 0 < self.min_rows:
            return self._left_out(is_live=facts.is_live)
        return at_least(facts.rows, self.min_rows, setting="gates.min_rows", what="number of rows")

    def _left_out(self, *, is_live: bool) -> Result:
        """Return advice to look; a refusal where leaving it out would take from services what they have."""
        why = {LEFT_OUT: self.may_be_empty}
        if not is_live:
            message = f"it is left out of the release: it has no rows, as {self.may_be_empty}"
            return Result(Verdict.ADVISED, 0, message, compared=why)
        message = f"it has no rows, as {self.may_be_empty}, and one with rows is live, which services would lose"
        remedy = ": fix the input, or ship without it by --override {gate} if that is meant"
        return Result(Verdict.REFUSED, 0, message, remedy, compared=why)


@dataclass(frozen=True, slots=True)
class ArtifactSize:
    """The largest object, in bytes."""

    max_bytes: int

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the size of the largest object with the limit."""
        return at_most(facts.size, self.max_bytes, setting="max_bytes", what="size in bytes")


@dataclass(frozen=True, slots=True)
class Days:
    """The fewest days with events in a window of so many."""

    min_days: int
    window_days: int

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the number of days with events with the fewest allowed."""
        what = f"number of days with events among the window's {self.window_days}"
        return at_least(facts.days, self.min_days, setting="min_days", what=what)


@dataclass(frozen=True, slots=True)
class ExcludedShare:
    """The largest share of sessions or users that a kernel may exclude."""

    max_left_out_share: float

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the share that the build excluded with the limit."""
        what = "share of sessions or users excluded as over-long or over-active"
        return at_most(facts.left_out_share, self.max_left_out_share, setting="gates.max_left_out_share", what=what)


@dataclass(frozen=True, slots=True)
class BadCatalogShare:
    """The largest share of bad rows in the catalog."""

    max_bad_catalog_share: float

    def __call__(self, facts: ArtifactFacts) -> Result:
        """Compare the share of bad rows, and name the reasons with their counts."""
        reasons = f" ({facts.bad_catalog_rows}; see quarantine)" if facts.bad_catalog_rows else ""
        what = f"share of bad rows in the catalog{reasons}"
        setting = "raw.max_bad_catalog_share"
        return at_most(facts.bad_catalog_share, self.max_bad_catalog_share, setting=setting, what=what)


def _scalars(params: KindParams) -> dict[str, Scalar]:
    """Flatten parameters to scalars; a table (such as weights) becomes one entry per key."""
    flat: dict[str, Scalar] = {}
    for name, value in params.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": inner for key, inner in sorted(value.items())})
        else:
            flat[name] = ", ".join(f'"{one}"' for one in value) if isinstance(value, list) else value
    return flat
