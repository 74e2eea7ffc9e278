"""What must hold for every canonical day, declared as pandera schemas and checked on codes and dictionaries.

Rules on ids are checked once for each distinct id, not once for each row: ten million rows take well under a second.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaError, SchemaErrors

from recsys_assets.canonical.columns import codes_of
from recsys_assets.canonical.events import ID_COLUMNS, SCHEMA, Events
from recsys_assets.canonical.ordering import ascending_rows
from recsys_assets.evidence import Finding, Scalar, Verdict
from recsys_assets.raw.white_space import WHITE_SPACE

MAX_SAMPLE = 20
_NULLABLE = frozenset({"user_id", "request_id", "event"})
_NUMBERS = ("ts", "rank")


class Dictionary(pa.DataFrameModel):
    """The distinct ids of one column: never blank, trimmed, strictly ascending in code-point order."""

    id: str = pa.Field(nullable=False)

    @pa.check("id", name="not_empty")
    def _not_empty(cls, data: pa.PolarsData) -> pl.LazyFrame:  # noqa: N805 - pandera makes it a class method
        return data.lazyframe.select(pl.col(data.key).str.len_bytes() > 0)

    @pa.check("id", name="trimmed")
    def _trimmed(cls, data: pa.PolarsData) -> pl.LazyFrame:  # noqa: N805
        return data.lazyframe.select(pl.col(data.key).str.strip_chars(WHITE_SPACE) == pl.col(data.key))

    @pa.check("id", name="ascending")
    def _ascending(cls, data: pa.PolarsData) -> pl.LazyFrame:  # noqa: N805
        id_ = pl.col(data.key)
        return data.lazyframe.select((id_ > id_.shift()).fill_null(value=True))


def rows_schema(events: Events, *, day: date) -> pa.DataFrameSchema:
    """Return the schema of a day's codes: columns of `events.SCHEMA`, instants inside the day, codes that stand for ids.

    The table must hold a row, and be in canonical order without a duplicate.
    """
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    inside = pa.Check.in_range(start, start + timedelta(days=1), include_max=False, name="inside_the_day")
    checks = {"ts": inside, "rank": pa.Check.ge(0, name="not_negative")}
    for name in ID_COLUMNS:
        checks[name] = pa.Check.lt(len(events.ids[name]), name="known_code")
    columns = {
        name: pa.Column(kind, _capped(checks[name]), nullable=name in _NULLABLE) for name, kind in SCHEMA.items()
    }
    order = [pa.Check(_any_rows, name="any_rows"), pa.Check(_in_order, name="canonical_order")]
    return pa.DataFrameSchema(columns, checks=order, strict=True, ordered=True, name="canonical")


def check_events(events: Events, *, day: date) -> tuple[Finding, ...]:
    """Return a finding for each broken rule, with the exact number of rows or ids and a sample; one that passes if none is.

    `events`: all columns of one target's day.
    """
    broken = _check(rows_schema(events, day=day), events.codes, name="rows", events=events)
    for name in ID_COLUMNS:
        dictionary = events.ids[name].to_frame("id")
        broken += _check(Dictionary.to_schema(), dictionary, name=f"{name}s", events=None)
    rows = len(events.codes)
    kept = Finding("canonical", Verdict.PASSED, rows, {}, f"{rows} rows keep the contract")
    return tuple(broken) or (kept,)


def _check(schema: pa.DataFrameSchema, frame: pl.DataFrame, *, name: str, events: Events | None) -> list[Finding]:
    try:
        # Eager and lazy: of a LazyFrame pandera checks no data, and without `lazy` it stops at the first finding.
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        return [_finding(error, frame, name=name, events=events) for error in errors.schema_errors]
    return []


def _finding(error: SchemaError, frame: pl.DataFrame, *, name: str, events: Events | None) -> Finding:
    column = str(error.schema.name or name) if isinstance(error.schema, pa.Column) else ""
    rule = str(getattr(error.check, "name", None) or error.check)
    rows = _offending_rows(error, frame, column)
    told = f"{name}{f', {column}' if column else ''}: {rule}"
    return Finding(
        gate=f"{column or name}.{rule}",
        verdict=Verdict.REFUSED,
        value=len(rows),
        params={},
        message=f"{told} is broken in {len(rows)} of {len(frame)} rows" if len(rows) else f"{told}: {error}",
        count=max(len(rows), 1),
        sample=_sample(frame, rows.head(MAX_SAMPLE), events),
    )


def _offending_rows(error: SchemaError, frame: pl.DataFrame, column: str) -> pl.Series:
    """Return the numbers of all rows that break a rule; none where the frame as a whole breaks it."""
    if isinstance(error.check_output, pl.DataFrame) and len(error.check_output) == len(frame):
        return error.check_output.to_series(0).not_().arg_true()
    if column in frame.columns and frame[column].null_count() and str(error.check) == "not_nullable":
        return frame[column].is_null().arg_true()
    return pl.Series([], dtype=pl.UInt32)


def _sample(frame: pl.DataFrame, rows: pl.Series, events: Events | None) -> tuple[dict[str, Scalar], ...]:
    """Return rows with their numbers, ids in place of codes where there are such."""
    taken = frame[rows]
    if events is not None:
        taken = taken.with_columns(_decoded(taken[name], events.ids[name]) for name in ID_COLUMNS if name in taken)
    return tuple(
        {"row": row, **_scalars(values)} for row, values in zip(rows, taken.iter_rows(named=True), strict=True)
    )


def _decoded(codes: pl.Series, ids: pl.Series) -> pl.Series:
    texts = [ids[code] if code is not None and code < len(ids) else code for code in codes]
    return pl.Series(codes.name, [text if text is None else str(text) for text in texts], dtype=pl.String)


def _scalars(values: dict[str, Any]) -> dict[str, Scalar]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _capped(check: pa.Check) -> pa.Check:
    """Return the check with a bound on what pandera lists of its failures: it lists all, millions if need be."""
    check.n_failure_cases = MAX_SAMPLE
    return check


def _any_rows(data: pa.PolarsData) -> bool:
    return data.lazyframe.select(pl.len()).collect().item() > 0


def _in_order(data: pa.PolarsData) -> pl.LazyFrame:
    frame = data.lazyframe.collect()
    columns = {name: frame[name].to_physical().to_numpy() for name in _NUMBERS}
    columns |= {name: codes_of(frame[name]) for name in ID_COLUMNS}
    return pl.LazyFrame({"canonical_order": ascending_rows(columns)})
