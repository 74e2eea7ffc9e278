"""Retries: number of attempts, and pauses with exponential backoff."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import TypeAlias, TypeVar

from recsys_assets.errors import ConflictError, OutcomeUnknownError

Written = TypeVar("Written")
Pause: TypeAlias = Callable[[float], object]  # waits for a number of seconds
_MOST_DOUBLINGS = 60


def wait(seconds: float) -> None:
    """Sleep for a number of seconds."""
    time.sleep(seconds)


def attempts(
    tries: int | None, *, first_seconds: float = 0.02, longest_seconds: float = 0.5, pause: Pause = wait
) -> Iterator[int]:
    """Yield the number of each attempt, from 0, without end if `tries` is None. The caller leaves the loop on success.

    Pauses before every attempt except the first: `first_seconds`, doubled each time up to `longest_seconds`, and
    multiplied by a random factor from 0.5 to 1, so that colliding writers separate.
    """
    for attempt in count() if tries is None else range(tries):
        if attempt and first_seconds:
            longest = min(longest_seconds, first_seconds * 2 ** min(attempt - 1, _MOST_DOUBLINGS))
            pause(longest * random.uniform(0.5, 1))  # noqa: S311 - jitter, not a secret
        yield attempt


def retry_conflicts(
    once: Callable[[], Written],
    *,
    name: str,
    tries: int,
    pause: Pause = wait,
    lost: tuple[type[Exception], ...] = (ConflictError, OutcomeUnknownError),
) -> Written:
    """Return the result of `once`, a read followed by a conditional write. Repeats it after an error in `lost`.

    These errors mean that another writer was first, or that the outcome is unknown, which the next read shows. Raises
    `ConflictError` with `name` after `tries` lost writes.
    """
    for _ in attempts(tries, pause=pause):
        with suppress(*lost):
            return once()
    raise ConflictError(f"{name}: lost {tries} writes in a row to other writers: retry")
