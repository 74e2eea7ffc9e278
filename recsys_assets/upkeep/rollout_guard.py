"""Rollout guard: compares the answers from candidate and live release by a test that allows any number of checks."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from math import lgamma, log
from typing import Final, Self

import msgspec
from msgspec import UNSET

from recsys_assets.identity import Target
from recsys_assets.release.journal import Actor, Clock
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollout import Rollout, RolloutState, find_rollout
from recsys_assets.release.rollout_transitions import TransitionOutcome, abort, advance, settle
from recsys_assets.settings.upkeep import RolloutSettings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.heartbeats import (
    LATENCY_BOUNDS,
    ArmAnswers,
    Heartbeat,
    KindAnswers,
    is_live,
    read_heartbeats,
)

FALSE_ABORTS: Final = 0.01  # probability over all checks of a candidate that is not worse
_LEAST_WORSE: Final = 0.005  # a smaller difference in rates never aborts
_RATES: Final = ("empty", "short", "unknown", "failed")
_SLOW: Final = tuple(n for n, seconds in enumerate(LATENCY_BOUNDS) if seconds >= 0.001)  # noqa: PLR2004 - below a millisecond is fast enough
_TAIL: Final = 0.01  # share of lookups above the 99th percentile


class RolloutVerdict(StrEnum):
    """Verdict on the next transition of a rollout."""

    WAIT = "wait"
    ADVANCE = "advance"
    ABORT = "abort"
    NOTHING = "nothing"  # no rollout is under way


class RolloutLimits(msgspec.Struct, frozen=True):
    """Minimum requests that the candidate must serve before a step ends.

    `advance_unasked`: a step that has lasted `bake_minutes` advances without them. Otherwise it waits.
    """

    min_requests: int = 1000
    advance_unasked: bool = False

    @classmethod
    def of(cls, wanted: RolloutSettings) -> Self:
        """Return the limits of the settings."""
        return cls(wanted.min_requests, wanted.advance_unasked)


class Rate(msgspec.Struct, frozen=True):
    """Rate of one kind as (hits, lookups), live and candidate. `evidence`: that the candidate's rate is higher."""

    kind: str
    rate: str
    live: tuple[int, int]
    candidate: tuple[int, int]
    evidence: float  # log e-value: above log(1 / level) the candidate is worse
    matters: bool = True  # latency rates only: candidate p99 above the bound, live p99 below the bound before

    @property
    def worse_by(self) -> float:
        """Rate of the candidate minus the live rate."""
        return self.candidate[0] / self.candidate[1] - self.live[0] / self.live[1]

    @property
    def message(self) -> str:
        """Both rates with their counts."""
        shares = f"{self.candidate[0] / self.candidate[1]:.2%}", f"{self.live[0] / self.live[1]:.2%}"
        return (
            f"{self.kind}: {shares[0]} of {self.candidate[1]:,} answers {self.rate}, live {shares[1]} of "
            f"{self.live[1]:,}"
        )


class Decision(msgspec.Struct, frozen=True):
    """Decision on a rollout, with its reason and the compared rates."""

    verdict: RolloutVerdict
    why: str
    rollout: Rollout | None
    requests: int = 0  # served by the candidate
    rates: tuple[Rate, ...] = ()

    @property
    def message(self) -> str:
        """Decision as one sentence."""
        return f"{self.verdict.value}: {self.why}"


def log_evidence(live: tuple[int, int], candidate: tuple[int, int]) -> float:
    """Return the log e-value against "the candidate's rate is not higher", each rate given as (hits, of).

    Mixture over Beta(1/2, 1/2) for both shares, divided by the largest likelihood under the hypothesis (universal
    inference, Wasserman, Ramdas and Balakrishnan 2020). For any true shares that obey the hypothesis it is at most a
    nonnegative martingale that starts at 1, so that by Ville's inequality it ever exceeds 1 / level with a probability
    of at most `level`: it may be checked after every answer.
    """
    (x, n), (y, m) = live, candidate
    if y * n <= x * m:
        return 0.0
    hits, of = x + y, n + m
    pooled = _entropy(hits, of)
    return _log_beta_ratio(x, n) + _log_beta_ratio(y, m) - pooled


