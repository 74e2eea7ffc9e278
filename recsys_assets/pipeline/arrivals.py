"""Days to build: new or changed raw and dropped files, and windows over days that were rebuilt."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache, partial

import msgspec

from recsys_assets.errors import ConfigurationError, CorruptObjectError, RefusedError
from recsys_assets.identity import Window
from recsys_assets.ingest.sources.discovery import find_dropped, find_inputs
from recsys_assets.ingest.sources.source import FoundInput
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.overrides import as_recorded
from recsys_assets.pipeline.records import (
    USER_KEY,
    RawRecord,
    RawTargetRecord,
    configured_key,
    mark_of_key,
    mark_of_record,
    missing_files,
)
from recsys_assets.pipeline.ship import requirements
from recsys_assets.release.candidate import read_candidate
from recsys_assets.release.document_encoding import find_document, find_readable
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import (
    canonical_key,
    canonical_prefix,
    canonical_record_key,
    raw_record_key,
)
from recsys_assets.release.pointer import release_id_of
from recsys_assets.release.releases import find_release
from recsys_assets.release.staged import find_readable_artifact
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

InputFinder = Callable[[TargetSettings, date], Sequence[FoundInput]]
Seen = Mapping[str, str]  # day -> hash of its files' names, sizes and times when their content was last compared

_RECORD = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
_DAY = len("2026-01-31")


class DueDay(msgspec.Struct, frozen=True):
    """A day of a target whose artifacts are out of date. An equal `address` means an equal cause."""

    row: TargetSettings
    day: date
    reason: str
    address: str


class Arrivals(msgspec.Struct, frozen=True):
    """Result of one check of a target: the days due, the state of the files, and the files that have not settled."""

    due: tuple[DueDay, ...]
    seen: Seen
    unsettled: tuple[str, ...]


def look_back(settings: Settings, row: TargetSettings, *, now: datetime) -> list[date]:
    """Return the ended days that are checked, oldest first."""
    last = now.astimezone(UTC).date() - timedelta(days=1)
    first = max(settings.partitions.start, last - timedelta(days=settings.automation_for(row).look_back_days - 1))
    days = Window(first, last).days if first <= last else []
    end = settings.partitions.end
    return [day for day in days if end is None or day <= end]


def input_finder(settings: Settings) -> InputFinder:
    """Return a function that finds the raw inputs of a target and day, for one check of any number of targets.

    A table or query that serves all targets at once is asked once per day, however many targets are checked.
    """
    if settings.raw.is_shared:
        of_day = cache(partial(find_inputs, settings))
        return lambda _, day: of_day(day)
    return lambda row, day: _files(settings, row, day)


def look(
    store: ObjectStore, settings: Settings, row: TargetSettings, *, seen: Seen, now: datetime, find: InputFinder
) -> Arrivals:
    """Compare the content of a target's raw files of the last days with the files from which the days were built.

    Files are read only if names, sizes or modification times differ from those in `seen`. A day with files younger than
    `automation.settled_minutes` is left for the next check. A day is never due if one of the files from which it was
    built has disappeared: a rebuild would lose its events.
    """
    scan = _ArrivalScan(store, settings, row, now, find)
    days = look_back(settings, row, now=now)
    due = [changed for day in days if (changed := scan.changed(day, seen.get(day.isoformat())))]
    rebuilt = {changed.day for changed in due}
    due += [outdated for outdated in scan.outdated(days) if outdated.day not in rebuilt]
    return Arrivals(tuple(sorted(due, key=lambda item: item.day)), scan.seen, tuple(scan.unsettled))


@dataclass(slots=True)
class _ArrivalScan:
    """One check of one target. Collects the state of its files, and those that have not settled."""

    store: ObjectStore
    settings: Settings
    row: TargetSettings
    now: datetime
    find: InputFinder
    seen: dict[str, str] = field(default_factory=dict[str, str])
    unsettled: list[str] = field(default_factory=list[str])

    def changed(self, day: date, seen: str | None) -> DueDay | None:
        """Return the day as due if its settled files differ by content from those that it was built from."""
        files = self.find(self.row, day)
        young = self._young(files)
        self.unsettled += young
        if young:
            return None
        key = mark_of_key(configured_key(self.settings))
        appearance = _address(_appearance(files), *(mark for _, mark in key))
        self.seen[day.isoformat()] = appearance
        if not files or appearance == seen:
            return None
        now = {(file.name, file.digest()) for file in files} | key
        built = self._built_of(day)
        if now == built or (built is not None and missing_files([file for file in built if file[0] != USER_KEY], now)):
            return None  # unchanged, or files have disappeared, which brings no new events
        reason = f"raw files of {day} " + ("arrived" if built is None else "changed")
        return DueDay(self.row, day, reason, _address(*sorted(f"{digest} {name}" for name, digest in now)))

    def outdated(self, days: Sequence[date]) -> Iterator[DueDay]:
        """Yield the days whose multi-day windows were built from other canonical days than those stored now."""
        kinds = self._rolling()
        if not kinds:
            return
        digests = {day: record.digest for day in days if (record := self._canonical(day)) is not None}
        for day in digests:
            stale = [kind for kind, length in kinds.items() if self._is_outdated(kind, day, length, digests)]
            if stale:
                window = Window.ending(day, days=max(kinds.values()))
                parts = [digest for other, digest in digests.items() if window.first <= other <= day]
                reason = f"{', '.join(stale)} of {day} were built from days that were rebuilt since"
                yield DueDay(self.row, day, reason, _address("window", *parts))

    def _young(self, files: Sequence[FoundInput]) -> list[str]:
        limit = self.now - timedelta(minutes=self.settings.automation_for(self.row).settled_minutes)
        return [file.name for file in files if file.touched_at() > limit]

    def _built_of(self, day: date) -> set[tuple[str, str]] | None:
        """Return name and digest of the files of the canonical day, or of a day that was read and has no events.

        Files that could not be read to their end are excluded: no day was built from them. None: nothing was built.
        """
        record = self._canonical(day)
        if record is not None:
            return {(used.name, used.digest) for used in record.inputs} | mark_of_record(record)
        raw = find_readable(self.store, raw_record_key(day), RawRecord)
        if raw is None:
            return None
        empty = [share for share in raw.targets if _is_of(share, self.row) and not share.events]
        read = [file for share in empty for file in raw.files if file.name in share.files]
        files = {(file.name, file.digest) for file in read if not file.error}
        return files | mark_of_record(raw) if files else None

    def _canonical(self, day: date) -> CanonicalRecord | None:
        return find_readable(self.store, canonical_record_key(self.row.target, day), CanonicalRecord)

    def _rolling(self) -> dict[str, int]:
        """Return the kinds with windows longer than a day, and the days of each window."""
        kinds = [name for name in self.settings.artifacts.kinds if not KINDS[name].from_catalog]
        lengths = {name: read_params(self.settings, self.row, name).window_days for name in kinds}
        return {name: days for name, days in lengths.items() if days > 1}

    def _is_outdated(self, kind: str, day: date, length: int, digests: Mapping[date, str]) -> bool:
        staged = find_readable_artifact(self.store, self.row.target, day, kind)
        if staged is None:
            return False
        used = {item.name: item.digest for item in staged.inputs}
        window = Window.ending(day, days=length)
        return any(
            used.get(canonical_key(self.row.target, other)) != digest
            for other, digest in digests.items()
            if window.first <= other <= day
        )


def _is_of(share: RawTargetRecord, row: TargetSettings) -> bool:
    return (share.tenant, share.surface) == (row.tenant, row.surface)


def _appearance(files: Sequence[FoundInput]) -> str:
    """Return a hash of names, sizes and times of the files, which shows changes without reading them."""
    return _address(*(file.appearance() for file in files))


def _address(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


# "kind day" -> name, size and time of its file when it was registered or refused
SeenDrops = Mapping[str, str]


class DueImport(msgspec.Struct, frozen=True):
    """A dropped file that differs from the registered one. `can_ship`: all other kinds of its day are built."""

    row: TargetSettings
    kind: str
    day: date
    appearance: str
    can_ship: bool

    @property
    def address(self) -> str:
        """Hash of the cause: equal files have equal addresses."""
        return hashlib.sha256(f"{self.kind} {self.appearance}".encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Key of the file in `SeenDrops`."""
        return f"{self.kind} {self.day}"


