"""Heartbeats of consumers, one small object each, and the consumers that serve the live release."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
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

MISSED_BEATS = 3  # a consumer silent for this many of its intervals counts as dead
MAX_SECONDS: Final = 86_400.0  # maximum interval between two heartbeats
KEPT = timedelta(days=1)  # a dead consumer's heartbeat is kept this long, then collected
_MAX_BYTES = 32_000
MAX_FAULT_CHARACTERS: Final = 500
MAX_RELEASES: Final = 2  # releases with answers in a heartbeat: the served release and the one before
MAX_KINDS: Final = 30  # per release, those with the most lookups
_TRIES = 3

LATENCY_BOUNDS: Final = (
    5e-6,
    1e-5,
    2.5e-5,
    5e-5,
    1e-4,
    2.5e-4,
    1e-3,
    1e-2,
    1e-1,
    1.0,
)  # Seconds. There is one more bucket beyond.

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Times = Annotated[tuple[Count, ...], msgspec.Meta(min_length=11, max_length=11)]
Failures = Annotated[
    Mapping[Annotated[str, msgspec.Meta(min_length=1, max_length=50)], Count], msgspec.Meta(max_length=20)
]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=MAX_SECONDS)]

_POLL_SECONDS = 1.0


class KindAnswers(Record, frozen=True):
    """Lookups of a kind since its release was loaded, and their results."""

    asked: Count
    empty: Count = 0  # empty lists
    short: Count = 0  # lists shorter than the consumer wants
    unknown: Count = 0  # ids not in the artifact
    failed: Count = 0  # unreadable shards
    times: Times | msgspec.UnsetType = msgspec.UNSET  # timed lookups per bucket of `LATENCY_BOUNDS`

    def __post_init__(self) -> None:
        """Reject more results than lookups."""
        if self.empty + self.unknown + self.failed > self.asked or self.short > self.asked:
            raise ValueError(f"asked is {self.asked}: expected at least empty + unknown + failed, and at least short")

    @property
    def without_items(self) -> int:
        """Lookups without items: empty lists and unknown ids."""
        return self.empty + self.unknown


class ReleaseAnswers(Record, frozen=True):
    """Answers of one consumer from one release, by kind."""

    release: str
    kinds: Mapping[str, KindAnswers]


class ArmAnswers(Record, frozen=True):
    """Answers of one arm of a trial: requests, approximate number of distinct keys, and lookups by kind."""

    requests: Count = 0
    keys: Count = 0
    kinds: Mapping[str, KindAnswers] = msgspec.field(default_factory=dict[str, KindAnswers])


class TrialAnswers(Record, frozen=True):
    """Answers of a candidate and of the live release since the candidate was loaded. `fault`: why it is not served."""

    release: str | None = None
    control: ArmAnswers = ArmAnswers()
    candidate: ArmAnswers = ArmAnswers()
    fault: str = ""


class Heartbeat(Record, frozen=True):
    """Heartbeat of one consumer: the release it serves, the time, and how long the statement is valid."""

    consumer: str
    release: str | None  # None: no release could be loaded yet
    state: str
    seen_at: str
    every_seconds: Seconds  # maximum time until the next heartbeat
    nonce: str  # unique, because a store may treat equal bytes as unchanged
    left: bool = False  # the consumer shut down cleanly
    answers: Annotated[tuple[ReleaseAnswers, ...], msgspec.Meta(max_length=MAX_RELEASES)] | msgspec.UnsetType = (
        msgspec.UNSET  # Served release first. Omitted by consumers that do not count and before format 2.
    )
    blocked: str | msgspec.UnsetType = msgspec.UNSET  # `updated_at` of the blocked items that it applies, if any
    trial: TrialAnswers | msgspec.UnsetType = msgspec.UNSET  # answers of a rollout, from consumers that support it
    failures: Failures | msgspec.UnsetType = msgspec.UNSET  # failed polls of the store, by problem
    v: int = FORMAT

    newest_format: ClassVar[int] = 3  # older versions read 2 (without failures) and 1 (without answers)

    def __post_init__(self) -> None:
        """Reject an invalid time."""
        try:
            parse_rfc3339(self.seen_at)
        except OverflowError as error:
            raise ConfigurationError(f"{self.seen_at!r} is outside the calendar: expected the current time") from error

    @property
    def seen(self) -> datetime:
        """Time of the heartbeat by the consumer's clock."""
        return parse_rfc3339(self.seen_at)


class Heartbeats(msgspec.Struct, frozen=True):
    """All heartbeats of a target, and the faults of unreadable ones."""

    beats: tuple[Heartbeat, ...]
    faults: tuple[str, ...]


def format_with(failures: Mapping[str, int] | msgspec.UnsetType) -> int:
    """Return the format of a heartbeat. Without failures it is 2, which earlier versions can read."""
    return Heartbeat.newest_format if failures else 2


def write_heartbeat(store: ObjectStore, target: Target, beat: Heartbeat, *, expected: str | None) -> str:
    """Create the consumer's object, or swap the one with etag `expected`, and return the new etag.

    If another process of the same name wrote it, or collection deleted it, it is read again. The last writer wins.
    Raises `ConflictError` if others keep writing, and other errors of the store (outage, missing permission).
    """
    key, data = heartbeat_key(target, beat.consumer), encode(beat)
    for _ in attempts(_TRIES):
        try:
            return store.create(key, data) if expected is None else store.swap(key, data, expected=expected)
        except ConflictError:
            expected = _etag(store, key)
    raise ConflictError(
        f"{key}: other processes keep writing heartbeats under this name: give each consumer its own name"
    )


