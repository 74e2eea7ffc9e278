"""Reader of one target: its live release in memory, kept up to date in the background and switched in one step."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec

from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target, utc_now
from recsys_assets.release.journal import Clock
from recsys_assets.serving.counting import AnswerCounts, ReleaseCounter, counts_by_release
from recsys_assets.serving.following import Follower
from recsys_assets.serving.heartbeat import HeartbeatWriter, ReaderCounts
from recsys_assets.serving.last_known_good import LastKnownGood
from recsys_assets.serving.loading import Limits, load_at
from recsys_assets.serving.mapped_copy import MappedCopy
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.serving.state import Listener, Problem, Refresh, RefreshOutcome, Status
from recsys_assets.serving.threads import DeadlineStore, Poller, SingleFlight
from recsys_assets.serving.trial import Trial, TrialArm
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.heartbeats import (
    MAX_FAULT_CHARACTERS,
    MAX_KINDS,
    ArmAnswers,
    KindAnswers,
    ReleaseAnswers,
    TrialAnswers,
)

if TYPE_CHECKING:
    from recsys_assets.release.signatures import Trust

_MISSED_POLLS = 3  # intervals without a reply after which the state is stale, even while a poll still waits


class Reader:
    """The live release of a target in memory, with every byte verified before it is served.

    `with Reader(store, "shop", "home") as reader:` loads the release and then polls every `poll_seconds`. Without
    `with` or `start()`, call `refresh()`. A request uses `with reader.snapshot() as s:` and holds one release from its
    start to its end, whatever is shipped or collected in the meantime. The current release is served while the next one
    loads, and if the next one cannot be loaded.

    `copy_folder` is a folder for a copy of the served release, for starts without a store. With `mapped`, lookups read
    that copy through a memory map, so that all processes of a machine share it. `expire_after_seconds` is the age of
    the pointer at which the state becomes `expired`. `fall_back` serves the previous release if the current one cannot
    be loaded and no other is served. A release without a record, which was never shipped, does not replace a served
    one, and its state is never `fresh`. With `strict`, neither it nor a release whose record cannot be read is ever
    served. `listener(old, new)` is called after every switch, in the refreshing thread. `heartbeat` is a unique name of
    this consumer: a background thread writes the served release into the store under it, so that users see which
    consumers have switched. Without permission to write, the reader still serves. Lookups are counted, and lists with
    fewer than `short_below` items count as short. With `rollouts`, `snapshot(key)` may return the candidate of a
    rollout. `trust` holds public keys: a pointer without a valid signature of theirs, or with an expired one, is
    refused as a bad pointer.
    """

    def __init__(  # noqa: PLR0913 - each is an independent choice of the service
        self,
        store: ObjectStore,
        tenant: str,
        surface: str,
        *,
        poll_seconds: float = 60.0,
        copy_folder: Path | None = None,
        mapped: bool = False,
        expire_after_seconds: float | None = None,
        fall_back: bool = False,
        strict: bool = False,
        limits: Limits | None = None,
        listener: Listener | None = None,
        heartbeat: str | None = None,
        short_below: int = 1,
        rollouts: bool = False,
        trust: "Trust | None" = None,
        now: Clock = utc_now,
    ) -> None:
        if poll_seconds <= 0:
            raise ConfigurationError(f"poll_seconds is {poll_seconds}: expected more than 0")
        if mapped and copy_folder is None:
            raise ConfigurationError("mapped without copy_folder: set copy_folder to the folder that processes share")
        if trust is not None and fall_back:
            raise ConfigurationError("fall_back serves a release without a signature: remove fall_back or trust")
        if trust is not None and rollouts:
            raise ConfigurationError("only the live pointer is signed: remove rollouts or trust")
        self._limits = limits or Limits()
        self._trust = trust
        self._store = store = DeadlineStore(store, seconds=self._limits.call_seconds)
        if trust is not None:
            from recsys_assets.release.signed_stores import TrustingStore  # noqa: PLC0415 - most services do not check signatures

            self._store = store = TrustingStore(store, trust, now=now)
        self._target = Target(tenant, surface)
        self._now = now
        self._stale_after = timedelta(seconds=poll_seconds * _MISSED_POLLS)
        self._expire_after = None if expire_after_seconds is None else timedelta(seconds=expire_after_seconds)
        copy = None if copy_folder is None else self._make_copy(copy_folder, mapped=mapped)
        self._follower = Follower(
            store,
            self._target,
            limits=self._limits,
            now=now,
            copy=copy,
            fall_back=fall_back,
            strict=strict,
            listener=listener,
            short_below=short_below,
            rollouts=rollouts,
        )
        self._flight = SingleFlight(Refresh(RefreshOutcome.FAILED, None, why="no refresh has ended yet"))
        self._heartbeat = (
            None
            if heartbeat is None
            else HeartbeatWriter(
                store,
                heartbeat,
                every_seconds=poll_seconds,
                now=now,
                status=self.status,
                counted=lambda: ReaderCounts(self._answers(), self._trial_answers(), {**self.refresh_failures}),
                blocked=lambda: self._follower.blocking.updated_at,
            )
        )
        self._poller = Poller(self.refresh, seconds=poll_seconds, name=f"reader of {self._target}")

    def __enter__(self) -> Self:
        """Load the release and start polling."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop polling."""
        self.close()

    def start(self) -> Refresh:
        """Load the release in this thread, start a thread that polls, and return the outcome of the first refresh."""
        first = self.refresh()
        self._poller.start()
        if self._heartbeat:
            self._heartbeat.start()
        return first

    def close(self, *, wait_seconds: float = 5.0) -> bool:
        """Stop polling, and return whether the thread ended in time. The loaded release can still be used."""
        ended = self._poller.stop(wait_seconds=wait_seconds)
        if self._heartbeat:
            self._heartbeat.stop(wait_seconds=wait_seconds)
        return ended

    def _make_copy(self, folder: Path, *, mapped: bool) -> LastKnownGood:
        shared = MappedCopy(folder, self._target, self._limits.call_seconds) if mapped else None
        return LastKnownGood(folder, self._target, self._store.uri_roots, self._limits, shared)

    def beat(self) -> bool:
        """Write the heartbeat, and return whether it was written. For services without a polling thread.

        Raises `ConfigurationError` if the reader was made without `heartbeat`.
        """
        if not self._heartbeat:
            raise ConfigurationError("this reader has no heartbeat: create it with heartbeat=<a unique name>")
        return self._heartbeat.beat()

    def refresh(self, *, accept_older: bool = False) -> Refresh:
        """Poll the store once and switch if there is a new release. Errors are returned, not raised.

        A call during another refresh waits for it and returns its result. `accept_older` accepts a pointer older than
        the last one, for example after a bucket was restored from a backup on purpose.
        """
        return self._flight.run(lambda: self._follower.poll(accept_older=accept_older), join=not accept_older)

    def snapshot(self, key: str | None = None) -> Snapshot:
        """Return the served release. Hold it for one request.

        With `rollouts`, `key` (the id of the user or the session) decides during a rollout between the candidate and
        the live release: the same key gets the same release as long as the share is unchanged. Without a key, the live
        release is returned.

        Raises, if no release is loaded, the reason for health checks: `StoreUnavailableError` (no reply yet),
        `NotFoundError` (no pointer), `ConfigurationError` (denied), `CorruptObjectError` (a release that is broken).
        """
        held = self._follower.view.held()
        trial = self.trial if key is not None else None
        if key is None or trial is None or trial.control.snapshot.release_id != held.release_id:
            return held
        return trial.choose(key)

    @property
    def trial(self) -> Trial | None:
        """The candidate that serves a share of the keys, its control (the live release) and their counts, or None."""
        return self._follower.trials.trial if self._follower.trials is not None else None

    def status(self) -> Status:
        """Return state, release, times and the last problem."""
        return self._follower.view.status(
            now=self._now(), stale_after=self._stale_after, expire_after=self._expire_after
        )

    @property
    def counters(self) -> tuple[ReleaseCounter, ...]:
        """Counts of lookups in the served release and in the previous one, since each was loaded."""
        return self._follower.counters

    @property
    def all_counters(self) -> tuple[ReleaseCounter, ...]:
        """All counters, each lookup counted once. A release that takes part in a rollout has more than one counter."""
        of_candidate = (self.trial.candidate.snapshot.counter,) if self.trial is not None else ()
        return (*self.counters, *self._follower.controls, *of_candidate)

    @property
    def blocked_fault(self) -> str:
        """Error of the last read of the blocked items, empty if it succeeded.

        The list that was read last stays in force. `snapshot().blocked` contains its items.
        """
        return self._follower.blocking.fault

    @property
    def refresh_failures(self) -> Mapping[Problem, int]:
        """Number of failed refreshes by problem, since the reader was created."""
        return self._follower.refresh_failures

    def _answers(self) -> tuple[ReleaseAnswers, ...]:
        """Return the counts for a heartbeat: those of the kinds with the most lookups."""
        totals = counts_by_release((*self.counters, *self._follower.controls))
        return tuple(ReleaseAnswers(release=release, kinds=_most_asked(kinds)) for release, kinds in totals.items())

    def _trial_answers(self) -> TrialAnswers | None:
        """Return the counts of both arms of a trial, or the reason why the candidate is not served."""
        trials = self._follower.trials
        if trials is None or not (trials.trial or trials.fault):
            return None
        if trials.trial is None:
            return TrialAnswers(fault=trials.fault[:MAX_FAULT_CHARACTERS])
        control, candidate = trials.trial.control, trials.trial.candidate
        return TrialAnswers(
            release=candidate.snapshot.release_id, control=_arm_answers(control), candidate=_arm_answers(candidate)
        )

    def at(self, instant: datetime) -> Snapshot:
        """Load the release that was live at a timestamp. The served release stays. Raises like `loading.load_at`.

        Raises `ConfigurationError` with `trust`: only the live pointer is signed.
        """
        if self._trust is not None:
            raise ConfigurationError("earlier releases have no signature: use a reader without trust")
        return load_at(self._store, self._target, instant, limits=self._limits)


def _arm_answers(arm: TrialArm) -> ArmAnswers:
    counter = arm.snapshot.counter
    kinds = {
        kind: msgspec.structs.replace(counts, times=counter.kinds[kind].latencies())
        for kind, counts in _most_asked(counter.counts()).items()
    }
    return ArmAnswers(requests=arm.requests.value, keys=arm.keys, kinds=kinds)


def _most_asked(kinds: Mapping[str, AnswerCounts]) -> dict[str, KindAnswers]:
    most = sorted(kinds.items(), key=lambda item: -item[1].asked)[:MAX_KINDS]
    return {kind: KindAnswers(**asdict(counts)) for kind, counts in most}
