"""The canonical day that was judged last in this process, kept for the kernels that read it next.

A run judges a day and then builds up to four kinds of it: so it is decoded once, not five times. Days are known by
their digest, and equal digests are equal bytes: what is kept never differs from what the store would give.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from recsys_assets.artifacts.kinds import KINDS
from recsys_assets.canonical.events import Events

MAX_BYTES = 256_000_000  # a larger day is read again each time: its memory is needed for the work itself


@dataclass(slots=True)
class RecentDay:
    """At most one day, of at most `max_bytes`, in the columns that kernels read."""

    max_bytes: int = MAX_BYTES
    _kept: tuple[str, Events] | None = None

    def keep(self, digest: str, events: Events) -> None:
        """Keep a day in place of the one before, if it is small enough."""
        read = events.only({column for kind in KINDS.values() for column in kind.event_columns})
        self._kept = (digest, read) if read.size <= self.max_bytes else None

    def find(self, digest: str, columns: Iterable[str]) -> Events | None:
        """Return these columns of the day with this digest, if it is the one that is kept."""
        if self._kept is None or self._kept[0] != digest or not self._kept[1].holds(columns):
            return None
        return self._kept[1].only(columns)

    def forget(self) -> None:
        """Let go of what is kept: its memory is needed for another day."""
        self._kept = None
