"""Checks that refuse a day before it is built: unusable input, and rebuilds that would lose stored events."""

from datetime import UTC, date, datetime, time
from math import ceil, floor

import msgspec
from msgspec import UNSET

from recsys_assets.errors import InputError, LimitExceededError, NoInputError, NotFoundError
from recsys_assets.events.erase_users import erase_from_events
from recsys_assets.events.event_files import decode_events
from recsys_assets.identity import Target
from recsys_assets.ingest.line_reader import RawEvent, read_line
from recsys_assets.ingest.quarantine import Reason
from recsys_assets.pipeline.canonical_commit import StoredDay
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.records import RawRecord, RawTargetRecord, missing_files
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.forgotten_users import ForgottenUsers
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.store import ObjectStore

MAX_QUARANTINE_BYTES = 64_000_000  # limit of one quarantine object
_HOUR, _DAY = 3600, 86_400  # seconds


def check_input(store: ObjectStore, raw: RawRecord, share: RawTargetRecord, settings: Settings, target: Target) -> None:
    """Raise if the raw files of a day cannot be built for this target.

    Raises `NoInputError` (no_input, empty_input, no_events), `InputError` (unreadable files, only bad lines, only
    events of other days or targets), or `LimitExceededError` (more events than `limits.max_events`).
    """
    files = [file for file in raw.files if file.name in share.files]
    unreadable = [file.error for file in files if file.error]  # each error includes the file name
    if unreadable:
        raise InputError(f"{target} {raw.day}: unreadable input: " + "; ".join(unreadable))
    if not files:
        raise NoInputError(f"{target} {raw.day}: no file is named for this target", outcome="no_input")
    if not any(file.lines for file in files):
        raise NoInputError(f"{target} {raw.day}: its files are empty", outcome="empty_input")
    if not share.events and share.bad:
        raise InputError(f"{target} {raw.day}: all {share.bad} lines are bad: see quarantine/{raw.day}/")
    _refuse_events_of_others(store, raw, share, target)
    if not share.events:
        raise NoInputError(f"{target} {raw.day}: no event of this target in its files", outcome="no_events")
    limit = settings.limits.max_events
    if share.events > limit:
        raise LimitExceededError(f"{target} {raw.day}: {share.events:,} events, limits.max_events allows {limit:,}")


def _refuse_events_of_others(store: ObjectStore, raw: RawRecord, share: RawTargetRecord, target: Target) -> None:
    """Raise `InputError` if there are events, but all belong to other days or to targets that are not configured."""
    if share.events:
        return
    shared = any(other.events for other in raw.targets if set(other.files) & set(share.files))
    if share.late and not shared:  # Otherwise the late events are stragglers in a file of this day.
        days = ", ".join(f"{day} ({count:,})" for day, count in share.late.items())
        raise InputError(
            f"{target} {raw.day}: all {sum(share.late.values()):,} events belong to other days: {days}"
            f"{_shift(store, raw, target)}; the file has the name of another day, its clock is shifted by hours, or it "
            f"covers a local day: if so, set raw.spill_days = 1"
        )
    lines = sum(file.lines for file in raw.files if file.name in share.files)
    if raw.foreign and not shared and lines and not share.spilled:
        names = ", ".join(f"{name} ({count:,})" for name, count in sorted(raw.foreign.items())[:5])
        raise InputError(
            f"{target} {raw.day}: all events in its files belong to targets that are not configured or not "
            f"assigned to these files: {names}; check tenant and surface of the target, and raw.exposures"
        )


