"""Convergence: which live consumers serve the release that is live, and which are behind."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from recsys_assets.identity import Target
from recsys_assets.manifest.heartbeats import Heartbeat, is_live, read_heartbeats
from recsys_assets.manifest.journal import Clock
from recsys_assets.storage.store import ObjectStore

_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Convergence:
    """The consumers that were heard of lately: those that serve a release, those that do not, and unreadable ones."""

    release: str | None
    serving: tuple[Heartbeat, ...]
    behind: tuple[Heartbeat, ...]
    faults: tuple[str, ...]

    @property
    def told(self) -> str:
        """How many serve it, and what the others serve."""
        live = len(self.serving) + len(self.behind)
        if not live:
            return "no consumer tells what it serves"
        told = f"{len(self.serving)} of {live} live consumers serve it"
        return f"{told}; behind: {', '.join(map(_straggler, self.behind))}" if self.behind else told


def convergence(store: ObjectStore, target: Target, release: str | None, *, now: datetime) -> Convergence:
    """Return which live consumers of a target serve a release; a store without heartbeats has none."""
    heard = read_heartbeats(store, target)
    live = [beat for beat in heard.beats if is_live(beat, now=now)]
    return Convergence(
        release,
        serving=tuple(beat for beat in live if beat.release == release),
        behind=tuple(beat for beat in live if beat.release != release),
        faults=heard.faults,
    )


def wait_until_converged(
    store: ObjectStore,
    target: Target,
    release: str,
    *,
    seconds: float,
    now: Clock,
    pause: Callable[[float], object],
) -> Convergence:
    """Return the convergence as soon as nobody is behind, or as it is after `seconds`.

    A consumer that falls silent is waited for until its last heartbeat is too old to be believed.
    """
    end = now() + timedelta(seconds=seconds)
    while True:
        found = convergence(store, target, release, now=now())
        left = (end - now()).total_seconds()
        if not found.behind or left <= 0:
            return found
        pause(min(_PAUSE_SECONDS, left))


def _straggler(beat: Heartbeat) -> str:
    served = f"serves {beat.release[:12]}" if beat.release else "serves nothing"
    return f"{beat.consumer} ({served}, {beat.state}, seen at {beat.seen_at})"
