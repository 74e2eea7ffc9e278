"""Gates of an imported artifact: form, contract, compatibility with live, rows, size, age, drift of rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings


@dataclass(frozen=True, slots=True)
class Previous:
    """What is live of the kind: its release, and what its file held; `fault` says why that is not known."""

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
    content: FileContent
    age_days: int
    previous: Previous | None
    rules: ImportSettings
    data: bytes = b""  # the file itself, for gates that look at each row

    def frame(self) -> pl.DataFrame:
        """Return the rows of the file, as its format has them."""
        return pl.DataFrame(pl.from_arrow(read_table(self.data, self.rules.format, name=self.kind)))

    @property
    def drift(self) -> Drift | NoBaseline:
        """The distance from live in rows, which is all that files of any content have in common."""
        before, rows = self.previous, self.content.rows
        if before is None or before.rows is None or rows is None:
            return NoBaseline(before.fault if before else None)
        none = Sides(0, 0)
        return Drift(before.release, Sides(rows, before.rows), none, None, None, None, none, none, None)


def import_policy(settings: Settings, row: TargetSettings, kind: str) -> Policy[ImportFacts]:
    """Return the gates of an imported kind; `ConfigurationError` for a contract that cannot be read."""
    rules = settings.imports[kind]
    check_contract(rules.contract, form=rules.format, key=f"imports.{kind}.contract")
    gates = [
        Gate("form", ImportForm(rules.form)),
        Gate("contract", ImportContract(rules.format, rules.contract)),
        Gate("compatible", Compatible(rules.allow_breaking)),
        Gate("not_empty", ImportNotEmpty(rules.min_rows)),
        Gate("size", ImportSize(rules.max_bytes)),
        Gate("age", Age(rules.max_age_days)),
    ]
    limits = settings.gates_for(row)
    drift = [gate for gate in drift_gates(limits.drift.of_kind(kind)) if gate.name == DriftGate.ROWS]
    own = custom_gates(settings, row, limits, kind)
    modes = {gate.name: limits.modes[gate.name] for gate in own if gate.name in limits.modes}
    return Policy(kind, in_force([*gates, *drift, *own], modes))


@dataclass(frozen=True, slots=True)
class ImportForm:
    """The form of the file, which its version ends with."""

    form: str

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the form of what was registered with the configured one."""
        return same({"form": form_of(facts.version)}, {"form": self.form}, what="the file's form")


@dataclass(frozen=True, slots=True)
class ImportContract:
    """The contract of the file's content, as the configuration has it."""

    format: ImportFormat
    contract: Mapping[str, Scalar]

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the fields of the file with the contract."""
        faults = contract_faults(facts.rules.contract, facts.content.fields, form=self.format)
        return _by_field(faults, facts, ok="keeps its contract", what="breaks its contract")


@dataclass(frozen=True, slots=True)
class Compatible:
    """Whether the file may break those who read the live one."""

    allow_breaking: bool

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the fields of the file with those of the live one."""
        before, rules = facts.previous, facts.rules
        if before is None:
            return Result(Verdict.PASSED, None, "nothing of the kind is live", count=0)
        if before.fault:
            message = f"the live release cannot be compared with: {before.fault}"
            return Result(Verdict.ADVISED, None, message, count=0)
        faults = breaking_changes(before.fields, facts.content.fields, rules.contract, form=rules.format)
        what = f"cannot be read as the live one of release {before.release[:12]} is"
        found = _by_field(faults, facts, ok="can be read as the live one is", what=what)
        if found.verdict is Verdict.PASSED or not self.allow_breaking:
            return found
        return Result(Verdict.ADVISED, found.value, f"allowed: {found.message}", count=found.count)


@dataclass(frozen=True, slots=True)
class ImportNotEmpty:
    """The fewest rows; bytes of which nothing is known must only be there."""

    min_rows: int

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the number of rows with the fewest allowed."""
        if facts.rules.format is ImportFormat.BYTES:
            return at_least(facts.size, 1, setting="bytes", what="size in bytes, of bytes without rows")
        return at_least(facts.content.rows or 0, self.min_rows, setting="min_rows", what="number of rows")


@dataclass(frozen=True, slots=True)
class ImportSize:
    """The largest file, in bytes."""

    max_bytes: int

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the size of the file with the limit."""
        return at_most(facts.size, self.max_bytes, setting="max_bytes", what="size in bytes")


@dataclass(frozen=True, slots=True)
class Age:
    """The oldest file, in days."""

    max_age_days: int

    def __call__(self, facts: ImportFacts) -> Result:
        """Compare the age of the file with the limit."""
        return at_most(facts.age_days, self.max_age_days, setting="max_age_days", what="age of the file in days")


def _by_field(faults: Sequence[str], facts: ImportFacts, *, ok: str, what: str) -> Result:
    remedy = f"have it fixed, or change imports.{facts.kind} if the change is meant"
    message = f"the file {what}: {'; '.join(faults)}; {remedy}"
    return Result(
        passes(ok=not faults),
        len(faults),
        message if faults else f"the file {ok}",
        count=len(faults),
        sample=tuple({"fault": fault} for fault in faults),
    )


def find_rules(settings: Settings, row: TargetSettings, kind: str) -> ImportSettings:
    """Return what is configured of an imported kind of a target; `ConfigurationError` lists the known ones."""
    known = settings.imports_for(row)
    if kind not in known:
        raise ConfigurationError(
            f"no [imports.{kind}] for {row.target} in the configuration: {name_known(kind, known)}"
        )
    return known[kind]
