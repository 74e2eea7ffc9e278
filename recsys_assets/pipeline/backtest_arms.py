"""Arms of a back-test: live release and candidate with their inputs, held-out events, and holdout builds."""

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime, timedelta

import msgspec
from msgspec.structs import replace

from recsys_assets.artifact_format import sharded_kind
from recsys_assets.encoding.codec import encode_content
from recsys_assets.events.events import Events
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, Window, rfc3339
from recsys_assets.kinds.registry import KINDS, Kind, read_params
from recsys_assets.kinds.tallies import merge_tallies, tally_day, with_ages
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import find_days
from recsys_assets.pipeline.records import FACT, key_of_record
from recsys_assets.pipeline.window_tallies import read_tallies
from recsys_assets.quality.tasks import TASK_COLUMNS, before, cut_day
from recsys_assets.release.document_encoding import find_document, read_document
from recsys_assets.release.documents import CanonicalRecord, Input
from recsys_assets.release.layout import blob_key, canonical_key, canonical_record_key
from recsys_assets.release.pointer import read_current, release_id_of
from recsys_assets.release.releases import read_release
from recsys_assets.release.staged import find_staged_artifact, is_left_out
from recsys_assets.serving.loading import Limits, load_trial
from recsys_assets.serving.row_index import MAX_INDEXED_BYTES
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.store import ObjectStore

# Releases built in this process fit into memory.
_LIMITS = Limits(blob_bytes=MAX_INDEXED_BYTES, release_bytes=2**40)


class HeldOut(msgspec.Struct, frozen=True):
    """Held-out events: all events of a canonical day, or those from the time `since` on."""

    source: Input
    day: date
    events: Events
    since: datetime | None
    user_key: str | None = None  # id of the key that hashes its users

    @property
    def message(self) -> str:
        """Description of the events, for people."""
        return f"{self.day}" if self.since is None else f"{self.day} from {rfc3339(self.since)} on"

    @property
    def facts(self) -> dict[str, Scalar]:
        """Facts that show later that nothing was built from these events."""
        since = {} if self.since is None else {"held_out_since": rfc3339(self.since)}
        return {"held_out": self.source.name, "held_out_digest": self.source.digest, **since}


def hold_out_next_day(store: ObjectStore, target: Target, day: date, *, seen: Collection[Input]) -> HeldOut | None:
    """Return the events of the day after `day`, or None if it is missing, or is among the inputs `seen` by an arm."""
    after = day + timedelta(days=1)
    record = find_document(store, canonical_record_key(target, after), CanonicalRecord)
    source = None if record is None else _source(target, after, record)
    if record is None or source is None or is_among(source, seen):
        return None
    events = read_events(store, target, after, record, columns=TASK_COLUMNS)
    return HeldOut(source, after, events, since=None, user_key=key_of_record(record))


def hold_out_part(
    store: ObjectStore, target: Target, day: date, *, share: float, seen: Collection[Input]
) -> HeldOut | None:
    """Return the last `share` of a day's events, or None if it has fewer than two timestamps, or is among `seen`."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    if record is None or record.rows == 0:
        return None
    source = _source(target, day, record)
    if is_among(source, seen):
        return None
    events = read_events(store, target, day, record, columns=TASK_COLUMNS)
    since = cut_day(events, held_out=share)
    return since and HeldOut(source, day, events, since=since, user_key=key_of_record(record))


def is_among(source: Input, seen: Collection[Input]) -> bool:
    """Return whether a canonical day is among these inputs: by its digest, or by its key in any earlier version."""
    return any(source.name == used.name or source.digest == used.digest for used in seen)


def _source(target: Target, day: date, record: CanonicalRecord) -> Input:
    return Input(name=canonical_key(target, day), digest=record.digest, size=record.size)


class Arm(msgspec.Struct, frozen=True):
    """One side of a comparison: its release, its versions by kind, and the inputs of its artifacts."""

    release: str
    versions: Mapping[str, str]
    inputs: Collection[Input]
    user_keys: frozenset[Scalar]  # ids of the keys that hash its users, None for ids as sent


def live_arm(store: ObjectStore, target: Target) -> Arm | None:
    """Return the arm of the live release, or None if nothing is live.

    Raises `NotFoundError` or `CorruptObjectError` if the record of the release cannot be read.
    """
    current = read_current(store, target)
    if current is None:
        return None
    record = read_release(store, target, current.release_id)
    return Arm(
        record.id,
        current.versions,
        [used for member in record.members for used in member.inputs],
        keys_of_users({member.ref.kind: member.facts for member in record.members}),
    )


def staged_arm(store: ObjectStore, target: Target, day: date, *, kinds: Collection[str]) -> Arm | None:
    """Return the arm of a day's staged artifacts, without excluded ones, or None if a kind is not staged."""
    by_kind = [find_staged_artifact(store, target, day, kind) for kind in kinds]
    staged = [artifact for artifact in by_kind if artifact is not None]
    if len(staged) < len(kinds):
        return None
    staged = [artifact for artifact in staged if not is_left_out(store, target, day, artifact)]
    versions = {ref.kind: ref.version for artifact in staged for ref in artifact.named}
    return Arm(
        release_id_of(target, versions),
        versions,
        [used for artifact in staged for used in artifact.inputs],
        keys_of_users({artifact.ref.kind: artifact.facts for artifact in staged}),
    )


