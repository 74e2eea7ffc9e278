"""A day of some targets in this process, step by step, and a line about each asset: `run` without Dagster."""

import logging
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import TypeAlias
from uuid import uuid4

from recsys_assets.errors import NoInputError
from recsys_assets.evidence import CANONICAL, LEFT_OUT
from recsys_assets.identity import Target, is_version
from recsys_assets.kinds.registry import KINDS, is_own
from recsys_assets.pipeline.artifact import withdraw_forgotten
from recsys_assets.pipeline.build import NATIVE
from recsys_assets.pipeline.candidate_gates import judge_whole
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.parallel_steps import ParallelSteps, started_in_parallel
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
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.run_cache import RunCache
from recsys_assets.storage.store import ObjectStore, is_remote

Watch: TypeAlias = Callable[[str, BuiltStep | JudgedStep], None]  # is shown each result, and the asset it is of
Lines: TypeAlias = "Generator[AssetLine, None, bool]"  # returns whether all was done, and passed

_LOGGER = logging.getLogger(__name__)
_SHOWN = ("rows", "events", "out_of_window", "skipped", "version", "outcome", "release", LEFT_OUT)
_DIGITS = 8
_FEW_EVENTS = 100_000  # together, of targets at once; as many as the largest target has may be more
_TARGETS_AT_ONCE = 8  # more gain little: by then the processor is what they wait for
_STYLES = {"ok": "", "skipped": "yellow", "unsure": "yellow", "failed": "bold red"}


@dataclass(frozen=True, slots=True)
class AssetLine:
    """One asset on one day: what came out, or why nothing did."""

    day: date
    asset: str
    state: str  # ok | skipped | unsure (a required gate could not decide) | failed
    message: str

    @property
    def text(self) -> str:
        """The line as printed; most fit into 80 columns."""
        return f"{self.day} {self.asset:<24} {self.state:<7} {self.message}"

    @property
    def style(self) -> str:
        """How a terminal shows it."""
        return _STYLES[self.state]

    @property
    def failed(self) -> bool:
        """Whether the day did not do what it should have."""
        return self.state == "failed"


def built_line(day: date, asset: str, numbers: Mapping[str, object]) -> AssetLine:
    """Return the line of an asset that was built, with the numbers that matter at a glance."""
    shown = {key: numbers[key] for key in _SHOWN if numbers.get(key) is not None}
    return AssetLine(day, asset, "ok", " ".join(f"{key}={_short(value)}" for key, value in shown.items()))


def _short(value: object) -> object:
    """Return a hash by its first digits, enough to name a release by; `log --json` has all of it."""
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
    """Build, gate and ship a day of these targets, one after another; yield a line about each asset.

    What fails stops what comes after it and nothing else: other kinds are built, other targets ship. Of several
    targets nothing is built where the day's files could not be read. Errors that a retry may cure are retried after a
    `pause`. Ends after the step under way when the process is to stop. `watch` is shown the results themselves.

    Where the store is remote, several targets are worked on at once (`pipeline.parallel_targets`), each step by step;
    their lines come in the order of the targets.
    """
    reads = RunCache(store)
    first = DayContext(reads, settings, rows[0], day, run_id=str(uuid4()))
    reading = _RawReading(_Run(first, pause, watch), [row.target for row in rows])
    yield from reading.lines()
    if reading.raw is None and len(rows) > 1:
        return

    def work(row: TargetSettings) -> Iterator[AssetLine]:
        if is_stopping():
            return
        context = reading.run.context  # of one target, raw is part of its run
        if len(rows) > 1:
            context = replace(context, store=reads.of_next_target(), row=row, run_id=str(uuid4()))
        context = replace(context, forgotten=_forgotten(reading.raw, row.target), is_whole_run=True)
        yield from _target_lines(_Run(context, pause, watch), read=reading.raw is not None)

    at_once = _TARGETS_AT_ONCE if watch is None and _may_overlap(store, settings, rows) else 1
    works, sizes = [partial(work, row) for row in rows], _sizes(reading.raw, rows)
    yield from run_in_order(works, sizes, at_once=at_once, small=_FEW_EVENTS)


