"""What a candidate must be like to serve: `[gates.rehearsal]`, and what single kinds say otherwise."""

from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from recsys_assets.config.drift import Mode
from recsys_assets.config.model import ClosedModel, Share


class RehearsalGate(StrEnum):
    """What is asked of a candidate before it is live."""

    LOADS = "rehearsal_loads"
    SECONDS = "rehearsal_seconds"
    MEMORY = "rehearsal_memory"
    EMPTY = "rehearsal_empty"
    SHORT = "rehearsal_short"


class AnswerLimits(ClosedModel):
    """How often a kind may have no answer, or a short one."""

    max_empty_share: Share = Field(
        default=0.99, description="largest share of the last day's questions that are answered with nothing"
    )
    max_short_share: Share = Field(
        default=1, description="largest share that is answered with something, but fewer items than full_list"
    )


class RehearsalSettings(AnswerLimits):
    """How a candidate is tried before the swap; the limits let every ordinary day pass."""

    mode: Mode = Field(
        default=Mode.ADVISORY, description="off, advisory or required; what no reader can load is always refused"
    )
    questions: int = Field(default=1000, ge=1, le=100_000, description="items asked for, and users")
    full_list: int = Field(default=5, ge=1, description="items that an answer should have")
    max_load_seconds: float = Field(default=60, gt=0, description="longest time that loading may take")
    max_blob_bytes: int = Field(
        default=256_000_000, ge=1, lt=2**32, description="largest blob that readers take: their Limits.blob_bytes"
    )
    max_held_bytes: int = Field(
        default=1_000_000_000, ge=1, description="most memory of one release; while readers switch they hold two"
    )
    kinds: Mapping[str, AnswerLimits] = Field(
        default_factory=dict[str, AnswerLimits], description="[gates.rehearsal.kinds.<kind>] overrides per key"
    )

    @property
    def off(self) -> bool:
        """Whether nothing is tried."""
        return self.mode is Mode.OFF

    def of_kind(self, kind: str) -> AnswerLimits:
        """Return how often one kind may have no answer, its overrides applied."""
        own = self.kinds[kind].model_dump(exclude_unset=True) if kind in self.kinds else {}
        return AnswerLimits(**{"max_empty_share": self.max_empty_share, "max_short_share": self.max_short_share, **own})
