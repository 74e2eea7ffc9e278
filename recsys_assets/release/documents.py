"""The documents of the store as frozen values, independent of their encoding and location."""

from collections.abc import Mapping
from typing import Final

import msgspec

from recsys_assets.artifact_format import sharded_kind
from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.identity import ArtifactRef

FORMAT: Final = 1
# Format 2: gate report and profile are in the record. Format 1: they are separate documents.
CANONICAL_FORMAT: Final = 2
STAGED_FORMAT: Final = 2  # Format 2: the gate report is in the document. Format 1: it is a separate document.
RELEASE_FORMAT: Final = 2  # 2: a record contains its own digest
JOURNAL_FORMAT: Final = 2  # 2: the message is in the details under `message`


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all documents: frozen, rejects unknown keys, encodes fields in their order."""


class Input(Record, frozen=True):
    """One input of a build: its name, SHA-256, and size in bytes."""

    name: str
    digest: str
    size: int


class Build(Record, frozen=True):
    """Provenance of a build: its run, the hash of the configuration, and the versions of code and libraries."""

    run_id: str
    config: str
    code: str
    libraries: Mapping[str, str] = msgspec.field(default_factory=dict)


class CanonicalRecord(Record, frozen=True):
    """Record of a canonical day: digest and size of its Parquet object, its counts, and its raw files.

    The gate report and the profile are added when the gates run. In format 1 they are separate documents.
    """

    digest: str
    size: int
    rows: int
    events: int
    duplicates: int
    bad: int
    rejects: Mapping[str, int]
    inputs: tuple[Input, ...]
    user_key: str | msgspec.UnsetType = msgspec.UNSET  # id of the key for hashing users, omitted if there is none
    # Fingerprint of the excluded forgotten users. Omitted if there are none.
    erased: str | msgspec.UnsetType = msgspec.UNSET
    v: int = CANONICAL_FORMAT
    # Omitted before the gates ran. Contains the evaluated digest.
    gates: GateReport | msgspec.UnsetType = msgspec.UNSET
    profile: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # `DayProfile`, which later days are compared with


class Shards(Record, frozen=True):
    """Objects of an index, by number. Omitted for kinds that are one object."""

    refs: tuple[ArtifactRef, ...]
    whole: ArtifactRef | None = None  # the single object with the same rows, if it is built too


class StagedArtifact(Record, frozen=True):
    """Artifact built for a day: reference, window, inputs, facts of its build, and gate report.

    The reference of a sharded kind is that of its index.
    """

    ref: ArtifactRef
    window_first: str
    window_last: str
    inputs: tuple[Input, ...]
    facts: Mapping[str, Scalar]
    build: Build
    v: int = STAGED_FORMAT
    shards: Shards | msgspec.UnsetType = msgspec.UNSET  # omitted if not sharded, for older readers
    gates: GateReport | msgspec.UnsetType = msgspec.UNSET  # omitted before the gates ran

    @property
    def kind(self) -> str:
        """Kind of the artifact."""
        return sharded_kind(self.ref.kind)

    @property
    def named(self) -> tuple[ArtifactRef, ...]:
        """References that a pointer to this artifact contains."""
        whole = None if isinstance(self.shards, msgspec.UnsetType) else self.shards.whole
        return (self.ref,) if whole is None else (whole, self.ref)

    @property
    def shard_refs(self) -> tuple[ArtifactRef, ...]:
        """Its shards by number, empty for an artifact that is one object."""
        return () if isinstance(self.shards, msgspec.UnsetType) else self.shards.refs

    @property
    def refs(self) -> tuple[ArtifactRef, ...]:
        """Every object of this artifact."""
        return (*self.named, *self.shard_refs)


class StagedDay(Record, frozen=True):
    """Everything one run staged for a day: artifacts by kind, and gate reports on them together by subject."""

    artifacts: Mapping[str, StagedArtifact]
    gates: Mapping[str, GateReport] = msgspec.field(default_factory=dict[str, GateReport])
    v: int = FORMAT


class Pointer(Record, frozen=True):
    """Pointer that services read (ManifestV1). It has exactly five keys, and `current` maps kind to URI."""

    v: int
    tenant: str
    surface: str
    current: Mapping[str, str]
    updated_at: str


class Member(Record, frozen=True):
    """Artifact in a release: reference, window, inputs, facts, gate report, and provenance."""

    ref: ArtifactRef
    window_first: str
    window_last: str
    inputs: tuple[Input, ...]
    facts: Mapping[str, Scalar]
    gates: GateReport
    build: Build
    shards: tuple[ArtifactRef, ...] | msgspec.UnsetType = msgspec.UNSET  # shards of an index, by number

    @property
    def shard_refs(self) -> tuple[ArtifactRef, ...]:
        """Shards of an index by number, empty for other artifacts."""
        return () if isinstance(self.shards, msgspec.UnsetType) else self.shards

    @property
    def refs(self) -> tuple[ArtifactRef, ...]:
        """Every object of this artifact: one, or an index and its shards."""
        return (self.ref, *self.shard_refs)

    @property
    def size(self) -> int:
        """Bytes of all its objects."""
        return sum(ref.size for ref in self.refs)


class CanonicalDay(Record, frozen=True):
    """Canonical day that a release was built from: its digest, raw files, and gate report."""

    day: str
    digest: str
    inputs: tuple[Input, ...]
    gates: GateReport


class Release(Record, frozen=True):
    """Set of artifacts that passed the gates together, with the evidence. The id can be computed from the pointer."""

    id: str
    tenant: str
    surface: str
    data_through: str  # last day of every window, from which the age of the data is computed
    members: tuple[Member, ...]
    canonical: tuple[CanonicalDay, ...]
    build: Build  # Provenance of the record. Each member has its own.
    recorded_at: str
    parent: str | None
    segment: str | None = None
    gates: tuple[GateReport, ...] = ()  # Reports on the artifacts together. Each member has its own report.
    v: int = RELEASE_FORMAT
    digest: str | msgspec.UnsetType = msgspec.UNSET  # SHA-256 of the record without this field, absent in format 1

    @property
    def refs(self) -> dict[str, ArtifactRef]:
        """References in the pointer, by kind."""
        return {member.ref.kind: member.ref for member in self.members}

    @property
    def artifacts(self) -> dict[str, ArtifactRef]:
        """Reference to all rows of each kind: the index for a sharded kind, even if its single object exists too."""
        refs: dict[str, ArtifactRef] = {}
        for kind, ref in sorted(self.refs.items()):  # an index sorts after its kind
            refs[sharded_kind(kind)] = ref
        return refs


class JournalEntry(Record, frozen=True):
    """Journal entry of an action on a target's pointer: actor, reason, time, releases before and after, outcome."""

    sequence: int  # defines the order, because clocks may jump
    at: str
    action: str  # build | ship | roll_back | hold | release_hold | mark_bad | pin | collect | restore_pointer | repair
    outcome: str  # done | unchanged | older | held | refused | recovered | lost
    actor: str
    reason: str
    before: str | None  # live release id before the action
    after: str | None  # live release id after the action
    run_id: str | None = None
    pointer_at: str | None = None  # `updated_at` of the live pointer after the action
    changed: bool = False  # whether this entry records a swap of the pointer
    last_change: int = 0  # sequence of the newest earlier entry that records a swap, to skip no-ops
    details: Mapping[str, Scalar] = msgspec.field(default_factory=dict)
    v: int = JOURNAL_FORMAT


