"""Gates of a candidate as a whole: its rehearsal, and its back-test against the live release on the same events.

The rehearsal limits load time, memory and lookup results before the candidate serves a request.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from math import ceil, isfinite
from typing import TypeAlias

import msgspec

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import NOT_COMPARED, Scalar, Verdict
from recsys_assets.gates.gate import NO_LIMIT, Gate, Result, at_most, in_force, passes
from recsys_assets.kind_descriptions import BLEND
from recsys_assets.settings.gates import BACKTEST_GATE, BacktestSettings, Mode, RehearsalGate, RehearsalSettings

REHEARSAL = "rehearsal"
_SETTINGS = "gates.rehearsal"
BACKTEST = "backtest"
MOST_WANTED = 10_000_000  # more sessions than any target has in a day
_INCONCLUSIVE: Mapping[Mode, Verdict] = {
    Mode.OFF: Verdict.PASSED,
    Mode.ADVISORY: Verdict.ADVISED,
    Mode.REQUIRED: Verdict.REFUSED,
}


class RehearsalAnswers(msgspec.Struct, frozen=True):
    """Lookup results of one kind: the numbers of lookups, of empty results, and of lists that are not full."""

    asked: int
    empty: int
    # Lists that are not empty, but have fewer items than a full list. 0 for kinds that do not return lists of items.
    short: int

    def share(self, part: int) -> float | None:
        """Return `part` as a share of the lookups, or None without lookups."""
        return part / self.asked if self.asked else None


class Rehearsed(msgspec.Struct, frozen=True):
    """Outcome of a rehearsal: load time, memory of the loaded release, and the lookup results by kind."""

    seconds: float  # duration of loading the release
    blob_bytes: int
    held_bytes: int  # memory in use after loading
    answers: Mapping[str, RehearsalAnswers]

    @property
    def bytes_per_blob_byte(self) -> float:
        """Bytes of memory per byte of the blobs."""
        return self.held_bytes / self.blob_bytes if self.blob_bytes else 0.0

    @property
    def numbers(self) -> dict[str, Scalar]:
        """The metrics that are recorded per day."""
        shares: dict[str, Scalar] = {}
        for kind, results in self.answers.items():
            shares |= {f"asked/{kind}": results.asked, f"empty/{kind}": results.share(results.empty)}
            shares |= {f"short/{kind}": results.share(results.short)}
        return {
            "load_seconds": self.seconds,
            "held_bytes": self.held_bytes,
            "bytes_per_blob_byte": self.bytes_per_blob_byte,
            **{name: share for name, share in shares.items() if share is not None},
        }


class NotLoaded(msgspec.Struct, frozen=True):
    """A candidate that the reader rejects. `fault` is the reader's error message."""

    fault: str


Found: TypeAlias = Rehearsed | NotLoaded


def rehearsal_gates(
    limits: RehearsalSettings, kinds: Sequence[str], modes: Mapping[str, Mode]
) -> dict[str, Gate[Found]]:
    """Return the rehearsal gates that are not off, or none if all are off. `modes`, by gate name, have precedence."""
    empty = {kind: limits.of_kind(kind).max_empty_share for kind in kinds}
    short = {kind: limits.of_kind(kind).max_short_share for kind in kinds}
    rules: dict[RehearsalGate, Callable[[Found], Result]] = {
        RehearsalGate.SECONDS: MaxLoadSeconds(limits.max_load_seconds),
        RehearsalGate.MEMORY: MaxMemory(limits.max_held_bytes),
        RehearsalGate.EMPTY: EmptyAnswers(limits.questions, empty),
        RehearsalGate.SHORT: ShortAnswers(limits.questions, short, limits.full_list),
    }
    gates = in_force([Gate(gate.value, rule, limits.mode, Mode.ADVISORY) for gate, rule in rules.items()], modes)
    loads = Gate(RehearsalGate.LOADS.value, LoadsInReader(limits.max_blob_bytes))
    return {loads.name: loads, **gates} if gates else {}