def _entropy(hits: int, of: int) -> float:
    """Return the maximum log-likelihood of `hits` successes in `of` trials."""
    return sum(part * log(part / of) for part in (hits, of - hits) if part)


def _log_beta_ratio(hits: int, of: int) -> float:
    """Return log B(1/2 + hits, 1/2 + of - hits) / B(1/2, 1/2)."""
    mixed = lgamma(0.5 + hits) + lgamma(0.5 + of - hits) - lgamma(1.0 + of)
    return mixed - (2 * lgamma(0.5) - lgamma(1.0))


def compare(beats: Iterable[Heartbeat], rollout: Rollout) -> tuple[int, tuple[Rate, ...]]:
    """Return the number of requests the candidate served, and every rate of every kind for both releases.

    Requests of one key are correlated, so the counts of a kind are scaled down to the number of keys.
    """
    trials = [beat.trial for beat in beats if beat.trial and beat.trial.release == rollout.release]
    live, candidate = _sum(trial.control for trial in trials), _sum(trial.candidate for trial in trials)
    kinds = sorted(live.kinds.keys() & candidate.kinds.keys())
    rates = [
        Rate(kind, rate, of_live, of_candidate, log_evidence(of_live, of_candidate))
        for kind in kinds
        for rate in _RATES
        for of_live in [_scaled(live, kind, rate)]
        for of_candidate in [_scaled(candidate, kind, rate)]
        if of_live[1] and of_candidate[1]
    ]
    times = [rate for kind in kinds for rate in _latencies(live, candidate, kind)]
    return candidate.requests, (*rates, *times)


def _latencies(live: ArmAnswers, candidate: ArmAnswers, kind: str) -> Iterator[Rate]:
    """Yield the rate of timed lookups slower than each bound from one millisecond on.

    The candidate's 99th percentile is worse if it is above a bound and the live one is below the bound before. The gap
    of a whole bucket is needed because a release that was just loaded has cold caches.
    """
    for bound in _SLOW:
        of_live, of_candidate = (_slower(arm, kind, bound) for arm in (live, candidate))
        if of_live[1] and of_candidate[1]:
            slow, timed = _slower(live, kind, bound - 1)
            matters = of_candidate[0] > _TAIL * of_candidate[1] and slow <= _TAIL * timed
            name = f"slower than {LATENCY_BOUNDS[bound] * 1000:g} ms"
            yield Rate(kind, name, of_live, of_candidate, log_evidence(of_live, of_candidate), matters)


def _slower(arm: ArmAnswers, kind: str, bound: int) -> tuple[int, int]:
    times = arm.kinds[kind].times or ()
    scale = _scale(arm, kind)
    return round(sum(times[bound + 1 :]) * scale), round(sum(times) * scale)


def _sum(arms: Iterable[ArmAnswers]) -> ArmAnswers:
    requests = keys = 0
    kinds: dict[str, KindAnswers] = {}
    for arm in arms:
        requests, keys = requests + arm.requests, keys + arm.keys
        for kind, counts in arm.kinds.items():
            before = kinds.get(kind, KindAnswers(asked=0))
            times = [part.times for part in (before, counts) if part.times]
            kinds[kind] = KindAnswers(
                asked=before.asked + counts.asked,
                **{rate: getattr(before, rate) + getattr(counts, rate) for rate in _RATES},
                times=tuple(map(sum, zip(*times, strict=True))) if times else UNSET,
            )
    return ArmAnswers(requests=requests, keys=keys, kinds=kinds)


def _scaled(arm: ArmAnswers, kind: str, rate: str) -> tuple[int, int]:
    counts, scale = arm.kinds[kind], _scale(arm, kind)
    return round(getattr(counts, rate) * scale), round(counts.asked * scale)


