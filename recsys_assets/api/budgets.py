"""Budgets of threads by class of request: slow questions wait for their own kind and never for health."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from recsys_assets.errors import StoreUnavailableError

Result = TypeVar("Result")


class RequestClass(StrEnum):
    """How much one request may cost."""

    HEALTH = "health"  # answered whatever else runs
    LIGHT = "light"  # documents, lists
    HEAVY = "heavy"  # reads and compares whole artifacts


THREADS: Final = {RequestClass.HEALTH: 4, RequestClass.LIGHT: 24, RequestClass.HEAVY: 8}
_PATIENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Budgets:
    """A pool of threads for each class; a request that finds none free in time is asked to come back."""

    patience_seconds: float = _PATIENCE_SECONDS
    _limiters: dict[RequestClass, CapacityLimiter] = field(
        default_factory=lambda: {one: CapacityLimiter(threads) for one, threads in THREADS.items()}
    )

    async def run(self, chosen: RequestClass, call: Callable[[], Result]) -> Result:
        """Return the result of a blocking call, run in a thread of its class.

        Raises `StoreUnavailableError` if no thread of the class came free within `patience_seconds`.
        """
        limiter, borrower = self._limiters[chosen], object()
        try:
            with anyio.fail_after(self.patience_seconds):
                await limiter.acquire_on_behalf_of(borrower)
        except TimeoutError:
            raise StoreUnavailableError(f"too many {chosen.value} requests at this moment: try again") from None
        try:
            return await to_thread.run_sync(call, limiter=CapacityLimiter(1))
        finally:
            limiter.release_on_behalf_of(borrower)
