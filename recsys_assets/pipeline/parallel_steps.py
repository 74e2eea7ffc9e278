"""Steps of a day begun side by side: kinds do not depend on one another, and compiled code, hashes and Polars run free.

The results are taken in the order of the steps, so that lines, journals and documents are the same as one by one.
"""

import ctypes
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.events.events import give_back_memory
from recsys_assets.identity import Window
from recsys_assets.kinds.registry import KINDS, is_own, read_params
from recsys_assets.pipeline.build import NATIVE, engine_of
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.steps import BuiltStep, JudgedStep, Step
from recsys_assets.pipeline.stopping import is_stopping
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, find_readable
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key
from recsys_assets.storage.run_cache import RunCache, prefetch

THREADS: Final = 2
MAX_EVENTS: Final = 3_000_000  # of the longest window: what two kinds of larger ones hold at once is too much

Results: TypeAlias = list[BuiltStep | JudgedStep]


class ParallelSteps:
    """Builds that were begun ahead of their turn, by the name of the step."""

    def __init__(self, begun: Mapping[str, "Future[Results | None]"] | None = None) -> None:
        self._begun = dict(begun or {})

    def is_due(self, step: Step) -> bool:
        """Return whether a step is to be done: it was begun, or may be, as the process is not to stop."""
        found = self._begun.get(step.name)
        if found is None:
            return not is_stopping()
        if is_stopping() and found.cancel():
            return False
        return found.exception() is not None or found.result() is not None

    def take(self, step: Step, context: DayContext) -> Iterator[BuiltStep | JudgedStep]:
        """Yield the results of a step's build, those that it was begun for at the first call; raises what it raises."""
        begun = self._begun.pop(step.name, None)
        yield from step.build(context) if begun is None else begun.result() or ()

    def wait(self) -> None:
        """Return when none is under way any more: what is built next reads the store in its own way."""
        wait(self._begun.values())


@contextmanager
def started_in_parallel(context: DayContext, steps: Sequence[Step]) -> Generator[ParallelSteps]:
    """Begin the builds of these steps, which must not depend on one another; none where one after another is better.

    What has not begun when the block ends, or when the process is to stop, is not begun any more.
    """
    if len(steps) < THREADS or is_stopping() or not _may_be(context):
        yield ParallelSteps()
        return

    def build(step: Step) -> Results | None:
        return None if is_stopping() else list(step.build(context))

    _give_back_freed_memory()
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="kind")
    try:
        yield ParallelSteps({step.name: pool.submit(build, step) for step in steps})
    finally:
        pool.shutdown(cancel_futures=True)


def _may_be(context: DayContext) -> bool:
    """Return whether kinds of a day may be built side by side: natively, judged by this package, and in little memory.

    An engine has its own threads and limits; a team's gates may be written for one thread.
    """
    settings, row, store = context.settings, context.row, context.store
    kinds = settings.artifacts.kinds
    params = {kind: read_params(settings, row, kind) for kind in kinds}
    if not isinstance(store, RunCache) or settings.gates.custom or not all(map(is_own, kinds)):
        return False
    if any(engine_of(settings, row, one) != NATIVE for one in params.values()):
        return False
    longest = max((one.window_days for kind, one in params.items() if not KINDS[kind].from_catalog), default=0)
    days = Window.ending(context.day, days=longest).days if longest else ()
    keys = [canonical_record_key(row.target, day) for day in days]
    with suppress(StoreUnavailableError):  # whose build asks for the same says so
        prefetch(store, keys, max_bytes=MAX_DOCUMENT_BYTES)
        records = [find_readable(store, key, CanonicalRecord) for key in keys]
        return sum(record.rows for record in records if record is not None) <= MAX_EVENTS
    return False


def _give_back_freed_memory() -> None:
    """Let the system have what building the day took: a hundred MB at a million events, which glibc would keep."""
    give_back_memory()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
