"""Attempts: how often something is tried, and how long is waited before each further try."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import TypeAlias, TypeVar

from recsys_assets.errors import ConflictError, OutcomeUnknownError

Written = TypeVar("Written")
Pause: TypeAlias = Callable[[float], object]  # waits for so many seconds
_MOST_DOUBLINGS = 60


def wait(seconds: float) -> None:
    """Stand still for so many seconds."""
    time.sleep(seconds)


def attempts(
    tries: int | None, *, first_seconds: float = 0.02, longest_seconds: float = 0.5, pause: Pause = wait
) -> Iterator[int]:
    """Yield the number of each attempt, from 0, without end where `tries` is None; whoever is done leaves the loop.

    Before every attempt but the first it waits: `first_seconds`, twice as long each time, never longer than
    `longest_seconds`, and of that a share by chance, at least half, so that two who met once do not meet again.
    """
    for attempt in count() if tries is None else range(tries):
        if attempt and first_seconds:
            longest = min(longest_seconds, first_seconds * 2 ** min(attempt - 1, _MOST_DOUBLINGS))
            pause(longest * random.uniform(0.5, 1))  # noqa: S311 - apart from other writers, no secret
        yield attempt


def retry_conflicts(
    once: Callable[[], Written],
    *,
    name: str,
    tries: int,
    pause: Pause = wait,
    lost: tuple[type[Exception], ...] = (ConflictError, OutcomeUnknownError),
) -> Written:
    """Return what `once` returns, which reads and writes over what it read; again after a write that is `lost`.

    Another writer came first, or nobody knows who did: the next look shows what is there now. Raises `ConflictError`
    naming what is written once that many writes are lost.
    """
    for _ in attempts(tries, pause=pause):
        with suppress(*lost):
            return once()
    raise ConflictError(f"{name}: {tries} writes in a row met another writer: try again")