def candidate_arm(store: ObjectStore, target: Target, day: date, *, release: str, versions: Mapping[str, str]) -> Arm:
    """Return the arm of a candidate with these versions, and the inputs of the day's staged artifacts."""
    side = staged_arm(store, target, day, kinds={sharded_kind(kind) for kind in versions})
    return (
        Arm(release, versions, [], frozenset()) if side is None else replace(side, release=release, versions=versions)
    )


def keys_of_users(facts: Mapping[str, Mapping[str, Scalar]]) -> frozenset[Scalar]:
    """Return the ids of the keys that hash users, from the facts of each kind. Kinds without users are skipped."""
    return frozenset(of_kind.get(FACT) for kind, of_kind in facts.items() if _has_users(sharded_kind(kind)))


def _has_users(kind: str) -> bool:
    return kind in KINDS and not KINDS[kind].from_catalog


def build_holdout(context: DayContext, *, until: datetime, go_on: Callable[[], None]) -> Snapshot:
    """Build every kind that is built from events as if the day had ended at `until`, and load it as a reader would.

    Nothing is stored. `go_on` is called before each kind, and may raise to end the work.
    """
    settings, row = context.settings, context.row
    memory = MemoryStore()
    versions: dict[str, str] = {}
    for kind in _of_events(settings.artifacts.kinds):
        go_on()
        params = read_params(settings, row, kind.name)
        window = Window.ending(context.day, days=params.window_days)
        events = _events(context, kind.reading(params), window, until=until, aged=params.aged)
        built = kind.build(events, params, settings.limits)
        # One object whatever its size: it is only queried in this process, never stored.
        blob = encode_content(built.rows, kind=kind.name, target=row.target, window=window, max_bytes=MAX_INDEXED_BYTES)
        memory.put(blob_key(row.target, kind.name, blob.ref.version), blob.data)
        versions[kind.name] = blob.ref.version
    return load_trial(memory, row.target, versions, at=until, limits=_LIMITS)


def _of_events(names: Iterable[str]) -> list[Kind]:
    return [KINDS[name] for name in names if name in KINDS and not KINDS[name].from_catalog]


def _events(context: DayContext, kind: Kind, window: Window, *, until: datetime, aged: bool) -> Events:
    """Return the events that a kernel reads of a window whose last day ends at `until`."""
    store, target = context.store, context.target
    record = read_document(store, canonical_record_key(target, window.last), CanonicalRecord)
    last = before(
        read_events(store, target, window.last, record, columns=tuple(dict.fromkeys(("ts", *kind.event_columns)))),
        until,
    )
    if window.first == window.last:
        return last
    earlier = {day: each for day, each in find_days(context, window).records.items() if day != window.last}
    stored = read_tallies(store, target, kind, earlier) if earlier else []
    tallies = [*stored, tally_day(last, kind.event_columns)]
    ages = [(window.last - day).days for day in (*sorted(earlier), window.last)]
    return merge_tallies(with_ages(tallies, ages) if aged else tallies)
