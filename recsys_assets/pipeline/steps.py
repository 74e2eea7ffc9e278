"""Steps of a target's day: the build of each asset and its gates, by name and in order.

This is the only definition of a day: the Dagster assets and `run` without Dagster both execute these steps.
"""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

import msgspec
import polars as pl

from recsys_assets.errors import ConflictError, EngineUnavailableError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.evidence import CANONICAL, GateReport, Scalar, Verdict, group_by_message
from recsys_assets.gates.gate import undecided
from recsys_assets.identity import Target, utc_now
from recsys_assets.pipeline.artifact import ArtifactBuilt, build_artifact, find_own_report, judge_artifact
from recsys_assets.pipeline.candidate_gates import judge_whole
from recsys_assets.pipeline.canonical import build_canonical, find_own_canonical_report, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.imported import find_staged, import_day, journal_import, judge_import
from recsys_assets.pipeline.overrides import way_out
from recsys_assets.pipeline.ship import ShippedDay, ship_day
from recsys_assets.release.documents import Input
from recsys_assets.release.journal import Actor, this_account
from recsys_assets.release.layout import blob_key, canonical_key, outcomes_key, pointer_key
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore, fan_out
from recsys_assets.upkeep.status import GATE, BuildFailure, journal_failure

RAW: Final = "raw"
MANIFEST: Final = "manifest"
SIGNALS: Final = "signals"
SINKS: Final = "sinks"
OUTCOMES: Final = "outcomes"
GATES: Final = "gates"  # name of the check of an asset by its own gates

RETRYABLE_ERRORS: Final = (StoreUnavailableError, ConflictError, EngineUnavailableError)
RETRIES: Final = 3
RETRY_SECONDS: Final = 5


class ShownTable(NamedTuple):
    """Table for people: column names, and rows with one cell for each column."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Scalar]]


class BuiltStep(msgspec.Struct, frozen=True):
    """Result of a build: numbers that are plotted over days, tables to read, and the key of the stored object."""

    version: str | None  # None: unversioned
    numbers: Mapping[str, Scalar]
    tables: Mapping[str, ShownTable] = msgspec.field(default_factory=dict[str, ShownTable])  # tables by title
    key: str | None = None  # key of the object in the store
    rows: int | None = None
    inputs: tuple[Input, ...] = ()
    shipped: ShippedDay | None = None


class JudgedStep(msgspec.Struct, frozen=True):
    """Result of gates: the name of the check, the report, and the remedies of a refusal ("" without one)."""

    check: str
    report: GateReport
    way: str = ""

    @property
    def message(self) -> str:
        """Reasons and remedies of a refusal, or else the number of passed gates, and the advisory findings."""
        return "; ".join(filter(None, (*self.report.refused_because, self.way))) or _passed(self.report)

    @property
    def undecided(self) -> str:
        """Required gates that were undecided, as a sentence, or "" if there are none."""
        return "; ".join(group_by_message(undecided(self.report), "undecided"))


class Step(msgspec.Struct, frozen=True):
    """One asset of a target's day: its prerequisites, its build, and the gates that judge the stored result.

    A step runs once the steps in `after` are built and have passed their gates. A follow-up step copies or reports
    results of the day elsewhere. It runs even if the process has been asked to stop, and its failure does not count
    as a failure of the day's build.
    """

    name: str
    after: frozenset[str]
    build: Callable[[DayContext], Iterator[BuiltStep | JudgedStep]]
    judge: Callable[[DayContext], GateReport] | None = None
    is_follow_up: bool = False


def target_steps(settings: Settings, row: TargetSettings) -> tuple[Step, ...]:
    """Return the steps of one target's day, each placed after its prerequisites."""
    kinds, imports = sorted(settings.artifacts.kinds), sorted(settings.imports_for(row))
    steps = [canonical_step(), *map(artifact_step, kinds), *map(import_step, imports)]
    steps.append(manifest_step(settings.kinds_for(row)))
    if settings.signals.write:
        steps.append(signals_step())
    if settings.sinks_for(row.target):
        steps.append(sinks_step())
    return (*steps, outcomes_step()) if settings.outcomes.enabled else tuple(steps)


