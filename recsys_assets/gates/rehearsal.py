"""Rehearsal gates: limits on load time, memory and lookup results of a candidate before it serves a request."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from recsys_assets.evidence import Scalar, Verdict
from recsys_assets.gates.gate import Gate, Result, at_most, in_force, passes
from recsys_assets.settings.gates import Mode, RehearsalGate, RehearsalSettings

REHEARSAL = "rehearsal"
_SETTINGS = "gates.rehearsal"


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
    message = f"share of the last day's lookups {subject}: " + (
        ", ".join(f"{kind} {share:.4g} of at most {limit:g}" for kind, (share, limit) in compared.items())
        or "no lookups"
    )
    remedy = f"; look at {', '.join(over)}, or change {_SETTINGS}.{setting} (also per kind) if that is intended"
    return Result(
        passes(ok=not over),
        None if worst is None else compared[worst][0],
        message,
        remedy,
        count=len(over),
        sample=tuple({"kind": kind, "share": compared[kind][0], "limit": compared[kind][1]} for kind in over),
    )
