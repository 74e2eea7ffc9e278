"""Forgetting of a user: erases them from stored days, the live release and later builds, and lists what remains."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, datetime

import msgspec
from msgspec.structs import replace

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    InputError,
    NotFoundError,
    RefusedError,
)
from recsys_assets.identity import Target, Window
from recsys_assets.ingest.white_space import trim
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import judge_canonical, judge_earlier_days_again
from recsys_assets.pipeline.canonical_commit import erase_from_day
from recsys_assets.pipeline.context import COMMAND, DayContext
from recsys_assets.pipeline.records import configured_key, mark_of_key, mark_of_record
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.privacy.erase import EraseOutcome, canonical_days, erase_from_raw, raw_days
from recsys_assets.privacy.search import names_user, places_that_hold, releases_that_hold, under_other_key
from recsys_assets.release import journal
from recsys_assets.release.change import PointerChange
from recsys_assets.release.document_encoding import find_document, read_document
from recsys_assets.release.documents import CanonicalRecord, JournalEntry, Release, StagedArtifact, StagedDay
from recsys_assets.release.fault_points import reach
from recsys_assets.release.forgotten_users import add_forgotten_user
from recsys_assets.release.hold import swap_to_itself
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import (
    TALLIES,
    canonical_record_key,
    intent_prefix,
    staged_day_key,
    staged_prefix,
)
from recsys_assets.release.pointer import LivePointer, read_current
from recsys_assets.release.releases import read_release
from recsys_assets.release.rollout import end_rollout
from recsys_assets.release.staged import find_canonical_report, remove_staged
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.roots import KEEP, retained_releases

FORGET = "forget"
OUT_OF_REACH = (
    "caches and disk copies of consumers, until they load the new release",
    "raw input files, and the systems that they come from",
    "backups of the store",
    "Dagster's own database: samples and logs of runs, until they are pruned and the database is vacuumed",
)
_REBUILDS = 5


class ForgetOutcome(msgspec.Struct, frozen=True):
    """Outcome of forgetting a user of one target: erased counts, and every object that still contains the user."""

    target: str
    message: str
    days: tuple[str, ...] = ()  # canonical days that changed
    events: int = 0  # events in canonical days
    raw_events: int = 0  # events of raw parts, including duplicates
    quarantined: int = 0  # blanked lines
    live_holds: bool = False
    still_in: tuple[str, ...] = ()  # retained releases, live or not
    other_key: tuple[str, ...] = ()  # days hashed by another key, in which users cannot be found
    other_key_in: tuple[str, ...] = ()  # retained releases hashed by another key, which may contain the user
    unread: tuple[str, ...] = ()  # days that could not be searched and may contain the user
    places: tuple[str, ...] = ()  # Keys of all objects that contain the user. Empty in a dry run.
    out_of_reach: tuple[str, ...] = OUT_OF_REACH
    failed: bool = False  # Stopped by the error in `message`. Rerun to continue.
    entry: JournalEntry | None = None  # None: dry run

    @property
    def exit_code(self) -> int:
        """Exit code 1 if it failed, or (unless a dry run) anything contains or may contain the user."""
        left = self.live_holds or self.other_key or self.unread or self.places
        return int(self.failed or (bool(left) and self.entry is not None))


class ForgetRequest(msgspec.Struct, frozen=True):
    """Request to forget a user of one target.

    `is_configured`: the target is in the configuration, so that its live artifacts can be rebuilt.
    """

    store: ObjectStore
    settings: Settings
    row: TargetSettings
    user: str
    by: Actor
    now: Callable[[], datetime]
    is_configured: bool = True
    pause: Pause = wait  # between attempts after conflicts

    @property
    def target(self) -> Target:
        """Target of the request."""
        return self.row.target

    @property
    def names(self) -> frozenset[str]:
        """The id and, if `raw.user_key` is set, its hash. Days built before the key was set contain the id."""
        user, key = trim(self.user), configured_key(self.settings)
        return frozenset({user} if key is None else {user, key.hash(user)})


def forget_user(task: ForgetRequest, *, dry_run: bool = False) -> ForgetOutcome:
    """Drop a user's events through today from all days of a target, rebuild the live artifacts, and list what remains.

    First the user is noted, by a hash, so that concurrent and later builds drop the same events. Then the pointer is
    swapped to itself, so that every ship that had not seen the note is judged again. Last, every object of the target
    is decoded and searched. Releases retained for a rollback contain the user until they are collected. Raw input files
    are left to their owner. An interrupted or refused run is completed by a rerun.

    Raises `ConfigurationError` for an empty id, or if `raw.user_key` is set but its key is missing, and `ConflictError`
    if other writers kept changing the same days.
    """
    if not trim(task.user):
        raise ConfigurationError("--user is empty: give the user's id as in the events")
    store, target, today, names = task.store, task.target, task.now().date(), task.names
    under_way: list[str] = [] if dry_run else _note(task, today)
    raw = {
        day: erase_from_raw(store, target, day, names, dry_run=dry_run, pause=task.pause)
        for day in raw_days(store)
        if day <= today
    }
    canonical = {
        day: erase_from_day(store, target, day, names, dry_run=dry_run, pause=task.pause)
        for day in canonical_days(store, target)
        if day <= today
    }
    reach("forget.after_days")
    days = [day for day, gone in canonical.items() if gone]
    message = "dry run: nothing was changed" if dry_run else _rebuild(task, days)
    live = read_current(store, target)
    releases = _releases(task, live)
    holding, other = releases_that_hold(store, target, names, releases), under_other_key(task.settings, releases)
    forgot = ForgetOutcome(
        target=str(target),
        message=message,
        days=tuple(map(str, days)),
        events=sum(gone for gone in canonical.values() if gone),
        raw_events=sum(erased.events for erased in raw.values()),
        quarantined=sum(erased.lines for erased in raw.values()),
        live_holds=live is not None and live.release_id in {*holding, *other},
        still_in=tuple(holding),
        other_key=tuple(str(day) for day, gone in canonical.items() if gone is not None and _has_other_key(task, day)),
        other_key_in=tuple(other),
        unread=tuple(_unread(raw, canonical)),
    )
    if dry_run:
        return forgot
    forgot = replace(forgot, places=(*places_that_hold(store, target, names), *under_way))
    return replace(forgot, entry=_record(task, forgot, live))


def _note(task: ForgetRequest, today: date) -> list[str]:
    """Write the notes and fence off every ship that has not seen them. Returns the intents that cannot be fenced off.

    Without a pointer there is nothing to swap: a change under way may still ship what it checked before.
    """
    store, target = task.store, task.target
    user = trim(task.user)
    for name in sorted(task.names):  # the raw id, checked by raw, and its hash, stored in canonical days
        add_forgotten_user(store, target, name, through=today, by=task.by, now=task.now(), pseudonym=name != user)
    reach("forget.after_note")
    end_rollout(store, target, why="a user is being forgotten", by=task.by, now=task.now)
    if read_current(store, target) is None:
        keys = [item.key for item in store.list(intent_prefix(target))]
        return [f"{key} (a change under way may ship older artifacts: run this again after it)" for key in keys]
    swap_to_itself(PointerChange(store, target, FORGET, task.by, task.now), message="a user is being forgotten")
    reach("forget.after_fence")
    return []


def _unread(raw: dict[date, EraseOutcome], canonical: dict[date, int | None]) -> Iterator[str]:
    yield from (f"raw of {day}: {erased.fault}" for day, erased in raw.items() if erased.fault)
    yield from (
        f"canonical {day}: its bytes do not match its record: build the day again"
        for day, gone in canonical.items()
        if gone is None
    )


def _rebuild(task: ForgetRequest, days: Sequence[date]) -> str:
    """Run the gates of changed days, rebuild and ship the live day's artifacts. Returns a message on the result."""
    store, row = task.store, task.row
    for item in store.list(f"{TALLIES}{row.tenant}/{row.surface}/"):
        store.delete(item.key)  # rebuilt when a window needs them
    withdrawn = _withdraw_staged(task)
    live = read_current(store, task.target)
    if live is None:
        return "nothing is live"
    last = date.fromisoformat(read_release(store, task.target, live.release_id).data_through)
    needed = _days_of_windows(task, last)
    if (
        not set(days) & needed
        and live.release_id not in releases_that_hold(store, task.target, task.names, _releases(task, live))
        and last not in withdrawn
    ):
        _judge_changed(task, days)
        return f"the live data of {last} does not contain the user"
    if not task.is_configured:
        return f"the live data of {last} cannot be rebuilt because the target is not in the configuration: retire it"
    problem = ""
    for _ in attempts(_REBUILDS, pause=task.pause):
        before = _digests(task, needed)
        try:
            return _rebuild_once(task, {*days, *needed}, last)
        except ConflictError as error:
            problem = str(error)  # a concurrent forget or build
        except (InputError, RefusedError, CorruptObjectError, NotFoundError) as error:
            problem = str(error)
            if _digests(task, needed) == before:
                break
    return f"the live data of {last} could not be rebuilt: {problem}"


