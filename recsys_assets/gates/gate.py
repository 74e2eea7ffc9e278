"""Gates (a name, a rule with typed limits and an enforcement mode) and policies (the gates of one subject).

A rule is a frozen dataclass: its fields are its limits, and calling it with the facts of a subject returns its result.
A missing limit is an error when the rule is created, and the digest of a policy covers every limit of its rules.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from enum import Enum
from functools import cache, cached_property
from typing import Any, Generic, TypeVar

import msgspec

from recsys_assets.evidence import MODE, OVERRIDDEN, Finding, GateReport, Scalar, Verdict
from recsys_assets.messages import plural
from recsys_assets.settings.gates import Mode

NO_LIMIT = {"limit": False}  # metadata of a rule's field that is not a limit, so that it is not part of the policy
Facts_contra = TypeVar("Facts_contra", contravariant=True)
Judged = TypeVar("Judged")


class Result(msgspec.Struct, frozen=True):
    """Result of a rule: the verdict as if the gate were required, the measured value, and a message for people."""

    verdict: Verdict
    value: Scalar
    message: str
    remedy: str = ""  # Next step, added to the message of a refusal. {gate} in it is the name of the gate.
    count: int | None = None  # Exact number of offending rows. None: 1 unless it passed.
    sample: tuple[Mapping[str, Scalar], ...] = ()
    compared: Mapping[str, Scalar] = msgspec.field(
        default_factory=dict[str, Scalar]
    )  # what the value was compared with, in addition to the limits


class Gate(msgspec.Struct, Generic[Facts_contra], frozen=True):
    """A named rule with its enforcement mode. `default` is the mode without any setting."""

    name: str
    rule: Callable[[Facts_contra], Result]  # a frozen dataclass
    mode: Mode = Mode.REQUIRED
    default: Mode = Mode.REQUIRED

    @property
    def params(self) -> dict[str, Scalar]:
        """The limits as stored in policies and findings. A table of limits becomes one entry per key.

        The mode of a gate that is required by default is only included if it differs. So the digests of reports that
        were written before gates had modes are still valid.
        """
        limits = _limits_of(self.rule)
        return limits if self.mode is self.default is Mode.REQUIRED else {MODE: self.mode.value, **limits}

    def judge(self, facts: Facts_contra) -> Finding:
        """Return the finding about these facts. An advisory gate advises where its rule refuses."""
        result = self.rule(facts)
        refused = result.verdict is Verdict.REFUSED
        return Finding(
            gate=self.name,
            verdict=Verdict.ADVISED if refused and self.mode is not Mode.REQUIRED else result.verdict,
            value=result.value,
            params={**self.params, **result.compared},
            message=result.message + (result.remedy.replace("{gate}", self.name) if refused else ""),
            count=(0 if result.verdict is Verdict.PASSED else 1) if result.count is None else result.count,
            sample=result.sample,
        )


class Policy(msgspec.Struct, Generic[Facts_contra], frozen=True, dict=True):
    """The gates of one subject (an artifact kind, "canonical", or a whole candidate), by name and in order."""

    subject: str
    gates: Mapping[str, Gate[Facts_contra]]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the subject and of the gates' names and limits."""
        gates = {name: gate.params for name, gate in self.gates.items()}
        text = msgspec.json.encode([self.subject, gates], order="deterministic")
        return hashlib.sha256(text).hexdigest()

    def judge(self, version: str, facts: Facts_contra, *, numbers: Mapping[str, Scalar] | None = None) -> GateReport:
        """Return the report about the subject at `version`: one finding per gate, in the order of the gates."""
        findings = tuple(gate.judge(facts) for gate in self.gates.values())
        return GateReport(self.subject, version, findings, policy=self.digest, facts=numbers or {})


def in_force(gates: Iterable[Gate[Judged]], modes: Mapping[str, Mode]) -> dict[str, Gate[Judged]]:
    """Return the gates that are not off, by name. `modes`, by gate name, override the gates' own."""
    chosen = [Gate(gate.name, gate.rule, modes.get(gate.name, gate.mode), gate.default) for gate in gates]
    return {gate.name: gate for gate in chosen if gate.mode is not Mode.OFF}


def undecided(report: GateReport) -> tuple[Finding, ...]:
    """Return the findings of required gates that only advise, because there was too little data to decide."""
    advised = (finding for finding in report.findings if finding.verdict is Verdict.ADVISED)
    return tuple(item for item in advised if item.params.get(MODE) == Mode.REQUIRED and OVERRIDDEN not in item.params)


def passes(*, ok: bool) -> Verdict:
    """Return `PASSED` if `ok`, else `REFUSED`."""
    return Verdict.PASSED if ok else Verdict.REFUSED


def at_least(value: float, limit: float, *, setting: str, what: str) -> Result:
    """Return a result that passes if `value` is not below the limit of the configuration key `setting`."""
    return _compare(value, limit, ok=value >= limit, setting=setting, subject=what, word="at least")


def at_most(value: float, limit: float, *, setting: str, what: str) -> Result:
    """Return a result that passes if `value` is not above the limit of the configuration key `setting`."""
    return _compare(value, limit, ok=value <= limit, setting=setting, subject=what, word="at most")


def same(actual: Mapping[str, Scalar], expected: Mapping[str, Scalar], *, what: str) -> Result:
    """Return a result that passes if every expected value is found. The message lists those that differ."""
    wrong = {key: actual.get(key) for key, value in expected.items() if actual.get(key) != value}
    message = ", ".join(f"{key} is {value!r}, expected {expected[key]!r}" for key, value in wrong.items())
    return Result(
        passes(ok=not wrong),
        len(wrong),
        f"{what}: {message}; build it again" if wrong else f"{what} is as expected",
        count=len(wrong),
        compared=expected,
    )


def merged(findings: tuple[Finding, ...], *, what: str) -> Result:
    """Return one result for all rules of a contract: the sum of exact counts, every broken rule, and all samples."""
    broken = [f for f in findings if not f.ok]
    rows = sum(f.count for f in broken)
    message = "; ".join(f"{f.gate}: {f.message}" for f in broken)
    return Result(
        passes(ok=not broken),
        rows,
        f"{what} breaks {plural(len(broken), 'rule')}: {message}" if broken else f"{what} keeps its contract",
        count=rows,
        sample=tuple({"rule": f.gate, "count": f.count, **row} for f in broken for row in (f.sample or ({},))),
    )


def shown(value: float) -> str:
    """Format whole numbers as integers, and others with four significant digits."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:.4g}"


def _compare(value: float, limit: float, *, ok: bool, setting: str, subject: str, word: str) -> Result:
    message = f"{subject} is {shown(value)}, {setting} allows {word} {shown(limit)}"
    remedy = f": fix the input, or change {setting} if the day is right"
    return Result(passes(ok=ok), value, message, remedy)


def _limits_of(rule: Any) -> dict[str, Scalar]:
    limits: dict[str, Scalar] = {}
    for name in _limit_names(type(rule)):
        value = getattr(rule, name)
        if isinstance(value, Enum):
            limits[name] = value.value
        elif value is None or isinstance(value, (str, int, float)):
            limits[name] = value
        else:
            limits.update(value)  # a table of limits
    return limits


@cache
def _limit_names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(limit.name for limit in fields(kind) if limit.metadata.get("limit", True))