def canonical_step() -> Step:
    """Return the step that writes the day's distinct events of the target."""

    def build(context: DayContext) -> Iterator[BuiltStep]:
        day = build_canonical(context)
        first = _first_rows(day.preview)
        key = canonical_key(context.target, context.day)
        yield BuiltStep(day.record.digest, day.numbers, {"first rows": first}, key, day.record.rows)

    def judge(context: DayContext) -> GateReport:
        return find_own_canonical_report(context) or judge_canonical(context)

    return Step(CANONICAL, frozenset({RAW}), build, judge)


def artifact_step(kind: str) -> Step:
    """Return the step that builds one kind from canonical days."""

    def build(context: DayContext) -> Iterator[BuiltStep]:
        yield _artifact(context.target, build_artifact(context, kind, judged=True), "top rows")

    def judge(context: DayContext) -> GateReport:
        return find_own_report(context, kind) or judge_artifact(context, kind)

    return Step(kind, frozenset({CANONICAL}), build, judge)


def import_step(kind: str) -> Step:
    """Return the step that imports the file of one kind. A new file is written to the journal.

    Refusals are journaled when its gates are evaluated, results when the day ships.
    """

    def build(context: DayContext) -> Iterator[BuiltStep]:
        store, target, day = context.origin, context.target, context.day
        before = find_staged(store, context.row, kind, day)
        built = import_day(context, kind)
        if before != built.staged.ref:
            journal_import(store, target, built.staged.ref, day, by=actor_of(context), now=utc_now())
        yield _artifact(target, built, "fields")

    return Step(kind, frozenset(), build, lambda context: judge_import(context, kind))


def manifest_step(kinds: Sequence[str]) -> Step:
    """Return the step that judges these kinds together and ships them.

    Gate results are yielded before the pointer is swapped, so they are visible even if nothing ships.
    """

    def build(context: DayContext) -> Iterator[BuiltStep | JudgedStep]:
        for report in judge_whole(context, only_missing=context.is_whole_run):
            yield JudgedStep(report.subject, report)
        shipped = ship_day(context, by=actor_of(context))
        artifacts = ShownTable(("kind", "version", "bytes"), shipped.artifact_rows)
        yield BuiltStep(
            shipped.release_id, shipped.numbers, {"artifacts": artifacts}, pointer_key(context.target), shipped=shipped
        )

    return Step(MANIFEST, frozenset(kinds), build)


def signals_step() -> Step:
    """Return the step that writes the shipped artifacts to a database."""

    def build(context: DayContext) -> Iterator[BuiltStep]:
        from recsys_assets.pipeline.signals import write_signals  # noqa: PLC0415 - off by default

        written = write_signals(context, by=actor_of(context, action="signals"))
        yield BuiltStep(None, written.numbers)

    return Step(SIGNALS, frozenset({MANIFEST}), build, is_follow_up=True)


def sinks_step() -> Step:
    """Return the step that makes the target's sinks serve the live release, which may be of another day."""

    def build(context: DayContext) -> Iterator[BuiltStep]:
        from recsys_assets.sinks.configured import follow_all  # noqa: PLC0415 - off by default

        yield BuiltStep(None, follow_all(context.origin, context.settings, context.target, now=context.now))

    return Step(SINKS, frozenset({MANIFEST}), build, is_follow_up=True)


def outcomes_step() -> Step:
    """Return the step that reports the outcomes of the day's exposures, by release."""

    def build(context: DayContext) -> Iterator[BuiltStep]:
        from recsys_assets.pipeline.outcome_reports import keep_outcomes, numbers_of  # noqa: PLC0415 - off by default

        yield BuiltStep(None, numbers_of(keep_outcomes(context)), {}, outcomes_key(context.target, context.day))

    return Step(OUTCOMES, frozenset({CANONICAL}), build, is_follow_up=True)


