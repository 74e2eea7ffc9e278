"""The documents of the store: frozen values, written as compact JSON, read back strictly and bounded."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from recsys_assets.errors import CorruptObjectError
from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.identity import ArtifactRef
from recsys_assets.storage.store import ObjectStore, Stored

FORMAT: Final = 1
MAX_DOCUMENT_BYTES: Final = 10_000_000

Document = TypeVar("Document")


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, closed to unknown keys, written in the order of its fields."""


class Input(Record, frozen=True):
    """One thing that something was made from: what it is called, its SHA-256, and its size in bytes."""

    name: str
    digest: str
    size: int


class Build(Record, frozen=True):
    """Who built something: the run, the configuration's hash, and the versions of code and libraries."""

    run_id: str
    config: str
    code: str
    libraries: Mapping[str, str] = msgspec.field(default_factory=dict)


class CanonicalRecord(Record, frozen=True):
    """One canonical day: the Parquet object's digest and size, its counts, and the raw files that it was made from."""

    digest: str
    size: int
    rows: int
    events: int
    duplicates: int
    bad: int
    rejects: Mapping[str, int]
    inputs: tuple[Input, ...]
    v: int = FORMAT


class StagedArtifact(Record, frozen=True):
    """One artifact that a day built: its reference, its window, its inputs by hash, and the numbers of its build."""

    ref: ArtifactRef
    window_first: str
    window_last: str
    inputs: tuple[Input, ...]
    facts: Mapping[str, Scalar]
    build: Build
    v: int = FORMAT


class Pointer(Record, frozen=True):
    """ManifestV1, what services read: exactly five keys; `current` maps kind to URI."""

    v: int
    tenant: str
    surface: str
    current: Mapping[str, str]
    updated_at: str


class Member(Record, frozen=True):
    """One artifact in a release: its reference, its window, what it was made from, and what its gates said."""

    ref: ArtifactRef
    window_first: str
    window_last: str
    inputs: tuple[Input, ...]
    facts: Mapping[str, Scalar]
    gates: GateReport


class CanonicalDay(Record, frozen=True):
    """One canonical day that a release rests on: its digest, the raw files behind it, and what its gates said."""

    day: str
    digest: str
    inputs: tuple[Input, ...]
    gates: GateReport


class Release(Record, frozen=True):
    """A set of artifacts that passed the gates together, with the evidence; its id is computable from the pointer."""

    id: str
    tenant: str
    surface: str
    data_through: str  # the last day inside every window: what "how old is the data" means
    members: tuple[Member, ...]
    canonical: tuple[CanonicalDay, ...]
    build: Build
    recorded_at: str
    parent: str | None
    segment: str | None = None
    v: int = FORMAT

    @property
    def refs(self) -> dict[str, ArtifactRef]:
        """The artifacts by kind."""
        return {member.ref.kind: member.ref for member in self.members}


class JournalEntry(Record, frozen=True):
    """One thing that happened to a target's pointer, or was refused: who, when, why, from, to, and how it ended."""

    sequence: int
    at: str
    action: str  # ship | roll_back | hold | release_hold | mark_bad | collect | restore_pointer
    outcome: str  # done | unchanged | older | held | refused | recovered | failed
    actor: str
    reason: str
    before: str | None  # release id live before
    after: str | None  # release id live after
    run_id: str | None = None
    pointer_at: str | None = None  # updated_at of the pointer that this entry speaks of
    details: Mapping[str, Scalar] = msgspec.field(default_factory=dict)
    v: int = FORMAT


class Hold(Record, frozen=True):
    """Automation may not ship: since when, by whom, why, and what ends it."""

    at: str
    actor: str
    reason: str
    until: str | None = None  # an instant after which the hold is over
    bad_release: str | None = None  # over as well when newer good data than this release's is ready
    after_data: str | None = None  # the data day that newer data must be past
    lifted: str | None = None  # since when it is over by hand; the document stays, so that writers can swap it
    v: int = FORMAT


class Intent(Record, frozen=True):
    """A publish under way: everything that it names is a root for collection."""

    publish_id: str
    release: str
    at: str
    refs: tuple[ArtifactRef, ...]
    v: int = FORMAT


def encode(document: Any) -> bytes:
    """Write a document as compact JSON, the same bytes for equal values."""
    return msgspec.json.encode(document, order="deterministic")


def decode(data: bytes, kind: type[Document], *, name: str) -> Document:
    """Read a document strictly; `CorruptObjectError` names the object and the first thing wrong in it."""
    try:
        document = msgspec.json.decode(data, type=kind, strict=True)
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptObjectError(
            f"{name} is no {kind.__name__} of format {FORMAT}: {error}; {_remedy(data)}"
        ) from error
    found = getattr(document, "v", FORMAT)
    if found != FORMAT:
        raise CorruptObjectError(f"{name} has format {found}, this version reads {FORMAT}: {_remedy(data)}")
    return document


def read_document(store: ObjectStore, key: str, kind: type[Document]) -> Document:
    """Read and decode one document, at most `MAX_DOCUMENT_BYTES`; `NotFoundError` if there is none."""
    return decode(store.get(key, max_bytes=MAX_DOCUMENT_BYTES).data, kind, name=key)


def read_stored(store: ObjectStore, key: str, kind: type[Document]) -> tuple[Document, Stored]:
    """Read one document together with its bytes and etag."""
    stored = store.get(key, max_bytes=MAX_DOCUMENT_BYTES)
    return decode(stored.data, kind, name=key), stored


class _Format(msgspec.Struct):
    v: int = FORMAT


def _remedy(data: bytes) -> str:
    """Say what to do about a document that cannot be read: a newer format wants a newer package."""
    try:
        found = msgspec.json.decode(data, type=_Format).v
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        found = FORMAT
    return f"it has format {found}: upgrade the package" if found > FORMAT else "restore it or build it again"
