"""Outcomes of stored days: exposures of canonical events by what the journal says of rollouts, reported and kept."""

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

_BEGINS = {START, ADVANCE, "ship"}  # actions whose entry names the share of a step
_LONGEST = timedelta(days=30)  # that a rollout may have begun before the first day
_COLUMNS = ("ts", "user_id", "session_id", "item_id", "request_id", "event")


def report_outcomes(
    store: ObjectStore, target: Target, wanted: OutcomeSettings, *, start: date, end: date
) -> OutcomeReport:
    """Return what the exposures of these days led to; days without canonical events are passed over.

    Clicks and purchases count up to the last day. Who was seen on one of `history_days` days before, or earlier in
    these days, is a returning visitor.
    """
    names, rules = _names(wanted), OutcomeRules(wanted.level, wanted.margin, wanted.min_keys)
    known: dict[str, date] = {}
    frames, untagged, exposures = [], 0, 0
    for day in _days(start - timedelta(days=wanted.history_days), end):
        record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
        if record is None:
            continue
        events = read_columns(store, target, day, record, ("user_id",) if day < start else _COLUMNS)
        for user in events.ids["user_id"]:
            known.setdefault(user, day)
        if day >= start:
            shown = _shown(events.codes["event"], events.ids["event"], names)
            is_tagged = _is_tagged(events.codes["request_id"], events.ids["request_id"])
            exposures += int(shown.sum())
            untagged += int((shown & ~is_tagged).sum())
            chosen = type(events)(events.codes.filter(is_tagged), events.ids).decoded()
            frames.append(_with_visitor(chosen, day, known))
    found = find_exposures(pl.concat(frames) if frames else _empty(), names)
    return OutcomeReport(
        tenant=target.tenant,
        surface=target.surface,
        start=start.isoformat(),
        end=end.isoformat(),
        level=wanted.level,
        exposures=exposures,
        untagged=untagged,
        unmatched=found.unmatched,
        rows=rates(found, rules),
        rollouts=judge_rollouts(found, rollout_steps(store, target, since=start), rules),
    )


def keep_outcomes(context: DayContext) -> OutcomeReport:
    """Report the outcomes of one day, and keep the report in the store for the console."""
    target, day, wanted = context.target, context.day, context.settings.outcomes
    found = report_outcomes(context.store, target, wanted, start=day, end=day)
    context.store.put(outcomes_key(target, day), encode(found))
    return found


def message_of(report: OutcomeReport) -> str:
    """Return in one sentence how much was shown, and what the newest rollout says."""
    newest = report.rollouts[0] if report.rollouts else None
    said = f"{newest.verdict.value}: {newest.why}" if newest else "no rollout in these days, so nothing is decided"
    return f"{plural(report.exposures, 'exposure')}, {report.untagged:,} of them say no release; {said}"


def numbers_of(report: OutcomeReport) -> dict[str, Scalar]:
    """Return what people watch over days: how much was shown, what it led to, and what the newest rollout says."""
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
    """Return the steps of rollouts by the journal, the oldest first, of those that ended on a day or later."""
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
    """Return the step that an entry begins, which lasts until the next entry about the rollout or the pointer."""
    share, release = entry.details.get("share"), entry.details.get("release")
    if entry.action not in _BEGINS or entry.changed or not isinstance(share, int) or not isinstance(release, str):
        return None
    until = parse_rfc3339(following.at) if following is not None and following.at else None
    return RolloutStep(release, entry.after or "", share, parse_rfc3339(entry.at), until)


def _days(first: date, last: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def _names(wanted: OutcomeSettings) -> FeedbackNames:
    return FeedbackNames(wanted.exposure, wanted.click, wanted.purchase)


def _shown(codes: pl.Series, ids: pl.Series, names: FeedbackNames) -> pl.Series:
    code = ids.index_of(names.exposure)
    return codes.is_null() if code is None else codes.is_null() | (codes == code).fill_null(value=False)


def _is_tagged(codes: pl.Series, ids: pl.Series) -> pl.Series:
    tagged = ids.str.contains(REQUEST_TAG).arg_true().cast(codes.dtype)
    return codes.is_in(tagged.to_list()).fill_null(value=False)


def _with_visitor(events: pl.DataFrame, day: date, known: dict[str, date]) -> pl.DataFrame:
    """Return a day's events with whom they are of, and whether that is somebody who was seen on a day before."""
    users = events["user_id"].drop_nulls().unique()
    returning = [user for user in users if known[user] < day]
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
