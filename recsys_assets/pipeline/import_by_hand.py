"""Manual test and import of a file: it is judged by every gate, optionally registered, and journaled with the actor."""

from datetime import date, datetime
from typing import TYPE_CHECKING

import msgspec

from recsys_assets.errors import InputError, LimitExceededError
from recsys_assets.evidence import GateReport
from recsys_assets.gates.imported import find_rules
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.imported import (
    NodePlace,
    describe_test,
    find_staged,
    journal_import,
    judge_import,
    judge_received,
    receive,
    register,
)
from recsys_assets.release import journal
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import Actor
from recsys_assets.release.pointer import read_current
from recsys_assets.release.recovery import record_unmoved
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

if TYPE_CHECKING:
    from recsys_assets.ingest.sources.parquet import Seekable


class TriedFile(msgspec.Struct, frozen=True):
    """Outcome of a test or import: the file's reference, the day of its registration, gate report and journal entry."""

    ref: ArtifactRef
    day: date | None
    registered: bool
    passed: bool
    gates: GateReport
    message: str
    entry: JournalEntry | None = None  # None: a dry run, or nothing has changed


def try_file(
    store: ObjectStore,
    settings: Settings,
    row: TargetSettings,
    kind: str,
    file: "Seekable",
    *,
    by: Actor,
    now: datetime,
) -> TriedFile:
    """Judge a file by the gates of its import, and record the test in the journal. Nothing else is written.

    Raises `InputError` for a file that does not have its format, and `LimitExceededError` for one that is too large.
    Both are journaled too.
    """
    rules = find_rules(settings, row, kind)
    try:
        received = receive(file, rules, kind=kind)
    except (InputError, LimitExceededError) as error:
        _record(store, row.target, kind, f"{file.name} was refused: {error}", passed=False, by=by, now=now)
        raise
    report, ref = judge_received(store, settings, row, received), received.blob.ref
    message = f"{file.name}, {ref.size:,} bytes, {describe_test(report, did='tested')}"
    entry = _record(store, row.target, kind, message, passed=report.passed, by=by, now=now, version=ref.version)
    return TriedFile(ref, None, registered=False, passed=report.passed, gates=report, message=message, entry=entry)


def import_file(
    context: DayContext,
    kind: str,
    file: "Seekable",
    *,
    by: Actor,
    now: datetime,
    dry_run: bool = False,
    node: NodePlace | None = None,
) -> TriedFile:
    """Register a file as the artifact of its kind and day, judge the stored blob, and record both in the journal.

    `node` is the place of the file in its tree. Importing the same file for the same day again is not journaled if its
    gates pass. The live release does not change. A dry run judges the file and writes nothing. Raises as `try_file`
    does.
    """
    store, settings, row, day = context.store, context.settings, context.row, context.day
    try:
        received = receive(file, find_rules(settings, row, kind), kind=kind)
    except (InputError, LimitExceededError) as error:
        if not dry_run:
            _record(store, row.target, kind, f"{file.name} was refused: {error}", passed=False, by=by, now=now)
        raise
    ref = received.blob.ref
    if dry_run:
        report = judge_received(store, settings, row, received)
        return _tried(day, ref, report, registered=False)
    before = find_staged(store, row, kind, day)
    register(context, received, dropped_on=day, node=node, by=by)
    report, entry = judge_import(context, kind), None
    if before != ref or not report.passed:
        entry = journal_import(store, row.target, ref, day, by=by, now=now, report=report)
    return _tried(day, ref, report, registered=True, entry=entry)


def _tried(
    day: date, ref: ArtifactRef, report: GateReport, *, registered: bool, entry: JournalEntry | None = None
) -> TriedFile:
    did = "registered" if registered else "dry run: would be registered"
    after = "live when the day ships" if report.passed else "and refused: it cannot ship; the live release stays"
    message = f"{did} as {ref.kind} {ref.version[:12]}{'; ' if report.passed else ', '}{after}"
    return TriedFile(ref, day, registered, report.passed, report, message, entry)


def _record(
    store: ObjectStore,
    target: Target,
    kind: str,
    message: str,
    *,
    passed: bool,
    by: Actor,
    now: datetime,
    version: str | None = None,
) -> JournalEntry:
    """Write the outcome of a test to the journal, without a day: a test belongs to no day."""
    current = read_current(store, target)
    return record_unmoved(
        store,
        target,
        current,
        action=journal.TEST,
        outcome=journal.DONE if passed else journal.REFUSED,
        by=by,
        now=lambda: now,
        message=f"{kind}: {message}",
        details={"kind": kind, "version": version},
    )
