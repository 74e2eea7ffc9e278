"""Refusals of a rebuild that would make a canonical day smaller: files that are gone, events that would be lost."""

from datetime import date

from msgspec import UNSET

from recsys_assets.errors import InputError
from recsys_assets.events.erase_users import erase_from_events
from recsys_assets.events.parquet import decode_events
from recsys_assets.pipeline.canonical_commit import StoredDay
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.records import RawRecord, RawTargetRecord, missing_files
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.forgotten_users import Forgotten


def refuse_missing_files(
    context: DayContext, raw: RawRecord, share: RawTargetRecord, stored: CanonicalRecord | None
) -> None:
    """Raise `InputError` if files are gone that the day was read or built from: what is left would make it smaller."""
    absent = raw.missing or ()
    there = [(file.name, file.digest) for file in raw.files if file.name in share.files and file.name not in absent]
    built = {(used.name, used.digest) for used in stored.inputs} if stored else set[tuple[str, str]]()
    built |= {(file.name, file.digest) for file in raw.files if file.name in share.files and file.name in absent}
    gone = missing_files(built, there)
    if gone:
        raise InputError(
            f"{context.target} {raw.day}: {len(gone)} of the {len(built)} files that the stored day was built from are "
            f"gone ({', '.join(gone[:3])}): restore them, or accept a smaller day by "
            "`recsys-assets run --rebuild-without-missing-files`, or raw.rebuild_without_missing_files"
        )


def refuse_lost_events(context: DayContext, over: StoredDay, record: CanonicalRecord, forgotten: Forgotten) -> None:
    """Raise `InputError` if more than `raw.max_lost_share` of the stored day's distinct events would be lost.

    Events of forgotten users are lost to nobody: those that are stored still do not count. Files that are gone, and
    that somebody accepted, are no reason to ask twice.
    """
    stored = over.record
    if stored is None or record.rows >= stored.rows:
        return
    if missing_files(*([(used.name, used.digest) for used in one.inputs] for one in (stored, record))):
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


def _hidden_rows(over: StoredDay, record: CanonicalRecord, forgotten: Forgotten, day: date) -> int | None:
    """Count the stored events of forgotten users; None: another key hashed them, so that nobody can be found there.

    A `forget` beside a build, or one that was killed, took them out of the raw parts and not yet out of the day.
    """
    if over.record is None or over.data is None or forgotten.mark(day) is None:
        return 0
    if over.record.user_key not in (UNSET, record.user_key):
        return None
    users = decode_events(over.data, ("user_id",))
    return len(users.codes) - len(erase_from_events(users, lambda user: forgotten.hides(user, day)).codes)
