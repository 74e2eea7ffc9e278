"""Following of a pointer: each poll of the store ends with a switch, with no change, or with a problem."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec.structs import replace

from recsys_assets.errors import (
    RecsysAssetsError,
)
from recsys_assets.identity import Target, rfc3339
from recsys_assets.release.journal import Clock
from recsys_assets.release.pointer import MAX_AHEAD
from recsys_assets.release.releases import alternatives
from recsys_assets.serving.blocking import BlockedFollower
from recsys_assets.serving.last_known_good import LastKnownGood
from recsys_assets.serving.loading import (
    Limits,
    PointerRead,
    Proven,
    check_record,
    load_previous,
    load_release,
    read_pointer,
    read_pointer_unless,
)
from recsys_assets.serving.sharded_rows import ShardCache
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.serving.state import (
    Listener,
    Problem,
    ReaderView,
    Refresh,
    RefreshOutcome,
    log_copy_fault,
    log_problem,
    log_switch,
    problem_of_blobs,
    problem_of_pointer,
)
from recsys_assets.serving.threads import renew_after_fork
from recsys_assets.serving.trial import TrialFollower
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.heartbeats import MAX_RELEASES

if TYPE_CHECKING:
    from recsys_assets.serving.counting import ReleaseCounter

_TRIES = 3  # a release may be replaced and collected while it loads: then the pointer names another one


class Follower:
    """State of one target, updated by `poll`. Only one thread may poll at a time, and all may read `view`."""

    def __init__(  # noqa: PLR0913 - the options of the reader
        self,
        store: ObjectStore,
        target: Target,
        *,
        limits: Limits,
        now: Clock,
        copy: LastKnownGood | None,
        fall_back: bool,
        strict: bool,
        listener: Listener | None,
        short_below: int,
        rollouts: bool,
    ) -> None:
        self.view = ReaderView(target)
        self._store = store
        self._target = target
        self._limits = limits
        self._now = now
        self._copy = copy
        self._fall_back = fall_back
        self._strict = strict
        self._listener = listener
        self._short_below = short_below
        self.counters: tuple[ReleaseCounter, ...] = ()  # counters of the served release, and of the previous one
        self.refresh_failures: dict[Problem, int] = {}
        self._proven: Proven = {}  # artifacts of the served release, and of one that is loaded repeatedly
        self._shards = ShardCache(store, target, max_bytes=limits.shard_bytes)
        self.blocking = BlockedFollower(store, target, now, copy=FilesystemStore(copy.folder) if copy else None)
        self.trials = TrialFollower(store, target, limits, self._shards) if rollouts else None
        self.controls: tuple[ReleaseCounter, ...] = ()  # counters of releases in `counters`, as the control of a trial
        self._copy_fault: str | None = None
        self._is_first = True
        renew_after_fork(self)

    def after_fork(self) -> None:
        """Reset the counts of failures, as those of lookups are reset."""
        self.refresh_failures = {}

    def poll(self, *, accept_older: bool) -> Refresh:
        """Poll the store once and return the outcome. Never raises the package's errors.

        Blocked items are read first, so that no release serves items that are already blocked.
        """
        self.blocking.poll()
        refresh = self._poll(accept_older=accept_older)
        if self.view.snapshot is not None:
            self.view = replace(self.view, snapshot=self._unblocked(self.view.snapshot))
        if self.trials is not None:
            self._follow_trial(self.trials)
        return refresh

    def _follow_trial(self, trials: TrialFollower) -> None:
        trials.poll(self.view.snapshot, proven=self._proven, blocked=self.blocking.items)
        controls = self.controls
        if trials.trial is not None and trials.trial.control.snapshot.counter not in controls:
            controls = (*controls, trials.trial.control.snapshot.counter)
        counted = {counter.release_id for counter in self.counters}
        self.controls = tuple(control for control in controls if control.release_id in counted)

    def _unblocked(self, snapshot: Snapshot) -> Snapshot:
        return snapshot.without(self.blocking.items)

    def _poll(self, *, accept_older: bool) -> Refresh:
        if self._is_first:
            self._is_first = False
            self._restore_copy()
        refresh = self._poll_once(accept_older)
        for _ in range(_TRIES - 1):
            if refresh is not None:
                break
            refresh = self._poll_once(accept_older)
        return refresh or self._fail(Problem.OUTAGE, "the pointer moved during each load of its release")

    def _poll_once(self, accept_older: bool) -> Refresh | None:  # noqa: FBT001 - passed on
        """Poll once and return the outcome. None if the pointer moved away from a release that could not be loaded."""
        try:
            pointer = self._read()
        except RecsysAssetsError as error:
            return self._fail(problem_of_pointer(error), str(error))
        if pointer is None:
            self.view = self.view.confirmed(at=self._now())
            return self._outcome(RefreshOutcome.UNCHANGED)
        if not accept_older and (message := self._reject_older(pointer)):
            return self._fail(Problem.OLDER_POINTER, message)
        self._keep_only(self.view.snapshot.versions if self.view.snapshot else {}, pointer.current.versions)
        try:
            snapshot = load_release(
                self._store,
                self._target,
                pointer,
                limits=self._limits,
                proven=self._proven,
                shards=self._shards,
                mapped=self._copy.mapped if self._copy else None,
            )
        except RecsysAssetsError as error:
            problem = problem_of_blobs(error)
            if problem is Problem.BROKEN_RELEASE and self._has_moved(pointer):
                return None
            return self._fail(problem, str(error), broken=pointer.current.release_id)
        return self._switch(pointer, self._unblocked(snapshot))

    def _read(self) -> PointerRead | None:
        etag = self.view.etag
        if etag is None:
            return read_pointer(self._store, self._target, limits=self._limits)
        return read_pointer_unless(self._store, self._target, etag=etag, limits=self._limits)

    def _reject_older(self, pointer: PointerRead) -> str:
        """Return the message that refuses a pointer older than one served before, empty if it is not older."""
        newest, current = self.view.newest, pointer.current
        if newest is None or current.updated_at > newest or newest - self._now() > MAX_AHEAD:
            return ""  # the last condition: a time far ahead, from a wrong clock, does not make later pointers old
        held = self.view.snapshot
        if current.updated_at == newest and held is not None and held.release_id == current.release_id:
            return ""
        return (
            f"the store's pointer is of {current.pointer.updated_at}, but one of {rfc3339(newest)} was already served: "
            "was a backup restored, or is this another bucket? Ship or roll back again, or refresh(accept_older=True)"
        )

    def _has_moved(self, pointer: PointerRead) -> bool:
        try:
            etag = pointer.current.etag
            return read_pointer_unless(self._store, self._target, etag=etag, limits=self._limits) is not None
        except RecsysAssetsError:
            return False

    def _switch(self, pointer: PointerRead, snapshot: Snapshot) -> Refresh:
        """Serve a verified release by one assignment, so that every request sees the old one or the new one.

        A release without a record is served only if no other is, with a problem. Its record is read at each poll.
        """
        old, record = self.view.snapshot, check_record(self._store, self._target, pointer, strict=self._strict)
        is_another = old is not None and old.release_id != snapshot.release_id
        if record.problem is not None and (self._strict or is_another):
            return self._fail(record.problem, record.why, broken=snapshot.release_id)
        if old is not None and not is_another and old.updated_at == snapshot.updated_at:
            snapshot = old  # the same release: its counts continue
        else:
            snapshot = self.trials.continued(snapshot) if self.trials is not None else snapshot
            self._count(snapshot)
        view = self.view.switched(snapshot, etag=pointer.current.etag if record.is_final else None, at=self._now())
        if record.problem is not None:
            log_problem(self._target, record.problem, record.why, again=record.problem is self.view.problem)
            view = view.failed(record.problem, record.why)
        self.view = view
        self._keep_only(snapshot.versions)
        is_switch = old is None or is_another
        if is_switch:
            log_switch(old, snapshot, source="store", listener=self._listener)
        if record.problem is None:
            self._keep_copy(pointer, snapshot)
        return self._outcome(RefreshOutcome.CHANGED if is_switch else RefreshOutcome.UNCHANGED)

    def _count(self, snapshot: Snapshot) -> None:
        """Report the counts of a release about to serve and of the previous one, whose last requests still run."""
        snapshot.counter.set_short_below(self._short_below)
        others = (counter for counter in self.counters if counter.release_id != snapshot.release_id)
        self.counters = (snapshot.counter, *others)[:MAX_RELEASES]

    def _fail(self, problem: Problem, message: str, *, broken: str | None = None) -> Refresh:
        log_problem(self._target, problem, message, again=problem is self.view.problem)
        if broken is not None and self.view.snapshot is None:
            message = f"{message}; {self._offer(broken)}"
        if self.view.snapshot is None and self._copy_fault is not None:
            message = f"{message}; nor the copy on disk: {self._copy_fault}"
        self.view = self.view.failed(problem, message)
        self.refresh_failures = {**self.refresh_failures, problem: self.refresh_failures.get(problem, 0) + 1}
        return self._outcome(RefreshOutcome.FAILED)

    def _offer(self, broken: str) -> str:
        """Serve the release before a broken one with `fall_back`. Else return a message with the possible releases."""
        try:
            if not self._fall_back:
                others = alternatives(self._store, self._target, exclude=broken)
                return f"fall_back=True would serve an earlier one; possible targets of a rollback: {others}"
            previous = load_previous(self._store, self._target, exclude=broken, limits=self._limits)
        except RecsysAssetsError as error:
            return f"earlier releases cannot be read either: {error}"
        if previous is None:
            return "no earlier release can be verified either: build a day again"
        previous = self._unblocked(previous)
        self._count(previous)
        self.view = self.view.serving(previous, source="journal", at=self._now())
        log_switch(None, previous, source="journal", listener=self._listener)
        return f"release {previous.release_id[:12]} is served instead"

    def _restore_copy(self) -> None:
        """Serve the copy on disk until the store has replied."""
        if self._copy is None:
            return
        try:
            restored = self._copy.restore(self._proven, self._shards)
        except RecsysAssetsError as error:
            self._copy_fault = str(error)
            log_copy_fault(self._target, str(error))
            return
        if restored is None:
            self._copy_fault = "there is none"
            return
        restored = self._unblocked(restored)
        self._count(restored)
        self.view = self.view.serving(restored, source="disk", at=self._now())
        self.view = self.view.seen(restored.updated_at)
        log_switch(None, restored, source="disk", listener=self._listener)

    def _keep_copy(self, pointer: PointerRead, snapshot: Snapshot) -> None:
        """Copy the served release to disk. An error is reported and does not stop serving."""
        if self._copy is None:
            return
        try:
            self._copy.keep(pointer, snapshot)
            self._copy_fault = None
        except RecsysAssetsError as error:
            self._copy_fault = str(error)
            log_copy_fault(self._target, str(error))

    def _keep_only(self, *releases: Mapping[str, str]) -> None:
        """Release the memory of verified artifacts that are in none of these releases, given as versions by kind."""
        needed = {item for versions in releases for item in versions.items()}
        self._proven = {key: artifact for key, artifact in self._proven.items() if key in needed}

    def _outcome(self, outcome: RefreshOutcome) -> Refresh:
        held = self.view.snapshot
        return Refresh(outcome, held.release_id if held else None, self.view.problem, self.view.why)