def _shift(store: ObjectStore, raw: RawRecord, target: Target) -> str:
    """Return a clause with the hours by which the events of other days are shifted, "" if no shift explains them.

    The events are read from the lines in quarantine.
    """
    timestamps: list[int] = []
    for quarantined in raw.quarantine:
        try:
            lines = store.get(quarantined.name, max_bytes=MAX_QUARANTINE_BYTES).data.splitlines()
        except NotFoundError:
            continue  # deleted by its age limit since
        rejects = (msgspec.json.decode(line) for line in lines)
        owner = (target.tenant, target.surface)
        ours = (reject for reject in rejects if (reject.get("tenant"), reject.get("surface")) == owner)
        events = (read_line(reject["text"].encode()) for reject in ours if reject["reason"] == Reason.OUT_OF_WINDOW)
        timestamps += [event.ts for event in events if isinstance(event, RawEvent)]
    if not timestamps:
        return ""
    midnight = datetime.combine(date.fromisoformat(raw.day), time(), UTC)
    since = [timestamp / 1e9 - midnight.timestamp() for timestamp in (min(timestamps), max(timestamps))]
    most, least = floor(since[0] / _HOUR), ceil((since[1] - _DAY + 1) / _HOUR)
    if most < least:
        return ""  # they span more than a day, so no shift moves all of them into it
    hours = min(least, most, key=abs)
    return f", and look shifted by {hours:+d} h: moved by {-hours:+d} h they would belong to {raw.day}"


def refuse_missing_files(
    context: DayContext, raw: RawRecord, share: RawTargetRecord, stored: CanonicalRecord | None
) -> None:
    """Raise `InputError` if files from which the day was read or built are missing: a rebuild would lose events."""
    absent = raw.missing or ()
    present = [(file.name, file.digest) for file in raw.files if file.name in share.files and file.name not in absent]
    built = {(used.name, used.digest) for used in stored.inputs} if stored else set[tuple[str, str]]()
    built |= {(file.name, file.digest) for file in raw.files if file.name in share.files and file.name in absent}
    gone = missing_files(built, present)
    if gone:
        raise InputError(
            f"{context.target} {raw.day}: {len(gone)} of the {len(built)} files that the stored day was built from are "
            f"gone ({', '.join(gone[:3])}): restore them, or accept a smaller day by "
            "`recsys-assets run --rebuild-without-missing-files`, or raw.rebuild_without_missing_files"
        )


def refuse_lost_events(
    context: DayContext, over: StoredDay, record: CanonicalRecord, forgotten: ForgottenUsers
) -> None:
    """Raise `InputError` if more than `raw.max_lost_share` of the stored day's distinct events would be lost.

    Stored events of forgotten users do not count as lost. If files are missing, the smaller day has been accepted
    already, and nothing is raised.
    """
    stored = over.record
    if stored is None or record.rows >= stored.rows:
        return
    if missing_files(*([(used.name, used.digest) for used in each.inputs] for each in (stored, record))):
        return
    hidden = _hidden_rows(over, record, forgotten, context.day)
    if hidden is None:
        return
    lost, limit = stored.rows - hidden - record.rows, context.settings.raw.max_lost_share
    if lost > limit * stored.rows:
        raise InputError(
            f"{context.target} {context.day}: rebuilt, the day would have {record.rows:,} distinct events, "
            f"{stored.rows:,} are stored: {lost / stored.rows:.1%} would be lost, raw.max_lost_share allows "
            f"{limit:.1%}; what is stored stays. Restore the files, or accept a smaller day by "
            "`recsys-assets run --accept-smaller-days`"
        )


def _hidden_rows(over: StoredDay, record: CanonicalRecord, forgotten: ForgottenUsers, day: date) -> int | None:
    """Count the stored events of forgotten users, or None if they were hashed by another key and cannot be recognised.

    They are still stored if a `forget` that runs concurrently, or was killed, has erased them only from the raw parts.
    """
    if over.record is None or over.data is None or forgotten.mark(day) is None:
        return 0
    if over.record.user_key not in (UNSET, record.user_key):
        return None
    users = decode_events(over.data, ("user_id",))
    return len(users.codes) - len(erase_from_events(users, lambda user: forgotten.hides(user, day)).codes)
