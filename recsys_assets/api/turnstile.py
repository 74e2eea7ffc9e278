"""How many requests may do heavy work at once; the others wait a little, then are told to come back."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from recsys_assets.errors import StoreUnavailableError

AT_ONCE = 2
PATIENCE_SECONDS = 10.0


def _slots() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Turnstile:
    """A bound on threads and memory: work that reads whole artifacts passes here."""

    patience_seconds: float = PATIENCE_SECONDS
    free: threading.BoundedSemaphore = field(default_factory=_slots)

    @contextmanager
    def pass_through(self) -> Generator[None]:
        """Hold one of the places for a block; `StoreUnavailableError` if none came free in time."""
        if not self.free.acquire(timeout=self.patience_seconds):
            raise StoreUnavailableError("too many requests read whole artifacts at this moment: try again")
        try:
            yield
        finally:
            self.free.release()
