"""Canonical stage: merges a target's parts of a day into one Parquet object, with its record and gate report."""

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import date

import msgspec
import polars as pl
from msgspec import UNSET
from msgspec.structs import replace

from recsys_assets.errors import ConflictError, CorruptObjectError, InputError, NotFoundError, OutcomeUnknownError
from recsys_assets.events.canonicalize import canonicalize
from recsys_assets.events.day_profile import with_past
from recsys_assets.events.erase_users import erase_from_events
from recsys_assets.events.event_files import decode_part, encode_events
from recsys_assets.events.events import Events
from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.gates.canonical import CanonicalFacts
from recsys_assets.gates.policy import canonical_policy
from recsys_assets.identity import Target, Window
from recsys_assets.ingest.part_merge import Part
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.pipeline.canonical_commit import (
    NOT_READ,
    RECENT,
    StoredDay,
    commit_bytes,
    commit_record,
    erase_from_day,
    is_marked,
    is_same_day,
    read_columns,
    read_stored_day,
    with_results_of,
)
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.day_analysis import MAX_ANALYSIS_BYTES, DayAnalysis, analyse_day, analysis_of_stored
from recsys_assets.pipeline.day_profile import keep_results, read_past, score_live, with_results
from recsys_assets.pipeline.day_refusals import check_input, refuse_lost_events, refuse_missing_files
from recsys_assets.pipeline.records import RawRecord, RawTargetRecord
from recsys_assets.release.candidate import without_overridden
from recsys_assets.release.document_encoding import (
    MAX_DOCUMENT_BYTES,
    decode,
    find_document,
    find_readable,
    if_readable,
    read_document,
)
from recsys_assets.release.documents import CanonicalRecord, Input
from recsys_assets.release.forgotten_users import ForgottenUsers, read_forgotten_of
from recsys_assets.release.layout import canonical_record_key, raw_record_key
from recsys_assets.release.staged import find_canonical_report, find_report_of_day
from recsys_assets.retry import attempts
from recsys_assets.settings.gates import DayGate
from recsys_assets.settings.settings import TargetSettings
from recsys_assets.storage.run_cache import RunCache
from recsys_assets.storage.store import ObjectStore

MAX_PART_BYTES = 4_000_000_000
PREVIEW_ROWS = 10
MAX_COMMITS = 5


class CanonicalDayBuilt(msgspec.Struct, frozen=True):
    """One canonical day as it is stored, and its first rows."""

    record: CanonicalRecord
    preview: pl.DataFrame
    late: Mapping[str, int]

    @property
    def numbers(self) -> Mapping[str, Scalar]:
        """Numbers that are shown and plotted over days."""
        record = self.record
        return {
            "rows": record.rows,
            "bytes": record.size,
            "events": record.events,
            "duplicates": record.duplicates,
            "bad": record.bad,
            "late_days": ", ".join(f"{day}: {count}" for day, count in self.late.items()) or None,
        }


def build_canonical(context: DayContext) -> CanonicalDayBuilt:
    """Write the day's distinct events of one target in canonical order. The same input changes nothing.

    Raises `NoInputError` (no_input, empty_input, no_events), `InputError` (unreadable, all lines bad, or a rebuild
    would lose events), `LimitExceededError` before anything is loaded, and `ConflictError` if other writers kept
    rewriting the day.
    """
    RECENT.forget()
    without = context.forgotten
    for attempt in attempts(MAX_COMMITS, pause=context.pause):
        with suppress(ConflictError, OutcomeUnknownError):  # another writer was faster: read the day again
            if without is None:
                without = read_forgotten_of(context.origin, context.target)
            is_first = attempt == 0 and context.is_new(raw_record_key(context.day))  # no day was built from it
            built = _build_once(context, without, NOT_READ if is_first else None)
            now = read_forgotten_of(context.origin, context.target)
            if now.mark(context.day) == without.mark(context.day):  # otherwise another user was forgotten
                _erase(context, now)  # also from earlier days: artifacts of the day are built from all of them
                return built
        without = None
        context.staged_evidence()
    raise ConflictError(
        f"{context.target} {context.day}: {MAX_COMMITS} builds in a row met another writer: build the day again"
    )


