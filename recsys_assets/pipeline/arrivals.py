"""Days that are due: raw or dropped files that arrived or changed, and windows over days that were rebuilt."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from recsys_assets.errors import ConfigurationError, CorruptObjectError, RefusedError
from recsys_assets.identity import Window
from recsys_assets.ingest.sources.drop_folder import find_dropped
from recsys_assets.ingest.sources.finding import find_inputs
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
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

Seen = Mapping[str, str]  # day -> what its files looked like (names, sizes, times) when their content was last compared

_RECORD = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
_DAY = len("2026-01-31")


@dataclass(frozen=True, slots=True)
class Due:
    """A day of a target that what stands in the store does not reflect; equal `address` is equal cause."""

    row: TargetSettings
    day: date
    why: str
    address: str


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What one look at a target came to: the days due, what was seen, and the files that are still being written."""

    due: tuple[Due, ...]
    seen: Seen
    unsettled: tuple[str, ...]


def look_back(settings: Settings, row: TargetSettings, *, now: datetime) -> list[date]:
    """Return the ended days that are looked at, oldest first."""
    last = now.astimezone(UTC).date() - timedelta(days=1)
    first = max(settings.partitions.start, last - timedelta(days=settings.automation_for(row).look_back_days - 1))
    days = Window(first, last).days if first <= last else []
    end = settings.partitions.end
    return [day for day in days if end is None or day <= end]


def look(store: ObjectStore, settings: Settings, row: TargetSettings, *, seen: Seen, now: datetime) -> Arrivals:
    """Compare a target's raw files of the last days, by content, with what was built of them.

    Files are read only when name, size or time of change differ from what was `seen`; files younger than
    `automation.settled_minutes` are left for the next look. A day that was built from files of
    which one is gone is never due: what is left would make it smaller.
    """
    looking = _Looking(store, settings, row, now)
    days = look_back(settings, row, now=now)
    due = [found for day in days if (found := looking.changed(day, seen.get(day.isoformat())))]
    rebuilt = {found.day for found in due}
    due += [found for found in looking.outdated(days) if found.day not in rebuilt]
    return Arrivals(tuple(sorted(due, key=lambda found: found.day)), looking.seen, tuple(looking.unsettled))


@dataclass(slots=True)
class _Looking:
    """One look at one target."""

    store: ObjectStore
    settings: Settings
    row: TargetSettings
    now: datetime
    seen: dict[str, str] = field(default_factory=dict[str, str])
    unsettled: list[str] = field(default_factory=list[str])

    def changed(self, day: date, seen: str | None) -> Due | None:
        """Return the day as due if its files, settled, are not by content those that it was built of."""
        files = find_inputs(self.settings.model_copy(update={"targets": (self.row,)}), day)
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
            return None  # files that expire carry no new facts
        why = f"raw files of {day} " + ("arrived" if built is None else "changed")
        return Due(self.row, day, why, _address(*sorted(f"{digest} {name}" for name, digest in now)))

    def outdated(self, days: Sequence[date]) -> Iterator[Due]:
        """Yield the days whose longer windows were put together from other canonical days than stand now."""
        kinds = self._rolling()
        if not kinds:
            return
        digests = {day: record.digest for day in days if (record := self._canonical(day)) is not None}
        for day in digests:
            stale = [kind for kind, length in kinds.items() if self._rests_on_other(kind, day, length, digests)]
            if stale:
                window = Window.ending(day, days=max(kinds.values()))
                parts = [digest for other, digest in digests.items() if window.first <= other <= day]
                why = f"{', '.join(stale)} of {day} rest on days that were built again since"
                yield Due(self.row, day, why, _address("window", *parts))

    def _young(self, files: Sequence[FoundInput]) -> list[str]:
        limit = self.now - timedelta(minutes=self.settings.automation_for(self.row).settled_minutes)
        return [file.name for file in files if file.touched_at() > limit]

    def _built_of(self, day: date) -> set[tuple[str, str]] | None:
        """Return name and hash of the files behind the canonical day, or of a day that was read and had no event.

        A file that could not be read to its end is not among them: no day was built from what it held.
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
        """Return the kinds whose windows are longer than a day, and how long they are."""
        kinds = [name for name in self.settings.artifacts.kinds if not KINDS[name].from_catalog]
        lengths = {name: read_params(self.settings, self.row, name).window_days for name in kinds}
        return {name: days for name, days in lengths.items() if days > 1}

    def _rests_on_other(self, kind: str, day: date, length: int, digests: Mapping[date, str]) -> bool:
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
    """Return names, sizes and times of the files, by which a change is noticed without reading them."""
    return _address(*(file.appearance() for file in files))


def _address(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


SeenDrops = Mapping[
    str, str
]  # "kind day" -> what its file looked like (name, size, time) when it was registered or refused


@dataclass(frozen=True, slots=True)
class DueImport:
    """A dropped file that is not what stands registered; `can_ship` says whether the rest of its day is built."""

    row: TargetSettings
    kind: str
    day: date
    appearance: str
    can_ship: bool

    @property
    def address(self) -> str:
        """Equal cause, equal address."""
        return hashlib.sha256(f"{self.kind} {self.appearance}".encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """Under which name it is remembered as seen."""
        return f"{self.kind} {self.day}"


def due_imports(
    store: ObjectStore, settings: Settings, row: TargetSettings, *, seen: SeenDrops, now: datetime
) -> Iterator[DueImport]:
    """Yield each settled file of the last days that was not seen so, and is not what is registered for its day."""
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
