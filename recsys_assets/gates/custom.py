"""Custom gates: a team's own pandera schemas and SQL, evaluated on the rows that are served."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from threading import Timer
from typing import Any, Protocol

import polars as pl

from recsys_assets.errors import ConfigurationError
from recsys_assets.events.rules import SAMPLE_ROWS, judging_by_pandera, only_polars, scalars
from recsys_assets.evidence import NOT_COMPARED, Scalar, Verdict
from recsys_assets.gates.gate import NO_LIMIT, Gate, Result, passes
from recsys_assets.kind_descriptions import installed_entry_points
from recsys_assets.settings.gates import CUSTOM_GATE, CustomGate, GateSettings
from recsys_assets.settings.settings import Settings, TargetSettings

GROUP = "recsys_assets.gates"
TABLE = "rows"  # name of the table in SQL


class HasFrame(Protocol):
    """Facts of a subject that has rows."""

    def frame(self) -> pl.DataFrame:
        """Return the decoded rows, with ids as strings."""
        ...


def custom_gates(settings: Settings, row: TargetSettings, limits: GateSettings, subject: str) -> list[Gate[HasFrame]]:
    """Return the custom gates of one subject of a target: a kind, or "canonical".

    Raises `ConfigurationError` with the name of the gate if its file or entry point is missing.
    """
    gates = {
        name: gate
        for name, gate in limits.custom.items()
        if subject in gate.kinds and (not gate.targets or str(row.target) in gate.targets)
    }
    return [Gate(f"{CUSTOM_GATE}{name}", _rule(settings, name, gate), gate.mode) for name, gate in gates.items()]


def _rule(settings: Settings, name: str, gate: CustomGate) -> Callable[[HasFrame], Result]:
    if gate.sql is not None:
        return SqlFindsNothing(gate.sql, gate.max_seconds)
    location = str(gate.pandera)
    setting = f"gates.custom.{name}.pandera"
    path, colon, attribute = location.rpartition(":")
    if not colon:
        return _installed(location, setting)
    file = Path(settings.resolve(path))
    try:
        source = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{setting} = {location!r}: cannot read {file}: {error.strerror}") from error
    digest = hashlib.sha256(source).hexdigest()
    return SchemaHolds(location, digest, lambda: getattr(_module(file, digest), attribute))


def _installed(name: str, setting: str) -> "SchemaHolds":
    points = _entry_points()
    if name not in points:
        names = ", ".join(sorted(points)) or "none"
        raise ConfigurationError(
            f"{setting}: no installed package has an entry point {name!r} in {GROUP} (known are {names}); a schema in "
            'a file is written as "file.py:NAME"'
        )
    point = points[name]
    spec = importlib.util.find_spec(point.module)
    source = Path(spec.origin).read_bytes() if spec is not None and spec.origin else b""
    version = point.dist.version if point.dist else ""
    return SchemaHolds(name, hashlib.sha256(source + version.encode()).hexdigest(), point.load)


@cache
def _entry_points() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in installed_entry_points(GROUP)}


@cache
def _module(file: Path, digest: str) -> Any:
    """Run a file of gates once per process and content. Its module name is private, so that it shadows no module."""
    name = f"recsys_assets_gates_of_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file: the name must end with .py")
    # pandera's models look up their annotations in `sys.modules`.
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@dataclass(frozen=True, slots=True)
class SchemaHolds:
    """A pandera schema for Polars: its location, and the digest of its source, so that a change runs it again."""

    schema: str
    source: str
    load: Callable[[], Any] = field(metadata=NO_LIMIT, compare=False)

    def __call__(self, facts: HasFrame) -> Result:
        """Validate all rows and count every failure case. A schema that crashes is a refusal."""
        return _guarded(lambda: _validated(self.load(), facts.frame()))


@dataclass(frozen=True, slots=True)
class SqlFindsNothing:
    """SQL that returns the rows that break the rule. It can read the table `rows`, but no file and no network."""

    sql: str
    max_seconds: float

    def __call__(self, facts: HasFrame) -> Result:
        """Run the SQL in DuckDB and count the rows that it returns. SQL that fails or takes too long is a refusal."""
        return _guarded(lambda: _run_sql(self.sql, facts.frame(), max_seconds=self.max_seconds))


def _guarded(rule: Callable[[], Result]) -> Result:
    """Return the result of a team's own code. Any exception becomes a refusal that cannot be overridden."""
    try:
        return rule()
    except Exception as error:  # noqa: BLE001 - foreign code may raise anything
        kind = type(error).__name__
        remedy = '; fix it, or set {gate} = "off" in [gates.modes]'
        return Result(Verdict.REFUSED, None, f"it crashed with {kind}: {error}", remedy, compared={NOT_COMPARED: kind})


def _validated(schema: Any, frame: pl.DataFrame) -> Result:
    with only_polars():
        import pandera.polars as pa  # noqa: PLC0415 - see `only_polars`

    if not (
        isinstance(schema, pa.DataFrameSchema) or (isinstance(schema, type) and issubclass(schema, pa.DataFrameModel))
    ):
        raise TypeError(f"{schema!r:.80} is not a DataFrameSchema or DataFrameModel of pandera.polars")
    try:
        with judging_by_pandera():
            schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        for failure in errors.schema_errors:
            if failure.reason_code is pa.errors.SchemaErrorReason.CHECK_ERROR:
                raise RuntimeError(f"{failure.check} could not be evaluated: {failure}") from errors
        counts = cases.group_by(pl.col("check").cast(pl.String), maintain_order=True).len()
        broken = "; ".join(f"{check} ({count:,})" for check, count in counts.iter_rows())
        sample = cases.select("column", "check", "failure_case", "index").head(SAMPLE_ROWS)
        return _result(len(cases), len(frame), f"fail {broken}", sample)
    return _result(0, len(frame), "keep the schema", None)


def _run_sql(sql: str, frame: pl.DataFrame, *, max_seconds: float) -> Result:
    try:
        import duckdb  # noqa: PLC0415 - an optional extra that only builds load
    except ImportError as error:
        raise ConfigurationError("SQL needs DuckDB: pip install 'recsys-assets[duckdb]'") from error
    with duckdb.connect(":memory:") as database:
        database.register(TABLE, frame.to_arrow())
        database.execute("SET enable_external_access = false; SET lock_configuration = true")
        timer = Timer(max_seconds, database.interrupt)
        timer.start()
        try:
            offenders = database.sql(sql).pl()
        except duckdb.InterruptException as error:
            raise TimeoutError(f"it took longer than max_seconds = {max_seconds:g}") from error
        finally:
            timer.cancel()
    return _result(len(offenders), len(frame), "break the rule" if len(offenders) else "keep the rule", offenders)


def _result(count: int, rows: int, outcome: str, sample: pl.DataFrame | None) -> Result:
    message = f"{count:,} of {rows:,} rows {outcome}" if count else f"{rows:,} rows {outcome}"
    shown: tuple[Mapping[str, Scalar], ...] = ()
    if count and sample is not None:
        shown = tuple(scalars(row) for row in sample.head(SAMPLE_ROWS).iter_rows(named=True))
    remedy = ": fix the input, or change the gate if the rows are right"
    return Result(passes(ok=not count), count, message, remedy, count=count, sample=shown)
