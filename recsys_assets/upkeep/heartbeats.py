"""Heartbeats of consumers, one small object each, and which consumers serve the live release."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

import msgspec

from recsys_assets.errors import ConfigurationError, ConflictError, CorruptObjectError, NotFoundError
from recsys_assets.identity import Target, parse_rfc3339
from recsys_assets.messages import plural
from recsys_assets.release.document_encoding import decode, encode
from recsys_assets.release.documents import FORMAT, Record
from recsys_assets.release.journal import Clock
from recsys_assets.release.layout import heartbeat_key, heartbeat_prefix
from recsys_assets.retry import attempts
from recsys_assets.storage.store import ObjectStore

MISSED_BEATS = 3  # a consumer that is silent for so many of its own intervals is not waited for any more
MAX_SECONDS: Final = 86_400.0  # between two beats
KEPT = timedelta(days=1)  # a dead one stays to be seen for so long, then collection takes it
_MAX_BYTES = 32_000
MAX_FAULT_CHARACTERS: Final = 500
MAX_RELEASES: Final = 2  # that a heartbeat counts answers of: the one that serves and the one before
MAX_KINDS: Final = 30  # of each, the most asked
_TRIES = 3

LATENCY_BOUNDS: Final = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2, 1e-1, 1.0)  # seconds; beyond: one more

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Times = Annotated[tuple[Count, ...], msgspec.Meta(min_length=11, max_length=11)]
Failures = Annotated[
    Mapping[Annotated[str, msgspec.Meta(min_length=1, max_length=50)], Count], msgspec.Meta(max_length=20)
]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=MAX_SECONDS)]

_PAUSE_SECONDS = 1.0


class KindAnswers(Record, frozen=True):
    """How often a kind was asked since its release was loaded, and with which result."""

    asked: Count
    empty: Count = 0  # a list with nothing in it
    short: Count = 0  # a list with less than the consumer wants
    unknown: Count = 0  # an id that the artifact does not have
    failed: Count = 0  # a shard that could not be read
    times: Times | msgspec.UnsetType = msgspec.UNSET  # of those that were timed: how many took up to each bound

    def __post_init__(self) -> None:
        """Refuse results that are more than there were questions."""
        if self.empty + self.unknown + self.failed > self.asked or self.short > self.asked:
            raise ValueError(f"asked is {self.asked}: expected no fewer than empty, unknown and failed, or short")

    @property
    def without_items(self) -> int:
        """Questions that a release had nothing for: empty, or an id that it does not know."""
        return self.empty + self.unknown


class ReleaseAnswers(Record, frozen=True):
    """What one consumer answered from one release, by kind."""

    release: str
    kinds: Mapping[str, KindAnswers]


class ArmAnswers(Record, frozen=True):
    """What one side of a trial answered: requests, about how many keys they came from, and the questions by kind."""

    requests: Count = 0
    keys: Count = 0
    kinds: Mapping[str, KindAnswers] = msgspec.field(default_factory=dict[str, KindAnswers])


class TrialAnswers(Record, frozen=True):
    """A candidate beside what is live, since the consumer loaded it; `fault`: why it shows none that it should."""

    release: str | None = None
    control: ArmAnswers = ArmAnswers()
    candidate: ArmAnswers = ArmAnswers()
    fault: str = ""


class Heartbeat(Record, frozen=True):
    """What one consumer serves, since when it says so, and how long to believe it."""

    consumer: str
    release: str | None  # None: nothing could be loaded yet
    state: str
    seen_at: str
    every_seconds: Seconds  # the next one comes after so long at most
    nonce: str  # never twice: a store may take equal bytes for its own
    left: bool = False  # the consumer ended in order
    answers: Annotated[tuple[ReleaseAnswers, ...], msgspec.Meta(max_length=MAX_RELEASES)] | msgspec.UnsetType = (
        msgspec.UNSET  # the release that serves first; not written by consumers that do not count, nor before format 2
    )
    blocked: str | msgspec.UnsetType = msgspec.UNSET  # time of the list of blocked items that it honours, if any
    trial: TrialAnswers | msgspec.UnsetType = msgspec.UNSET  # of a rollout, by consumers that follow it
    failures: Failures | msgspec.UnsetType = msgspec.UNSET  # looks at the store that brought nothing, by problem
    v: int = FORMAT

    newest_format: ClassVar[int] = 3  # what it lacks, older versions read: 2 without failures, 1 without answers

    def __post_init__(self) -> None:
        """Refuse a time that is none."""
        try:
            parse_rfc3339(self.seen_at)
        except OverflowError as error:
            raise ConfigurationError(
                f"{self.seen_at!r} lies outside of the calendar: expected a time of now"
            ) from error

    @property
    def seen(self) -> datetime:
        """When it was written, by the consumer's clock."""
        return parse_rfc3339(self.seen_at)


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """All heartbeats of a target, by consumer, and what is there but cannot be read."""

    beats: tuple[Heartbeat, ...]
    faults: tuple[str, ...]


def format_with(failures: Mapping[str, int] | msgspec.UnsetType) -> int:
    """Return the format of a heartbeat: without failures the one before, which earlier versions read, too."""
    return Heartbeat.newest_format if failures else 2


def write_heartbeat(store: ObjectStore, target: Target, beat: Heartbeat, *, expected: str | None) -> str:
    """Create the consumer's object, or swap the one marked `expected`, and return the new etag.

    What another process of the same name wrote, or collection took, is read again: the last one to write stays. Raises
    `ConflictError` if others write without end, and whatever else the store raises: an outage, or no permission.
    """
    key, data = heartbeat_key(target, beat.consumer), encode(beat)
    for _ in attempts(_TRIES):
        try:
            return store.create(key, data) if expected is None else store.swap(key, data, expected=expected)
        except ConflictError:
            expected = _etag(store, key)
    raise ConflictError(f"{key}: other processes beat under this name all the time: give each a name of its own")


