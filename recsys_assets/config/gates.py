"""What a day is held against: `[gates]`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from recsys_assets.config.backtest import BacktestSettings
from recsys_assets.config.drift import DriftSettings, Mode
from recsys_assets.config.model import ClosedModel, Share
from recsys_assets.config.modes import BACKTEST_GATE, check_modes
from recsys_assets.config.rehearsal import RehearsalSettings


class GateSettings(ClosedModel):
    """The limits that the gates hold a day against."""

    min_events: int = Field(default=1, ge=0, description="fewest events of a target and day")
    min_rows: int = Field(default=1, ge=0, description="fewest rows of an artifact; 0 lets an empty one ship")
    max_left_out_share: Share = Field(
        default=0.1, description="largest share of sessions left out as over-long, or of users as over-active"
    )
    max_duplicate_share: Share = Field(default=0.5, description="largest share of rows dropped as exact duplicates")
    drift: DriftSettings = Field(default=DriftSettings(), description="how far artifacts may lie from the live ones")
    rehearsal: RehearsalSettings = Field(
        default=RehearsalSettings(), description="how a candidate is tried by the reader before it is live"
    )
    backtest: BacktestSettings = Field(
        default=BacktestSettings(), description="how a candidate is scored on events that it has not seen"
    )
    modes: Annotated[dict[str, Mode], AfterValidator(check_modes)] = Field(
        default_factory=dict[str, Mode],
        description="off, advisory or required by gate, whatever else is said; gates of integrity are always required",
    )

    @property
    def named_kinds(self) -> dict[str, str]:
        """The kinds that single settings are for, by the name of the setting."""
        kinds = {f"drift.kinds.{kind}": kind for kind in self.drift.kinds}
        kinds |= {f"rehearsal.kinds.{kind}": kind for kind in self.rehearsal.kinds}
        kinds |= {f"backtest.required {kind}": kind for kind in self.backtest.required}
        kinds |= {f"backtest.off {kind}": kind for kind in self.backtest.off}
        asked = (name for name in self.modes if name.startswith(BACKTEST_GATE))
        return kinds | {f"modes.{name}": name.removeprefix(BACKTEST_GATE) for name in asked}
