"""Guard of a rollout: candidate and live compared by what consumers answered, by a test for any number of looks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from math import lgamma, log
from typing import Final, Self

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

FALSE_ABORTS: Final = 0.01  # of rollouts whose candidate is no worse, however often they are looked at
_LEAST_WORSE: Final = 0.005  # a share that is worse by less is no reason to abort
_RATES: Final = ("empty", "short", "unknown", "failed")
_SLOW: Final = tuple(n for n, seconds in enumerate(LATENCY_BOUNDS) if seconds >= 0.001)  # noqa: PLR2004 - faster is fast
_TAIL: Final = 0.01  # of the lookups: what is slower than the 99th percentile


class RolloutVerdict(StrEnum):
    """What a rollout is to do next."""

    WAIT = "wait"
    ADVANCE = "advance"
    ABORT = "abort"
    NOTHING = "nothing"  # no rollout is under way


@dataclass(frozen=True, slots=True)
class RolloutLimits:
    """How many requests the candidate must have answered before a step is over, and what happens if they do not come.

    `advance_unasked`: a step that is baked advances without them; else it waits.
    """

    min_requests: int = 1000
    advance_unasked: bool = False

    @classmethod
    def of(cls, wanted: RolloutSettings) -> Self:
        """Return the guards that settings ask for."""
        return cls(wanted.min_requests, wanted.advance_unasked)


@dataclass(frozen=True, slots=True)
class Rate:
    """One rate of one kind on both sides: how often, of how many; `evidence` is that the candidate's is higher."""

    kind: str
    rate: str
    live: tuple[int, int]
    candidate: tuple[int, int]
    evidence: float  # log of an e-value: over log(1 / level) the candidate is worse
    matters: bool = True  # of times: whether the candidate's 99th percentile lies beyond, and that of live well before

    @property
    def worse_by(self) -> float:
        """The candidate's share less that of live."""
        return self.candidate[0] / self.candidate[1] - self.live[0] / self.live[1]

    @property
    def message(self) -> str:
        """Both shares with their counts."""
        shares = f"{self.candidate[0] / self.candidate[1]:.2%}", f"{self.live[0] / self.live[1]:.2%}"
        return (
            f"{self.kind}: {shares[0]} of {self.candidate[1]:,} answers {self.rate}, live {shares[1]} of "
            f"{self.live[1]:,}"
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What a rollout is to do, why, and the rates that were compared."""

    verdict: RolloutVerdict
    why: str
    rollout: Rollout | None
    requests: int = 0  # that the candidate answered
    rates: tuple[Rate, ...] = ()

    @property
    def message(self) -> str:
        """The decision in one sentence."""
        return f"{self.verdict.value}: {self.why}"


def log_evidence(live: tuple[int, int], candidate: tuple[int, int]) -> float:
    """Return the log of an e-value against "the candidate's share is not higher", each given as (hits, of).

    Mixture over Beta(1/2, 1/2) for both shares, divided by the largest likelihood under the hypothesis (universal
    inference, Wasserman, Ramdas and Balakrishnan 2020). For any true shares that obey the hypothesis it is at most a
    nonnegative martingale that begins at 1, so that by Ville's inequality it ever passes 1 / level with a probability
    of at most `level`: it may be looked at after every answer.
    """
    (x, n), (y, m) = live, candidate
    if y * n <= x * m:
        return 0.0
    hits, of = x + y, n + m
    pooled = _entropy(hits, of)
    return _log_beta_ratio(x, n) + _log_beta_ratio(y, m) - pooled


def _entropy(hits: int, of: int) -> float:
    """Return the largest log-likelihood of `hits` of `of`."""
    return sum(part * log(part / of) for part in (hits, of - hits) if part)


def _log_beta_ratio(hits: int, of: int) -> float:
    """Return log B(1/2 + hits, 1/2 + of - hits) / B(1/2, 1/2)."""
    mixed = lgamma(0.5 + hits) + lgamma(0.5 + of - hits) - lgamma(1.0 + of)
    return mixed - (2 * lgamma(0.5) - lgamma(1.0))


def compare(beats: Iterable[Heartbeat], rollout: Rollout) -> tuple[int, tuple[Rate, ...]]:
    """Return how many requests the candidate answered, and every rate of every kind on both sides.

    Requests of one key are alike, so that a kind's counts are scaled down to as many as there were keys.
    """
    trials = [one.trial for one in beats if one.trial and one.trial.release == rollout.release]
    live, candidate = _sum(one.control for one in trials), _sum(one.candidate for one in trials)
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
    """Yield, for each bound from a millisecond on, how many timed lookups took longer on either side.

    The 99th percentile is worse if it lies beyond a bound and that of live within the bound before: by at least one
    whole step, as what was just loaded is asked cold.
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
        for kind, one in arm.kinds.items():
            before = kinds.get(kind, KindAnswers(asked=0))
            times = [of.times for of in (before, one) if of.times]
            kinds[kind] = KindAnswers(
                asked=before.asked + one.asked,
                **{rate: getattr(before, rate) + getattr(one, rate) for rate in _RATES},
                times=tuple(map(sum, zip(*times, strict=True))) if times else UNSET,
            )
    return ArmAnswers(requests=requests, keys=keys, kinds=kinds)


def _scaled(arm: ArmAnswers, kind: str, rate: str) -> tuple[int, int]:
    counts, scale = arm.kinds[kind], _scale(arm, kind)
    return round(getattr(counts, rate) * scale), round(counts.asked * scale)


def _scale(arm: ArmAnswers, kind: str) -> float:
    asked = arm.kinds[kind].asked
    return min(1.0, arm.keys / asked) if asked else 0.0


def decide(store: ObjectStore, target: Target, guards: RolloutLimits, *, by: Actor, now: Clock) -> Decision:
    """Return what the rollout of a target is to do now; what a crash left open is written down first."""
    settle(store, target, by=by, now=now)
    return look_at_rollout(store, target, guards, now=now())


def look_at_rollout(store: ObjectStore, target: Target, guards: RolloutLimits, *, now: datetime) -> Decision:
    """Return what the rollout of a target is to do now, from what consumers reported; nothing is written.

    Consumers that fell silent are believed for what they said; one that cannot load the candidate ends it.
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
        verdict, why = RolloutVerdict.ABORT, broken
    elif worst:
        verdict, why = RolloutVerdict.ABORT, f"worse beyond doubt: {'; '.join(rate.message for rate in worst)}"
    else:
        verdict, why = _after_baking(rollout, guards, requests, now=now)
    return Decision(verdict, why, rollout, requests, rates)


def _after_baking(
    rollout: Rollout, guards: RolloutLimits, requests: int, *, now: datetime
) -> tuple[RolloutVerdict, str]:
    """Return whether a step that nothing is wrong with is over, and why."""
    if not rollout.is_baked(now):
        why = f"at {rollout.share} % since {rollout.step_at}, {rollout.bake_minutes:g} minutes are to pass"
        return RolloutVerdict.WAIT, why
    if requests < guards.min_requests and not guards.advance_unasked:
        why = f"{requests:,} requests were answered by the candidate, {guards.min_requests:,} are asked for"
        return RolloutVerdict.WAIT, why
    return RolloutVerdict.ADVANCE, f"{requests:,} requests show nothing worse"


def worse_rates(rates: tuple[Rate, ...]) -> list[Rate]:
    """Return the rates that are worse beyond doubt, each held to its part of the false aborts that are allowed."""
    limit = log(max(len(rates), 1) / FALSE_ABORTS)
    found = [rate for rate in rates if rate.evidence >= limit and rate.matters and rate.worse_by >= _LEAST_WORSE]
    return sorted(found, key=lambda rate: -rate.evidence)[:3]


def _broken(beats: Iterable[Heartbeat], now: datetime) -> str | None:
    faults = {one.consumer: one.trial.fault for one in beats if one.trial and one.trial.fault and is_live(one, now=now)}
    named = next(iter(faults.items()), None)
    return None if named is None else f"{len(faults)} consumers cannot load it; {named[0]}: {named[1]}"


def carry_out(
    store: ObjectStore, target: Target, decision: Decision, *, by: Actor, now: Clock
) -> TransitionOutcome | None:
    """Do what was decided, unless somebody else was faster; None where nothing is to be done.

    Raises `RefusedError` when a promotion is refused: the rollout is over then.
    """
    rollout = decision.rollout
    if rollout is None or decision.verdict in {RolloutVerdict.WAIT, RolloutVerdict.NOTHING}:
        return None
    if decision.verdict is RolloutVerdict.ABORT:
        return abort(store, target, by=by, now=now, why=decision.why)
    return advance(store, target, by=by, now=now, from_step=rollout.step, why=decision.why)
