"""A contract as named rules over a frame, checked by pandera: every finding at once, exact counts, a capped sample."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from threading import get_ident
from typing import TYPE_CHECKING, Any

import polars as pl

from recsys_assets.evidence import Finding, Scalar, Verdict

if TYPE_CHECKING:
    import pandera.polars as pa

SAMPLE_ROWS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One sentence that must hold for every row: its name, the expression that says so, and the sentence."""

    name: str
    holds: pl.Expr
    message: str


@contextmanager
def polars_alone() -> Generator[None]:
    """Let pandera import and run for Polars alone, which only a build has to pay.

    Where pandas, PySpark and Hypothesis are installed pandera imports all three, although it is handed none of their
    objects: half a second of processor and 550 modules. For this thread they are not there meanwhile.
    """
    finder = _OptionalLibrariesHidden(get_ident())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@dataclass(frozen=True, slots=True)
class _OptionalLibrariesHidden(MetaPathFinder):
    """A finder to which optional packages of pandera are not installed, for one thread."""

    thread: int

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002 - the protocol's
        """Raise as the import system does for what is not installed; all else is left to the finders behind it."""
        if get_ident() == self.thread and fullname.partition(".")[0] in {"pandas", "pyspark", "hypothesis"}:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def broken_rules(
    frame: pl.DataFrame, dtypes: Mapping[str, pl.DataType], rules: Sequence[Rule], *, nullable: bool = False
) -> tuple[Finding, ...]:
    """Return a finding per broken rule, and one per column that is missing or of another dtype; nothing if all hold.

    The frame is eager and validation lazy: pandera skips data checks on a LazyFrame, and stops at the first finding
    otherwise. It judges the contract as one check first; only where that fails column by column and rule by rule, which
    costs several times as much and names what is broken. Counts are taken from the rule itself, since pandera's failure
    cases are capped here.
    """
    with polars_alone(), judging_by_pandera():
        import pandera.polars as pa  # noqa: PLC0415 - see `polars_alone`

        try:
            pa.DataFrameSchema(checks=[_as_one(dtypes, rules, nullable=nullable)]).validate(frame, lazy=True)
        except pa.errors.SchemaErrors:
            return _each_broken(frame, dtypes, rules, nullable=nullable)
    return ()


def _as_one(dtypes: Mapping[str, pl.DataType], rules: Sequence[Rule], *, nullable: bool) -> "pa.Check":
    """Return a whole contract as one check, for which the frame is gone through once."""
    import pandera.polars as pa  # noqa: PLC0415 - see `polars_alone`

    marks = [rule.holds.all() for rule in rules]
    if not nullable:
        marks += [pl.col(name).is_not_null().all() for name in dtypes]

    def holds(data: "pa.PolarsData") -> bool:
        frame = data.lazyframe
        as_typed = dict(frame.collect_schema()) == dict(dtypes)
        return as_typed and (not marks or frame.select(pl.all_horizontal(marks)).collect().item())

    return pa.Check(holds, name="contract")


def _each_broken(
    frame: pl.DataFrame, dtypes: Mapping[str, pl.DataType], rules: Sequence[Rule], *, nullable: bool
) -> tuple[Finding, ...]:
    """Return the findings of a contract that does not hold: these columns and no others, and a check per rule."""
    import pandera.polars as pa  # noqa: PLC0415 - see `polars_alone`

    columns = {name: pa.Column(dtype, nullable=nullable) for name, dtype in dtypes.items()}
    schema = pa.DataFrameSchema(columns, checks=[_check(rule) for rule in rules], strict=True)
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        named = {rule.name: rule for rule in rules}
        failed = list(dict.fromkeys(str(case["check"]) for case in errors.failure_cases.iter_rows(named=True)))
        return tuple(_finding(name, named.get(name), frame, errors) for name in failed)
    raise TypeError(f"the contract of {', '.join(dtypes)} is broken, and none of its rules is")


@contextmanager
def judging_by_pandera() -> Generator[None]:
    """Judge schema and data, also where the environment asks pandera for less: a gate is never off by accident."""
    from pandera.config import ValidationDepth, config_context  # noqa: PLC0415 - see `polars_alone`

    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        yield


def _check(rule: Rule) -> "pa.Check":
    """Return a rule as pandera runs it; one that is null for a row passes it, as pandera's own checks do."""
    import pandera.polars as pa  # noqa: PLC0415 - see `polars_alone`

    def marks(data: "pa.PolarsData") -> pl.LazyFrame:
        return data.lazyframe.select(rule.holds)

    return pa.Check(marks, name=rule.name, n_failure_cases=1)


def _finding(name: str, rule: Rule | None, frame: pl.DataFrame, errors: "pa.errors.SchemaErrors") -> Finding:
    """Count and sample what breaks a rule; what is no rule of ours is pandera's word about columns and dtypes."""
    if rule is None:
        cases = errors.failure_cases.filter(pl.col("check").cast(pl.String) == name)
        message = ", ".join(
            f"{column} {case}" for column, case in cases.select("column", "failure_case").head(SAMPLE_ROWS).iter_rows()
        )
        return Finding(name, Verdict.REFUSED, len(cases), {}, f"{name}: found {message}", count=len(cases))
    wrong = frame.with_row_index("row").filter(~rule.holds)
    sample = tuple(scalars(row) for row in wrong.head(SAMPLE_ROWS).iter_rows(named=True))
    return Finding(
        name, Verdict.REFUSED, len(wrong), {}, f"{rule.message} ({len(wrong)} do not)", count=len(wrong), sample=sample
    )


def scalars(row: Mapping[str, Any]) -> Mapping[str, Scalar]:
    """Return a row as a record holds it: what is no scalar as text."""
    return {
        key: value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
        for key, value in row.items()
    }
