"""Attempts: how often something is tried, and how long is waited before each further try."""

import random
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

Pause: TypeAlias = Callable[[float], object]  # waits for so many seconds


def wait(seconds: float) -> None:
    """Stand still for so many seconds."""
    time.sleep(seconds)


def attempts(
    tries: int, *, first_seconds: float = 0.02, longest_seconds: float = 0.5, pause: Pause = wait
) -> Iterator[int]:
    """Yield the number of each attempt, from 0; whoever is done leaves the loop.

    Before every attempt but the first it waits: `first_seconds`, twice as long each time, never longer than
    `longest_seconds`, and of that a share by chance, at least half, so that two who met once do not meet again.
    """
    for attempt in range(tries):
        if attempt and first_seconds:
            longest = min(longest_seconds, first_seconds * 2 ** (attempt - 1))
            pause(longest * random.uniform(0.5, 1))  # noqa: S311 - apart from other writers, no secret
        yield attempt
