"""Contracts as named rules over a frame, checked by pandera: all findings at once, exact counts, capped samples."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from threading import get_ident
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from recsys_assets.evidence import Finding, Scalar, Verdict

if TYPE_CHECKING:
    import pandera.polars as pa

SAMPLE_ROWS = 10


class Rule(msgspec.Struct, frozen=True, eq=False):
    """Rule for every row: its name, the expression that is true if it holds, and its text."""

    name: str
    holds: pl.Expr
    message: str


@contextmanager
def only_polars() -> Generator[None]:
    """Let pandera import and run with Polars only.

    If pandas, PySpark and Hypothesis are installed, pandera imports all three although it does not use them: half a CPU
    second and 550 modules. Within the context they are hidden from this thread.
    """
    finder = _HideOptionalLibraries(get_ident())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


@dataclass(frozen=True, slots=True)
class _HideOptionalLibraries(MetaPathFinder):
    """Import finder that hides optional packages of pandera from one thread."""

    thread: int

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002 - part of the protocol
        """Raise `ModuleNotFoundError` for hidden packages, and leave others to the next finders."""
        if get_ident() == self.thread and fullname.partition(".")[0] in {"pandas", "pyspark", "hypothesis"}:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def broken_rules(
    frame: pl.DataFrame, dtypes: Mapping[str, pl.DataType], rules: Sequence[Rule], *, nullable: bool = False
) -> tuple[Finding, ...]:
    """Return a finding per broken rule and per column that is missing or has a wrong dtype, empty if all hold.

    The contract is first evaluated as one check of a LazyFrame: pandera collects an eager one twice more. Only if that
    fails, it is evaluated by column and rule, which is several times slower but names what is broken: eagerly, and
    lazily in pandera's sense, as it stops at the first finding otherwise. Counts are taken from the rule itself,
    because pandera's failure cases are capped here. By default pandera skips data checks on a LazyFrame, so
    `judging_by_pandera` sets the depth.
    """
    with only_polars(), judging_by_pandera():
        import pandera.polars as pa  # noqa: PLC0415 - see `only_polars`

        try:
            pa.DataFrameSchema(checks=[_as_one(dtypes, rules, nullable=nullable)]).validate(frame.lazy(), lazy=True)
        except pa.errors.SchemaErrors:
            return _each_broken(frame, dtypes, rules, nullable=nullable)
    return ()


def _as_one(dtypes: Mapping[str, pl.DataType], rules: Sequence[Rule], *, nullable: bool) -> "pa.Check":
    """Return a whole contract as one check, which scans the frame once."""
    import pandera.polars as pa  # noqa: PLC0415 - see `only_polars`

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
    """Return the findings of a broken contract: exactly these columns, and a check per rule."""
    import pandera.polars as pa  # noqa: PLC0415 - see `only_polars`

    columns = {name: pa.Column(dtype, nullable=nullable) for name, dtype in dtypes.items()}
    schema = pa.DataFrameSchema(columns, checks=[_check(rule) for rule in rules], strict=True)
    try:
        schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        named = {rule.name: rule for rule in rules}
        failed = list(dict.fromkeys(str(case["check"]) for case in errors.failure_cases.iter_rows(named=True)))
        return tuple(_finding(name, named.get(name), frame, errors) for name in failed)
    raise TypeError(f"the contract of {', '.join(dtypes)} is broken, but none of its rules is")


@contextmanager
def judging_by_pandera() -> Generator[None]:
    """Validate schema and data even if the environment disables pandera, so that a gate is never off by accident."""
    from pandera.config import ValidationDepth, config_context  # noqa: PLC0415 - see `only_polars`

    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        yield


def _check(rule: Rule) -> "pa.Check":
    """Return a rule as a pandera check. Rows for which it is null pass, as in pandera's own checks."""
    import pandera.polars as pa  # noqa: PLC0415 - see `only_polars`

    def marks(data: "pa.PolarsData") -> pl.LazyFrame:
        return data.lazyframe.select(rule.holds)

    return pa.Check(marks, name=rule.name, n_failure_cases=1)


def _finding(name: str, rule: Rule | None, frame: pl.DataFrame, errors: "pa.errors.SchemaErrors") -> Finding:
    """Count and sample the rows that break a rule. Without a rule, report pandera's finding on columns and dtypes."""
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
    """Return a row with values other than scalars as text."""
    return {
        key: value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
        for key, value in row.items()
    }
