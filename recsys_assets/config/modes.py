"""What becomes of each gate's refusal: `[gates.modes]`, for every gate that judges quality and not integrity."""

import re
from enum import StrEnum

from recsys_assets.config.drift import DriftGate, Mode
from recsys_assets.config.rehearsal import RehearsalGate


class CountGate(StrEnum):
    """The gates that hold a day's counts against limits; required unless told otherwise."""

    VOLUME = "volume"
    BAD_SHARE = "bad_share"
    DUPLICATE_SHARE = "duplicate_share"
    NOT_EMPTY = "not_empty"
    DAYS = "days"
    LEFT_OUT_SHARE = "left_out_share"


QUALITY_GATES = (
    *(gate.value for gate in CountGate),
    *(gate.value for gate in DriftGate),
    *(gate.value for gate in RehearsalGate if gate is not RehearsalGate.LOADS),
)
BACKTEST_GATE = "backtest_"  # before the name of a kind, or the blend
_BACKTEST = re.compile(rf"{BACKTEST_GATE}\S+")


def is_quality_gate(name: str) -> bool:
    """Tell whether a gate may be advisory or off, and be overridden; what proves bytes may be neither."""
    return name in QUALITY_GATES or _BACKTEST.fullmatch(name) is not None


def check_modes(modes: dict[str, Mode]) -> dict[str, Mode]:
    """Return the modes if each is of a quality gate; `ValueError` names the first that is not, and those that are."""
    for name in modes:
        if not is_quality_gate(name):
            raise ValueError(
                f"{name} is no gate that may be anything but required: contract, envelope, size, rehearsal_loads and "
                f"the proof of hashes always count; known are {', '.join(QUALITY_GATES)}, backtest_<kind>"
            )
    return modes
