"""Findings of gates, as reports and releases keep them: each with its limits, its value and its verdict."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

CANONICAL = "canonical"  # the subject of reports about a day's events, beside the kinds
OVERRIDDEN = "overridden"  # the key in a finding's params that says why its refusal did not count
NOT_COMPARED = "not_compared"  # the key in a finding's params that says why no override is a way out of it
LEFT_OUT = "left_out"  # the key in a finding's params that says why its subject is not part of the release
MODE = "mode"  # the key in a finding's params that holds the enforcement mode of its gate
NO_BASELINE = "no baseline"  # the message of a gate that found nothing to compare with

Scalar: TypeAlias = str | int | float | bool | None


class Verdict(StrEnum):
    """Verdict of a gate: only PASSED and ADVISED let a release ship."""

    PASSED = "passed"
    ADVISED = "advised"  # the finding is worth a look, and the policy does not require it
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one gate: the number found, the limits it was compared with, and a message for people."""

    gate: str
    verdict: Verdict
    value: Scalar
    params: Mapping[str, Scalar]
    message: str
    count: int = 0  # exact number of offending rows, however many the sample shows
    sample: tuple[Mapping[str, Scalar], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether this finding lets the release ship."""
        return self.verdict is not Verdict.REFUSED

    @property
    def is_judgement(self) -> bool:
        """Whether something was compared: what was not is cured by its cause, and is nothing to answer for."""
        return NOT_COMPARED not in self.params


@dataclass(frozen=True, slots=True)
class GateReport:
    """All findings about one subject: a kind of artifact at a version, or one canonical day at a digest."""

    subject: str  # artifact kind, or "canonical"
    version: str  # the artifact's version, or the canonical object's digest: what exactly was judged
    findings: tuple[Finding, ...]
    policy: str = ""  # hash of the gates' parameters: a report under other limits proves nothing
    facts: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])

    @property
    def passed(self) -> bool:
        """Whether every finding lets the release ship; a report without findings proves nothing and does not pass."""
        return bool(self.findings) and all(f.ok for f in self.findings)

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings that stop the release."""
        return tuple(f for f in self.findings if not f.ok)

    @property
    def answered(self) -> dict[str, str]:
        """The gates whose refusal somebody answered for, each with the reason."""
        return {f.gate: str(f.params[OVERRIDDEN]) for f in self.findings if OVERRIDDEN in f.params}

    @property
    def left_out_because(self) -> str | None:
        """Why the subject is not part of the release that it was built for; None if it is."""
        found = (finding.params[LEFT_OUT] for finding in self.findings if LEFT_OUT in finding.params)
        return next((str(why) for why in found), None)

    @property
    def refused_because(self) -> tuple[str, ...]:
        """Why it does not pass, a sentence a cause: gates that say the same are named together."""
        return group_by_message(self.refusals, "refused")


def group_by_message(findings: Iterable[Finding], word: str) -> tuple[str, ...]:
    """Return the messages of gates, each once, behind the gates whose message it is: "gates a, b refused: ..."."""
    gates: dict[str, list[str]] = {}
    for finding in findings:
        gates.setdefault(finding.message, []).append(finding.gate)
    return tuple(
        f"gate{'s' if len(names) > 1 else ''} {', '.join(names)} {word}: {message}" for message, names in gates.items()
    )
