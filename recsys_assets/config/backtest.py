"""How a candidate is scored on events that it has not seen: `[gates.backtest]`."""

from pydantic import Field

from recsys_assets.config.drift import Mode
from recsys_assets.config.model import ClosedModel


class BacktestSettings(ClosedModel):
    """What is asked of a candidate, compared with the live release on the same held-out events.

    Off unless asked for: without a next day every kind is built a second time from the day's first part, and a
    target needs some hundred sessions a day before the answer means anything.
    """

    mode: Mode = Field(default=Mode.OFF, description="off, advisory or required: for all that recommends")
    required: frozenset[str] = Field(
        default=frozenset(), description='kinds, or "blend", that are required whatever `mode` says'
    )
    off: frozenset[str] = Field(default=frozenset(), description="kinds that are off, whatever else is said")
    inconclusive: Mode = Field(
        default=Mode.ADVISORY, description="what becomes of too few samples, or a difference that is not sure"
    )
    k: int = Field(default=20, ge=1, le=1000, description="length of the lists that are scored")
    delta: float = Field(default=0.2, ge=0, le=1, description="allowed loss, as a share of live's nDCG")
    min_samples: int = Field(default=200, ge=1, description="fewest sessions to say anything from")
    max_samples: int = Field(default=5000, ge=1, le=1_000_000, description="most sessions asked, chosen by the seed")
    rounds: int = Field(default=1000, ge=100, le=100_000, description="rounds of the paired bootstrap")
    level: float = Field(
        default=0.99, gt=0.5, lt=1, description="of the bootstrap's interval; five gates a night are asked"
    )
    seed: int = Field(default=1, ge=0, description="of the choice of sessions, their cuts, and the bootstrap")
    held_out_share: float = Field(
        default=0.2, gt=0, lt=1, description="share of the last day that is held out, by time, without a next day"
    )
    max_seconds: float = Field(default=300, gt=0, description="longest time; past it the back-test has failed")

    def mode_of(self, name: str) -> Mode:
        """Return what becomes of one recommender that is worse."""
        if name in self.off:
            return Mode.OFF
        return Mode.REQUIRED if name in self.required else self.mode
