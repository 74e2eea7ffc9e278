"""Execution of a day's steps for some targets in this process, with a line for each asset: `run` without Dagster."""

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import TypeAlias
from uuid import uuid4

import msgspec
from msgspec.structs import replace

from recsys_assets.errors import NoInputError
from recsys_assets.evidence import CANONICAL, LEFT_OUT
from recsys_assets.identity import Target, is_version
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.artifact import withdraw_forgotten
from recsys_assets.pipeline.candidate_gates import judge_whole
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.parallel_steps import ParallelSteps, is_thread_safe, started_in_parallel
from recsys_assets.pipeline.parallel_targets import run_in_order
from recsys_assets.pipeline.raw import RawDay, build_raw
from recsys_assets.pipeline.steps import (
    GATES,
    MANIFEST,
    RAW,
    RETRIES,
    RETRY_SECONDS,
    RETRYABLE_ERRORS,
    BuiltStep,
    JudgedStep,
    Step,
    actor_of,
    describe_error,
    journal_error,
    journal_refusals,
    judge_step,
    target_steps,
)
from recsys_assets.pipeline.stopping import is_stopping
from recsys_assets.release.forgotten_users import ForgottenUsers, read_forgotten_of
from recsys_assets.retry import Pause, wait
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.run_cache import RunCache
from recsys_assets.storage.store import ObjectStore, is_remote

Watch: TypeAlias = Callable[[str, BuiltStep | JudgedStep], None]  # called with the asset and each of its results
# Yields lines, and returns True if everything was done and passed.
Lines: TypeAlias = "Generator[AssetLine, None, bool]"

_LOGGER = logging.getLogger(__name__)
_SHOWN = ("rows", "events", "out_of_window", "skipped", "version", "outcome", "release", LEFT_OUT)
_DIGITS = 8
_FEW_EVENTS = 100_000  # total of targets that may run at once, however small the largest target is
_TARGETS_AT_ONCE = 8  # more gain little: the processor becomes the bottleneck
_STYLES = {"ok": "", "skipped": "yellow", "unsure": "yellow", "failed": "bold red"}


class AssetLine(msgspec.Struct, frozen=True):
    """Line about one asset on one day: its result, or the reason why there is none."""

    day: date
    asset: str
    state: str  # ok | skipped | unsure (a required gate could not decide) | failed
    message: str

    @property
    def text(self) -> str:
        """The line as it is printed. Most lines fit into 80 columns."""
        return f"{self.day} {self.asset:<24} {self.state:<7} {self.message}"

    @property
    def style(self) -> str:
        """Style of the line in a terminal."""
        return _STYLES[self.state]

    @property
    def failed(self) -> bool:
        """Whether the step failed or was refused."""
        return self.state == "failed"


def built_line(day: date, asset: str, numbers: Mapping[str, object]) -> AssetLine:
    """Return the line of an asset that was built, with its most important numbers."""
    shown = {key: numbers[key] for key in _SHOWN if numbers.get(key) is not None}
    return AssetLine(day, asset, "ok", " ".join(f"{key}={_short(value)}" for key, value in shown.items()))


def _short(value: object) -> object:
    """Return the first digits of a hash, enough to identify a release. `log --json` shows it in full."""
    return value[:_DIGITS] if isinstance(value, str) and is_version(value) else value


def run_day(
    store: ObjectStore,
    settings: Settings,
    rows: Sequence[TargetSettings],
    day: date,
    *,
    pause: Pause = wait,
    watch: Watch | None = None,
) -> Iterator[AssetLine]:
    """Build, judge and ship a day of these targets, and yield a line for each asset.

    A failed step stops only the steps that depend on it: other kinds are built, other targets ship. With several
    targets, nothing is built if the day's files could not be read. Transient errors are retried after a `pause`. When
    the process is asked to stop, the run ends after the current step. `watch` is called with each result.

    In a remote store, several targets run concurrently (`pipeline.parallel_targets`), each step by step. Their lines
    are still yielded in the order of the targets.
    """
    reads = RunCache(store)
    first = DayContext(reads, settings, rows[0], day, run_id=str(uuid4()))
    reading = _RawReading(_Run(first, pause, watch), [row.target for row in rows])
    yield from reading.lines()
    if reading.raw is None and len(rows) > 1:
        return

    def build_target(row: TargetSettings) -> Iterator[AssetLine]:
        if is_stopping():
            return
        context = reading.run.context  # With one target, raw is part of its run.
        if len(rows) > 1:
            context = replace(context, store=reads.of_next_target(), row=row, run_id=str(uuid4()))
        context = replace(context, forgotten=_forgotten(reading.raw, row.target), is_whole_run=True)
        yield from _target_lines(_Run(context, pause, watch), read=reading.raw is not None)

    at_once = _TARGETS_AT_ONCE if watch is None and _may_overlap(store, settings, rows) else 1
    tasks, sizes = [partial(build_target, row) for row in rows], _sizes(reading.raw, rows)
    yield from run_in_order(tasks, sizes, at_once=at_once, small=_FEW_EVENTS)