def judge_step(step: Step, context: DayContext) -> JudgedStep:
    """Evaluate a step's gates on the stored result, and return their report with the remedies of a refusal.

    Raises `TypeError` if the step has no gates.
    """
    if step.judge is None:
        raise TypeError(f"{step.name} has no gates of its own")
    report = step.judge(context)
    refused = [(step.name, finding.gate) for finding in report.refusals if finding.is_judgement]
    return JudgedStep(GATES, report, way_out(context.settings, context.row, context.day, refused))


def actor_of(context: DayContext, *, action: str = "build") -> Actor:
    """Return the actor of the day's journal entries: the account of this process, with the run id."""
    return Actor(name=this_account(), reason=f"{action} of {context.day}", run_id=context.run_id)


def journal_refusals(context: DayContext, report: GateReport) -> list[str]:
    """Write the gates that refused a day, with their numbers, to the target's journal. Writes nothing if it passed.

    Errors of the write are returned as messages, not raised, so that they do not hide the refusal.
    """
    if report.passed:
        return []
    message = "; ".join(report.refused_because) or "no gate ran"
    failure = BuildFailure(context.day.isoformat(), report.subject, GATE, message)
    return _journal(context.origin, [context.target], failure, by=actor_of(context))


def journal_error(
    store: ObjectStore, targets: Sequence[Target], day: date, error: Exception, *, step: str, by: Actor
) -> list[str]:
    """Write the failure of a step to the journals of these targets. Errors of the write are returned as messages.

    Unexpected exceptions are journaled too, with class and message. Failures that are journaled already are skipped.
    """
    if any(isinstance(cause, RecsysAssetsError) and cause.journaled for cause in _chain(error)):
        return []
    kind = type(error).__name__
    return _journal(store, targets, BuildFailure(day.isoformat(), step, kind, f"{kind}: {error}"), by=by)


def describe_error(error: Exception) -> str:
    """Describe the failure of a step: the first error of this package in the chain of causes, else the root cause."""
    if isinstance(error, RecsysAssetsError) and not isinstance(error, RETRYABLE_ERRORS):
        return f"{type(error).__name__}: {error}"
    chain = _chain(error)
    ours = next((cause for cause in chain if isinstance(cause, RecsysAssetsError)), None)
    text = f"{type(ours).__name__}: {ours}" if ours else "".join(traceback.format_exception_only(chain[-1]))
    return " ".join(text.split())


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    return chain


def _journal(store: ObjectStore, targets: Sequence[Target], failure: BuildFailure, *, by: Actor) -> list[str]:
    def write(target: Target) -> str | None:
        try:
            journal_failure(store, target, failure, by=by, now=utc_now())
        except RecsysAssetsError as error:
            return f"{target}: the failure could not be written to the journal: {error}"
        return None

    return [fault for fault in fan_out(write, list(targets)) if fault is not None]


def _artifact(target: Target, built: ArtifactBuilt, title: str) -> BuiltStep:
    ref, rows = built.staged.ref, built.staged.facts.get("rows")
    return BuiltStep(
        ref.version,
        built.numbers,
        {title: _first_rows(built.preview)},
        blob_key(target, ref.kind, ref.version),
        rows if isinstance(rows, int) else None,
        built.staged.inputs,
    )


def _first_rows(preview: pl.DataFrame) -> ShownTable:
    """Return rows to show, with user ids masked: Dagster keeps those of the last run even when runs are pruned."""
    columns = preview.to_dict(as_series=False)
    if "user_id" in columns:
        columns["user_id"] = [None if user is None else "(a user)" for user in columns["user_id"]]
    return ShownTable(preview.columns, list(zip(*columns.values(), strict=True)))


def _passed(report: GateReport) -> str:
    """Return a sentence with the number of passed gates, and the gates that only advise against the day."""
    advice = [finding for finding in report.findings if finding.verdict is Verdict.ADVISED]
    passed = f"{len(report.findings) - len(advice)} gates passed"
    return f"{passed}, {len(advice)} advise: {', '.join(finding.gate for finding in advice)}" if advice else passed
