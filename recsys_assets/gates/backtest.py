"""Back-test gates: the candidate's score on later events, compared with that of the live release on the same events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import ceil, isfinite

import msgspec

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import NOT_COMPARED, Scalar, Verdict
from recsys_assets.gates.gate import NO_LIMIT, Gate, Result, in_force
from recsys_assets.kind_descriptions import BLEND
from recsys_assets.settings.gates import BACKTEST_GATE, BacktestSettings, Mode

BACKTEST = "backtest"
MOST_WANTED = 10_000_000  # more sessions than any target has in a day
_INCONCLUSIVE: Mapping[Mode, Verdict] = {
    Mode.OFF: Verdict.PASSED,
    Mode.ADVISORY: Verdict.ADVISED,
    Mode.REQUIRED: Verdict.REFUSED,
}


class Measured(msgspec.Struct, frozen=True):
    """nDCG of one recommender on both arms, and the confidence interval of the difference (candidate minus live)."""

    samples: int
    candidate: float
    live: float
    low: float
    high: float
    allowed: float  # the lowest difference, 0 or negative, that does not count as worse
    worse: bool | None  # None: inconclusive


class Backtested(msgspec.Struct, frozen=True):
    """Result of a back-test by recommender, with the live release that the candidate was compared with."""

    release: str
    held_out: str  # for people: description of the held-out events
    measured: Mapping[str, Measured]
    facts: Mapping[str, Scalar] = msgspec.field(default_factory=dict[str, Scalar])


class NotComparedReason(Enum):
    """Reasons why nothing was compared. Each has its own verdict."""

    NOTHING_TO_LOSE = "nothing to lose"  # no live release, or the candidate is the live release: passes
    INCONCLUSIVE = "inconclusive"  # no events that are unseen by both arms
    FAILED = "failed"  # counts as worse


class NotTested(msgspec.Struct, frozen=True):
    """A back-test that compared nothing: the reason, and a message for people."""

    why: NotComparedReason
    message: str


def backtest_gates(
    limits: BacktestSettings, kinds: Iterable[str], modes: Mapping[str, Mode]
) -> dict[str, Gate[Backtested | NotTested]]:
    """Return the gate of each kind that recommends and of their blend, without those that are off.

    `modes`, by gate name, have precedence. Raises `ConfigurationError` for the mode of a kind that does not recommend.
    """
    gates = [_gate(limits, name) for name in (*kinds, BLEND)]
    names = [gate.name for gate in gates]
    if unknown := sorted(gate for gate in modes if gate.startswith(BACKTEST_GATE) and gate not in names):
        raise ConfigurationError(
            f"gates.modes: {', '.join(unknown)} would never judge: the recommenders here are {', '.join(names)}"
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
    """The maximum loss of one recommender against the live release, and the parameters of the measurement."""

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

    def __call__(self, outcome: Backtested | NotTested) -> Result:
        """Refuse a loss above the allowed one. Where nothing was compared, the reason decides the verdict."""
        if isinstance(outcome, NotTested):
            # The remedy is to remove the cause, which the message has. An override does not help.
            verdict = self._verdict(outcome.why)
            reason = {NOT_COMPARED: outcome.why.value} if verdict is Verdict.REFUSED else {}
            return Result(verdict, None, outcome.message, compared=reason)
        live = {"live_release": outcome.release}
        measured = outcome.measured.get(self.recommender)
        if measured is None:
            message = f"neither release has a list to rank on {outcome.held_out}"
            return Result(self._verdict(NotComparedReason.INCONCLUSIVE), None, message, compared=live)
        explanation = {
            True: NotComparedReason.FAILED,
            False: NotComparedReason.NOTHING_TO_LOSE,
            None: NotComparedReason.INCONCLUSIVE,
        }[measured.worse]
        message = f"{self._message(measured)}, on {outcome.held_out}; live is release {outcome.release[:12]}"
        remedy = ": check what this day changed, or ship it by --override {gate} if that is intended"
        return Result(self._verdict(explanation), measured.candidate - measured.live, message, remedy, compared=live)

    def _message(self, measured: Measured) -> str:
        verdicts = {
            True: "worse than the live release",
            False: "not worse than the live release",
            None: "inconclusive against the live release",
        }
        if measured.candidate == measured.live == 0:
            return (
                f"neither release recommends any next item of {measured.samples:,} sessions (nDCG@{self.k} 0 and 0), "
                "which shows nothing: are the held-out events from another shop, or are their ids new?"
            )
        return (
            f"{verdicts[measured.worse]}: nDCG@{self.k} is {measured.candidate:.4g}, live {measured.live:.4g}; "
            f"difference between {measured.low:.4g} and {measured.high:.4g} ({measured.allowed:.4g} is allowed), "
            f"{measured.samples:,} sessions (at least {self.min_samples}){self._needed_sessions(measured)}"
        )

    def _needed_sessions(self, measured: Measured) -> str:
        """Return a note on the sessions that an inconclusive comparison needs, empty for others.

        The width of the interval is inversely proportional to the square root of the sessions.
        """
        if measured.worse is not None:
            return ""
        gap = abs(measured.candidate - measured.live - measured.allowed)
        half = (measured.high - measured.low) / 2
        wanted = measured.samples * (half / gap) ** 2 if gap else float("inf")
        if not isfinite(wanted) or wanted > MOST_WANTED:
            return "; the loss is so close to the allowed one that no number of sessions would decide: change delta"
        sessions = max(ceil(wanted * 1.1), self.min_samples)
        more = "raise max_samples" if sessions > self.max_samples else "hold out more, or wait for the next day"
        return f"; about {sessions:,} sessions would decide: {more}, or compare days by recsys-assets backtest"

    def _verdict(self, reason: NotComparedReason) -> Verdict:
        if reason is NotComparedReason.INCONCLUSIVE:
            return _INCONCLUSIVE[self.inconclusive]
        return Verdict.PASSED if reason is NotComparedReason.NOTHING_TO_LOSE else Verdict.REFUSED