def _may_overlap(store: ObjectStore, settings: Settings, rows: Sequence[TargetSettings]) -> bool:
    """Return whether targets gain by being worked on at once, and all that builds them may run in several threads.

    In a folder there is nothing to wait for. An engine, a kind of another package, or a team's gate may allow one only.
    """
    kinds = settings.artifacts
    tables = [kinds.for_all, *kinds.tables.values(), *(table for row in rows for table in row.artifacts.values())]
    engines = {kinds.engine, *(row.engine or NATIVE for row in rows), *(t.get("engine", NATIVE) for t in tables)}
    custom = settings.gates.custom or any("custom" in row.gates for row in rows)
    return is_remote(store) and all(map(is_own, kinds.kinds)) and engines == {NATIVE} and not custom


def _sizes(raw: RawDay | None, rows: Sequence[TargetSettings]) -> list[int]:
    """Return how many events of the day each target has, which is what its memory grows by."""
    events = {} if raw is None else {(one.tenant, one.surface): one.events for one in raw.record.targets}
    return [events.get((row.tenant, row.surface), 0) for row in rows]


def _target_lines(run: "_Run", *, read: bool) -> Iterator[AssetLine]:
    """Build every artifact, then once more what was built while a user was forgotten, then ship."""
    stopped = set[str]() if read else {RAW}
    settings = run.context.settings
    steps = target_steps(settings, run.context.row)
    first = next(number for number, step in enumerate(steps) if step.name == MANIFEST)
    yield from _steps(run, steps[:1], stopped)
    kinds = [] if stopped & {RAW, CANONICAL} else [step for step in steps if step.name in settings.artifacts.kinds]
    with started_in_parallel(run.context, kinds) as run.begun:
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
    """Do these steps in order; add to `stopped` those that are not done, or of which a gate refused what they built."""
    for step in steps:
        if stopped & step.after:
            stopped.add(step.name)
        elif step.is_follow_up or run.begun.is_due(step):
            if not (yield from run.step(step)):
                stopped.add(step.name)
        else:
            return


def _forgotten(raw: RawDay | None, target: Target) -> ForgottenUsers | None:
    """Return the users of a target to forget as raw saw them; None where they are to be read."""
    if raw is None or raw.forgotten is None:
        return None
    found = raw.forgotten.get((target.tenant, target.surface), ForgottenUsers())
    return found if found.fault is None else None


@dataclass(slots=True)
class _Run:
    """Steps of one run of one target; a retry reads everything again, for another writer may be the reason for it."""

    context: DayContext
    pause: Pause
    watch: Watch | None = None
    withdrawn: Collection[str] = ()  # kinds that were built while a user was forgotten
    begun: ParallelSteps = field(default_factory=ParallelSteps)  # kinds whose builds are under way

    def stage(self, *, judged: bool) -> Lines:
        """Write what the run staged, all in one document, after judging it as a whole where every kind is there."""

        def work(context: DayContext) -> Iterator[JudgedStep]:
            for report in judge_whole(context) if judged else ():
                yield JudgedStep(report.subject, report)
            if isinstance(context.store, RunCache):
                context.store.flush()

        asset = "/".join((*self.context.row.slug_parts, MANIFEST))
        return (yield from self.attempt(asset, "staging", [self.context.target], work))

    def withdraw(self) -> Lines:
        """Withdraw what was built while a user was forgotten, by one look for all kinds; it is built again."""
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
        """Build a step's asset and judge it; yield its lines, and return whether what comes after may go on."""
        asset = "/".join((*self.context.row.slug_parts, step.name))
        targets = [] if step.is_follow_up else [self.context.target]
        if not (yield from self.attempt(asset, step.name, targets, partial(self.begun.take, step))):
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
        """Do some work, with retries; yield a line about each result, or why there is none."""
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
                    self.begun.wait()
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
    """The day's raw files, read once for all targets; their failure is written to the journal of each."""

    run: _Run
    targets: Sequence[Target]
    raw: RawDay | None = None

    def lines(self) -> Lines:
        """Read the files; yield the line about them."""
        return (yield from self.run.attempt(RAW, RAW, self.targets, self._read))

    def _read(self, context: DayContext) -> Iterator[BuiltStep]:
        self.raw = build_raw(context.store, context.settings, context.day)
        yield BuiltStep(self.raw.digest, self.raw.numbers)


def _log(faults: Sequence[str]) -> None:
    for fault in faults:
        _LOGGER.error(fault)
