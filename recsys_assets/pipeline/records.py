"""The record of a day's raw files: what was read, what came of it per target, and where the parts lie."""

from collections.abc import Collection, Mapping

from msgspec import UNSET, UnsetType

from recsys_assets.release.documents import FORMAT, Input, Record


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


def missing_files(built: Collection[tuple[str, str]], there: Collection[tuple[str, str]]) -> list[str]:
    """Return the names of the files, as (name, digest), that a day was built from and that are gone.

    A file is there under its name, whatever it holds now, or with its content under another name.
    """
    known = {part for file in there for part in file}
    return sorted(name for name, digest in built if not {name, digest} & known)
