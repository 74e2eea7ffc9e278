"""Causes of stale targets, as shown by the command, the Dagster check and the API."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import islice, takewhile

import msgspec

from recsys_assets.errors import ConflictError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.evidence import GateReport
from recsys_assets.identity import Target, end_of, rfc3339
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import CanonicalRecord, JournalEntry
from recsys_assets.release.hold import read_hold
from recsys_assets.release.journal import LOST, REFUSED, message_of, newest_first
from recsys_assets.release.layout import canonical_record_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import find_release
from recsys_assets.release.ship_rules import ending, is_in_force
from recsys_assets.release.staged import find_canonical_report, find_report, find_report_of_kind, find_staged_artifact
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.heartbeats import convergence
from recsys_assets.upkeep.status import BUILD, GATE, failed_days

_LOOKED_AT = 100  # number of journal entries that are searched
_CLOCKS_DIFFER = timedelta(days=1)  # maximum difference between the clocks of journal writers
_TIME_TO_SWITCH = timedelta(minutes=15)  # time after a swap before consumers count as behind


class Cause(StrEnum):
    """Cause of stale live data. The first that applies counts."""

    FRESH = "fresh"
    STORE_DOWN = "store_down"
    DAMAGED = "damaged"
    HELD = "held"
    GATE_REFUSED = "gate_refused"
    CONFLICT = "conflict"
    REFUSED = "refused"
    NOT_SHIPPED = "not_shipped"
    BUILD_FAILED = "build_failed"
    INPUT_MISSING = "input_missing"
    INPUT_LATE = "input_late"
    NOT_BUILT = "not_built"
    READERS_BEHIND = "readers_behind"


class RawFiles(msgspec.Struct, frozen=True):
    """State of a day's raw files: their number, the newest change, and whether they are complete (`settled`)."""

    files: int
    newest: datetime | None = None
    settled: bool = True


RawLookup = Callable[[date], RawFiles | None]


class RequiredData(msgspec.Struct, frozen=True):
    """Data that must be live at `now`: through `day` (None: nothing yet), because data may be `max_age` old."""

    day: date | None
    max_age: timedelta
    now: datetime

    @property
    def due(self) -> datetime | None:
        """Time at which it must be live: when the day before becomes too old."""
        return end_of(self.day) - timedelta(days=1) + self.max_age if self.day else None


class Freshness(msgspec.Struct, frozen=True):
    """Age of a target's live data, its limit and, if it is stale, the cause and the remedy."""

    tenant: str
    surface: str
    fresh: bool
    cause: Cause
    why: str
    data_through: date | None
    wanted_through: date | None
    age_hours: float | None  # since the end of the last day in the live data
    max_age_hours: float


def wanted_at(now: datetime, *, max_age: timedelta, first: date, last: date | None) -> RequiredData:
    """Return the data that must be live: through the oldest day that ended less than `max_age` ago.

    With a `max_age` below 24 hours this may be the current day: the data is then stale for a part of every day.
    """
    day = (now.astimezone(UTC) - max_age).date()
    day = min(day, last) if last is not None else day
    return RequiredData(day if day >= first else None, max_age, now)


def explain_freshness(
    store: ObjectStore, target: Target, wanted: RequiredData, *, kinds: Sequence[str], raw: RawLookup
) -> Freshness:
    """Return the freshness of a target, determined only from the store, so that it is stale even if nothing runs.

    `kinds` are the artifacts of a day. `raw` returns the raw files of a day, None if they are not looked up, and is
    called only if the cause depends on them. Errors of the store are not raised, but become the cause.
    """
    through: date | None = None
    try:
        through = _live_through(store, target)
        if wanted.day is None or (through is not None and through >= wanted.day):
            cause, message = _where_fresh(store, target, through, now=wanted.now)
        else:
            cause, message = next(_causes(store, target, wanted.day, wanted, kinds, raw))
            earlier = _oldest_failure(store, target, through, wanted.day, now=wanted.now)
            if earlier is not None and cause is not Cause.HELD:
                cause, message = earlier[0], f"{earlier[1]}; and {message}"
    except StoreUnavailableError as error:
        cause, message = Cause.STORE_DOWN, f"the store is unavailable: {error}"
    except RecsysAssetsError as error:
        cause, message = Cause.DAMAGED, str(error)
    return Freshness(
        tenant=target.tenant,
        surface=target.surface,
        fresh=cause is Cause.FRESH,
        cause=cause,
        why=message,
        data_through=through,
        wanted_through=wanted.day,
        age_hours=round((wanted.now - end_of(through)) / timedelta(hours=1), 2) if through else None,
        max_age_hours=wanted.max_age / timedelta(hours=1),
    )


def _live_through(store: ObjectStore, target: Target) -> date | None:
    current = read_current(store, target)
    release = find_release(store, target, current.release_id) if current else None
    return date.fromisoformat(release.data_through) if release else None


