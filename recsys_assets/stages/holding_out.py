"""Which events are held out for a back-test: the next day, or a part of the last, that neither side was made from."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from msgspec import UNSET

from recsys_assets.canonical.events import Events
from recsys_assets.evaluation.splitting import cut_day
from recsys_assets.evaluation.tasks import TASK_COLUMNS
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, rfc3339
from recsys_assets.manifest.documents import CanonicalRecord, Input
from recsys_assets.manifest.encoding import find_document
from recsys_assets.manifest.layout import canonical_key, canonical_record_key
from recsys_assets.stages.canonical import read_events
from recsys_assets.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Events that are held out: those of a canonical day, or, `since` an instant, the last of them."""

    source: Input
    day: date
    events: Events
    since: datetime | None
    user_key: str | None = None  # id of the key that its users are hashed by

    @property
    def told(self) -> str:
        """Which events, for people."""
        return f"{self.day}" if self.since is None else f"{self.day} from {rfc3339(self.since)} on"

    @property
    def facts(self) -> dict[str, Scalar]:
        """What proves later that nothing was made from these events."""
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
    return HeldOut(source, after, events, since=None, user_key=_key(record))


def hold_out_part(
    store: ObjectStore, target: Target, day: date, *, share: float, seen: Collection[Input]
) -> HeldOut | None:
    """Return the last `share` of a day's events, or None if there are none, or the day is among the inputs `seen`."""
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    if record is None or record.rows == 0:
        return None
    source = _source(target, day, record)
    if is_among(source, seen):
        return None
    events = read_events(store, target, day, record, columns=TASK_COLUMNS)
    return HeldOut(source, day, events, since=cut_day(events, held_out=share), user_key=_key(record))


def is_among(source: Input, seen: Collection[Input]) -> bool:
    """Tell whether a canonical day is one of these inputs: by its hash, or, in any state that it ever had, its name."""
    return any(source.name == one.name or source.digest == one.digest for one in seen)


def _key(record: CanonicalRecord) -> str | None:
    return None if record.user_key is UNSET else record.user_key


def _source(target: Target, day: date, record: CanonicalRecord) -> Input:
    return Input(name=canonical_key(target, day), digest=record.digest, size=record.size)
