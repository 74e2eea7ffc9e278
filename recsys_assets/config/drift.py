"""How far an artifact may drift from the live release: `[gates.drift]`, and what single kinds say otherwise."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from recsys_assets.config.model import ClosedModel, Share


class Mode(StrEnum):
    """What becomes of a number over its limit: nothing, a note, or a refusal."""

    OFF = "off"
    ADVISORY = "advisory"
    REQUIRED = "required"


class DriftGate(StrEnum):
    """The numbers that are held against the live release."""

    ROWS = "drift_rows"
    ITEMS = "drift_items"
    OVERLAP = "drift_overlap"
    RANK = "drift_rank"
    CHURN = "drift_churn"
    COVERAGE = "drift_coverage"
    GINI = "drift_gini"
    UNKNOWN = "drift_unknown"


class DriftLimits(ClosedModel):
    """Limits that an ordinary day keeps, and which of them are required."""

    mode: Mode = Field(default=Mode.ADVISORY, description="off, advisory or required: for all numbers")
    required: frozenset[DriftGate] = Field(
        default=frozenset(), description="numbers that are required, whatever `mode` says"
    )
    off: frozenset[DriftGate] = Field(default=frozenset(), description="numbers that are off, whatever else is said")
    max_rows_factor: float = Field(default=5, ge=1, description="how many times more or fewer rows than live")
    max_items_factor: float = Field(
        default=5, ge=1, description="how many times more or fewer distinct items than live"
    )
    top_items: int = Field(default=100, ge=1, description="how many of the strongest items are compared")
    min_overlap: Share = Field(default=0.05, description="least share of live's strongest items among the new ones")
    min_rank_correlation: float = Field(
        default=-0.5, ge=-1, le=1, description="least rank correlation of the items that both have"
    )
    max_churn: Share = Field(default=1, description="largest share of changed members in the lists that both have")
    min_coverage_ratio: Share = Field(default=0.2, description="least coverage of the catalog, as a share of live's")
    max_gini_rise: Share = Field(default=0.5, description="how much the Gini coefficient may rise over live's")
    max_unknown_share: Share = Field(default=0.9, description="largest share of items that the catalog does not know")

    def mode_of(self, gate: DriftGate) -> Mode:
        """Return what becomes of one number."""
        if gate in self.off:
            return Mode.OFF
        return Mode.REQUIRED if gate in self.required else self.mode


class DriftSettings(DriftLimits):
    """The limits of all kinds, and, by kind, the keys that are otherwise for it."""

    kinds: Mapping[str, DriftLimits] = Field(
        default_factory=dict[str, DriftLimits], description="[gates.drift.kinds.<kind>] overrides per key"
    )

    def of_kind(self, kind: str) -> DriftLimits:
        """Return the limits of one kind, its overrides applied."""
        own = self.kinds[kind].model_dump(exclude_unset=True) if kind in self.kinds else {}
        return DriftLimits.model_validate({**self.model_dump(exclude={"kinds"}), **own})
