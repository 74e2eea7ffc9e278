"""The documents of the store, as frozen values: what each one says, and nothing about how it is kept."""

from collections.abc import Mapping
from typing import Final

import msgspec

from recsys_assets.evidence import GateReport, Scalar
from recsys_assets.identity import ArtifactRef
from recsys_assets.sharding import sharded_kind

FORMAT: Final = 1
CANONICAL_FORMAT: Final = 2  # 2: the report of its gates and its profile are in the record; 1: beside it
STAGED_FORMAT: Final = 2  # 2: the report of its gates is in the document; 1: beside it
RELEASE_FORMAT: Final = 2  # 2: a record carries its own digest
JOURNAL_FORMAT: Final = 2  # 2: the message of an entry is `message` in its details


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frozen, closed to unknown keys, written in the order of its fields."""


class Input(Record, frozen=True):
    """One input of something: what it is called, its SHA-256, and its size in bytes."""

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
    """One canonical day: the Parquet object's digest and size, its counts, the raw files that it was built from.

    What its gates said, and its profile, are added when it is judged; in format 1 they are in documents beside it.
    """

    digest: str
    size: int
    rows: int
    events: int
    duplicates: int
    bad: int
    rejects: Mapping[str, int]
    inputs: tuple[Input, ...]
    user_key: str | msgspec.UnsetType = msgspec.UNSET  # id of the key that users are hashed by; not written if none
    erased: str | msgspec.UnsetType = msgspec.UNSET  # mark of the forgotten users it is without; not written if none
    v: int = CANONICAL_FORMAT
    gates: GateReport | msgspec.UnsetType = msgspec.UNSET  # not written before they ran; of which bytes, it says itself
    profile: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # `DayProfile`, which later days are compared with


class Shards(Record, frozen=True):
    """What an index refers to, one after the other by number; left out of records of kinds that are one object."""

    refs: tuple[ArtifactRef, ...]
    whole: ArtifactRef | None = None  # the same rows as the contract's single object, where that is built too


class StagedArtifact(Record, frozen=True):
    """One artifact that a day built: its reference, window and inputs by hash, the numbers of its build, and its gates.

    The reference of a kind in shards is that of its index.
    """

    ref: ArtifactRef
    window_first: str
    window_last: str
    inputs: tuple[Input, ...]
    facts: Mapping[str, Scalar]
    build: Build
    v: int = STAGED_FORMAT
    shards: Shards | msgspec.UnsetType = msgspec.UNSET  # where there are none, no key that older readers do not know
    gates: GateReport | msgspec.UnsetType = msgspec.UNSET  # not written before they ran

    @property
    def kind(self) -> str:
        """The kind that was built."""
        return sharded_kind(self.ref.kind)

    @property
    def named(self) -> tuple[ArtifactRef, ...]:
        """What a pointer to this artifact names."""
        whole = None if isinstance(self.shards, msgspec.UnsetType) else self.shards.whole
        return (self.ref,) if whole is None else (whole, self.ref)

    @property
    def shard_refs(self) -> tuple[ArtifactRef, ...]:
        """Its shards, by number; nothing for an artifact that is one object."""
        return () if isinstance(self.shards, msgspec.UnsetType) else self.shards.refs

    @property
    def refs(self) -> tuple[ArtifactRef, ...]:
        """Every object of this artifact."""
        return (*self.named, *self.shard_refs)


class StagedDay(Record, frozen=True):
    """What one run staged of a day: each artifact by its kind, and what gates said of them together, by subject."""

    artifacts: Mapping[str, StagedArtifact]
    gates: Mapping[str, GateReport] = msgspec.field(default_factory=dict[str, GateReport])
    v: int = FORMAT


class Pointer(Record, frozen=True):
    """ManifestV1, what services read: exactly five keys; `current` maps kind to URI."""

    v: int
    tenant: str
    surface: str
    current: Mapping[str, str]
    updated_at: str


class Member(Record, frozen=True):
    """One artifact in a release: its reference, its window, what and who made it, and what its gates said."""

    ref: ArtifactRef
    window_first: str
    window_last: str
    inputs: tuple[Input, ...]
    facts: Mapping[str, Scalar]
    gates: GateReport
    build: Build
    shards: tuple[ArtifactRef, ...] | msgspec.UnsetType = msgspec.UNSET  # of an index, by number

    @property
    def shard_refs(self) -> tuple[ArtifactRef, ...]:
        """The shards of an index, by number; nothing for any other artifact."""
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
    build: Build  # who proved and recorded it; each member names who built it
    recorded_at: str
    parent: str | None
    segment: str | None = None
    gates: tuple[GateReport, ...] = ()  # of the artifacts together; the members carry what was said of each
    v: int = RELEASE_FORMAT
    digest: str | msgspec.UnsetType = msgspec.UNSET  # SHA-256 of the record without this field; none in format 1

    @property
    def refs(self) -> dict[str, ArtifactRef]:
        """What the pointer names, by kind."""
        return {member.ref.kind: member.ref for member in self.members}

    @property
    def artifacts(self) -> dict[str, ArtifactRef]:
        """What holds all rows of each kind: the index of one in shards, though its single object may stand beside."""
        found: dict[str, ArtifactRef] = {}
        for kind, ref in sorted(self.refs.items()):  # an index follows its kind
            found[sharded_kind(kind)] = ref
        return found


class JournalEntry(Record, frozen=True):
    """One thing that happened to a target's pointer, or was refused: who, when, why, from, to, and how it ended."""

    sequence: int  # the only order: clocks may jump
    at: str
    action: str  # build | ship | roll_back | hold | release_hold | mark_bad | pin | collect | restore_pointer | repair
    outcome: str  # done | unchanged | older | held | refused | recovered | lost
    actor: str
    reason: str
    before: str | None  # release id live before
    after: str | None  # release id live after
    run_id: str | None = None
    pointer_at: str | None = None  # `updated_at` of the pointer that is live after this entry
    changed: bool = False  # whether this entry records a swap of the pointer
    last_change: int = 0  # sequence of the newest entry before this one that records a swap: no-ops are skipped by it
    details: Mapping[str, Scalar] = msgspec.field(default_factory=dict)
    v: int = JOURNAL_FORMAT


