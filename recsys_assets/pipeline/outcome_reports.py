"""Outcomes of stored days: the exposures of canonical events, by the rollout steps in the journal. Kept as reports."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import zip_longest

import polars as pl

from recsys_assets.evidence import Scalar
from recsys_assets.identity import REQUEST_TAG, Target, parse_rfc3339
from recsys_assets.messages import plural
from recsys_assets.pipeline.canonical_commit import read_columns
from recsys_assets.pipeline.context import DayContext
from recsys_assets.quality.exposures import (
    FeedbackNames,
    OutcomeRules,
    RolloutStep,
    find_exposures,
    judge_rollouts,
    rates,
)
from recsys_assets.quality.outcome_report import ALL, OutcomeReport
from recsys_assets.release.document_encoding import encode, find_document
from recsys_assets.release.documents import CanonicalRecord, JournalEntry
from recsys_assets.release.journal import newest_first
from recsys_assets.release.layout import canonical_record_key, outcomes_key
from recsys_assets.release.rollout_transitions import ADVANCE, START
from recsys_assets.settings.upkeep import OutcomeSettings
from recsys_assets.storage.store import ObjectStore

_BEGINS = {START, ADVANCE, "ship"}  # actions whose journal entry has the share of a step
_LONGEST = timedelta(days=30)  # a rollout that covers the first day may have started this long before
_COLUMNS = ("ts", "user_id", "session_id", "item_id", "request_id", "event")


def report_outcomes(
    store: ObjectStore, target: Target, settings: OutcomeSettings, *, start: date, end: date
) -> OutcomeReport:
    """Report the clicks and purchases that followed the exposures of these days. Days without events are skipped.

    Clicks and purchases count up to the last day. A returning visitor is a user who was seen on an earlier day: one of
    these, or one of the `history_days` days before them.
    """
    names, rules = _names(settings), OutcomeRules(settings.level, settings.margin, settings.min_keys)
    first_seen: dict[str, date] = {}
    frames, untagged, exposures = [], 0, 0
    for day in _days(start - timedelta(days=settings.history_days), end):
        record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
        if record is None:
            continue
        events = read_columns(store, target, day, record, ("user_id",) if day < start else _COLUMNS)
        for user in events.ids["user_id"]:
            first_seen.setdefault(user, day)
        if day >= start:
            shown = _shown(events.codes["event"], events.ids["event"], names)
            is_tagged = _is_tagged(events.codes["request_id"], events.ids["request_id"])
            exposures += int(shown.sum())
            untagged += int((shown & ~is_tagged).sum())
            chosen = type(events)(events.codes.filter(is_tagged), events.ids).decoded()
            frames.append(_with_visitor(chosen, day, first_seen))
    matched = find_exposures(pl.concat(frames) if frames else _empty(), names)
    return OutcomeReport(
        tenant=target.tenant,
        surface=target.surface,
        start=start.isoformat(),
        end=end.isoformat(),
        level=settings.level,
        exposures=exposures,
        untagged=untagged,
        unmatched=matched.unmatched,
        rows=rates(matched, rules),
        rollouts=judge_rollouts(matched, rollout_steps(store, target, since=start), rules),
    )


def keep_outcomes(context: DayContext) -> OutcomeReport:
    """Report the outcomes of one day, and store the report for the console."""
    target, day, settings = context.target, context.day, context.settings.outcomes
    report = report_outcomes(context.store, target, settings, start=day, end=day)
    context.store.put(outcomes_key(target, day), encode(report))
    return report


def message_of(report: OutcomeReport) -> str:
    """Summarise a report in one sentence: its exposures, and the verdict on the newest rollout."""
    newest = report.rollouts[0] if report.rollouts else None
    verdict = f"{newest.verdict.value}: {newest.why}" if newest else "no rollout in these days, so nothing is decided"
    return f"{plural(report.exposures, 'exposure')}, {report.untagged:,} of them without a release; {verdict}"


def numbers_of(report: OutcomeReport) -> dict[str, Scalar]:
    """Return the numbers that are plotted over days (exposures, clicks, purchases), and the summary of the report."""
    whole = [row for row in report.rows if (row.kind, row.visitor) == ("", ALL)]
    return {
        "exposures": report.exposures,
        "untagged": report.untagged,
        "unmatched": report.unmatched,
        "clicks": sum(row.click.hits for row in whole),
        "purchases": sum(row.purchase.hits for row in whole),
        "message": message_of(report),
    }


def rollout_steps(store: ObjectStore, target: Target, *, since: date) -> list[RolloutStep]:
    """Return the rollout steps in the journal that ended on `since` or later, or have not ended. Oldest first."""
    first = datetime.combine(since - _LONGEST, datetime.min.time(), parse_rfc3339("2000-01-01T00:00:00Z").tzinfo)
    entries: list[JournalEntry] = []
    for entry in newest_first(store, target):
        if entry.at and parse_rfc3339(entry.at) < first:
            break
        if entry.changed or "rollout_at" in entry.details:
            entries.insert(0, entry)
    steps = [_step(entry, following) for entry, following in zip_longest(entries, entries[1:])]
    return [step for step in steps if step is not None and (step.until is None or step.until.date() >= since)]


def _step(entry: JournalEntry, following: JournalEntry | None) -> RolloutStep | None:
    """Return the step that an entry starts, if any. It lasts until the next entry on the rollout or the pointer."""
    share, release = entry.details.get("share"), entry.details.get("release")
    if entry.action not in _BEGINS or entry.changed or not isinstance(share, int) or not isinstance(release, str):
        return None
    until = parse_rfc3339(following.at) if following is not None and following.at else None
    return RolloutStep(release, entry.after or "", share, parse_rfc3339(entry.at), until)


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _names(settings: OutcomeSettings) -> FeedbackNames:
    return FeedbackNames(settings.exposure, settings.click, settings.purchase)


def _shown(codes: pl.Series, ids: pl.Series, names: FeedbackNames) -> pl.Series:
    code = ids.index_of(names.exposure)
    return codes.is_null() if code is None else codes.is_null() | (codes == code).fill_null(value=False)


def _is_tagged(codes: pl.Series, ids: pl.Series) -> pl.Series:
    tagged = ids.str.contains(REQUEST_TAG).arg_true().cast(codes.dtype)
    return codes.is_in(tagged.to_list()).fill_null(value=False)


def _with_visitor(events: pl.DataFrame, day: date, first_seen: dict[str, date]) -> pl.DataFrame:
    """Return a day's events with the key of the user or session, and the visitor: new, returning or anonymous."""
    users = events["user_id"].drop_nulls().unique()
    returning = [user for user in users if first_seen[user] < day]
    is_user = pl.col("user_id").is_not_null()
    visitor = pl.when(~is_user).then(pl.lit("anonymous")).when(pl.col("user_id").is_in(returning))
    return events.select(
        "ts",
        pl.when(is_user).then("u/" + pl.col("user_id")).otherwise("s/" + pl.col("session_id")).alias("key"),
        visitor.then(pl.lit("returning")).otherwise(pl.lit("new")).alias("visitor"),
        "request_id",
        "item_id",
        "event",
    )


def _empty() -> pl.DataFrame:
    columns = ("key", "visitor", "request_id", "item_id", "event")
    return pl.DataFrame(schema={"ts": pl.Datetime("ns", "UTC"), **dict.fromkeys(columns, pl.String)})