@dataclass(frozen=True, slots=True)
class LoadsInReader:
    """The maximum size of a blob, in bytes. A candidate that the reader rejects is refused."""

    max_blob_bytes: int

    def __call__(self, facts: Found) -> Result:
        """Pass a candidate that the reader loaded."""
        if isinstance(facts, NotLoaded):
            return _not_loaded(facts)
        message = f"the reader loads the release: {facts.blob_bytes:,} bytes of blobs, {facts.held_bytes:,} in memory"
        return Result(Verdict.PASSED, facts.blob_bytes, message)


@dataclass(frozen=True, slots=True)
class MaxLoadSeconds:
    """The maximum load time, in seconds."""

    max_load_seconds: float

    def __call__(self, facts: Found) -> Result:
        """Compare the load time with the limit."""
        if isinstance(facts, NotLoaded):
            return _not_loaded(facts)
        setting, subject = f"{_SETTINGS}.max_load_seconds", "number of seconds that a reader takes to load"
        return at_most(round(facts.seconds, 4), self.max_load_seconds, setting=setting, what=subject)


@dataclass(frozen=True, slots=True)
class MaxMemory:
    """The maximum memory of one release, in bytes."""

    max_held_bytes: int

    def __call__(self, facts: Found) -> Result:
        """Compare the memory of the loaded release with the limit."""
        if isinstance(facts, NotLoaded):
            return _not_loaded(facts)
        subject = f"number of bytes in memory ({facts.bytes_per_blob_byte:.2f} for each byte of the blobs)"
        return at_most(facts.held_bytes, self.max_held_bytes, setting=f"{_SETTINGS}.max_held_bytes", what=subject)


@dataclass(frozen=True, slots=True)
class EmptyAnswers:
    """The maximum share of lookups with an empty result, by kind."""

    questions: int
    shares: Mapping[str, float]

    def __call__(self, facts: Found) -> Result:
        """Compare each kind's share of empty results with its limit."""
        if isinstance(facts, NotLoaded):
            return _not_loaded(facts)
        shares = {kind: answers.share(answers.empty) for kind, answers in facts.answers.items()}
        return _shares(shares, self.shares, subject="with an empty result", setting="max_empty_share")


@dataclass(frozen=True, slots=True)
class ShortAnswers:
    """The maximum share of lookups with fewer items than a full list, by kind."""

    questions: int
    shares: Mapping[str, float]
    full_list: int

    def __call__(self, facts: Found) -> Result:
        """Compare each kind's share of lists that are not full with its limit."""
        if isinstance(facts, NotLoaded):
            return _not_loaded(facts)
        shares = {kind: answers.share(answers.short) for kind, answers in facts.answers.items()}
        subject = f"with fewer than {self.full_list} items"
        return _shares(shares, self.shares, subject=subject, setting="max_short_share")


def _not_loaded(facts: NotLoaded) -> Result:
    message = f"the reader rejects this release, so it could not serve any request: {facts.fault}"
    return Result(Verdict.REFUSED, None, message)


def _shares(shares: Mapping[str, float | None], limits: Mapping[str, float], *, subject: str, setting: str) -> Result:
    """Return one result for all kinds. Its value is the share that exceeds its limit most, or is closest to it."""
    compared = {kind: (share, limits[kind]) for kind, share in shares.items() if share is not None}
    over = [kind for kind, (share, limit) in compared.items() if share > limit]
    worst = max(compared, key=lambda kind: compared[kind][0] - compared[kind][1], default=None)
    found = ", ".join(f"{kind} {share:.4g} of at most {limit:g}" for kind, (share, limit) in compared.items())
    message = f"share of the last day's lookups {subject}: {found or 'no lookups'}"
    remedy = f"; look at {', '.join(over)}, or change {_SETTINGS}.{setting} (also per kind) if that is intended"
    return Result(
        passes(ok=not over),
        None if worst is None else compared[worst][0],
        message,
        remedy,
        count=len(over),
        sample=tuple({"kind": kind, "share": compared[kind][0], "limit": compared[kind][1]} for kind in over),
    )


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
        compared = NotComparedReason.FAILED if measured.worse else NotComparedReason.NOTHING_TO_LOSE
        explanation = NotComparedReason.INCONCLUSIVE if measured.worse is None else compared
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
        """Return a note on the sessions that an inconclusive comparison needs: the interval narrows as 1/sqrt(n)."""
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
