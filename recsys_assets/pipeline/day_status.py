"""Check whether a day is up to date: built from the raw files there are, judged by the limits in force, recorded."""

import re
from collections.abc import Sequence
from datetime import date, timedelta

from recsys_assets.errors import ConfigurationError, CorruptObjectError, RefusedError
from recsys_assets.ingest.sources.finding import find_inputs
from recsys_assets.ingest.sources.source import FoundInput
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.overrides import as_recorded
from recsys_assets.pipeline.ship import requirements
from recsys_assets.pipeline.user_key import configured_key, mark_of_key, mark_of_record
from recsys_assets.release.candidate import read_candidate
from recsys_assets.release.document_encoding import find_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_prefix, canonical_record_key
from recsys_assets.release.pointer import release_id_of
from recsys_assets.release.releases import find_release
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

_RECORD = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
_DAY = len("2026-01-31")


def is_up_to_date(context: DayContext) -> bool:
    """Return whether building this day of a target again could change nothing, but for what code has changed since.

    Its raw files are compared by content, its gates by the bytes and the limits that they judged; a day without files,
    and one that a gate refused, is not up to date.
    """
    store, settings, row, day = context.store, context.settings, context.row, context.day
    try:
        record = find_document(store, canonical_record_key(row.target, day), CanonicalRecord)
        if record is None or _raw(settings, row, day) != _read(record):
            return False
        required = as_recorded(context, requirements(settings, row))
        candidate = read_candidate(store, row.target, day, kinds=settings.kinds_for(row), requirements=required)
        return find_release(store, row.target, release_id_of(row.target, candidate.versions)) is not None
    except (RefusedError, CorruptObjectError):
        return False


def last_built_day(store: ObjectStore, rows: Sequence[TargetSettings], *, before: date) -> date:
    """Return the last day that every one of these targets has canonical events of, to go on from.

    Raises `ConfigurationError` naming a target without any: nothing says where its history begins.
    """
    last: list[date] = []
    for row in rows:
        names = (
            item.key.removeprefix(canonical_prefix(row.target)) for item in store.list(canonical_prefix(row.target))
        )
        days = [date.fromisoformat(name[:_DAY]) for name in names if _RECORD.fullmatch(name)]
        built = [day for day in days if day < before]
        if not built:
            raise ConfigurationError(f"nothing was built of {row.target} yet: name the first day by --start")
        last.append(max(built))
    return min(last)


def changed_inputs(context: DayContext) -> list[str]:
    """Return the names of raw files that came, changed or went since the day's canonical events were built of them.

    Empty if there are none, and where nothing was built. Reads every file of the day to compare it by content.
    """
    record = find_document(context.store, canonical_record_key(context.row.target, context.day), CanonicalRecord)
    if record is None:
        return []
    now = {(file.name, file.digest()) for file in _files(context.settings, context.row, context.day)}
    return sorted({name for name, _ in now ^ {(used.name, used.digest) for used in record.inputs}})


def _files(settings: Settings, row: TargetSettings, day: date) -> Sequence[FoundInput]:
    return find_inputs(settings.model_copy(update={"targets": (row,)}), day)


def _raw(settings: Settings, row: TargetSettings, day: date) -> set[tuple[str, str]]:
    return {(file.name, file.digest()) for file in _files(settings, row, day)} | mark_of_key(configured_key(settings))


def _read(record: CanonicalRecord) -> set[tuple[str, str]]:
    return {(used.name, used.digest) for used in record.inputs} | mark_of_record(record)


def choose_days(settings: Settings, *, start: date, end: date, today: date) -> list[date]:
    """Return the days from `start` to `end`; all are checked before the first is touched."""
    if end < start:
        raise ConfigurationError(f"--end {end} is before --start {start}")
    first = settings.partitions.start
    if start < first:
        raise ConfigurationError(
            f"--start {start} is before partitions.start {first}: begin later, or change the setting"
        )
    last = settings.partitions.end
    if last is not None and end > last:
        raise ConfigurationError(f"--end {end} is after partitions.end {last}: end earlier, or change the setting")
    if end >= today:
        raise ConfigurationError(f"--end {end} has not ended in UTC: the last whole day is {today - timedelta(days=1)}")
    count = (end - start).days + 1
    if count > settings.limits.max_days:
        raise ConfigurationError(
            f"--start {start} to --end {end} are {count} days, limits.max_days allows {settings.limits.max_days}: "
            "make several calls of it, or change the setting"
        )
    return [start + timedelta(days=n) for n in range(count)]
