"""Journal entries of imports: who registered which file for which day, and the result of its test."""

from datetime import date, datetime

from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.release import journal
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import Actor
from recsys_assets.release.pointer import read_current
from recsys_assets.release.recovery import recover
from recsys_assets.storage.store import ObjectStore

IMPORT = "import"


def journal_import(
    store: ObjectStore,
    target: Target,
    ref: ArtifactRef,
    day: date,
    *,
    by: Actor,
    now: datetime,
    report: GateReport | None = None,
) -> JournalEntry:
    """Write down that a file was registered for a day and, where it was tested at once, how that ended.

    What is live is not touched: pointing at it is the ship's entry. Raises what the store raises.
    """
    current = read_current(store, target)
    head = recover(store, target, current, by=by, now=now)
    details: dict[str, Scalar] = {"day": day.isoformat(), "kind": ref.kind, "version": ref.version, "bytes": ref.size}
    entry = journal.entry_of(
        action=IMPORT,
        outcome=journal.DONE if report is None or report.passed else journal.REFUSED,
        by=by,
        now=now,
        live=current,
        message=f"{ref.kind} of {day}: {ref.version[:12]}, {ref.size:,} bytes, {_tested(report)}",
        details=details,
    )
    return journal.append(store, target, entry, after=head.last)


def _tested(report: GateReport | None) -> str:
    if report is None:
        return "registered"
    if report.passed:
        return "registered, and its gates passed"
    return "registered, and refused: " + "; ".join(f"{one.gate}: {one.message}" for one in report.refusals)
