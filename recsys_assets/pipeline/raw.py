"""Raw stage: reads a day's files once, and writes a part for each target, quarantined lines, and their record."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date

import msgspec
from msgspec import UNSET

from recsys_assets.errors import ConflictError, NoInputError, OutcomeUnknownError
from recsys_assets.events.erase_users import erase_from_part
from recsys_assets.events.event_files import SUFFIX, encode_part
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target
from recsys_assets.ingest.counts import RawReport
from recsys_assets.ingest.line_reader import Reading
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.part_merge import Part, rename_users
from recsys_assets.ingest.pseudonyms import UserKey
from recsys_assets.ingest.quarantine import ERASED, Reject, encode_rejects, mentioned_ids
from recsys_assets.ingest.sources.discovery import find_inputs
from recsys_assets.ingest.sources.source import FoundInput
from recsys_assets.pipeline.records import (
    RawRecord,
    configured_key,
    mark_of_key,
    mark_of_record,
    missing_files,
    record_of_file,
    record_of_target,
    shown_name,
)
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, decode, encode, find_readable, if_readable
from recsys_assets.release.documents import Input
from recsys_assets.release.forgotten_users import ForgottenUsers, read_forgotten
from recsys_assets.release.layout import quarantine_prefix, raw_prefix, raw_record_key
from recsys_assets.retry import Pause, attempts, wait
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.store import ObjectStore

_HOW = {
    "columns",
    "constants",
    "day_column",
    "assume_utc",
    "nested",
    "tenants",
    "session_gap_minutes",
    "spill_days",
    "require_success",
}
MAX_COMMITS = 5
QUARANTINE_BYTES = 32_000_000  # size of a quarantine object, which is buffered in memory until it is written


class RawDay(msgspec.Struct, frozen=True):
    """A day's raw record. `reused`: it already existed for exactly these files."""

    record: RawRecord
    reused: bool
    forgotten: Mapping[tuple[str, str], ForgottenUsers] | None = None  # By (tenant, surface). None: not read.

    @property
    def digest(self) -> str:
        """Hash of this day's input: the digests of the files, and the key that hashes users, if any."""
        inputs = [f"{file.digest} {file.name}\n" for file in self.record.files]
        marks = [f"{mark} {name}\n" for name, mark in mark_of_record(self.record)]
        return hashlib.sha256("".join([*inputs, *marks]).encode()).hexdigest()

    @property
    def numbers(self) -> Mapping[str, Scalar]:
        """Numbers that are shown and plotted over days."""
        return {
            "files": len(self.record.files),
            "bytes": sum(file.size for file in self.record.files),
            "lines": sum(file.lines for file in self.record.files),
            "events": sum(target.events for target in self.record.targets),
            "rejects": self.record.rejects,
            "out_of_window": sum(sum(target.late.values()) for target in self.record.targets) or None,
            "skipped": len(self.record.skipped or ()) or None,
            "foreign": sum(self.record.foreign.values()),
            "unknown_fields": ", ".join(self.record.unknown_fields) or None,
        }

    @property
    def target_rows(self) -> list[tuple[Scalar, ...]]:
        """Name, number of files, events, bad lines and late events of each target."""
        return [
            (f"{t.tenant}/{t.surface}", len(t.files), t.events, t.bad, sum(t.late.values()))
            for t in self.record.targets
        ]

    @property
    def file_rows(self) -> list[tuple[Scalar, ...]]:
        """Name, bytes, lines, hash and error of each file, followed by the names of ignored files."""
        read = [(shown_name(f), f.size, f.lines, f.digest, f.error) for f in self.record.files]
        reason = "passed over: a backup, an unfinished upload, hidden or uncommitted"
        return [*read, *((name, None, None, None, reason) for name in self.record.skipped or ())]

    @property
    def reject_rows(self) -> list[tuple[Scalar, ...]]:
        """Target, reason and number of refused lines."""
        shares = [(f"{t.tenant}/{t.surface}", t.rejects) for t in self.record.targets]
        return [(name, reason, count) for name, rejects in shares for reason, count in sorted(rejects.items())]


