"""Rehearsal gates: limits on how a candidate loads and what it answers before it serves anybody."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from recsys_assets.evidence import Scalar, Verdict
from recsys_assets.gates.gate import Gate, Result, at_most, in_force, passes
from recsys_assets.settings.gates import Mode, RehearsalGate, RehearsalSettings

REHEARSAL = "rehearsal"
_SETTINGS = "gates.rehearsal"


@dataclass(frozen=True, slots=True)
class RehearsalAnswers:
    """What one kind answered: to how many questions, how many times with nothing, and with less than a full list."""

    asked: int
    empty: int
    short: int  # something, but fewer items than a full list has; 0 for kinds that answer with no list of items

    def share(self, part: int) -> float | None:
        """Return which share of the questions a part of them is; None if nothing was asked."""
        return part / self.asked if self.asked else None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One rehearsal: what loading took, what stays in memory, and what each kind answered."""

    seconds: float
    blob_bytes: int
    held_bytes: int
    answers: Mapping[str, RehearsalAnswers]

    @property
    def bytes_per_blob_byte(self) -> float:
        """How many bytes of memory each byte of the blobs takes."""
        return self.held_bytes / self.blob_bytes if self.blob_bytes else 0.0

    @property
    def numbers(self) -> dict[str, Scalar]:
        """What people watch over days."""
        shares: dict[str, Scalar] = {}
        for kind, found in self.answers.items():
            shares |= {f"asked/{kind}": found.asked, f"empty/{kind}": found.share(found.empty)}
            shares |= {f"short/{kind}": found.share(found.short)}
        return {
            "load_seconds": self.seconds,
            "held_bytes": self.held_bytes,
            "bytes_per_blob_byte": self.bytes_per_blob_byte,
            **{name: share for name, share in shares.items() if share is not None},
        }


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """The reader does not take the candidate; `fault` is what it would say."""

    fault: str


Found: TypeAlias = Rehearsed | NotLoaded


def rehearsal_gates(
    limits: RehearsalSettings, kinds: Sequence[str], modes: Mapping[str, Mode]
) -> dict[str, Gate[Found]]:
    """Return every rehearsal gate that is not off; none if all are. `modes`, by gate, have precedence."""
    empty = {kind: limits.of_kind(kind).max_empty_share for kind in kinds}
    short = {kind: limits.of_kind(kind).max_short_share for kind in kinds}
    rules: dict[RehearsalGate, Callable[[Found], Result]] = {
        RehearsalGate.SECONDS: Seconds(limits.max_load_seconds),
        RehearsalGate.MEMORY: Memory(limits.max_held_bytes),
        RehearsalGate.EMPTY: EmptyAnswers(limits.questions, empty),
        RehearsalGate.SHORT: ShortAnswers(limits.questions, short, limits.full_list),
    }
    found = in_force([Gate(gate.value, rule, limits.mode, Mode.ADVISORY) for gate, rule in rules.items()], modes)
    loads = Gate(RehearsalGate.LOADS.value, Loads(limits.max_blob_bytes))
    return {loads.name: loads, **found} if found else {}


@dataclass(frozen=True, slots=True)
class Loads:
    """The largest blob that readers take; a candidate that no reader takes is refused."""

    max_blob_bytes: int

    def __call__(self, found: Found) -> Result:
        """Pass what a reader loaded."""
        if isinstance(found, NotLoaded):
            return _not_loaded(found)
        message = f"a reader takes the release: {found.blob_bytes:,} bytes of blobs, {found.held_bytes:,} in memory"
        return Result(Verdict.PASSED, found.blob_bytes, message)


@dataclass(frozen=True, slots=True)
class Seconds:
    """The longest time that loading may take."""

    max_load_seconds: float

    def __call__(self, found: Found) -> Result:
        """Compare the seconds that loading took with the limit."""
        if isinstance(found, NotLoaded):
            return _not_loaded(found)
        setting, what = f"{_SETTINGS}.max_load_seconds", "number of seconds that a reader takes to load"
        return at_most(round(found.seconds, 4), self.max_load_seconds, setting=setting, what=what)


@dataclass(frozen=True, slots=True)
class Memory:
    """The most memory of one release, in bytes."""

    max_held_bytes: int

    def __call__(self, found: Found) -> Result:
        """Compare the bytes that the loaded release takes with the limit."""
        if isinstance(found, NotLoaded):
            return _not_loaded(found)
        what = f"number of bytes in memory ({found.bytes_per_blob_byte:.2f} for each byte of the blobs)"
        return at_most(found.held_bytes, self.max_held_bytes, setting=f"{_SETTINGS}.max_held_bytes", what=what)


@dataclass(frozen=True, slots=True)
class EmptyAnswers:
    """The largest share of questions without an answer, by kind."""

    questions: int
    shares: Mapping[str, float]

    def __call__(self, found: Found) -> Result:
        """Compare each kind's share of questions that it answered with nothing."""
        if isinstance(found, NotLoaded):
            return _not_loaded(found)
        shares = {kind: answers.share(answers.empty) for kind, answers in found.answers.items()}
        return _shares(shares, self.shares, what="answered with nothing", setting="max_empty_share")


@dataclass(frozen=True, slots=True)
class ShortAnswers:
    """The largest share of answers with fewer items than a full list, by kind."""

    questions: int
    shares: Mapping[str, float]
    full_list: int

    def __call__(self, found: Found) -> Result:
        """Compare each kind's share of answers that were too short."""
        if isinstance(found, NotLoaded):
            return _not_loaded(found)
        shares = {kind: answers.share(answers.short) for kind, answers in found.answers.items()}
        what = f"answered with fewer than {self.full_list} items"
        return _shares(shares, self.shares, what=what, setting="max_short_share")


def _not_loaded(found: NotLoaded) -> Result:
    message = f"the reader does not take this release, so nobody would be served by it: {found.fault}"
    return Result(Verdict.REFUSED, None, message)


def _shares(shares: Mapping[str, float | None], limits: Mapping[str, float], *, what: str, setting: str) -> Result:
    """Return one result over all kinds; its value is the share that is furthest over, or nearest to, its limit."""
    compared = {kind: (share, limits[kind]) for kind, share in shares.items() if share is not None}
    over = [kind for kind, (share, limit) in compared.items() if share > limit]
    worst = max(compared, key=lambda kind: compared[kind][0] - compared[kind][1], default=None)
    message = f"share of the last day's questions {what}: " + (
        ", ".join(f"{kind} {share:.4g} of at most {limit:g}" for kind, (share, limit) in compared.items())
        or "nothing was asked"
    )
    remedy = f"; look at {', '.join(over)}, or change {_SETTINGS}.{setting} (also per kind) if that is meant"
    return Result(
        passes(ok=not over),
        None if worst is None else compared[worst][0],
        message,
        remedy,
        count=len(over),
        sample=tuple({"kind": kind, "share": compared[kind][0], "limit": compared[kind][1]} for kind in over),
    )