def _scale(arm: ArmAnswers, kind: str) -> float:
    lookups = arm.kinds[kind].asked
    return min(1.0, arm.keys / lookups) if lookups else 0.0


def decide(store: ObjectStore, target: Target, limits: RolloutLimits, *, by: Actor, now: Clock) -> Decision:
    """Decide the next transition of a target's rollout, after completing what a crash left undone."""
    settle(store, target, by=by, now=now)
    return look_at_rollout(store, target, limits, now=now())


def look_at_rollout(store: ObjectStore, target: Target, limits: RolloutLimits, *, now: datetime) -> Decision:
    """Decide the next transition of a target's rollout by the heartbeats of consumers. Writes nothing.

    The counts of silent consumers are included. One live consumer that cannot load the candidate aborts the rollout.
    """
    rollout, current = find_rollout(store, target), read_current(store, target)
    live = current.release_id if current else None
    if rollout is not None and rollout.state is RolloutState.PROMOTING:
        return Decision(RolloutVerdict.ADVANCE, "its promotion was interrupted", rollout)
    if rollout is None or not rollout.is_in_force(live):
        return Decision(RolloutVerdict.NOTHING, "no release is being rolled out", rollout)
    beats = read_heartbeats(store, target).beats
    requests, rates = compare(beats, rollout)
    broken, worst = _broken(beats, now), worse_rates(rates)
    if broken is not None:
        verdict, reason = RolloutVerdict.ABORT, broken
    elif worst:
        verdict, reason = RolloutVerdict.ABORT, f"significantly worse: {'; '.join(rate.message for rate in worst)}"
    else:
        verdict, reason = _after_baking(rollout, limits, requests, now=now)
    return Decision(verdict, reason, rollout, requests, rates)


def _after_baking(
    rollout: Rollout, limits: RolloutLimits, requests: int, *, now: datetime
) -> tuple[RolloutVerdict, str]:
    """Return whether a step without problems is over, with the reason."""
    if not rollout.is_baked(now):
        reason = f"at {rollout.share} % since {rollout.step_at}, the step lasts {rollout.bake_minutes:g} minutes"
        return RolloutVerdict.WAIT, reason
    if requests < limits.min_requests and not limits.advance_unasked:
        reason = f"the candidate served {requests:,} requests, {limits.min_requests:,} are required"
        return RolloutVerdict.WAIT, reason
    return RolloutVerdict.ADVANCE, f"no rate is worse after {requests:,} requests"


def worse_rates(rates: tuple[Rate, ...]) -> list[Rate]:
    """Return up to three significantly worse rates. The allowed false aborts are shared among all rates."""
    limit = log(max(len(rates), 1) / FALSE_ABORTS)
    worse = [rate for rate in rates if rate.evidence >= limit and rate.matters and rate.worse_by >= _LEAST_WORSE]
    return sorted(worse, key=lambda rate: -rate.evidence)[:3]


def _broken(beats: Iterable[Heartbeat], now: datetime) -> str | None:
    broken = (beat for beat in beats if beat.trial and beat.trial.fault and is_live(beat, now=now))
    faults = {beat.consumer: beat.trial.fault for beat in broken if beat.trial}
    first = next(iter(faults.items()), None)
    return None if first is None else f"{len(faults)} consumers cannot load it; {first[0]}: {first[1]}"


def carry_out(
    store: ObjectStore, target: Target, decision: Decision, *, by: Actor, now: Clock
) -> TransitionOutcome | None:
    """Carry out a decision. No-op if the rollout has moved on. Returns None if there is nothing to do.

    Raises `RefusedError` if a promotion is refused. The rollout is then aborted.
    """
    rollout = decision.rollout
    if rollout is None or decision.verdict in {RolloutVerdict.WAIT, RolloutVerdict.NOTHING}:
        return None
    if decision.verdict is RolloutVerdict.ABORT:
        return abort(store, target, by=by, now=now, why=decision.why)
    return advance(store, target, by=by, now=now, from_step=rollout.step, why=decision.why)
