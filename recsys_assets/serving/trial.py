"""Trial of a candidate in a reader: requests shared by a stable hash of their key, both sides counted by themselves."""

import hashlib
import logging
import math
from dataclasses import dataclass, field, replace
from typing import Final

from recsys_assets.errors import CorruptObjectError, NotFoundError, RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.release.layout import candidate_key, rollout_key
from recsys_assets.release.pointer import parse_pointer
from recsys_assets.release.rollout import Rollout, parse_rollout
from recsys_assets.serving.counting import ThreadCounter
from recsys_assets.serving.loading import Limits, PointerRead, Proven, load_release
from recsys_assets.serving.sharded_rows import ShardCache
from recsys_assets.serving.snapshot import Snapshot
from recsys_assets.storage.store import ObjectStore

_log = logging.getLogger(__name__)
_PARTS: Final = 10_000  # of all keys: a share of 5 % is 500 of them
_MARKS: Final = 1 << 16  # keys fall on so many marks, and those that are taken give about how many keys there were


def part_of(release_id: str, key: str) -> int:
    """Return in which of 10,000 parts of all requests a key is, for the rollout of a release.

    The first 8 bytes of the SHA-256 of `<release id>/<key>` as a number, modulo 10,000: the same in every language.
    """
    return _part(_digest(release_id, key))


def _digest(release_id: str, key: str) -> bytes:
    return hashlib.sha256(f"{release_id}/{key}".encode(errors="surrogatepass")).digest()


def _part(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") % _PARTS


@dataclass(frozen=True, slots=True, eq=False)
class TrialArm:
    """One side of a trial: the release that answers, how many requests it got, and from about how many keys."""

    snapshot: Snapshot
    requests: ThreadCounter = field(default_factory=ThreadCounter)
    marks: bytearray = field(default_factory=lambda: bytearray(_MARKS))

    def take(self, mark: int) -> Snapshot:
        """Return the release for a request, counted."""
        next(self.requests.up)
        self.marks[mark] = 1
        return self.snapshot

    @property
    def keys(self) -> int:
        """About how many keys asked, by linear counting: never more than there were requests."""
        free = self.marks.count(0)
        estimate = round(_MARKS * math.log(_MARKS / max(free, 1)))
        return min(estimate, self.requests.value)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A candidate beside the live release, and the share of keys, in parts of 10,000, that it answers."""

    control: TrialArm
    candidate: TrialArm
    parts: int

    def choose(self, key: str) -> Snapshot:
        """Return the release that answers a key: the same one for as long as the share stands."""
        digest = _digest(self.candidate.snapshot.release_id, key)
        arm = self.candidate if _part(digest) < self.parts else self.control
        return arm.take(digest[8] << 8 | digest[9])

    def is_of(self, rollout: Rollout) -> bool:
        """Return whether it is the trial of this rollout."""
        names = (self.candidate.snapshot.release_id, self.control.snapshot.release_id)
        return names == (rollout.release, rollout.against)


@dataclass(slots=True)
class TrialFollower:
    """The trial of one target as its rollout in the store says; without an answer of the store there is none."""

    store: ObjectStore
    target: Target
    limits: Limits
    shards: ShardCache
    trial: Trial | None = None  # what requests are shared by now
    fault: str = ""  # why a candidate that is to be shown is not; empty: it is, or there is none
    _known: Trial | None = None  # the last one: its counts go on where the same rollout goes on
    _rollout: Rollout | None = None
    _etag: str | None = None

    def look(self, live: Snapshot | None, *, proven: Proven, blocked: frozenset[str]) -> None:
        """Follow the rollout beside what is live; never raises the package's errors."""
        try:
            rollout = self._read()
            if live is None or rollout is None or not rollout.is_in_force(live.release_id):
                self.trial, self.fault = None, ""
                return
            self.trial = self._known = self._follow(rollout, live, proven, blocked)
        except RecsysAssetsError as error:
            self.trial = None
            if not self.fault:
                _log.warning("no candidate of %s is shown: %s", self.target, error)
            self.fault = str(error)
        else:
            self.fault = ""

    def continued(self, snapshot: Snapshot) -> Snapshot:
        """Return a release that is to serve; one that was tried goes on with the counts of its trial."""
        known = self._known
        if known is None or known.candidate.snapshot.release_id != snapshot.release_id:
            return snapshot
        return snapshot.counting_on(known.candidate.snapshot.counter)

    def _follow(self, rollout: Rollout, live: Snapshot, proven: Proven, blocked: frozenset[str]) -> Trial:
        parts = rollout.share * _PARTS // 100
        known = self._known
        if known is None or not known.is_of(rollout):
            candidate = self._load(rollout, proven).without(blocked)
            candidate.counter.set_short_below(live.counter.short_below)
            control = live.counted_from_zero()
            return Trial(TrialArm(control), TrialArm(candidate), parts)
        control, candidate = known.control, known.candidate
        return Trial(
            replace(control, snapshot=control.snapshot.without(blocked)),
            replace(candidate, snapshot=candidate.snapshot.without(blocked)),
            parts,
        )

    def _load(self, rollout: Rollout, proven: Proven) -> Snapshot:
        """Return the candidate, every byte of it proven; `CorruptObjectError` if its pointer names another release."""
        key = candidate_key(self.target)
        stored = self.store.get(key, max_bytes=self.limits.pointer_bytes)
        current = parse_pointer(self.store.uri_roots, self.target, stored.data, etag=stored.etag)
        if current.release_id != rollout.release:
            raise CorruptObjectError(f"{key} names {current.release_id[:12]}, the rollout {rollout.release[:12]}")
        pointer = PointerRead(current, stored.data)
        return load_release(
            self.store, self.target, pointer, limits=self.limits, proven=dict(proven), shards=self.shards
        )

    def _read(self) -> Rollout | None:
        key, most = rollout_key(self.target), self.limits.pointer_bytes
        try:
            if self._etag is None:
                stored = self.store.get(key, max_bytes=most)
            else:
                stored = self.store.get_if_changed(key, etag=self._etag, max_bytes=most)
        except NotFoundError:
            self._rollout = self._etag = None
            return None
        if stored is not None:
            self._rollout, self._etag = parse_rollout(self.target, stored.data), stored.etag
        return self._rollout