def _rebuild_once(task: ForgetRequest, days: Collection[date], last: date) -> str:
    _judge_changed(task, days)
    context = DayContext(task.store, task.settings, task.row, last, run_id=task.by.run_id or COMMAND, now=task.now)
    judge_earlier_days_again(context)  # by the current limits, which may have changed since the days were refused
    judge_canonical(context)
    for kind in (name for name in task.settings.artifacts.kinds if name in KINDS):
        build_artifact(context, kind)
        judge_artifact(context, kind)
    shipped = ship_day(context, by=task.by, at_once=True)
    return f"{last} was rebuilt: {shipped.outcome.message}"


def _judge_changed(task: ForgetRequest, days: Collection[date]) -> None:
    """Run the gates of each day whose report is of other bytes, also after an interrupted `forget`."""
    for day in sorted(days):
        record = find_document(task.store, canonical_record_key(task.target, day), CanonicalRecord)
        report = None if record is None else find_canonical_report(task.store, task.target, day, record)
        if record is not None and report is not None and report.version != record.digest:
            judge_canonical(DayContext(task.store, task.settings, task.row, day))


def _digests(task: ForgetRequest, days: Collection[date]) -> list[str | None]:
    """Return the digests of canonical days, or None for a missing day."""
    records = (
        find_document(task.store, canonical_record_key(task.target, day), CanonicalRecord) for day in sorted(days)
    )
    return [None if record is None else record.digest for record in records]