def _build_once(context: DayContext, forgotten: ForgottenUsers, over: StoredDay | None) -> CanonicalDayBuilt:
    """Build the day without forgotten users, replacing the stored day `over` (None: read it here).

    A new day is judged at once, and its results are written with its record. Errors of the gates are ignored here: the
    check of the day raises them.
    """
    store, target, day = context.store, context.target, context.day
    if over is None:
        over = read_stored_day(store, target, day)
    with ThreadPoolExecutor(1) as executor:
        merged = _merge(context, over, forgotten, executor)
        record, data, analysis = merged.record, merged.data, merged.analysis
        shown = merged.preview, merged.late
        if not is_same_day(over.record, record):
            refuse_lost_events(context, over, record, forgotten)
            if over.record is not None:
                record = with_results_of(over.record, record)
            commit_bytes(store, target, day, over=over, data=data, record=record)
            del merged, data  # their memory is needed to judge
            if over.record_etag is None:
                with suppress(Exception):
                    record = _judge(context, record, analysis)
            commit_record(store, target, day, over=over, record=record)
    return CanonicalDayBuilt(record, *shown)


class _MergedDay(msgspec.Struct, frozen=True):
    """Merged parts of a day: record and bytes to write, the first rows, late events by day, and the analysis ahead."""

    record: CanonicalRecord
    data: bytes
    preview: pl.DataFrame
    late: Mapping[str, int]
    analysis: Future[DayAnalysis] | None


def _merge(context: DayContext, over: StoredDay, forgotten: ForgottenUsers, executor: Executor) -> _MergedDay:
    """Merge a day's parts. A new day is analysed on the `executor` while it is encoded, because it will be judged."""
    store, settings, row, day = context.store, context.settings, context.row, context.day
    raw = read_document(store, raw_record_key(day), RawRecord)
    share = _share(raw, row.target)
    check_input(store, raw, share, settings, row.target)
    if not settings.raw.rebuild_without_missing_files:
        refuse_missing_files(context, raw, share, over.record)
    gap = settings.raw.session_gap_minutes
    merged, counts = canonicalize(_parts(store, raw, share), expected=share.events, session_gap_minutes=gap)
    events = erase_from_events(merged, lambda user: forgotten.hides(user, day)) if forgotten else merged
    is_analysed = over.record_etag is None and events.size <= MAX_ANALYSIS_BYTES
    analysis = executor.submit(analyse_day, events, day) if is_analysed else None
    data = encode_events(events)
    gone = len(merged.codes) - len(events.codes)
    record = CanonicalRecord(
        digest=hashlib.sha256(data).hexdigest(),
        size=len(data),
        rows=counts.rows - gone,
        events=counts.events - gone,
        duplicates=counts.duplicates,
        bad=share.bad,
        rejects=share.rejects,
        inputs=tuple(Input(name=f.name, digest=f.digest, size=f.size) for f in raw.files if f.name in share.files),
        user_key=raw.user_key,
        erased=forgotten.mark(day) or UNSET,
    )
    preview = Events(events.codes.head(PREVIEW_ROWS), events.ids).decoded()
    return _MergedDay(record, data, preview.with_columns(pl.col("ts").cast(pl.String)), share.late, analysis)


def judge_canonical(context: DayContext) -> GateReport:
    """Read the stored day back, judge it, store report and profile in its record, and return the report.

    Raises `ConflictError` if other writers kept rewriting the day, and `NotFoundError` if it was not built.
    """
    key = canonical_record_key(context.target, context.day)
    for _ in attempts(MAX_COMMITS, pause=context.pause):
        with suppress(ConflictError, OutcomeUnknownError):  # another writer was faster: read the day again
            stored = context.store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
            record = decode(stored.data, CanonicalRecord, name=key)
            judged = _judge(context, record)
            keep_results(context.store, context.target, context.day, record, judged, over=stored.etag)
            return _report_in(judged)
        context.staged_evidence()
    raise ConflictError(
        f"{context.target} {context.day}: judged {MAX_COMMITS} times in a row while others wrote it: run its check"
    )


def find_own_canonical_report(context: DayContext) -> GateReport | None:
    """Return the gate report of the day if this same run built it and judged it by the current limits, else None."""
    key = canonical_record_key(context.target, context.day)
    if not context.is_new(key):
        return None
    report = read_document(context.store, key, CanonicalRecord).gates
    policy = canonical_policy(context.settings, context.row)
    return report if report is not UNSET and report.policy == policy.digest else None


def _judge(context: DayContext, record: CanonicalRecord, ahead: Future[DayAnalysis] | None = None) -> CanonicalRecord:
    """Return the record with the gate report and the profile of the stored bytes."""
    store, row, day = context.store, context.row, context.day
    events = read_columns(store, row.target, day, record)
    RECENT.keep(record.digest, events)
    most, first = context.settings.gates_for(row).day.history_days, context.settings.partitions.start
    past = read_past(store, row.target, day, most=most, first=first)
    policy = canonical_policy(context.settings, row)
    live = score_live(store, row.target, day, events, record) if DayGate.LIVE in policy.gates else None
    analysis = analysis_of_stored(events, day, ahead)
    profile = replace(with_past(analysis.profile_of(record), past.days), live=live)
    facts = CanonicalFacts(
        digest=record.digest,
        rows=len(events.codes),
        events=record.events,
        bad=record.bad,
        duplicates=record.duplicates,
        rejects=record.rejects,
        contract=analysis.contract,
        profile=profile,
        past=past,
        content=events,
    )
    numbers = {"sessions": profile.sessions, "users": profile.users}
    report = policy.judge(record.digest, facts, numbers=numbers)
    return with_results(record, without_overridden(report, _answered_before(context, record)), profile)


