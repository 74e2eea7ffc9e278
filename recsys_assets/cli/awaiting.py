"""Waiting after a rollback until every live consumer serves what it went back to."""

import time
from dataclasses import dataclass

import click

from recsys_assets.cli.acting import Call
from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import clock
from recsys_assets.manifest.convergence import Convergence, wait_until_converged
from recsys_assets.manifest.rollback import RolledBack

_WAIT_SECONDS = 180  # three polls of a consumer that polls once a minute

wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=_WAIT_SECONDS,
    metavar="[SECONDS]",
    help=f"return when every consumer with a heartbeat serves it; exit 1 after so long (default {_WAIT_SECONDS})",
)


@dataclass(frozen=True, slots=True)
class Awaited:
    """A rollback, and who serves what it went back to."""

    rolled_back: RolledBack
    consumers: Convergence

    @property
    def told(self) -> str:
        """What happened, and who serves it."""
        return f"{self.rolled_back.told}; {self.consumers.told}"

    @property
    def exit_code(self) -> int:
        """1 if a live consumer is behind."""
        return EXIT_REFUSED if self.consumers.behind else 0


def await_consumers(call: Call, done: RolledBack, *, seconds: float) -> Awaited:
    """Return when every live consumer serves what a rollback went back to, or after `seconds` with those that do not.

    The rollback stands either way; who is behind follows at its next look at the store, unless it cannot reach it.
    """
    place = call.place
    found = wait_until_converged(place.store, place.target, done.live, seconds=seconds, now=clock, pause=time.sleep)
    return Awaited(done, found)
