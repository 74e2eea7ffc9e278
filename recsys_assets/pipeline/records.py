"""The record of a day's raw files: what was read, what came of it per target, and where the parts lie."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

from recsys_assets.release.documents import FORMAT, Input, Record

if TYPE_CHECKING:
    from recsys_assets.ingest.counts import FileRecord, TargetReport


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