def build_raw(store: ObjectStore, settings: Settings, day: date, *, pause: Pause = wait) -> RawDay:
    """Read a day's raw files into a part for each target, unless exactly these files were read already.

    If `raw.user_key` is set, user ids are hashed before anything is written, and of a refused line only the file and
    line number are kept. Raises `NoInputError` (no_input) if there is no file, and leaves the store unchanged. Raises
    `ConfigurationError`, before reading, if the key is missing. Raises `ConflictError` if other writers kept rewriting
    the day.
    """
    key = configured_key(settings)
    skipped: list[str] = []
    files = find_inputs(settings, day, skipped=skipped)
    if not files:
        pattern = settings.raw.exposures.replace("{day}", day.isoformat())
        passed = f" but {', '.join(skipped[:3])}, passed over as unfinished or uncommitted" if skipped else ""
        raise NoInputError(
            f"no raw file for {day}: {settings.resolve(pattern)} matches nothing{passed}", outcome="no_input"
        )
    stored = _find_record(store, day)
    is_current = stored is not None and _matches_settings(stored, settings, key) and _unchanged(store, stored, files)
    if stored is not None and is_current and not (stored.missing and settings.raw.rebuild_without_missing_files):
        return RawDay(stored, reused=True)
    for _ in attempts(MAX_COMMITS, pause=pause):
        with suppress(ConflictError, OutcomeUnknownError):  # another writer was faster: read the files again
            forgotten = read_forgotten(store)
            record = _read_once(store, settings, day, files, key, tuple(skipped), stored, forgotten)
            if read_forgotten(store) == forgotten:  # otherwise a user was forgotten in the meantime
                return RawDay(record, reused=False, forgotten=forgotten)
        stored = _find_record(store, day)
    raise ConflictError(f"raw of {day}: {MAX_COMMITS} reads in a row met another writer: run raw of this day again")


def _read_once(
    store: ObjectStore,
    settings: Settings,
    day: date,
    files: Sequence[FoundInput],
    key: UserKey | None,
    skipped: tuple[str, ...],
    stored: RawRecord | None,
    forgotten: Mapping[tuple[str, str], ForgottenUsers],
) -> RawRecord:
    """Read the files, without the events of forgotten users, and commit the record."""
    writer = _PartWriter(store, day, forgotten, key)
    report = parse_day(
        files,
        day=day,
        targets=[row.target for row in settings.targets],
        keep_part=writer.keep_part,
        keep_rejects=writer.keep_rejects,
        spill_days=settings.raw.spill_days,
        reading=Reading(needs_session=settings.raw.session_gap_minutes is None, shows_values=key is None),
    )
    writer.flush()
    read = record = _record(report, writer, template=_template(settings), skipped=skipped)
    if (
        stored is not None
        and _matches_settings(stored, settings, key)
        and not settings.raw.rebuild_without_missing_files
    ):
        record = keep_missing(stored, read)
    before = replace_raw_record(store, day, record)
    _delete_replaced(store, before, record)
    _delete_replaced(store, read, record)  # the new parts of targets that keep their earlier ones
    return record


def keep_missing(before: RawRecord, now: RawRecord) -> RawRecord:
    """Return `now`, in which each target with missing files keeps its files, parts and counts from `before`.

    The parts are all that is left of an expired file. They stay in the record, so they are neither deleted here nor
    missed by `forget`, until the files are back or a smaller day is accepted. A file that could not be read to its end
    is not kept, because no day was built from it.
    """
    present = {file.name: file for file in now.files}
    content = [(file.name, file.digest) for file in now.files]
    shares = {(share.tenant, share.surface): share for share in now.targets}
    gone: set[str] = set()
    for share in before.targets:
        read = [(file.name, file.digest) for file in before.files if file.name in share.files and not file.error]
        if missing := missing_files(read, content):
            gone.update(missing)
            shares[share.tenant, share.surface] = share
    if not gone:
        return now
    files_by_name = {file.name: file for file in before.files if file.name in gone} | present
    files = tuple(files_by_name[name] for name in sorted(files_by_name))
    return msgspec.structs.replace(now, files=files, targets=tuple(shares.values()), missing=tuple(sorted(gone)))


def replace_raw_record(store: ObjectStore, day: date, record: RawRecord) -> RawRecord | None:
    """Replace the stored record of a day, and return the replaced one, or None if it was missing or unreadable.

    Raises `ConflictError` if another writer replaced it concurrently.
    """
    key = raw_record_key(day)
    try:
        store.create(key, encode(record))
    except ConflictError:
        stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
    else:
        return None
    if stored.data != encode(record):
        store.swap(key, encode(record), expected=stored.etag)
    return if_readable(lambda: decode(stored.data, RawRecord, name=key))