def due_imports(
    store: ObjectStore, settings: Settings, row: TargetSettings, *, seen: SeenDrops, now: datetime
) -> Iterator[DueImport]:
    """Yield the settled dropped files of the last days that are not in `seen` and differ from the registered ones."""
    settling = timedelta(minutes=settings.automation_for(row).settled_minutes)
    for kind, rules in settings.imports_for(row).items():
        for day in look_back(settings, row, now=now):
            file = find_dropped(settings, row, day, template=rules.path, key=f"imports.{kind}.path")
            if file is None or now - file.touched_at() < settling:
                continue
            appearance = file.appearance()
            if seen.get(f"{kind} {day}") != appearance and not _is_up_to_date(store, row, kind, day, file.digest()):
                yield DueImport(row, kind, day, appearance, _is_built(store, settings, row, day))


def _is_up_to_date(store: ObjectStore, row: TargetSettings, kind: str, day: date, digest: str) -> bool:
    staged = find_readable_artifact(store, row.target, day, kind)
    return staged is not None and [used.digest for used in staged.inputs] == [digest]


def _is_built(store: ObjectStore, settings: Settings, row: TargetSettings, day: date) -> bool:
    return all(find_readable_artifact(store, row.target, day, kind) is not None for kind in settings.artifacts.kinds)


def is_up_to_date(context: DayContext) -> bool:
    """Return whether rebuilding this day of a target would change nothing, apart from changes of the code.

    Raw files are compared by content, and gate reports by the bytes and limits that they judged. A day without
    files, one that was not built, and one that a gate refused are not up to date.
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
    """Return the earliest of these targets' last days with canonical events before `before`, to continue from.

    Raises `ConfigurationError` for a target that has none, because the first day of its history is unknown.
    """
    last: list[date] = []
    for row in rows:
        names = (
            item.key.removeprefix(canonical_prefix(row.target)) for item in store.list(canonical_prefix(row.target))
        )
        days = [date.fromisoformat(name[:_DAY]) for name in names if _RECORD.fullmatch(name)]
        built = [day for day in days if day < before]
        if not built:
            raise ConfigurationError(f"{row.target} has not been built yet: set the first day by --start")
        last.append(max(built))
    return min(last)


def changed_inputs(context: DayContext) -> list[str]:
    """Return the names of raw files that were added, changed or removed since the day's canonical events were built.

    The list is also empty if the day was not built. Reads every file of the day to compare the content.
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
    """Return the days from `start` to `end`.

    Raises `ConfigurationError` if there are none, if any of them is outside `partitions` or has not ended, or if there
    are more than `limits.max_days`.
    """
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
            "split the range into several calls, or change the setting"
        )
    return [start + timedelta(days=n) for n in range(count)]
