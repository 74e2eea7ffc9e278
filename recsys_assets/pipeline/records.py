"""The record of a day's raw files: what was read, what came of it, and the key that user ids are hashed by."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from recsys_assets.evidence import Scalar
from recsys_assets.ingest.pseudonyms import UserKey, read_user_key
from recsys_assets.release.documents import FORMAT, CanonicalRecord, Input, Record
from recsys_assets.settings.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.ingest.counts import FileRecord, TargetReport

FACT = "user_key"  # the fact that holds the id of the key of an artifact's users
USER_KEY = "user key"  # in place of a file's name, for the mark of a key
_FILE = "file:"


class RawFileRecord(Record, frozen=True):
    """One raw file as it was read; `error` says why it could not be read to its end."""

    name: str
    digest: str
    size: int
    lines: int
    error: str | None = None
    version: str | UnsetType = UNSET  # of a table that keeps versions: the one that was read


class RawTargetRecord(Record, frozen=True):
    """One target's share of a day: its parts in the store, and its counts."""

    tenant: str
    surface: str
    files: tuple[str, ...]
    parts: tuple[Input, ...]
    events: int
    bad: int
    rejects: Mapping[str, int]
    late: Mapping[str, int]
    spilled: int | UnsetType = UNSET  # events that a neighbouring day reads from the same files; not written if none


class RawRecord(Record, frozen=True):
    """One day of raw files, for all targets that were configured when it was read."""

    day: str
    template: str
    files: tuple[RawFileRecord, ...]
    targets: tuple[RawTargetRecord, ...]
    quarantine: tuple[Input, ...]
    unknown_fields: Mapping[str, int]
    foreign: Mapping[str, int]
    rejects: int
    rejects_kept: int
    skipped: tuple[str, ...] | UnsetType = UNSET  # names that were passed over: backups, uploads, uncommitted
    user_key: str | UnsetType = UNSET  # id of the key that users are hashed by; not written if none
    missing: tuple[str, ...] | UnsetType = UNSET  # of `files`, those that are gone: their targets keep what was read
    v: int = FORMAT


def shown_name(file: RawFileRecord) -> str:
    """Return the name of a file, with the version that was read of a table."""
    return f"{file.name} ({file.version})" if file.version else file.name


def record_of_file(file: "FileRecord") -> RawFileRecord:
    """Return what is stored of a file."""
    return RawFileRecord(
        name=file.name,
        digest=file.digest,
        size=file.size,
        lines=file.lines,
        error=file.error,
        version=file.version or UNSET,
    )


def record_of_target(found: "TargetReport", parts: tuple[Input, ...]) -> RawTargetRecord:
    """Return what is stored of a target's share."""
    return RawTargetRecord(
        tenant=found.target.tenant,
        surface=found.target.surface,
        files=tuple(file.name for file in found.files),
        parts=parts,
        events=found.events,
        bad=found.bad,
        rejects={reason.value: count for reason, count in found.rejects.items()},
        late=dict(found.late),
        spilled=found.spilled or UNSET,
    )


def missing_files(built: Collection[tuple[str, str]], there: Collection[tuple[str, str]]) -> list[str]:
    """Return the names of the files, as (name, digest), that a day was built from and that are gone.

    A file is there under its name, whatever it holds now, or with its content under another name.
    """
    known = {part for file in there for part in file}
    return sorted(name for name, digest in built if not {name, digest} & known)


Mark = frozenset[tuple[str, str]]


def configured_key(settings: Settings) -> UserKey | None:
    """Return the key that `raw.user_key` names, or None if ids are kept; `ConfigurationError` if it is not there."""
    place = settings.raw.user_key
    if place is None:
        return None
    path = place.removeprefix(_FILE)
    return read_user_key(place if path == place else _FILE + settings.resolve(path))


def mark_of_key(key: UserKey | None) -> Mark:
    """Return what stands beside names and digests of files where days are compared: the key is an input, too."""
    return frozenset() if key is None else frozenset({(USER_KEY, key.id)})


def mark_of_record(record: CanonicalRecord | RawRecord) -> Mark:
    """Return the mark of the key that a day was read under."""
    key = key_of_record(record)
    return frozenset() if key is None else frozenset({(USER_KEY, key)})


def key_of_record(record: CanonicalRecord | RawRecord) -> str | None:
    """Return the id of the key that a day was read under, or None if ids were kept as they were sent."""
    return None if record.user_key is UNSET else record.user_key


def fact_of_key(record: CanonicalRecord) -> dict[str, Scalar]:
    """Return what an artifact says of the key of its users, so that a release says under which one to look them up."""
    key = key_of_record(record)
    return {} if key is None else {FACT: key}