class Hold(Record, frozen=True):
    """Automation may not ship until every condition named here is met; without any, until it is lifted by hand."""

    at: str
    actor: str
    reason: str
    until: str | None = None  # an instant
    after_data: str | None = None  # a data day: newer good data than this ends the hold
    lifted: str | None = None  # since when it is over by hand; the document stays, so that writers can swap it
    v: int = FORMAT


class Label(Record, frozen=True):
    """Why a release is marked bad, or pinned: there or not there, never changed."""

    release: str
    at: str
    actor: str
    reason: str
    v: int = FORMAT
    until: str | msgspec.UnsetType = msgspec.UNSET  # an instant at which it ends by itself; not written if none


class Tag(Record, frozen=True):
    """A name that somebody gave to a release; the next one who gives it to another moves it."""

    name: str
    release: str
    at: str
    actor: str
    reason: str
    v: int = FORMAT


class Intent(Record, frozen=True):
    """A change under way: every blob that it names is a root for collection, and its cause survives a crash."""

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
    """One blob that a collection takes."""

    kind: str
    version: str
    size: int


class Sweep(Record, frozen=True):
    """A collection under way, or, in the trash, one that is done: what it takes, and since when."""

    id: str
    at: str
    actor: str
    reason: str
    decided: bool  # before: everything named may be taken; after: all of it will be
    taken: tuple[CollectedBlob, ...]
    v: int = FORMAT


class ForgottenUser(Record, frozen=True):
    """One user, named by the document's key, whose events up to a day are to be dropped; who asked for it, and why."""

    through: str
    at: str
    actor: str
    reason: str
    pseudonym: bool | msgspec.UnsetType = msgspec.UNSET  # the id is what another note's is hashed to
    v: int = FORMAT


class ForgottenUsersKey(Record, frozen=True):
    """The secret, in hex, by which a target's forgotten users are hashed."""

    key: str
    v: int = FORMAT

    def __repr__(self) -> str:
        """Return the name alone: a secret is never printed."""
        return type(self).__name__
