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


class FrameContract(msgspec.Struct, frozen=True, eq=False):
    """Contract of a frame: these columns and dtypes, without nulls unless `nullable`, and rules for its rows."""

    frame: pl.DataFrame
    dtypes: Mapping[str, pl.DataType]
    rules: Sequence[Rule]
    nullable: bool = False


def broken_rules(*contracts: FrameContract) -> tuple[tuple[Finding, ...], ...]:
    """Return the findings on each contract, in their order: one per broken rule and per missing or wrong column.

    All contracts are first evaluated at once, to one row with a column for each, which pandera validates: for small
    frames, pandera takes longer than the rules. Only those that fail are then evaluated by column and rule, which is
    several times slower but names what is broken: eagerly, and lazily in pandera's sense, as it stops at the first
    finding otherwise. Counts are taken from the rule itself, because pandera's failure cases are capped here. By
    default pandera skips data checks on a LazyFrame, so `judging_by_pandera` sets the depth.
    """
    with only_polars(), judging_by_pandera():
        import pandera.polars as pa  # noqa: PLC0415 - see `only_polars`

        kept = _kept(contracts)
        try:
            pa.DataFrameSchema(checks=[pa.Check(_all_kept, name="contracts")]).validate(kept.lazy(), lazy=True)
        except pa.errors.SchemaErrors:
            return tuple(
                () if is_kept else _each_broken(contract)
                for contract, is_kept in zip(contracts, kept.row(0), strict=True)
            )
    return ((),) * len(contracts)


def _all_kept(data: "pa.PolarsData") -> pl.LazyFrame:
    return data.lazyframe.select(pl.all_horizontal(pl.all()))


def _kept(contracts: Sequence[FrameContract]) -> pl.DataFrame:
    """Return one row with a Boolean column for each contract, by its number: whether the frame keeps it."""
    return pl.DataFrame({str(number): [_is_kept(contract)] for number, contract in enumerate(contracts)})


def _is_kept(contract: FrameContract) -> bool:
    if contract.frame.schema != dict(contract.dtypes):
        return False
    marks = [rule.holds.all() for rule in contract.rules]
    if not contract.nullable:
        marks += [pl.col(name).is_not_null().all() for name in contract.dtypes]
    return bool(contract.frame.select(pl.all_horizontal(pl.lit(value=True), *marks)).item())


def _each_broken(contract: FrameContract) -> tuple[Finding, ...]:
    """Return the findings of a broken contract: exactly these columns, and a check per rule."""
    import pandera.polars as pa  # noqa: PLC0415 - see `only_polars`

    frame, dtypes, rules, nullable = contract.frame, contract.dtypes, contract.rules, contract.nullable
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
