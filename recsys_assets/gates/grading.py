"""What becomes of a refusal: the mode of a gate stands in its parameters, and says whether it refuses or advises."""

from collections.abc import Mapping
from dataclasses import replace

from recsys_assets.evidence import OVERRIDDEN, Finding, GateReport, Scalar, Verdict
from recsys_assets.settings.gates import Mode

MODE = "mode"


def with_modes(gates: Mapping[str, Mapping[str, Scalar]], modes: Mapping[str, Mode]) -> dict[str, Mapping[str, Scalar]]:
    """Return the gates that are not off; an advisory one says so in its parameters, a required one is as it was.

    So the policy's digest, and with it what reports prove, changes only for what is said.
    """
    message = {gate: modes.get(gate, Mode.REQUIRED) for gate in gates}
    return {
        gate: params if message[gate] is Mode.REQUIRED else {**params, MODE: message[gate].value}
        for gate, params in gates.items()
        if message[gate] is not Mode.OFF
    }


def undecided(report: GateReport) -> tuple[Finding, ...]:
    """Return the findings of required gates that only advise: what they were to decide, they could not tell."""
    advised = (found for found in report.findings if found.verdict is Verdict.ADVISED)
    return tuple(one for one in advised if one.params.get(MODE) == Mode.REQUIRED and OVERRIDDEN not in one.params)


def graded(finding: Finding, params: Mapping[str, Scalar]) -> Finding:
    """Return the finding as the gate's mode has it: a refusal by a gate that is advisory is an advice."""
    if params.get(MODE) != Mode.ADVISORY or finding.ok:
        return finding
    return replace(finding, verdict=Verdict.ADVISED, params={**finding.params, MODE: Mode.ADVISORY.value})
