"""The same work for several things at once, where each waits for a store most of the time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

AT_ONCE: Final = 10  # as many as boto3 keeps connections

Item = TypeVar("Item")
Result = TypeVar("Result")


def fan_out(work: Callable[[Item], Result], items: Sequence[Item]) -> tuple[Result, ...]:
    """Return what `work` makes of each item, in their order; what it raises for the first that fails is raised."""
    if len(items) < 2:  # noqa: PLR2004 - nothing to do beside it
        return tuple(map(work, items))
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(items)), thread_name_prefix="fan-out") as pool:
        return tuple(pool.map(work, items))
