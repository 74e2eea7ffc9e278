"""The rehearsal gates: how a candidate loads and what it answers, held against limits before it serves anybody."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from recsys_assets.evidence import Finding, Scalar, Verdict
from recsys_assets.gates.rules import at_most
from recsys_assets.settings.gates import Mode, RehearsalGate, RehearsalSettings

REHEARSAL = "rehearsal"
MODE = "mode"
_KNOBS = "gates.rehearsal"


@dataclass(frozen=True, slots=True)
class Answers:
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
    answers: Mapping[str, Answers]

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


def rehearsal_gates(
    limits: RehearsalSettings, kinds: Sequence[str], modes: Mapping[str, Mode] | None = None
) -> dict[str, dict[str, Scalar]]:
    """Return the parameters of every rehearsal gate that is not off, as a policy holds them; none if all are.

    `modes`, by gate, have the last word.
    """
    asked: dict[str, Scalar] = {"questions": limits.questions}
    empty: dict[str, Scalar] = {kind: limits.of_kind(kind).max_empty_share for kind in kinds}
    short: dict[str, Scalar] = {kind: limits.of_kind(kind).max_short_share for kind in kinds}
    params: dict[RehearsalGate, dict[str, Scalar]] = {
        RehearsalGate.SECONDS: {"max_load_seconds": limits.max_load_seconds},
        RehearsalGate.MEMORY: {"max_held_bytes": limits.max_held_bytes},
        RehearsalGate.EMPTY: {**asked, **empty},
        RehearsalGate.SHORT: {**asked, **short, "full_list": limits.full_list},
    }
    message = {gate: (modes or {}).get(gate, limits.mode) for gate in params}
    found = {
        gate.value: {MODE: message[gate].value, **params[gate]} for gate in params if message[gate] is not Mode.OFF
    }
    loads: dict[str, Scalar] = {"max_blob_bytes": limits.max_blob_bytes}
    return {RehearsalGate.LOADS.value: loads, **found} if found else {}


def judge_rehearsal(found: Rehearsed | NotLoaded, gates: Mapping[str, Mapping[str, Scalar]]) -> tuple[Finding, ...]:
    """Return one finding per gate; a candidate that no reader takes is refused, whatever the mode."""
    return tuple(_judge(found, RehearsalGate(gate), params) for gate, params in gates.items())


def _judge(found: Rehearsed | NotLoaded, gate: RehearsalGate, params: Mapping[str, Scalar]) -> Finding:
    if isinstance(found, NotLoaded):
        message = f"{gate}: the reader does not take this release, so nobody would be served by it: {found.fault}"
        finding = Finding(gate.value, Verdict.REFUSED, None, dict(params), message, count=1)
    else:
        finding = replace(_RULES[gate](found, params), params=dict(params))
    advisory = gate is not RehearsalGate.LOADS and params[MODE] != "required"
    return replace(finding, verdict=Verdict.ADVISED) if advisory and not finding.ok else finding


def _loads(found: Rehearsed, _: Mapping[str, Scalar]) -> Finding:
    message = f"a reader takes the release: {found.blob_bytes:,} bytes of blobs, {found.held_bytes:,} in memory"
    return Finding(RehearsalGate.LOADS.value, Verdict.PASSED, found.blob_bytes, {}, message)


def _seconds(found: Rehearsed, params: Mapping[str, Scalar]) -> Finding:
    return at_most(
        RehearsalGate.SECONDS.value,
        round(found.seconds, 4),
        limit=float(params["max_load_seconds"] or 0),
        setting=f"{_KNOBS}.max_load_seconds",
        what="number of seconds that a reader takes to load",
    )


def _memory(found: Rehearsed, params: Mapping[str, Scalar]) -> Finding:
    return at_most(
        RehearsalGate.MEMORY.value,
        found.held_bytes,
        limit=float(params["max_held_bytes"] or 0),
        setting=f"{_KNOBS}.max_held_bytes",
        what=f"number of bytes in memory ({found.bytes_per_blob_byte:.2f} for each byte of the blobs)",
    )


def _empty(found: Rehearsed, params: Mapping[str, Scalar]) -> Finding:
    shares = {kind: answers.share(answers.empty) for kind, answers in found.answers.items()}
    return _shares(RehearsalGate.EMPTY, shares, params, what="answered with nothing", setting="max_empty_share")


def _short(found: Rehearsed, params: Mapping[str, Scalar]) -> Finding:
    shares = {kind: answers.share(answers.short) for kind, answers in found.answers.items()}
    what = f"answered with fewer than {params['full_list']} items"
    return _shares(RehearsalGate.SHORT, shares, params, what=what, setting="max_short_share")


def _shares(
    gate: RehearsalGate, shares: Mapping[str, float | None], params: Mapping[str, Scalar], *, what: str, setting: str
) -> Finding:
    """Return one finding over all kinds; its value is the share that is furthest over, or nearest to, its limit."""
    compared = {kind: (share, float(params[kind] or 0)) for kind, share in shares.items() if share is not None}
    over = [kind for kind, (share, limit) in compared.items() if share > limit]
    worst = max(compared, key=lambda kind: compared[kind][0] - compared[kind][1], default=None)
    message = f"share of the last day's questions {what}: " + (
        ", ".join(f"{kind} {share:.4g} of at most {limit:g}" for kind, (share, limit) in compared.items())
        or "nothing was asked"
    )
    remedy = f"; look at {', '.join(over)}, or change {_KNOBS}.{setting} (also per kind) if that is meant"
    return Finding(
        gate=gate.value,
        verdict=Verdict.REFUSED if over else Verdict.PASSED,
        value=None if worst is None else compared[worst][0],
        params={},
        message=message + remedy if over else message,
        count=len(over),
        sample=tuple({"kind": kind, "share": compared[kind][0], "limit": compared[kind][1]} for kind in over),
    )


_RULES: Mapping[RehearsalGate, Callable[[Rehearsed, Mapping[str, Scalar]], Finding]] = {
    RehearsalGate.LOADS: _loads,
    RehearsalGate.SECONDS: _seconds,
    RehearsalGate.MEMORY: _memory,
    RehearsalGate.EMPTY: _empty,
    RehearsalGate.SHORT: _short,
}
