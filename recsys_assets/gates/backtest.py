"""The back-test gates: how well a candidate meets what came next, held against the live release on the same events."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import Finding, Scalar, Verdict
from recsys_assets.settings.gates import BacktestSettings, Mode

BACKTEST = "backtest"
BLEND = "blend"
MODE = "mode"
_PREFIX = "backtest_"


@dataclass(frozen=True, slots=True)
class Measured:
    """One recommender on both sides: nDCG, and the interval of the difference (candidate minus live)."""

    samples: int
    candidate: float
    live: float
    low: float
    high: float
    allowed: float  # the difference, 0 or negative, that is not yet worse
    worse: bool | None  # None: the samples do not tell


@dataclass(frozen=True, slots=True)
class Backtested:
    """What a back-test found, by recommender, and against which live release."""

    release: str
    held_out: str  # for people: which events
    measured: Mapping[str, Measured]
    facts: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])


class Why(Enum):
    """Why nothing was compared, by what becomes of it."""

    NOTHING_TO_LOSE = "nothing to lose"  # nothing is live, or this very release is: passes
    INCONCLUSIVE = "inconclusive"  # no events that both sides have not seen
    FAILED = "failed"  # as good as worse


@dataclass(frozen=True, slots=True)
class NotTested:
    """Nothing was compared; `told` says to people why."""

    why: Why
    message: str


def backtest_gates(
    limits: BacktestSettings, kinds: Iterable[str], modes: Mapping[str, Mode] | None = None
) -> dict[str, dict[str, Scalar]]:
    """Return the parameters of the gate of each kind that recommends, and of their blend; none of what is off.

    `modes`, by gate, have the last word. Raises `ConfigurationError` for a mode of what does not recommend.
    """
    message = {_PREFIX + name: limits.mode_of(name) for name in (*kinds, BLEND)}
    said = {gate: mode for gate, mode in (modes or {}).items() if gate.startswith(_PREFIX)}
    if unknown := sorted(said.keys() - message.keys()):
        raise ConfigurationError(
            f"gates.modes: {', '.join(unknown)} would never judge: what recommends here is {', '.join(message)}"
        )
    values: dict[str, Scalar] = limits.model_dump(mode="json", exclude={MODE, "required", "off", "max_seconds"})
    return {gate: {MODE: mode.value, **values} for gate, mode in {**message, **said}.items() if mode is not Mode.OFF}


def judge_backtest(found: Backtested | NotTested, gates: Mapping[str, Mapping[str, Scalar]]) -> tuple[Finding, ...]:
    """Return one finding per gate: worse than live by more than the allowed loss advises, or refuses where required."""
    return tuple(_judge(found, gate, params) for gate, params in gates.items())


def _judge(found: Backtested | NotTested, gate: str, params: Mapping[str, Scalar]) -> Finding:
    if isinstance(found, NotTested):
        # What was not compared is cured by its own cause, which the message names, and by no override.
        return _finding(gate, params, None, verdict=_verdict_of(found.why, params), message=found.message)
    measured = found.measured.get(gate.removeprefix(_PREFIX))
    named = {**params, "live_release": found.release}
    if measured is None:
        message = f"neither side has a list to rank on {found.held_out}"
        return _finding(gate, named, None, verdict=_verdict_of(Why.INCONCLUSIVE, params), message=message)
    why = {True: Why.FAILED, False: Why.NOTHING_TO_LOSE, None: Why.INCONCLUSIVE}[measured.worse]
    return _finding(
        gate,
        named,
        measured.candidate - measured.live,
        verdict=_verdict_of(why, params),
        message=f"{_message(measured, params)}, on {found.held_out}; live is release {found.release[:12]}",
    )


def _message(measured: Measured, params: Mapping[str, Scalar]) -> str:
    stands = {True: "worse than live", False: "not worse than live", None: "not sure beside live"}[measured.worse]
    return (
        f"{stands}: nDCG@{params['k']} is {measured.candidate:.4g}, live's is {measured.live:.4g}; the difference lies "
        f"between {measured.low:.4g} and {measured.high:.4g} ({measured.allowed:.4g} is allowed), "
        f"{measured.samples:,} sessions (at least {params['min_samples']})"
    )


def _verdict_of(why: Why, params: Mapping[str, Scalar]) -> Verdict:
    if why is Why.NOTHING_TO_LOSE:
        return Verdict.PASSED
    if params[MODE] != Mode.REQUIRED:
        return Verdict.ADVISED
    if why is Why.FAILED:
        return Verdict.REFUSED
    return {Mode.OFF: Verdict.PASSED, Mode.ADVISORY: Verdict.ADVISED, Mode.REQUIRED: Verdict.REFUSED}[
        Mode(str(params["inconclusive"]))
    ]


def _finding(
    gate: str, params: Mapping[str, Scalar], value: float | None, *, verdict: Verdict, message: str
) -> Finding:
    if verdict is Verdict.REFUSED and value is not None:
        message += f": look at what this day changed, or ship it by --override {gate} if it is meant"
    return Finding(gate, verdict, value, dict(params), message, count=0 if verdict is Verdict.PASSED else 1)