def read_heartbeats(store: ObjectStore, target: Target) -> Heartbeats:
    """Return the last heartbeat of every consumer of a target. Unreadable ones are reported as faults."""
    beats: list[Heartbeat] = []
    faults: list[str] = []
    for item in store.list(heartbeat_prefix(target)):
        try:
            beats.append(_read(store, item.key))
        except NotFoundError:
            continue  # deleted concurrently
        except CorruptObjectError as error:
            faults.append(str(error))
    return Heartbeats(tuple(beats), tuple(faults))


def is_live(beat: Heartbeat, *, now: datetime) -> bool:
    """Return whether a consumer is live: not shut down, and with a heartbeat within `MISSED_BEATS` intervals."""
    return not beat.left and now - beat.seen <= timedelta(seconds=beat.every_seconds * MISSED_BEATS)


def blocking_message(beats: Iterable[Heartbeat], list_of: str | None, *, now: datetime) -> str:
    """Return text on how many live consumers apply a list of blocked items, and the names of the others.

    `list_of` is the `updated_at` of the list (None: no list). Consumers in other languages may not report it.
    """
    live = [beat for beat in beats if is_live(beat, now=now)]
    if not live:
        return "no heartbeats"
    behind = [beat.consumer for beat in live if (beat.blocked or None) != list_of]
    named = f"; not yet, or unknown: {', '.join(behind)}" if behind else ""
    return f"{len(live) - len(behind)} of {len(live)} live consumers honour the list{named}"


def dead_heartbeats(store: ObjectStore, target: Target, *, now: datetime) -> tuple[str, ...]:
    """Return the keys of consumers that have been silent for longer than `KEPT`."""
    dead = (beat for beat in read_heartbeats(store, target).beats if _is_long_silent(beat, now))
    return tuple(heartbeat_key(target, beat.consumer) for beat in dead)


def delete_heartbeats(store: ObjectStore, keys: Iterable[str]) -> None:
    """Delete the heartbeats of silent consumers. One that becomes active again creates a new one."""
    for key in keys:
        store.delete(key)


def _is_long_silent(beat: Heartbeat, now: datetime) -> bool:
    return not is_live(beat, now=now) and now - beat.seen > KEPT


def _read(store: ObjectStore, key: str) -> Heartbeat:
    beat = decode(store.get(key, max_bytes=_MAX_BYTES).data, Heartbeat, name=key)
    if not key.endswith(f"/{beat.consumer}.json"):
        raise CorruptObjectError(f"{key} is the heartbeat of another consumer, {beat.consumer!r}: remove it")
    return beat


def _etag(store: ObjectStore, key: str) -> str | None:
    try:
        return store.get(key, max_bytes=_MAX_BYTES).etag
    except NotFoundError:
        return None


class Convergence(msgspec.Struct, frozen=True):
    """Live consumers that serve a release (`serving`) or do not (`behind`), and faults of unreadable heartbeats."""

    release: str | None
    serving: tuple[Heartbeat, ...]
    behind: tuple[Heartbeat, ...]
    faults: tuple[str, ...]
    beats: tuple[Heartbeat, ...] = ()  # all heartbeats, of silent consumers too

    @property
    def message(self) -> str:
        """Number of consumers that serve the release, and the releases that the others serve."""
        live = len(self.serving) + len(self.behind)
        if not live:
            return "no heartbeats"
        message = f"{len(self.serving)} of {live} live consumers serve it"
        message = f"{message}; behind: {', '.join(map(_straggler, self.behind))}" if self.behind else message
        return f"{message}; {_failures_message(self.failures)}" if self.failures else message

    @property
    def failures(self) -> Mapping[str, int]:
        """Failed polls of the store by live consumers since each started, by problem."""
        counts = Counter[str]()
        for beat in (*self.serving, *self.behind):
            counts.update(beat.failures or {})
        return +counts


def convergence(store: ObjectStore, target: Target, release: str | None, *, now: datetime) -> Convergence:
    """Return which live consumers of a target serve a release and which do not."""
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
    """Poll until no consumer is behind or `seconds` have passed, and return the last convergence.

    A consumer that falls silent counts until its last heartbeat expires.
    """
    end = now() + timedelta(seconds=seconds)
    while True:
        converged = convergence(store, target, release, now=now())
        left = (end - now()).total_seconds()
        if not converged.behind or left <= 0:
            return converged
        pause(min(_POLL_SECONDS, left))


def _failures_message(failures: Mapping[str, int]) -> str:
    by_problem = ", ".join(f"{count:,} {problem}" for problem, count in sorted(failures.items()))
    return f"{plural(sum(failures.values()), 'poll')} failed: {by_problem}"


def _straggler(beat: Heartbeat) -> str:
    served = f"serves {beat.release[:12]}" if beat.release else "serves nothing"
    return f"{beat.consumer} ({served}, {beat.state}, seen at {beat.seen_at})"
