"""Endpoints of targets: status, freshness, next steps, statistics and heartbeats."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import islice
from secrets import token_hex
from typing import Annotated, Final

import msgspec
from msgspec.structs import replace

from recsys_assets.api.actions import ActionRequest
from recsys_assets.api.context import ApiContext
from recsys_assets.api.problems import redact, redact_entry
from recsys_assets.api.queries import MAX_LISTED, Page, PageQuery, TargetQuery, page_of
from recsys_assets.errors import BadRequestError, UnsafeNameError
from recsys_assets.identity import Target, end_of, rfc3339
from recsys_assets.pipeline.freshness import freshness
from recsys_assets.release.blocking import BlockedItem
from recsys_assets.release.documents import Hold, JournalEntry, Record
from recsys_assets.release.journal import tail
from recsys_assets.release.layout import blob_prefix, pointer_key, release_prefix
from recsys_assets.settings.upkeep import next_tick
from recsys_assets.upkeep.answer_guard import Answers
from recsys_assets.upkeep.heartbeats import (
    MAX_RELEASES,
    Failures,
    Heartbeat,
    ReleaseAnswers,
    Seconds,
    TrialAnswers,
    format_with,
    write_heartbeat,
)
from recsys_assets.upkeep.staleness import Freshness
from recsys_assets.upkeep.status import TargetStatus, status

MAX_HEARTBEAT_BYTES: Final = 31_000  # Limit of the request. The stored document adds a time and a nonce.


class TargetView(msgspec.Struct, frozen=True):
    """State of one target. Unknown values are null, and `problems` explains them."""

    tenant: str
    surface: str
    segment: str | None
    release: str | None
    data_through: date | None
    data_age_days: int | None
    updated_at: datetime | None
    versions: dict[str, str]
    hold: Hold | None
    last: JournalEntry | None
    failed: tuple[JournalEntry, ...]  # failed days of the last week that have not succeeded since
    answers: tuple[Answers, ...]  # reported by consumers, by release and kind, the live release first
    consumers: str | None  # message on the consumers with a heartbeat
    blocked: tuple[BlockedItem, ...]  # items that readers omit
    problems: tuple[str, ...]


class Stored(msgspec.Struct, frozen=True):
    """Number and total size of the stored objects of one kind."""

    kind: str
    objects: int
    bytes: int


class Stats(msgspec.Struct, frozen=True):
    """Numbers of stored objects of a target. `complete` is false if there are more than one request counts."""

    tenant: str
    surface: str
    releases: int
    journal_entries: int
    artifacts: tuple[Stored, ...]
    complete: bool


class Beat(Record, frozen=True):
    """Body of a heartbeat: what one consumer serves and its answer counts, without time, nonce and format."""

    consumer: str
    release: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")] | None
    state: Annotated[str, msgspec.Meta(max_length=50)] = "fresh"
    every_seconds: Seconds = 60.0
    left: bool = False
    answers: Annotated[tuple[ReleaseAnswers, ...], msgspec.Meta(max_length=MAX_RELEASES)] = ()
    blocked: str | msgspec.UnsetType = msgspec.UNSET
    trial: TrialAnswers | msgspec.UnsetType = msgspec.UNSET
    failures: Failures | msgspec.UnsetType = msgspec.UNSET


def receive_heartbeat(context: ApiContext, request: ActionRequest) -> None:
    """Store the heartbeat of a consumer with the current time, replacing its previous one.

    Raises `BadRequestError` for a name that is not safe.
    """
    target, beat = context.find(request.query.tenant, request.query.surface), request.read(Beat)
    fields = {name: getattr(beat, name) for name in beat.__struct_fields__}
    nonce, seen_at = token_hex(8), rfc3339(context.now())
    heartbeat = Heartbeat(**fields, seen_at=seen_at, nonce=nonce, v=format_with(beat.failures))
    try:
        write_heartbeat(context.store, target, heartbeat, expected=None)
    except UnsafeNameError as error:
        raise BadRequestError(str(error)) from error


def list_targets(context: ApiContext, query: PageQuery) -> Page[TargetView]:
    """Return the configured targets with their live releases, in the order of the configuration."""
    start = 0 if query.cursor is None else int(query.cursor)
    chosen = context.targets[start : start + query.limit + 1]
    cursors = [str(start + n) for n in range(1, len(chosen) + 1)]
    views = [*_views(context, chosen[: query.limit])]
    page = page_of([*range(len(chosen))], cursors, limit=query.limit)
    return Page(tuple(views), page.next)


def show_target(context: ApiContext, query: TargetQuery) -> TargetView:
    """Return one target with its live release."""
    return _views(context, [context.find(query.tenant, query.surface)])[0]


def show_freshness(context: ApiContext, query: TargetQuery) -> Freshness:
    """Return whether a target's live data is fresh by its configured limit, and the cause if it is not."""
    target = context.find(query.tenant, query.surface)
    row = context.settings.find(target.tenant, target.surface)
    fresh = freshness(context.store, context.settings, row, now=context.now())
    return replace(fresh, why=redact(fresh.why))