def _may_overlap(store: ObjectStore, settings: Settings, rows: Sequence[TargetSettings]) -> bool:
    """Return whether targets gain from running concurrently, and may: a local folder has no latency to hide."""
    return is_remote(store) and all(is_thread_safe(settings, row) for row in rows)


def _sizes(raw: RawDay | None, rows: Sequence[TargetSettings]) -> list[int]:
    """Return the number of events of each target on the day. Its memory grows with them."""
    events = {} if raw is None else {(share.tenant, share.surface): share.events for share in raw.record.targets}
    return [events.get((row.tenant, row.surface), 0) for row in rows]


def _target_lines(run: "_Run", *, read: bool) -> Iterator[AssetLine]:
    """Build every artifact, rebuild those that were built while a user was forgotten, then ship."""
    stopped = set[str]() if read else {RAW}
    settings = run.context.settings
    steps = target_steps(settings, run.context.row)
    first = next(number for number, step in enumerate(steps) if step.name == MANIFEST)
    yield from _steps(run, steps[:1], stopped)
    kinds = [] if stopped & {RAW, CANONICAL} else [step for step in steps if step.name in settings.artifacts.kinds]
    with started_in_parallel(run.context, kinds) as run.started:
        yield from _steps(run, steps[1:first], stopped)
    if not (yield from run.stage(judged=not stopped & steps[first].after)):
        return
    if not stopped & {RAW, CANONICAL}:
        if not (yield from run.withdraw()):
            return
        stopped.difference_update(run.withdrawn)
        yield from _steps(run, [step for step in steps[:first] if step.name in run.withdrawn], stopped)
    yield from _steps(run, steps[first:], stopped)


def _steps(run: "_Run", steps: Sequence[Step], stopped: set[str]) -> Iterator[AssetLine]:
    """Execute steps in order. Adds to `stopped` those that are skipped, that fail, or whose results a gate refused."""
    for step in steps:
        if stopped & step.after:
            stopped.add(step.name)
        elif step.is_follow_up or run.started.should_run(step):
            if not (yield from run.step(step)):
                stopped.add(step.name)
        else:
            return


def _forgotten(raw: RawDay | None, target: Target) -> ForgottenUsers | None:
    """Return the forgotten users of a target as raw read them, or None if they must be read again."""
    if raw is None or raw.forgotten is None:
        return None
    forgotten = raw.forgotten.get((target.tenant, target.surface), ForgottenUsers())
    return forgotten if forgotten.fault is None else None


