"""Which targets a sensor looks at in one tick: so many in turn, since a tick must end within a minute."""

from collections.abc import Sequence

from recsys_assets.settings.target import TargetSettings

TARGETS_A_TICK = 100


def in_turn(rows: Sequence[TargetSettings], *, start: int) -> tuple[list[TargetSettings], int]:
    """Return the targets of this tick, beginning with the one numbered `start`, and where the next tick begins."""
    chosen = [rows[(start + n) % len(rows)] for n in range(min(TARGETS_A_TICK, len(rows)))]
    return chosen, (start + len(chosen)) % len(rows)
