"""The gates of an imported artifact: form, contract, compatibility with live, rows, size, age, drift of rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import Finding, GateReport, Scalar, Verdict
from recsys_assets.gates.drift import DRIFT_RULES, NoBaseline, drift_gates
from recsys_assets.gates.drift_distance import Drift, Sides
from recsys_assets.gates.policy import Policy
from recsys_assets.gates.rules import at_least, at_most, same
from recsys_assets.identity import form_of
from recsys_assets.imports.content import Content
from recsys_assets.imports.contract import breaking_changes, check_contract, contract_faults
from recsys_assets.settings.imports import ImportFormat, ImportSettings
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

_DRIFT = "drift_rows"


@dataclass(frozen=True, slots=True)
class Previous:
    """What is live of the kind: its release, and what its file held; `fault` says why that cannot be told."""

    release: str
    fields: Mapping[str, str]
    rows: int | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class ImportFacts:
    """What an imported artifact is judged by, all of it read from the stored bytes but for the file's age."""

    kind: str
    version: str
    size: int
    content: Content
    age_days: int
    previous: Previous | None


def import_policy(settings: Settings, row: TargetSettings, kind: str) -> Policy:
    """Return the gates of an imported kind; `ConfigurationError` for a contract that cannot be read."""
    rules = settings.imports[kind]
    check_contract(rules.contract, form=rules.format, key=f"imports.{kind}.contract")
    drift = drift_gates(settings.gates_for(row).drift.of_kind(kind))
    return Policy(
        kind,
        {
            "form": {"form": rules.form},
            "contract": {"format": rules.format.value, **rules.contract},
            "compatible": {"allow_breaking": rules.allow_breaking},
            "not_empty": {"min_rows": rules.min_rows},
            "size": {"max_bytes": rules.max_bytes},
            "age": {"max_age_days": rules.max_age_days},
            **{gate: params for gate, params in drift.items() if gate == _DRIFT},
        },
    )


def judge_imported(facts: ImportFacts, policy: Policy, rules: ImportSettings) -> GateReport:
    """Return one finding per gate of the policy, in its order."""
    findings = tuple(
        DRIFT_RULES[gate](_drift(facts), params) if gate in DRIFT_RULES else _RULES[gate](facts, params, rules)
        for gate, params in policy.gates.items()
    )
    return GateReport(policy.subject, facts.version, findings, policy=policy.digest)


_Params = Mapping[str, Scalar]


def _form(facts: ImportFacts, params: _Params, _: ImportSettings) -> Finding:
    return same("form", {"form": form_of(facts.version)}, expected=dict(params), what="the file's form")


def _contract(facts: ImportFacts, params: _Params, rules: ImportSettings) -> Finding:
    faults = contract_faults(rules.contract, facts.content.fields, form=rules.format)
    return _by_field("contract", faults, facts, params, ok="keeps its contract", what="breaks its contract")


def _compatible(facts: ImportFacts, params: _Params, rules: ImportSettings) -> Finding:
    before = facts.previous
    if before is None or before.fault:
        message = (
            f"the live release cannot be compared with: {before.fault}" if before else "nothing of the kind is live"
        )
        verdict = Verdict.ADVISED if before else Verdict.PASSED
        return Finding("compatible", verdict, None, dict(params), message)
    faults = breaking_changes(before.fields, facts.content.fields, rules.contract, form=rules.format)
    what = f"cannot be read as the live one of release {before.release[:12]} is"
    found = _by_field("compatible", faults, facts, params, ok="can be read as the live one is", what=what)
    if found.ok or not rules.allow_breaking:
        return found
    return Finding("compatible", Verdict.ADVISED, found.value, found.params, f"allowed: {found.message}", found.count)


def _by_field(gate: str, faults: Sequence[str], facts: ImportFacts, params: _Params, *, ok: str, what: str) -> Finding:
    remedy = f"have it mended, or change imports.{facts.kind} if the change is meant"
    message = f"the file {what}: {'; '.join(faults)}; {remedy}"
    return Finding(
        gate=gate,
        verdict=Verdict.REFUSED if faults else Verdict.PASSED,
        value=len(faults),
        params=dict(params),
        message=message if faults else f"the file {ok}",
        count=len(faults),
        sample=tuple({"fault": fault} for fault in faults),
    )


def _not_empty(facts: ImportFacts, params: _Params, rules: ImportSettings) -> Finding:
    if rules.format is ImportFormat.BYTES:
        return at_least("not_empty", facts.size, limit=1, setting="bytes", what="size in bytes, of bytes without rows")
    limit = float(params["min_rows"] or 0)
    return at_least("not_empty", facts.content.rows or 0, limit=limit, setting="min_rows", what="number of rows")


def _size(facts: ImportFacts, params: _Params, _: ImportSettings) -> Finding:
    return at_most("size", facts.size, limit=float(params["max_bytes"] or 0), setting="max_bytes", what="size in bytes")


def _age(facts: ImportFacts, params: _Params, _: ImportSettings) -> Finding:
    what, limit = "age of the file in days", float(params["max_age_days"] or 0)
    return at_most("age", facts.age_days, limit=limit, setting="max_age_days", what=what)


def _drift(facts: ImportFacts) -> Drift | NoBaseline:
    """Return the distance from live in rows, which is all that files of any content have in common."""
    before, rows = facts.previous, facts.content.rows
    if before is None or before.rows is None or rows is None:
        return NoBaseline(before.fault if before else None)
    none = Sides(0, 0)
    return Drift(before.release, Sides(rows, before.rows), none, None, None, None, none, none, None)


_RULES: Mapping[str, Callable[[ImportFacts, _Params, ImportSettings], Finding]] = {
    "form": _form,
    "contract": _contract,
    "compatible": _compatible,
    "not_empty": _not_empty,
    "size": _size,
    "age": _age,
}


def find_rules(settings: Settings, row: TargetSettings, kind: str) -> ImportSettings:
    """Return what is configured of an imported kind of a target; `ConfigurationError` lists the known ones."""
    known = settings.imports_for(row)
    if kind not in known:
        raise ConfigurationError(
            f"no [imports.{kind}] for {row.target} in the configuration: known are {', '.join(known) or 'none'}"
        )
    return known[kind]
