"""Trial of a candidate in a reader: requests are split by a stable hash of their key, with counts per arm."""

import hashlib
import logging
import math
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

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
_PARTS: Final = 10_000  # parts of all keys: a share of 5 % is 500 parts
_MARKS: Final = 1 << 16  # bitmap size of linear counting: the marks that are set estimate the number of keys


def part_of(release_id: str, key: str) -> int:
    """Return the part of a key, 0 to 9,999, in the rollout of a release.

    The first 8 bytes of the SHA-256 of `<release id>/<key>` as a number, modulo 10,000: the same in every language.
    """
    return _part(_digest(release_id, key))


def _digest(release_id: str, key: str) -> bytes:
    return hashlib.sha256(f"{release_id}/{key}".encode(errors="surrogatepass")).digest()


def _part(digest: bytes) -> int:
    return int.from_bytes(digest[:8], "big") % _PARTS


class TrialArm(msgspec.Struct, frozen=True, eq=False):
    """One arm of a trial: its release, the number of requests, and an estimate of the number of keys."""

    snapshot: Snapshot
    requests: ThreadCounter = msgspec.field(default_factory=ThreadCounter)
    marks: bytearray = msgspec.field(default_factory=lambda: bytearray(_MARKS))

    def take(self, mark: int) -> Snapshot:
        """Count a request and return the release."""
        next(self.requests.up)
        self.marks[mark] = 1
        return self.snapshot

    @property
    def keys(self) -> int:
        """Estimate of the number of distinct keys, by linear counting. At most the number of requests."""
        free = self.marks.count(0)
        estimate = round(_MARKS * math.log(_MARKS / max(free, 1)))
        return min(estimate, self.requests.value)


class Trial(msgspec.Struct, frozen=True, eq=False):
    """A candidate and the live release as control, and the share of keys of the candidate, in parts of 10,000."""

    control: TrialArm
    candidate: TrialArm
    parts: int

    def choose(self, key: str) -> Snapshot:
        """Return the release for a key, the same one as long as the share is unchanged."""
        digest = _digest(self.candidate.snapshot.release_id, key)
        arm = self.candidate if _part(digest) < self.parts else self.control
        return arm.take(digest[8] << 8 | digest[9])

    def is_of(self, rollout: Rollout) -> bool:
        """Return whether this is the trial of a rollout."""
        names = (self.candidate.snapshot.release_id, self.control.snapshot.release_id)
        return names == (rollout.release, rollout.against)


@dataclass(slots=True)
class TrialFollower:
    """The trial of one target according to its rollout in the store. No trial if the store does not reply."""

    store: ObjectStore
    target: Target
    limits: Limits
    shards: ShardCache
    trial: Trial | None = None  # the trial that splits requests now
    fault: str = ""  # error that keeps a candidate from being served, empty if it is served, or there is none
    _last: Trial | None = None  # the last trial: its counts continue while the same rollout continues
    _rollout: Rollout | None = None
    _etag: str | None = None

    def poll(self, live: Snapshot | None, *, proven: Proven, blocked: frozenset[str]) -> None:
        """Read the rollout and update the trial. Never raises the package's errors."""
        try:
            rollout = self._read()
            if live is None or rollout is None or not rollout.is_in_force(live.release_id):
                self.trial, self.fault = None, ""
                return
            self.trial = self._last = self._follow(rollout, live, proven, blocked)
        except RecsysAssetsError as error:
            self.trial = None
            if not self.fault:
                _log.warning("no candidate of %s is served: %s", self.target, error)
            self.fault = str(error)
        else:
            self.fault = ""

    def continued(self, snapshot: Snapshot) -> Snapshot:
        """Return a release that is about to serve. The candidate of the trial keeps its counts."""
        cached = self._last
        if cached is None or cached.candidate.snapshot.release_id != snapshot.release_id:
            return snapshot
        return snapshot.counting_on(cached.candidate.snapshot.counter)

    def _follow(self, rollout: Rollout, live: Snapshot, proven: Proven, blocked: frozenset[str]) -> Trial:
        parts = rollout.share * _PARTS // 100
        cached = self._last
        if cached is None or not cached.is_of(rollout):
            candidate = self._load(rollout, proven).without(blocked)
            candidate.counter.set_short_below(live.counter.short_below)
            control = live.counted_from_zero()
            return Trial(TrialArm(control), TrialArm(candidate), parts)
        control, candidate = cached.control, cached.candidate
        return Trial(
            replace(control, snapshot=control.snapshot.without(blocked)),
            replace(candidate, snapshot=candidate.snapshot.without(blocked)),
            parts,
        )

    def _load(self, rollout: Rollout, proven: Proven) -> Snapshot:
        """Return the candidate after verifying every byte.

        Raises `CorruptObjectError` if its pointer has another release.
        """
        key = candidate_key(self.target)
        stored = self.store.get(key, max_bytes=self.limits.pointer_bytes)
        current = parse_pointer(self.store.uri_roots, self.target, stored.data, etag=stored.etag)
        if current.release_id != rollout.release:
            raise CorruptObjectError(
                f"{key} has release {current.release_id[:12]}, expected {rollout.release[:12]} of the rollout"
            )
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
