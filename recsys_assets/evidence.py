"""Gate findings as stored in reports and releases, each with limits, value and verdict."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeAlias

import msgspec

CANONICAL = "canonical"  # Subject of reports on a day's events. Other subjects are kinds.
OVERRIDDEN = "overridden"  # key in a finding's params: reason of the override of its refusal
NOT_COMPARED = "not_compared"  # key in a finding's params: why nothing was compared, which no override resolves
LEFT_OUT = "left_out"  # key in a finding's params: why its subject is excluded from the release
MODE = "mode"  # key in a finding's params: enforcement mode of its gate
NO_BASELINE = "no baseline"  # message of a gate without a baseline to compare with

Scalar: TypeAlias = str | int | float | bool | None


class Verdict(StrEnum):
    """Verdict of a gate: only PASSED and ADVISED let a release ship."""

    PASSED = "passed"
    ADVISED = "advised"  # beyond a limit that the policy does not enforce
    REFUSED = "refused"


class Finding(msgspec.Struct, frozen=True):
    """Result of one gate: the number found, the limits it was compared with, and a message for people."""

    gate: str
    verdict: Verdict
    value: Scalar
    params: Mapping[str, Scalar]
    message: str
    count: int = 0  # exact number of offending rows, of which `sample` shows some
    sample: tuple[Mapping[str, Scalar], ...] = ()

    @property
    def ok(self) -> bool:
        """Whether this finding lets the release ship."""
        return self.verdict is not Verdict.REFUSED

    @property
    def is_judgement(self) -> bool:
        """Whether something was compared. Otherwise the cause must be fixed, and an override is not possible."""
        return NOT_COMPARED not in self.params


class GateReport(msgspec.Struct, frozen=True):
    """All findings about one subject: a kind of artifact at a version, or one canonical day at a digest."""

    subject: str  # artifact kind, or "canonical"
    version: str  # version of the evaluated artifact, or digest of the canonical object
    findings: tuple[Finding, ...]
    policy: str = ""  # hash of the gates' parameters: a report under other limits is not valid
    facts: Mapping[str, Scalar] = msgspec.field(default_factory=dict[str, Scalar])

    @property
    def passed(self) -> bool:
        """Whether every finding lets the release ship. A report without findings does not pass."""
        return bool(self.findings) and all(f.ok for f in self.findings)

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings that stop the release."""
        return tuple(f for f in self.findings if not f.ok)

    @property
    def answered(self) -> dict[str, str]:
        """Overridden gates, each with the reason of the override."""
        return {f.gate: str(f.params[OVERRIDDEN]) for f in self.findings if OVERRIDDEN in f.params}

    @property
    def left_out_because(self) -> str | None:
        """Why the subject is excluded from the release that it was built for, or None if it is included."""
        reasons = (finding.params[LEFT_OUT] for finding in self.findings if LEFT_OUT in finding.params)
        return next((str(reason) for reason in reasons), None)

    @property
    def refused_because(self) -> tuple[str, ...]:
        """Reasons of the refusals, one message each, after the gates that share it."""
        return group_by_message(self.refusals, "refused")


def group_by_message(findings: Iterable[Finding], word: str) -> tuple[str, ...]:
    """Return the messages of gates, each once after the gates that share it: "gates a, b refused: ..."."""
    gates: dict[str, list[str]] = {}
    for finding in findings:
        gates.setdefault(finding.message, []).append(finding.gate)
    return tuple(
        f"gate{'s' if len(names) > 1 else ''} {', '.join(names)} {word}: {message}" for message, names in gates.items()
    )