def read_heartbeats(store: ObjectStore, target: Target) -> Heartbeats:
    """Return what every consumer of a target said last; one that cannot be read hides none of the others."""
    beats: list[Heartbeat] = []
    faults: list[str] = []
    for item in store.list(heartbeat_prefix(target)):
        try:
            beats.append(_read(store, item.key))
        except NotFoundError:
            continue  # collected a moment ago
        except CorruptObjectError as error:
            faults.append(str(error))
    return Heartbeats(tuple(beats), tuple(faults))


def is_live(beat: Heartbeat, *, now: datetime) -> bool:
    """Return whether a consumer counts: it did not leave, and spoke within `MISSED_BEATS` intervals."""
    return not beat.left and now - beat.seen <= timedelta(seconds=beat.every_seconds * MISSED_BEATS)


def honouring_message(beats: Iterable[Heartbeat], list_of: str | None, *, now: datetime) -> str:
    """Return how many live consumers leave out what a list of blocked items names, and who does not yet.

    `list_of` is the time of the list, None where there is none. Consumers of other languages may not say.
    """
    live = [beat for beat in beats if is_live(beat, now=now)]
    if not live:
        return "no heartbeats"
    behind = [beat.consumer for beat in live if (beat.blocked or None) != list_of]
    named = f"; not yet, or not known: {', '.join(behind)}" if behind else ""
    return f"{len(live) - len(behind)} of {len(live)} live consumers honour the list{named}"


def dead_heartbeats(store: ObjectStore, target: Target, *, now: datetime) -> tuple[str, ...]:
    """Return the keys of consumers that have been silent for longer than `KEPT`."""
    dead = (beat for beat in read_heartbeats(store, target).beats if _is_long_silent(beat, now))
    return tuple(heartbeat_key(target, beat.consumer) for beat in dead)


def delete_heartbeats(store: ObjectStore, keys: Iterable[str]) -> None:
    """Remove what silent consumers left; one that wakes up creates its own again."""
    for key in keys:
        store.delete(key)


def _is_long_silent(beat: Heartbeat, now: datetime) -> bool:
    return not is_live(beat, now=now) and now - beat.seen > KEPT


def _read(store: ObjectStore, key: str) -> Heartbeat:
    beat = decode(store.get(key, max_bytes=_MAX_BYTES).data, Heartbeat, name=key)
    if not key.endswith(f"/{beat.consumer}.json"):
        raise CorruptObjectError(f"{key} says that it is of consumer {beat.consumer!r}: remove it")
    return beat


def _etag(store: ObjectStore, key: str) -> str | None:
    try:
        return store.get(key, max_bytes=_MAX_BYTES).etag
    except NotFoundError:
        return None


@dataclass(frozen=True, slots=True)
class Convergence:
    """The consumers that were heard of lately: those that serve a release, those that do not, and unreadable ones."""

    release: str | None
    serving: tuple[Heartbeat, ...]
    behind: tuple[Heartbeat, ...]
    faults: tuple[str, ...]
    beats: tuple[Heartbeat, ...] = ()  # all that were heard, silent ones too

    @property
    def message(self) -> str:
        """How many serve it, and what the others serve."""
        live = len(self.serving) + len(self.behind)
        if not live:
            return "no heartbeats"
        message = f"{len(self.serving)} of {live} live consumers serve it"
        message = f"{message}; behind: {', '.join(map(_straggler, self.behind))}" if self.behind else message
        return f"{message}; {_failures_message(self.failures)}" if self.failures else message

    @property
    def failures(self) -> Mapping[str, int]:
        """Looks at the store that brought live consumers nothing since each began, by problem."""
        counts = Counter[str]()
        for beat in (*self.serving, *self.behind):
            counts.update(beat.failures or {})
        return +counts


def convergence(store: ObjectStore, target: Target, release: str | None, *, now: datetime) -> Convergence:
    """Return which live consumers of a target serve a release; a store without heartbeats has none."""
    heard = read_heartbeats(store, target)
    live = [beat for beat in heard.beats if is_live(beat, now=now)]
    return Convergence(
        release,
        serving=tuple(beat for beat in live if beat.release == release),
        behind=tuple(beat for beat in live if beat.release != release),
        faults=heard.faults,
        beats=heard.beats,
    )


def wait_until_converged(
    store: ObjectStore,
    target: Target,
    release: str,
    *,
    seconds: float,
    now: Clock,
    pause: Callable[[float], object],
) -> Convergence:
    """Return the convergence as soon as nobody is behind, or as it is after `seconds`.

    A consumer that falls silent is waited for until its last heartbeat is too old to be believed.
    """
    end = now() + timedelta(seconds=seconds)
    while True:
        found = convergence(store, target, release, now=now())
        left = (end - now()).total_seconds()
        if not found.behind or left <= 0:
            return found
        pause(min(_PAUSE_SECONDS, left))


def _failures_message(failures: Mapping[str, int]) -> str:
    by_problem = ", ".join(f"{count:,} {problem}" for problem, count in sorted(failures.items()))
    return f"{plural(sum(failures.values()), 'look')} of theirs failed: {by_problem}"


def _straggler(beat: Heartbeat) -> str:
    served = f"serves {beat.release[:12]}" if beat.release else "serves nothing"
    return f"{beat.consumer} ({served}, {beat.state}, seen at {beat.seen_at})"
