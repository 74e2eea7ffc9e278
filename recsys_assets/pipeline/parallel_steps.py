"""Parallel builds of a day's kinds, which do not depend on one another.

Threads gain because compiled code, hashing and Polars release the GIL. Results are consumed in the order of the steps,
so printed lines, journals and documents are the same as in a sequential run.
"""

import ctypes
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.events.events import give_back_memory
from recsys_assets.identity import Window
from recsys_assets.kinds.registry import KINDS, is_own, read_params, table_of
from recsys_assets.pipeline.build import NATIVE
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.steps import BuiltStep, JudgedStep, Step
from recsys_assets.pipeline.stopping import is_stopping
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, find_readable
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.run_cache import RunCache, prefetch

THREADS: Final = 2
MAX_EVENTS: Final = 3_000_000  # In the longest window. Two kinds of a larger one would need too much memory at once.

Results: TypeAlias = list[BuiltStep | JudgedStep]


class ParallelSteps:
    """Builds that were started ahead of their turn, by the name of the step."""

    def __init__(self, started: Mapping[str, "Future[Results | None]"] | None = None) -> None:
        self._started = dict(started or {})

    def should_run(self, step: Step) -> bool:
        """Return whether a step runs: its build was started, or may start because the process is not stopping."""
        started = self._started.get(step.name)
        if started is None:
            return not is_stopping()
        if is_stopping() and started.cancel():
            return False
        return started.exception() is not None or started.result() is not None

    def results_of(self, step: Step, context: DayContext) -> Iterator[BuiltStep | JudgedStep]:
        """Yield the results of a step's build, and raise its errors.

        The first call uses the build that was started ahead, if there is one. Later calls, which are retries, build.
        """
        started = self._started.pop(step.name, None)
        yield from step.build(context) if started is None else started.result() or ()

    def wait(self) -> None:
        """Wait until no build is running: the next one reads the store with a cache of its own."""
        wait(self._started.values())


@contextmanager
def started_in_parallel(context: DayContext, steps: Sequence[Step]) -> Generator[ParallelSteps]:
    """Start the builds of these steps, which must not depend on one another.

    Starts no build where a sequential run is better or required. Builds that have not started when the block ends, or
    when the process is asked to stop, do not start at all.
    """
    if len(steps) < THREADS or is_stopping() or not _allows_parallel_builds(context):
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


def is_thread_safe(settings: Settings, row: TargetSettings) -> bool:
    """Return whether the kinds of a target may be built and judged in threads.

    They may if all are native kinds of this package and no custom gate is configured. An engine has threads and limits
    of its own, and another package's kind or a custom gate may be written for one thread.
    """
    kinds = settings.artifacts.kinds
    if settings.gates.custom or "custom" in row.gates or not all(map(is_own, kinds)):
        return False
    default = row.engine or settings.artifacts.engine
    return all((table_of(settings, row, kind).get("engine") or default) == NATIVE for kind in kinds)


def _allows_parallel_builds(context: DayContext) -> bool:
    """Return whether the kinds of a day may be built in parallel: in threads, and the longest window is small."""
    settings, row, store = context.settings, context.row, context.store
    if not isinstance(store, RunCache) or not is_thread_safe(settings, row):
        return False
    kinds = [kind for kind in settings.artifacts.kinds if not KINDS[kind].from_catalog]
    windows = [read_params(settings, row, kind).window_days for kind in kinds]
    longest = max(windows, default=0)
    days = Window.ending(context.day, days=longest).days if longest else ()
    keys = [canonical_record_key(row.target, day) for day in days]
    with suppress(StoreUnavailableError):  # the build makes the same requests and reports the error
        prefetch(store, keys, max_bytes=MAX_DOCUMENT_BYTES)
        records = [find_readable(store, key, CanonicalRecord) for key in keys]
        return sum(record.rows for record in records if record is not None) <= MAX_EVENTS
    return False


def _give_back_freed_memory() -> None:
    """Return freed memory to the system: glibc would keep about 100 MB for a million events."""
    give_back_memory()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
