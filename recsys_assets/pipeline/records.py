"""Records of a day's raw files: the files, each target's events and counts, and the key that hashes user ids."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from recsys_assets.evidence import Scalar
from recsys_assets.ingest.pseudonyms import UserKey, read_user_key
from recsys_assets.release.documents import FORMAT, CanonicalRecord, Input, Record
from recsys_assets.settings.settings import Settings

if TYPE_CHECKING:
    from recsys_assets.ingest.counts import FileRecord, TargetReport

FACT = "user_key"  # name of the fact with the id of the key that hashes an artifact's users
USER_KEY = "user key"  # takes the place of a file name in the pair of a key
_FILE = "file:"


class RawFileRecord(Record, frozen=True):
    """One raw file as it was read. `error` is the reason why it could not be read to its end."""

    name: str
    digest: str
    size: int
    lines: int
    error: str | None = None
    version: str | UnsetType = UNSET  # the version of a versioned table that was read


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
    spilled: int | UnsetType = UNSET  # events in its files that belong to a neighbouring day's build, omitted if 0


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
    skipped: tuple[str, ...] | UnsetType = UNSET  # ignored files: backups, unfinished uploads, uncommitted ones
    user_key: str | UnsetType = UNSET  # id of the key that hashes users, omitted without a key
    missing: tuple[str, ...] | UnsetType = (
        UNSET  # Names in `files` that have disappeared. Their targets keep what was read.
    )
    v: int = FORMAT


def shown_name(file: RawFileRecord) -> str:
    """Return the name of a file. A table's name includes the version that was read."""
    return f"{file.name} ({file.version})" if file.version else file.name


def record_of_file(file: "FileRecord") -> RawFileRecord:
    """Return the stored record of a file."""
    return RawFileRecord(
        name=file.name,
        digest=file.digest,
        size=file.size,
        lines=file.lines,
        error=file.error,
        version=file.version or UNSET,
    )


def record_of_target(report: "TargetReport", parts: tuple[Input, ...]) -> RawTargetRecord:
    """Return the stored record of a target's share."""
    return RawTargetRecord(
        tenant=report.target.tenant,
        surface=report.target.surface,
        files=tuple(file.name for file in report.files),
        parts=parts,
        events=report.events,
        bad=report.bad,
        rejects={reason.value: count for reason, count in report.rejects.items()},
        late=dict(report.late),
        spilled=report.spilled or UNSET,
    )


def missing_files(built: Collection[tuple[str, str]], present: Collection[tuple[str, str]]) -> list[str]:
    """Return the names of the files from which a day was `built` and which are no longer `present`.

    Files are (name, digest) pairs. A file is present if its name exists, with any content, or its content exists under
    another name.
    """
    existing = {part for file in present for part in file}
    return sorted(name for name, digest in built if not {name, digest} & existing)


Mark = frozenset[tuple[str, str]]


def configured_key(settings: Settings) -> UserKey | None:
    """Return the key that `raw.user_key` refers to, or None if ids are stored as sent.

    Raises `ConfigurationError` if the key is missing.
    """
    location = settings.raw.user_key
    if location is None:
        return None
    path = location.removeprefix(_FILE)
    return read_user_key(location if path == location else _FILE + settings.resolve(path))


def mark_of_key(key: UserKey | None) -> Mark:
    """Return the key as a set of one (name, id) pair, to be compared along with the (name, digest) pairs of files."""
    return frozenset() if key is None else frozenset({(USER_KEY, key.id)})


def mark_of_record(record: CanonicalRecord | RawRecord) -> Mark:
    """Return the key with which a day was read, as `mark_of_key` does."""
    key = key_of_record(record)
    return frozenset() if key is None else frozenset({(USER_KEY, key)})


def key_of_record(record: CanonicalRecord | RawRecord) -> str | None:
    """Return the id of the key with which a day was read, or None if ids were stored as sent."""
    return None if record.user_key is UNSET else record.user_key


def fact_of_key(record: CanonicalRecord) -> dict[str, Scalar]:
    """Return the fact with the id of the key that hashes an artifact's users. Readers need it to look users up."""
    key = key_of_record(record)
    return {} if key is None else {FACT: key}