@dataclass(slots=True)
class _Run:
    """One run of one target. A retry reads everything again, because another writer may have caused the error."""

    context: DayContext
    pause: Pause
    watch: Watch | None = None
    withdrawn: Collection[str] = ()  # kinds that were built while a user was forgotten
    started: ParallelSteps = field(default_factory=ParallelSteps)  # kinds whose builds were started ahead

    def stage(self, *, judged: bool) -> Lines:
        """Write everything that the run staged, in one document. With `judged`, it is first judged as a whole."""

        def work(context: DayContext) -> Iterator[JudgedStep]:
            for report in judge_whole(context) if judged else ():
                yield JudgedStep(report.subject, report)
            if isinstance(context.store, RunCache):
                context.store.flush()

        asset = "/".join((*self.context.row.slug_parts, MANIFEST))
        return (yield from self.attempt(asset, "staging", [self.context.target], work))

    def withdraw(self) -> Lines:
        """Withdraw the kinds that were built while a user was forgotten, by one check for all. They are rebuilt."""
        context = self.context
        kinds = [kind for kind in context.settings.artifacts.kinds if not KINDS[kind].from_catalog]

        def work(context: DayContext) -> Iterator[BuiltStep]:
            forgotten = read_forgotten_of(context.origin, context.target)
            self.withdrawn = withdraw_forgotten(context, kinds, forgotten)
            self.context = replace(context, forgotten=forgotten, is_whole_run=not self.withdrawn)
            yield from ()

        asset = "/".join((*context.row.slug_parts, MANIFEST))
        return (yield from self.attempt(asset, "withdrawal of forgotten users", [context.target], work))

    def step(self, step: Step) -> Lines:
        """Build and judge a step's asset. Yields its lines, and returns whether dependent steps may run."""
        asset = "/".join((*self.context.row.slug_parts, step.name))
        targets = [] if step.is_follow_up else [self.context.target]
        if not (yield from self.attempt(asset, step.name, targets, partial(self.started.results_of, step))):
            return False
        if step.judge is None:
            return True
        return (yield from self.attempt(f"{asset}_{GATES}", f"gates of {step.name}", targets, self._judging(step)))

    def attempt(
        self,
        asset: str,
        name: str,
        targets: Sequence[Target],
        work: Callable[[DayContext], Iterator[BuiltStep | JudgedStep]],
    ) -> Lines:
        """Do some work, with retries. Yields a line for each result, or for the error."""
        for retry in range(RETRIES + 1):
            try:
                passed = True
                for result in work(self.context):
                    line = self._line(asset, result)
                    passed = passed and not (isinstance(result, JudgedStep) and result.check == GATES and line.failed)
                    if isinstance(result, BuiltStep) or line.state != "ok":
                        yield line
            except NoInputError as error:
                yield AssetLine(self.context.day, asset, "skipped", str(error))
                return False
            except RETRYABLE_ERRORS as error:
                if retry < RETRIES:
                    self.pause(RETRY_SECONDS)
                    if is_stopping():
                        return False
                    self.started.wait()
                    self.context = self.context.read_again()
                    continue
                yield self._failed(asset, name, targets, error)
            except Exception as error:  # noqa: BLE001 - a defect of one step must not stop other targets
                yield self._failed(asset, name, targets, error)
            else:
                return passed
            return False
        return False

    def _judging(self, step: Step) -> Callable[[DayContext], Iterator[JudgedStep]]:
        def judge(context: DayContext) -> Iterator[JudgedStep]:
            judged = judge_step(step, context)
            _log(journal_refusals(context, judged.report))
            yield judged

        return judge

    def _line(self, asset: str, result: BuiltStep | JudgedStep) -> AssetLine:
        day = self.context.day
        if self.watch is not None:
            self.watch(asset.removesuffix(f"_{GATES}"), result)
        if isinstance(result, BuiltStep):
            return built_line(day, asset, result.numbers)
        checked = f"{asset.removesuffix(f'_{GATES}')} {result.check}"
        if not result.report.passed:
            return AssetLine(day, checked, "failed", result.message)
        return AssetLine(day, checked, "unsure" if result.undecided else "ok", result.undecided)

    def _failed(self, asset: str, name: str, targets: Sequence[Target], error: Exception) -> AssetLine:
        context = self.context
        _log(journal_error(context.origin, targets, context.day, error, step=name, by=actor_of(context)))
        return AssetLine(context.day, asset, "failed", describe_error(error))


@dataclass(slots=True)
class _RawReading:
    """Reading of the day's raw files, once for all targets. A failure is written to the journal of each."""

    run: _Run
    targets: Sequence[Target]
    raw: RawDay | None = None

    def lines(self) -> Lines:
        """Read the files, and yield the line about them."""
        return (yield from self.run.attempt(RAW, RAW, self.targets, self._read))

    def _read(self, context: DayContext) -> Iterator[BuiltStep]:
        self.raw = build_raw(context.store, context.settings, context.day)
        yield BuiltStep(self.raw.digest, self.raw.numbers)


def _log(faults: Sequence[str]) -> None:
    for fault in faults:
        _LOGGER.error(fault)