class NextStep(msgspec.Struct, frozen=True):
    """One expected event of a target: time (None if it depends on something else) and message."""

    at: datetime | None
    message: str


def next_steps(context: ApiContext, target: Target, view: TargetView, fresh: Freshness) -> tuple[NextStep, ...]:
    """Return the next steps known from store and configuration. Dagster may have switched schedules on or off."""
    row, now = context.settings.find(target.tenant, target.surface), context.now()
    automation = context.settings.automation_for(row)
    steps: list[NextStep] = []
    if fresh.wanted_through and (fresh.data_through is None or fresh.data_through < fresh.wanted_through):
        steps.append(NextStep(None, f"data through {fresh.wanted_through} is due and not live"))
    elif fresh.data_through is not None:
        stale = end_of(fresh.data_through) + timedelta(hours=fresh.max_age_hours)
        steps.append(NextStep(stale, f"becomes stale unless a day after {fresh.data_through} is live by then"))
    if view.hold:
        steps.append(NextStep(None, f"no build ships automatically: held by {view.hold.actor}"))
    tick = next_tick(automation.cron, automation.timezone, now)
    if tick is not None:
        newest = tick.date() - timedelta(days=1)
        name = f"nightly schedule ({automation.cron} in {automation.timezone})"
        state = "" if automation.nightly else ", if it is turned on in Dagster: it is off by configuration"
        steps.append(NextStep(tick, f"{name} builds {newest}{state}"))
    if automation.watch:
        raw = context.settings.raw
        what, when = "files", f"once unchanged for {automation.settled_minutes:g} min"
        if raw.is_queried:
            what, when = "rows", f"looked for every {raw.query_interval_minutes:g} min"
        message = f"{what} that arrive or change trigger a build of their day, {when}"
        steps.append(NextStep(None, message))
    return tuple(steps)


def show_stats(context: ApiContext, query: TargetQuery) -> Stats:
    """Return the numbers of stored releases, journal entries and artifacts of a target, by listing its keys."""
    target = context.find(query.tenant, query.surface)
    prefix = blob_prefix(target)
    blobs = list(islice(context.store.list(prefix), MAX_LISTED))
    releases = sum(1 for _ in islice(context.store.list(release_prefix(target)), MAX_LISTED))
    newest = tail(context.store, target)
    sizes: dict[str, list[int]] = {}
    for item in blobs:
        sizes.setdefault(item.key[len(prefix) :].partition("/")[0], []).append(item.size)
    return Stats(
        tenant=target.tenant,
        surface=target.surface,
        releases=releases,
        journal_entries=newest.sequence if newest else 0,
        artifacts=tuple(Stored(kind, len(of_kind), sum(of_kind)) for kind, of_kind in sorted(sizes.items())),
        complete=max(len(blobs), releases) < MAX_LISTED,
    )


def _views(context: ApiContext, targets: Iterable[Target]) -> list[TargetView]:
    chosen = list(targets)
    if chosen:
        context.store.stat(
            pointer_key(chosen[0])
        )  # fails the request if the store is down, which status would only note
    return [
        _view(target, row) for target, row in zip(chosen, status(context.store, chosen, now=context.now()), strict=True)
    ]


def _view(target: Target, row: TargetStatus) -> TargetView:
    hold = row.hold
    return TargetView(
        tenant=row.tenant,
        surface=row.surface,
        segment=target.segment,
        release=row.release,
        data_through=row.data_through,
        data_age_days=row.data_age_days,
        updated_at=row.updated_at,
        versions=row.versions,
        hold=msgspec.structs.replace(hold, reason=redact(hold.reason)) if hold else None,
        last=redact_entry(row.last) if row.last else None,
        failed=tuple(map(redact_entry, row.failed)),
        answers=row.answers,
        consumers=row.consumers.message if row.consumers else None,
        blocked=tuple(msgspec.structs.replace(item, reason=redact(item.reason)) for item in row.blocked),
        problems=tuple(redact(problem) for problem in row.problems),
    )