def _where_fresh(store: ObjectStore, target: Target, through: date | None, *, now: datetime) -> tuple[Cause, str]:
    """Return the cause for data that is fresh enough: `readers_behind` if consumers do not serve it, else `fresh`."""
    current = read_current(store, target)
    if current is None:
        return Cause.FRESH, "nothing is due yet"
    converged = convergence(store, target, current.release_id, now=now)
    if converged.behind and now - current.updated_at > _TIME_TO_SWITCH:
        return (
            Cause.READERS_BEHIND,
            f"data through {through} is live since {current.pointer.updated_at}; {converged.message}",
        )
    return Cause.FRESH, f"data through {through} is live"


def _causes(
    store: ObjectStore,
    target: Target,
    day: date,
    wanted: RequiredData,
    kinds: Sequence[str],
    raw: RawLookup,
) -> Iterator[tuple[Cause, str]]:
    """Yield possible causes, the one closest to the swap first: steps before it have succeeded."""
    through = _live_through(store, target)
    hold = read_hold(store, target)
    if hold and is_in_force(hold, data_through=(through or day).isoformat(), now=wanted.now):
        message = f"held since {hold.at} by {hold.actor} ({hold.reason}), until {ending(hold)}"
        yield Cause.HELD, f"{message}; `recsys-assets release-hold` ends it"
    refused = "; ".join(_refusals(store, target, day, kinds))
    if refused:
        yield Cause.GATE_REFUSED, f"{day}: {refused}"
    entry = _last_attempt(store, target, day)
    failed = entry if entry is not None and entry.outcome == REFUSED else None
    if failed is not None and failed.action != BUILD:
        conflict = failed.details.get("error") == ConflictError.__name__
        yield Cause.CONFLICT if conflict else Cause.REFUSED, f"{day} was refused at {failed.at}: {message_of(failed)}"
    if all(find_report_of_kind(store, target, day, kind) for kind in kinds):
        yield Cause.NOT_SHIPPED, f"{day} passed its gates but was not shipped: run its manifest, or `ship` it"
    if failed is not None:
        yield Cause.BUILD_FAILED, f"the build of {day} failed at {failed.at}: {message_of(failed)}"
    if find_document(store, canonical_record_key(target, day), CanonicalRecord) is not None:
        yield Cause.NOT_BUILT, f"{day} has events but lacks artifacts: check whether its run failed or is still running"
    yield _without_events(day, wanted, raw(day))


def _oldest_failure(
    store: ObjectStore, target: Target, through: date | None, day: date, *, now: datetime
) -> tuple[Cause, str] | None:
    """Return the failure of the oldest failed day between the live day and `day`, or None.

    Without it, a newest day whose files are only late would hide the failure. Days without files are not failures.
    """
    first = through.isoformat() if through else ""
    failed = [e for e in failed_days(store, target, now=now) if first < str(e.details.get("day")) < day.isoformat()]
    if not failed:
        return None
    oldest = min(failed, key=lambda entry: str(entry.details.get("day")))
    message = f"{oldest.details.get('day')} was refused at {oldest.at}: {message_of(oldest)}"
    if oldest.action != BUILD:
        return Cause.REFUSED, message
    return Cause.GATE_REFUSED if oldest.details.get("error") == GATE else Cause.BUILD_FAILED, message


def _refusals(store: ObjectStore, target: Target, day: date, kinds: Sequence[str]) -> Iterator[str]:
    """Yield the refusals by gates of exactly the stored objects of a day."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    if record is not None:
        report = find_canonical_report(store, target, day, record)
        yield from _refused(report, record.digest)
    for kind in kinds:
        staged = find_staged_artifact(store, target, day, kind)
        if staged is not None:
            yield from _refused(find_report(store, target, day, staged), staged.ref.version)


def _refused(report: GateReport | None, version: str) -> Iterator[str]:
    if report is not None and report.version == version:
        yield from (f"{report.subject}: {because}" for because in report.refused_because)


def _last_attempt(store: ObjectStore, target: Target, day: date) -> JournalEntry | None:
    """Return the newest attempt to ship this day, searching only entries written since the day began."""
    began = rfc3339(end_of(day) - timedelta(days=1) - _CLOCKS_DIFFER)
    entries = islice(newest_first(store, target), _LOOKED_AT)
    possible = takewhile(lambda entry: entry.action == LOST or entry.at >= began, entries)
    return next((entry for entry in possible if entry.details.get("day") == day.isoformat()), None)


def _without_events(day: date, wanted: RequiredData, raw: RawFiles | None) -> tuple[Cause, str]:
    if raw is None:
        message = f"{day} has no events yet; the query of raw.exposures is not run to find out why"
        return Cause.NOT_BUILT, f"{message}: see the day's run; if there is none, check that schedule and daemon are on"
    if not raw.files:
        return Cause.INPUT_MISSING, f"{day} has no raw file: contact the team that delivers it"
    newest = rfc3339(raw.newest.replace(microsecond=0)) if raw.newest else "an unknown time"
    if not raw.settled:
        return Cause.INPUT_LATE, f"the raw files of {day} are still being written (last change {newest})"
    if raw.newest and wanted.due and raw.newest > wanted.due:
        return Cause.INPUT_LATE, f"the raw files of {day} arrived at {newest}, after they were due: build the day"
    message = f"the raw files of {day} exist since {newest} but gave no events of this target"
    return Cause.NOT_BUILT, f"{message}: see the day's run; if there is none, check that schedule and daemon are on"