@dataclass(slots=True)
class _PartWriter:
    """Writes the parts and rejected lines of a parsed day, and collects their keys."""

    store: ObjectStore
    day: date
    forgotten: Mapping[tuple[str, str], ForgottenUsers]
    user_key: UserKey | None
    parts: dict[Target, list[Input]] = field(default_factory=dict[Target, list[Input]])
    quarantine: list[Input] = field(default_factory=list[Input])
    _waiting: bytearray = field(default_factory=bytearray)

    def keep_part(self, target: Target, part: Part) -> None:
        gone = self.forgotten.get((target.tenant, target.surface))
        if gone:
            part = erase_from_part(part, lambda user: gone.hides(user, self.day))  # compared by the id as it was sent
        if self.user_key:
            part = rename_users(part, self.user_key.hash)
        parts = self.parts.setdefault(target, [])
        parts.append(self._put(raw_prefix(self.day, target), len(parts), SUFFIX, encode_part(part)))

    def keep_rejects(self, rejects: Sequence[Reject]) -> None:
        self._waiting += encode_rejects(self._without_forgotten(reject) for reject in rejects)
        if len(self._waiting) >= QUARANTINE_BYTES:
            self.flush()

    def _without_forgotten(self, reject: Reject) -> Reject:
        """Return a refused line. Its text is erased if it may contain the id of a forgotten user."""
        owners = [reject.tenant or "", reject.surface or ""]
        lists = [users for owner, users in self.forgotten.items() if users and (owner == tuple(owners) or "" in owners)]
        if not lists:
            return reject
        mentioned = mentioned_ids(reject.text) | mentioned_ids(reject.detail)
        if any(users.hides(user, self.day) for users in lists for user in mentioned):
            return replace(reject, text=ERASED, detail=ERASED)
        return reject

    def flush(self) -> None:
        if self._waiting:
            inputs, data = self.quarantine, bytes(self._waiting)
            inputs.append(self._put(quarantine_prefix(self.day), len(inputs), ".jsonl", data))
            self._waiting.clear()

    def _put(self, prefix: str, number: int, suffix: str, data: bytes) -> Input:
        """Write an object whose key has its number and digest, so runs that read different content never collide."""
        digest = hashlib.sha256(data).hexdigest()
        key = f"{prefix}{number:04d}-{digest[:16]}{suffix}"
        self.store.put(key, data)
        return Input(name=key, digest=digest, size=len(data))


def _find_record(store: ObjectStore, day: date) -> RawRecord | None:
    """Return the stored record of a day, or None if it is missing or unreadable."""
    return find_readable(store, raw_record_key(day), RawRecord)


def _matches_settings(record: RawRecord, settings: Settings, key: UserKey | None) -> bool:
    """Return whether a record was made for the configured targets and template, and with this key."""
    targets = {(target.tenant, target.surface) for target in record.targets}
    same = targets == {(row.tenant, row.surface) for row in settings.targets}
    return same and record.template == _template(settings) and mark_of_record(record) == mark_of_key(key)


def _template(settings: Settings) -> str:
    """Return the path template of raw files, with the settings that change how they are read, if any is set."""
    how = settings.raw.model_dump(include=_HOW, exclude_defaults=True)
    exposures = settings.raw.exposures
    return f"{exposures} {json.dumps(how, sort_keys=True)}" if how else exposures


def _unchanged(store: ObjectStore, record: RawRecord, files: Sequence[FoundInput]) -> bool:
    """Return whether the files have the content that the record lists, and its parts still exist."""
    if any(file.error for file in record.files):
        return False
    read = [file for file in record.files if file.name not in (record.missing or ())]
    if [file.name for file in files] != [file.name for file in read]:
        return False
    parts = (part for target in record.targets for part in target.parts)
    if any(not _is_up_to_date(store, part) for part in parts):
        return False
    return all(now.digest() == before.digest for now, before in zip(files, read, strict=True))


def _is_up_to_date(store: ObjectStore, part: Input) -> bool:
    """Return whether a part exists with its size and in the current format."""
    stored = store.stat(part.name)
    return stored is not None and stored.size == part.size and part.name.endswith(SUFFIX)


def _record(report: RawReport, writer: _PartWriter, *, template: str, skipped: tuple[str, ...]) -> RawRecord:
    return RawRecord(
        day=report.day.isoformat(),
        template=template,
        files=tuple(record_of_file(file) for file in report.files),
        targets=tuple(
            record_of_target(share, tuple(writer.parts.get(share.target, ()))) for share in report.targets.values()
        ),
        quarantine=tuple(writer.quarantine),
        unknown_fields=dict(report.unknown_fields),
        foreign=dict(report.foreign),
        rejects=report.rejects,
        rejects_kept=report.rejects_kept,
        skipped=skipped or UNSET,
        user_key=writer.user_key.id if writer.user_key else UNSET,
    )


def _delete_replaced(store: ObjectStore, before: RawRecord | None, now: RawRecord) -> None:
    """Delete the objects that only the previous record lists."""
    if before is None:
        return
    current_keys = {item.name for item in _objects(now)}
    for item in _objects(before):
        if item.name not in current_keys:
            store.delete(item.name)


def _objects(record: RawRecord) -> list[Input]:
    return [*record.quarantine, *(part for target in record.targets for part in target.parts)]
