"""Gates of an imported artifact: form, contract, compatibility with the live one, rows, size, age, drift of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import polars as pl

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import Scalar, Verdict
from recsys_assets.gates.custom import custom_gates
from recsys_assets.gates.drift import NoBaseline, drift_gates
from recsys_assets.gates.drift_distance import Drift, Sides
from recsys_assets.gates.gate import Gate, Policy, Result, at_least, at_most, in_force, passes, same
from recsys_assets.identity import form_of
from recsys_assets.imports.contract import FileContent, breaking_changes, check_contract, contract_faults
from recsys_assets.imports.inspecting import read_table
from recsys_assets.messages import name_known
from recsys_assets.settings.artifacts import ImportFormat, ImportSettings
from recsys_assets.settings.gates import DriftGate
from recsys_assets.settings.settings import Settings, TargetSettings


class Previous(msgspec.Struct, frozen=True):
    """The live file of the kind: its release, fields (name to type) and rows. `fault` says why they are unknown."""

    release: str
    fields: Mapping[str, str]
    rows: int | None
    fault: str | None = None


class ImportFacts(msgspec.Struct, frozen=True):
    """Input of an imported artifact's gates. Everything except the age of the file is read from the stored bytes."""

    kind: str
    version: str
    size: int
    content: FileContent
    age_days: int
    previous: Previous | None
    rules: ImportSettings
    data: bytes = b""  # the content of the file, for gates that check each row

    def frame(self) -> pl.DataFrame:
        """Return the rows of the file, with its own columns and types."""
        return pl.DataFrame(pl.from_arrow(read_table(self.data, self.rules.format, name=self.kind)))

    @property
    def drift(self) -> Drift | NoBaseline:
        """The distance from the live file in rows, the only measure that exists for files of any content."""
        before, rows = self.previous, self.content.rows
        if before is None or before.rows is None or rows is None:
            return NoBaseline(before.fault if before else None)
        none = Sides(0, 0)
        return Drift(before.release, Sides(rows, before.rows), none, None, None, None, none, none, None)


def import_policy(settings: Settings, row: TargetSettings, kind: str) -> Policy[ImportFacts]:
    """Return the gates of an imported kind. Raises `ConfigurationError` for an invalid contract."""
    rules = settings.imports[kind]
    check_contract(rules.contract, form=rules.format, key=f"imports.{kind}.contract")
    gates = [
        Gate("form", ImportForm(rules.form)),
        Gate("contract", ImportContract(rules.format, rules.contract)),
        Gate("compatible", Compatible(rules.allow_breaking)),
        Gate("not_empty", ImportNotEmpty(rules.min_rows)),
        Gate("size", ImportSize(rules.max_bytes)),
        Gate("age", MaxFileAge(rules.max_age_days)),
    ]
    limits = settings.gates_for(row)
    drift = [gate for gate in drift_gates(limits.drift.of_kind(kind)) if gate.name == DriftGate.ROWS]
    own = custom_gates(settings, row, limits, kind)
    modes = {gate.name: limits.modes[gate.name] for gate in own if gate.name in limits.modes}
    return Policy(kind, in_force([*gates, *drift, *own], modes))


@dataclass(frozen=True, slots=True)
class ImportForm:
    """The expected form of the file, which is the suffix of its version."""

    form: str

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the form of the registered file with the configured one."""
        return same({"form": form_of(facts.version)}, {"form": self.form}, what="the file's form")


@dataclass(frozen=True, slots=True)
class ImportContract:
    """The configured contract of the file's content."""

    format: ImportFormat
    contract: Mapping[str, Scalar]

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the fields of the file with the contract."""
        faults = contract_faults(facts.rules.contract, facts.content.fields, form=self.format)
        return _by_field(faults, facts, ok="keeps its contract", broken="breaks its contract")


@dataclass(frozen=True, slots=True)
class Compatible:
    """Compatibility with the live file. `allow_breaking` turns a breaking change into an advice."""

    allow_breaking: bool

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the fields of the file with those of the live one."""
        before, rules = facts.previous, facts.rules
        if before is None:
            return Result(Verdict.PASSED, None, "nothing of the kind is live", count=0)
        if before.fault:
            message = f"the live release cannot be read: {before.fault}"
            return Result(Verdict.ADVISED, None, message, count=0)
        faults = breaking_changes(before.fields, facts.content.fields, rules.contract, form=rules.format)
        outcome = f"is not compatible with the live one of release {before.release[:12]}"
        result = _by_field(faults, facts, ok="is compatible with the live one", broken=outcome)
        if result.verdict is Verdict.PASSED or not self.allow_breaking:
            return result
        return Result(Verdict.ADVISED, result.value, f"allowed: {result.message}", count=result.count)


@dataclass(frozen=True, slots=True)
class ImportNotEmpty:
    """The minimum number of rows. A file of the format `bytes` must only have at least one byte."""

    min_rows: int

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the number of rows with the minimum."""
        if facts.rules.format is ImportFormat.BYTES:
            return at_least(facts.size, 1, setting="bytes", what="size in bytes of a file without rows")
        return at_least(facts.content.rows or 0, self.min_rows, setting="min_rows", what="number of rows")


@dataclass(frozen=True, slots=True)
class ImportSize:
    """The maximum size of the file, in bytes."""

    max_bytes: int

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the size of the file with the limit."""
        return at_most(facts.size, self.max_bytes, setting="max_bytes", what="size in bytes")


@dataclass(frozen=True, slots=True)
class MaxFileAge:
    """The maximum age of the file, in days."""

    max_age_days: int

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the age of the file with the limit."""
        return at_most(facts.age_days, self.max_age_days, setting="max_age_days", what="age of the file in days")


def _by_field(faults: Sequence[str], facts: ImportFacts, *, ok: str, broken: str) -> Result:
    remedy = f"have it fixed, or change imports.{facts.kind} if the change is intended"
    message = f"the file {broken}: {'; '.join(faults)}; {remedy}"
    return Result(
        passes(ok=not faults),
        len(faults),
        message if faults else f"the file {ok}",
        count=len(faults),
        sample=tuple({"fault": fault} for fault in faults),
    )


def find_rules(settings: Settings, row: TargetSettings, kind: str) -> ImportSettings:
    """Return the settings of an imported kind of a target. Raises `ConfigurationError` that lists the known kinds."""
    imports = settings.imports_for(row)
    if kind not in imports:
        raise ConfigurationError(
            f"no [imports.{kind}] for {row.target} in the configuration: {name_known(kind, imports)}"
        )
    return imports[kind]