def _report_in(record: CanonicalRecord) -> GateReport:
    if record.gates is UNSET:
        raise TypeError(f"the record of {record.digest} was not judged")
    return record.gates


def _answered_before(context: DayContext, record: CanonicalRecord) -> dict[str, str]:
    """Return the gates and reasons of earlier overrides on exactly these bytes, which stay valid."""
    report = if_readable(lambda: find_canonical_report(context.store, context.target, context.day, record))
    return report.answered if report is not None and report.version == record.digest else {}


def _share(raw: RawRecord, target: Target) -> RawTargetRecord:
    for share in raw.targets:
        if (share.tenant, share.surface) == (target.tenant, target.surface):
            return share
    raise InputError(f"{raw.day} was read before {target} was configured: run raw of this day again")


def _parts(store: ObjectStore, raw: RawRecord, share: RawTargetRecord) -> Iterator[Part]:
    for part in share.parts:
        data = _bytes_of(store, part)
        if data is None:
            _refuse_changed(store, raw)
            raise CorruptObjectError(f"{part.name} is not what the day's record says: run raw of this day again")
        if isinstance(store, RunCache):
            store.drop(part.name)  # read only once: its memory is needed to build kinds
        yield decode_part(data)


def _bytes_of(store: ObjectStore, part: Input) -> bytes | None:
    try:
        data = store.get(part.name, max_bytes=MAX_PART_BYTES).data
    except NotFoundError:
        return None
    return data if hashlib.sha256(data).hexdigest() == part.digest else None


def _refuse_changed(store: ObjectStore, raw: RawRecord) -> None:
    """Raise `ConflictError` if the raw record was replaced since it was read."""
    if find_document(store, raw_record_key(date.fromisoformat(raw.day)), RawRecord) != raw:
        raise ConflictError(
            f"the raw files of {raw.day} changed and were read again in the meantime: build the day again"
        )


def erase_forgotten(context: DayContext) -> list[date]:
    """Erase forgotten users from the days in this day's windows that may contain them, and return the changed days.

    A build that runs during a `forget`, or is killed, can leave a day whose record does not cover all users who are
    forgotten at present. Artifacts that were built from such a day do not ship. Their next build is without the users.
    """
    forgotten = context.forgotten
    return _erase(context, read_forgotten_of(context.origin, context.target) if forgotten is None else forgotten)


def _erase(context: DayContext, forgotten: ForgottenUsers) -> list[date]:
    store, target = context.origin, context.target
    erased: list[date] = []
    for day in [*days_before(context), context.day] if forgotten else ():
        # A damaged record is skipped here: the candidate check reports it.
        record = find_readable(store, canonical_record_key(target, day), CanonicalRecord)
        if (
            record is not None
            and not is_marked(record, forgotten, day)
            and erase_from_day(store, target, day, pause=context.pause)
        ):
            erased.append(day)
    if erased:
        context.staged_evidence()  # drops the canonical days that this run cached
    for day in erased:
        judge_canonical(context.on(day))
    return erased


def judge_earlier_days_again(context: DayContext) -> list[date]:
    """Judge the earlier days of this day's windows that were judged by other limits. Returns the judged days.

    They are judged by the current limits on their stored bytes, so that after a change of limits no user has to rerun
    the checks of, for example, 27 days. A day that was never judged is skipped. The day itself has its own check.
    """
    store, settings, row = context.store, context.settings, context.row
    policy = canonical_policy(settings, row).digest
    changed = [day for day in days_before(context) if _judged_by_other_limits(store, row, day, policy)]
    for day in changed:
        judge_canonical(context.on(day))
    return changed


def _judged_by_other_limits(store: ObjectStore, row: TargetSettings, day: date, policy: str) -> bool:
    report = if_readable(lambda: find_report_of_day(store, row.target, day))  # the candidate check reports damage
    return report is not None and report.policy != policy


def days_before(context: DayContext) -> list[date]:
    """Return the earlier days, oldest first, of the windows that end with this day."""
    kinds = [kind for kind in context.settings.artifacts.kinds if not KINDS[kind].from_catalog]
    windows = [
        Window.ending(context.day, days=read_params(context.settings, context.row, kind).window_days) for kind in kinds
    ]
    return sorted({day for window in windows for day in window.days if day < context.day})
