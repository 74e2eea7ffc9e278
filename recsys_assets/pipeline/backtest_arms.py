"""The arms of a back-test: live and candidate with their inputs, held-out events, and holdout builds."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

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
from recsys_assets.sharding import sharded_kind
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.store import ObjectStore

_LIMITS = Limits(blob_bytes=MAX_INDEXED_BYTES, release_bytes=2**40)  # what was built here fits in memory


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Events that are held out: those of a canonical day, or, `since` an instant, the last of them."""

    source: Input
    day: date
    events: Events
    since: datetime | None
    user_key: str | None = None  # id of the key that its users are hashed by

    @property
    def message(self) -> str:
        """Which events, for people."""
        return f"{self.day}" if self.since is None else f"{self.day} from {rfc3339(self.since)} on"

    @property
    def facts(self) -> dict[str, Scalar]:
        """What proves later that nothing was built from these events."""
        since = {} if self.since is None else {"held_out_since": rfc3339(self.since)}
        return {"held_out": self.source.name, "held_out_digest": self.source.digest, **since}


def hold_out_next_day(store: ObjectStore, target: Target, day: date, *, seen: Collection[Input]) -> HeldOut | None:
    """Return the day after `day`, or None if it is not there, or is among the inputs that somebody has `seen`."""
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
    """Return the last `share` of a day's events, or None if it has no two instants, or is among the inputs `seen`."""
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
    """Return whether a canonical day is among these inputs: by its hash, or, in any state it ever had, its name."""
    return any(source.name == one.name or source.digest == one.digest for one in seen)


def _source(target: Target, day: date, record: CanonicalRecord) -> Input:
    return Input(name=canonical_key(target, day), digest=record.digest, size=record.size)


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of a comparison: its release, its artifacts by kind, and their inputs."""

    release: str
    versions: Mapping[str, str]
    inputs: Collection[Input]
    user_keys: frozenset[Scalar]  # ids of the keys that its users are hashed by; None among them: as they were sent


def live_arm(store: ObjectStore, target: Target) -> Arm | None:
    """Return the live release, or None if nothing is live; raises what reading its record raises."""
    current = read_current(store, target)
    if current is None:
        return None
    record = read_release(store, target, current.release_id)
    return Arm(
        record.id,
        current.versions,
        [one for member in record.members for one in member.inputs],
        keys_of_users({member.ref.kind: member.facts for member in record.members}),
    )


def staged_arm(store: ObjectStore, target: Target, day: date, *, kinds: Collection[str]) -> Arm | None:
    """Return what a day staged, or None if it did not stage every kind; without what its release leaves out."""
    staged = [find_staged_artifact(store, target, day, kind) for kind in kinds]
    found = [one for one in staged if one is not None]
    if len(found) < len(kinds):
        return None
    found = [one for one in found if not is_left_out(store, target, day, one)]
    versions = {ref.kind: ref.version for one in found for ref in one.named}
    return Arm(
        release_id_of(target, versions),
        versions,
        [used for one in found for used in one.inputs],
        keys_of_users({one.ref.kind: one.facts for one in found}),
    )


def candidate_arm(store: ObjectStore, target: Target, day: date, *, release: str, versions: Mapping[str, str]) -> Arm:
    """Return the candidate of these versions, with the inputs of the artifacts that the day staged."""
    side = staged_arm(store, target, day, kinds={sharded_kind(kind) for kind in versions})
    return (
        Arm(release, versions, [], frozenset()) if side is None else replace(side, release=release, versions=versions)
    )


def keys_of_users(facts: Mapping[str, Mapping[str, Scalar]]) -> frozenset[Scalar]:
    """Return the keys that users are hashed by, from the facts of each kind; kinds without users have none."""
    return frozenset(of_kind.get(FACT) for kind, of_kind in facts.items() if _has_users(sharded_kind(kind)))


def _has_users(kind: str) -> bool:
    return kind in KINDS and not KINDS[kind].from_catalog


def build_holdout(context: DayContext, *, until: datetime, go_on: Callable[[], None]) -> Snapshot:
    """Build every kind of events as if the day had ended at `until`, as a reader would hold it; nothing is stored.

    `go_on` is called before each kind, and may raise to end the work.
    """
    settings, row = context.settings, context.row
    held = MemoryStore()
    versions: dict[str, str] = {}
    for kind in _of_events(settings.artifacts.kinds):
        go_on()
        params = read_params(settings, row, kind.name)
        window = Window.ending(context.day, days=params.window_days)
        events = _events(context, kind.reading(params), window, until=until, aged=params.aged)
        built = kind.build(events, params, settings.limits)
        # Whatever its size, one object stands in for it: it is asked here, and goes nowhere.
        blob = encode_content(built.rows, kind=kind.name, target=row.target, window=window, max_bytes=MAX_INDEXED_BYTES)
        held.put(blob_key(row.target, kind.name, blob.ref.version), blob.data)
        versions[kind.name] = blob.ref.version
    return load_trial(held, row.target, versions, at=until, limits=_LIMITS)


def _of_events(names: Iterable[str]) -> list[Kind]:
    return [KINDS[name] for name in names if name in KINDS and not KINDS[name].from_catalog]


def _events(context: DayContext, kind: Kind, window: Window, *, until: datetime, aged: bool) -> Events:
    """Return what a kernel reads of the window, of which the last day ends early."""
    store, target = context.store, context.target
    record = read_document(store, canonical_record_key(target, window.last), CanonicalRecord)
    last = before(
        read_events(store, target, window.last, record, columns=tuple(dict.fromkeys(("ts", *kind.event_columns)))),
        until,
    )
    if window.first == window.last:
        return last
    earlier = {one: known for one, known in find_days(context, window).records.items() if one != window.last}
    stored = read_tallies(store, target, kind, earlier) if earlier else []
    tallies = [*stored, tally_day(last, kind.event_columns)]
    ages = [(window.last - one).days for one in (*sorted(earlier), window.last)]
    return merge_tallies(with_ages(tallies, ages) if aged else tallies)