class Hold(Record, frozen=True):
    """Hold on a target: automation must not ship until every condition is met (without any: until it is lifted)."""

    at: str
    actor: str
    reason: str
    until: str | None = None  # timestamp
    after_data: str | None = None  # day: good data newer than this ends the hold
    lifted: str | None = None  # Time at which it was lifted. The document stays for compare-and-swap.
    v: int = FORMAT


class Label(Record, frozen=True):
    """Label `bad` or `pinned` on a release. It applies while the document exists."""

    release: str
    at: str
    actor: str
    reason: str
    v: int = FORMAT
    until: str | msgspec.UnsetType = msgspec.UNSET  # timestamp at which it expires, omitted if it does not


class Tag(Record, frozen=True):
    """Name given to a release. Giving it to another release moves it."""

    name: str
    release: str
    at: str
    actor: str
    reason: str
    v: int = FORMAT


class Intent(Record, frozen=True):
    """Change under way: collection keeps its blobs, and its cause survives a crash."""

    id: str
    action: str
    release: str
    at: str
    actor: str
    reason: str
    run_id: str | None
    refs: tuple[ArtifactRef, ...]
    v: int = FORMAT


class CollectedBlob(Record, frozen=True):
    """Blob that a collection moves to the trash."""

    kind: str
    version: str
    size: int


class Sweep(Record, frozen=True):
    """Collection under way or, in the trash, finished: its blobs and start time."""

    id: str
    at: str
    actor: str
    reason: str
    decided: bool  # False: the blobs may be taken. True: all of them will be taken.
    taken: tuple[CollectedBlob, ...]
    v: int = FORMAT


class ForgottenUser(Record, frozen=True):
    """User (the key contains its hash) whose events through a day are dropped, with the actor and the reason."""

    through: str
    at: str
    actor: str
    reason: str
    pseudonym: bool | msgspec.UnsetType = msgspec.UNSET  # the id is the pseudonym of another note's id
    v: int = FORMAT


class ForgottenUsersKey(Record, frozen=True):
    """Secret, in hex, for hashing the forgotten users of a target."""

    key: str
    v: int = FORMAT

    def __repr__(self) -> str:
        """Return only the class name: a secret is never printed."""
        return type(self).__name__
