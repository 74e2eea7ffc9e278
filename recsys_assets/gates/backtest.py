"""Back-test gates: the candidate's score on later events, compared with live's on the same events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import ceil, isfinite

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import NOT_COMPARED, Scalar, Verdict
from recsys_assets.gates.gate import NO_LIMIT, Gate, Result, in_force
from recsys_assets.kind_descriptions import BLEND
from recsys_assets.settings.gates import BACKTEST_GATE, BacktestSettings, Mode

BACKTEST = "backtest"
MOST_WANTED = 10_000_000  # sessions: no target has more a day
_INCONCLUSIVE: Mapping[Mode, Verdict] = {
    Mode.OFF: Verdict.PASSED,
    Mode.ADVISORY: Verdict.ADVISED,
    Mode.REQUIRED: Verdict.REFUSED,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One recommender on both arms: nDCG, and the interval of the difference (candidate minus live)."""

    samples: int
    candidate: float
    live: float
    low: float
    high: float
    allowed: float  # the difference, 0 or negative, that is not yet worse
    worse: bool | None  # None: the samples do not decide


@dataclass(frozen=True, slots=True)
class Backtested:
    """Result of a back-test by recommender, and the live release that was compared."""

    release: str
    held_out: str  # for people: which events
    measured: Mapping[str, Measured]
    facts: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])


class Why(Enum):
    """Reasons for which nothing was compared; each has its verdict."""

    NOTHING_TO_LOSE = "nothing to lose"  # nothing is live, or this very release is: passes
    INCONCLUSIVE = "inconclusive"  # no events that neither arm has seen
    FAILED = "failed"  # counts as worse


@dataclass(frozen=True, slots=True)
class NotTested:
    """Nothing was compared, and the reason, as a message for people."""

    why: Why
    message: str


def backtest_gates(
    limits: BacktestSettings, kinds: Iterable[str], modes: Mapping[str, Mode]
) -> dict[str, Gate[Backtested | NotTested]]:
    """Return the gate of each kind that recommends, and of their blend; none of what is off.

    `modes`, by gate, have precedence. Raises `ConfigurationError` for a mode of what does not recommend.
    """
    gates = [_gate(limits, name) for name in (*kinds, BLEND)]
    names = [gate.name for gate in gates]
    if unknown := sorted(gate for gate in modes if gate.startswith(BACKTEST_GATE) and gate not in names):
        raise ConfigurationError(
            f"gates.modes: {', '.join(unknown)} would never judge: what recommends here is {', '.join(names)}"
        )
    return in_force(gates, modes)


def _gate(limits: BacktestSettings, name: str) -> Gate[Backtested | NotTested]:
    rule = NotWorse(
        name,
        inconclusive=limits.inconclusive,
        k=limits.k,
        delta=limits.delta,
        min_samples=limits.min_samples,
        max_samples=limits.max_samples,
        rounds=limits.rounds,
        level=limits.level,
        seed=limits.seed,
        held_out_share=limits.held_out_share,
    )
    return Gate(BACKTEST_GATE + name, rule, limits.mode_of(name), Mode.OFF)


@dataclass(frozen=True, slots=True)
class NotWorse:
    """How much worse than live one recommender may be, and what that is measured from."""

    recommender: str = field(metadata=NO_LIMIT)
    inconclusive: Mode
    k: int
    delta: float
    min_samples: int
    max_samples: int
    rounds: int
    level: float
    seed: int
    held_out_share: float

    def __call__(self, found: Backtested | NotTested) -> Result:
        """Return worse by more than the allowed loss as a refusal; what was not compared, by its reason."""
        if isinstance(found, NotTested):
            # What was not compared is cured by its own cause, which the message names, and by no override.
            verdict = self._verdict(found.why)
            reason = {NOT_COMPARED: found.why.value} if verdict is Verdict.REFUSED else {}
            return Result(verdict, None, found.message, compared=reason)
        live = {"live_release": found.release}
        measured = found.measured.get(self.recommender)
        if measured is None:
            message = f"neither side has a list to rank on {found.held_out}"
            return Result(self._verdict(Why.INCONCLUSIVE), None, message, compared=live)
        why = {True: Why.FAILED, False: Why.NOTHING_TO_LOSE, None: Why.INCONCLUSIVE}[measured.worse]
        message = f"{self._message(measured)}, on {found.held_out}; live is release {found.release[:12]}"
        remedy = ": look at what this day changed, or ship it by --override {gate} if it is meant"
        return Result(self._verdict(why), measured.candidate - measured.live, message, remedy, compared=live)

    def _message(self, measured: Measured) -> str:
        words = {True: "worse than live", False: "not worse than live", None: "not sure beside live"}
        if measured.candidate == measured.live == 0:
            return (
                f"neither side recommends one next item of {measured.samples:,} sessions (nDCG@{self.k} 0 and 0), "
                "which shows nothing: is what is held out of another shop, or are its ids new?"
            )
        return (
            f"{words[measured.worse]}: nDCG@{self.k} is {measured.candidate:.4g}, live's is {measured.live:.4g}; "
            f"difference between {measured.low:.4g} and {measured.high:.4g} ({measured.allowed:.4g} is allowed), "
            f"{measured.samples:,} sessions (at least {self.min_samples}){self._it_takes(measured)}"
        )

    def _it_takes(self, measured: Measured) -> str:
        """Say of what is not sure how many sessions would decide: an interval narrows with their square root."""
        if measured.worse is not None:
            return ""
        gap = abs(measured.candidate - measured.live - measured.allowed)
        half = (measured.high - measured.low) / 2
        wanted = measured.samples * (half / gap) ** 2 if gap else float("inf")
        if not isfinite(wanted) or wanted > MOST_WANTED:
            return "; the loss is so near the allowed one that no number of sessions would decide: change delta"
        sessions = max(ceil(wanted * 1.1), self.min_samples)
        more = "raise max_samples" if sessions > self.max_samples else "hold out more, or wait for the next day"
        return f"; about {sessions:,} sessions would decide: {more}, or compare many days by recsys-assets backtest"

    def _verdict(self, why: Why) -> Verdict:
        if why is Why.INCONCLUSIVE:
            return _INCONCLUSIVE[self.inconclusive]
        return Verdict.PASSED if why is Why.NOTHING_TO_LOSE else Verdict.REFUSED