def _withdraw_staged(task: ForgetRequest) -> set[date]:
    """Delete staged references to artifacts that contain the user, e.g. of failed days. Returns their days.

    The artifacts are collected later, because nothing refers to them. The final search lists them until then.
    """
    store, prefix = task.store, staged_prefix(task.target)
    withdrawn: set[date] = set()
    for item in store.list(prefix):
        name, _, kind = item.key.removeprefix(prefix).partition("/")
        if kind.endswith(".gates.json"):
            continue
        try:
            day = date.fromisoformat(name.removesuffix(".json"))
            for staged in _staged_in(store, task.target, day, item.key):
                if any(names_user(store, task.target, task.names, ref) for ref in staged.refs):
                    remove_staged(store, task.target, day, staged.kind)
                    withdrawn.add(day)
        except (CorruptObjectError, NotFoundError, ValueError):
            continue  # it cannot be shipped
    return withdrawn


def _staged_in(store: ObjectStore, target: Target, day: date, key: str) -> tuple[StagedArtifact, ...]:
    """Return the artifacts in a document below the staged prefix: of a run, or of one kind."""
    if key != staged_day_key(target, day):
        return (read_document(store, key, StagedArtifact),)
    return tuple(read_document(store, key, StagedDay).artifacts.values())


def _days_of_windows(task: ForgetRequest, last: date) -> set[date]:
    """Return the days in the windows of the artifacts of a day."""
    kinds = (name for name in task.settings.artifacts.kinds if name in KINDS)
    windows = (Window.ending(last, days=read_params(task.settings, task.row, kind).window_days) for kind in kinds)
    return {day for window in windows for day in window.days}


def _releases(task: ForgetRequest, live: LivePointer | None) -> list[Release]:
    """Return the live and the retained releases."""
    if live is None:
        return []
    keep = max(KEEP, task.settings.retention_for(task.row).keep)
    retained = retained_releases(task.store, task.target, live, keep=keep, now=task.now())
    return [read_release(task.store, task.target, release_id) for release_id in retained]


def _has_other_key(task: ForgetRequest, day: date) -> bool:
    """Return True if users of a day are hashed by another key than the configured one."""
    record = find_document(task.store, canonical_record_key(task.target, day), CanonicalRecord)
    return record is not None and not mark_of_record(record) <= mark_of_key(configured_key(task.settings))


def _record(task: ForgetRequest, forgot: ForgetOutcome, live: LivePointer | None) -> JournalEntry:
    """Journal the result without the user's id, which would stay there forever."""
    entry = journal.entry_of(
        action=FORGET,
        outcome=journal.REFUSED if forgot.live_holds or forgot.other_key or forgot.unread else journal.DONE,
        by=task.by,
        now=task.now(),
        live=live,
        message=forgot.message,
        details={
            "days": len(forgot.days),
            "events": forgot.events,
            "still_in": len(forgot.still_in) + len(forgot.other_key_in),
            "places": len(forgot.places),
        },
    )
    return journal.append(task.store, task.target, entry, after=journal.tail(task.store, task.target))
