"""A contract as named rules over a frame, checked by pandera: every finding at once, exact counts, a capped sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


def broken_rules(
    frame: pl.DataFrame, dtypes: Mapping[str, pl.DataType], rules: Sequence[Rule], *, nullable: bool = False
) -> tuple[Finding, ...]:
    """Return a finding per broken rule, and one per column that is missing or of another dtype; nothing if all hold.

    The frame is eager and validation lazy: pandera skips data checks on a LazyFrame, and stops at the first finding
    otherwise. Counts are taken from the rule itself, since pandera's failure cases are capped here. A frame for which
    Polars proves all of it in one pass is not judged again rule by rule, which takes longer than the pass.
    """
    if _proven(frame, dtypes, rules, nullable=nullable):
        return ()
    return _message(frame, dtypes, rules, nullable=nullable)


def _proven(frame: pl.DataFrame, dtypes: Mapping[str, pl.DataType], rules: Sequence[Rule], *, nullable: bool) -> bool:
    """Return whether columns, dtypes and every rule hold; a rule that is null for a row passes it, as in pandera."""
    if frame.schema != dict(dtypes):
        return False
    present = [] if nullable else [pl.col(name).is_not_null().all().alias(f"{name} is present") for name in dtypes]
    return all(frame.select(*present, *(rule.holds.all().alias(rule.name) for rule in rules)).row(0))


def _message(
    frame: pl.DataFrame, dtypes: Mapping[str, pl.DataType], rules: Sequence[Rule], *, nullable: bool
) -> tuple[Finding, ...]:
    import pandera.polars as pa  # noqa: PLC0415 - half a second that only a frame with faults has to pay

    columns = {name: pa.Column(dtype, nullable=nullable) for name, dtype in dtypes.items()}
    try:
        pa.DataFrameSchema(columns, checks=[_check(rule) for rule in rules], strict=True).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        named = {rule.name: rule for rule in rules}
        failed = list(dict.fromkeys(str(case["check"]) for case in errors.failure_cases.iter_rows(named=True)))
        return tuple(_finding(name, named.get(name), frame, errors) for name in failed)
    return ()


def _check(rule: Rule) -> "pa.Check":
    import pandera.polars as pa  # noqa: PLC0415 - see `_message`

    def holds(data: "pa.PolarsData") -> pl.LazyFrame:
        return data.lazyframe.select(rule.holds)

    return pa.Check(holds, name=rule.name, n_failure_cases=1)


def _finding(name: str, rule: Rule | None, frame: pl.DataFrame, errors: "pa.errors.SchemaErrors") -> Finding:
    """Count and sample what breaks a rule; what is no rule of ours is pandera's word about columns and dtypes."""
    if rule is None:
        cases = errors.failure_cases.filter(pl.col("check").cast(pl.String) == name)
        message = ", ".join(
            f"{column} {case}" for column, case in cases.select("column", "failure_case").head(SAMPLE_ROWS).iter_rows()
        )
        return Finding(name, Verdict.REFUSED, len(cases), {}, f"{name}: found {message}", count=len(cases))
    wrong = frame.with_row_index("row").filter(~rule.holds)
    sample = tuple(_scalars(row) for row in wrong.head(SAMPLE_ROWS).iter_rows(named=True))
    return Finding(
        name, Verdict.REFUSED, len(wrong), {}, f"{rule.message} ({len(wrong)} do not)", count=len(wrong), sample=sample
    )


def _scalars(row: Mapping[str, Any]) -> Mapping[str, Scalar]:
    return {
        key: value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
        for key, value in row.items()
    }
