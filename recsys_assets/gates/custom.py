"""Custom gates: pandera schemas and SQL that a team writes itself, judged on the rows that services are given."""

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from threading import Timer
from typing import Any, Protocol

import polars as pl

from recsys_assets.errors import ConfigurationError
from recsys_assets.events.rules import SAMPLE_ROWS, judging_by_pandera, only_polars, scalars
from recsys_assets.evidence import NOT_COMPARED, Scalar, Verdict
from recsys_assets.gates.gate import NO_LIMIT, Gate, Result, passes
from recsys_assets.settings.gates import CUSTOM_GATE, CustomGate, GateSettings
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

GROUP = "recsys_assets.gates"
TABLE = "rows"  # what SQL calls the rows under judgement


class HasFrame(Protocol):
    """Facts of a subject with rows."""

    def frame(self) -> pl.DataFrame:
        """Return the rows as people see them."""
        ...


def custom_gates(settings: Settings, row: TargetSettings, limits: GateSettings, subject: str) -> list[Gate[HasFrame]]:
    """Return the custom gates of one subject of a target: a kind, or "canonical".

    Raises `ConfigurationError` naming the gate whose file or entry point is not there.
    """
    asked = {
        name: one
        for name, one in limits.custom.items()
        if subject in one.kinds and (not one.targets or str(row.target) in one.targets)
    }
    return [Gate(f"{CUSTOM_GATE}{name}", _rule(settings, name, one), one.mode) for name, one in asked.items()]


def _rule(settings: Settings, name: str, gate: CustomGate) -> Callable[[HasFrame], Result]:
    if gate.sql is not None:
        return SqlFindsNothing(gate.sql, gate.max_seconds)
    where = str(gate.pandera)
    setting = f"gates.custom.{name}.pandera"
    path, colon, attribute = where.rpartition(":")
    if not colon:
        return _installed(where, setting)
    file = Path(settings.resolve(path))
    try:
        source = file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{setting}: cannot read {file}: {error.strerror}; it is {where!r}") from error
    digest = hashlib.sha256(source).hexdigest()
    return SchemaHolds(where, digest, lambda: getattr(_module(file, digest), attribute))


def _installed(name: str, setting: str) -> "SchemaHolds":
    found = _entry_points()
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise ConfigurationError(
            f"{setting}: no installed package has an entry point {name!r} in {GROUP} (known are {known}); a schema in "
            'a file is named as "file.py:NAME"'
        )
    point = found[name]
    spec = importlib.util.find_spec(point.module)
    source = Path(spec.origin).read_bytes() if spec is not None and spec.origin else b""
    version = point.dist.version if point.dist else ""
    return SchemaHolds(name, hashlib.sha256(source + version.encode()).hexdigest(), point.load)


@cache
def _entry_points() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _module(file: Path, digest: str) -> Any:
    """Run a file of gates once in a process for each state of it; nothing of ours is looked up by its name."""
    name = f"recsys_assets_gates_of_{digest[:16]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file: its name ends with .py")
    sys.modules[name] = module = importlib.util.module_from_spec(
        spec
    )  # pandera's models look their annotations up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@dataclass(frozen=True, slots=True)
class SchemaHolds:
    """A pandera schema of Polars: where it stands, and the digest of its source, so that a changed one judges again."""

    schema: str
    source: str
    load: Callable[[], Any] = field(metadata=NO_LIMIT, compare=False)

    def __call__(self, facts: HasFrame) -> Result:
        """Validate all rows, lazily, and count every failure case; a schema that crashes refuses."""
        return _guarded(lambda: _validated(self.load(), facts.frame()))


@dataclass(frozen=True, slots=True)
class SqlFindsNothing:
    """SQL whose result is the rows that break the rule; it reads the table `rows`, and no file or network."""

    sql: str
    max_seconds: float

    def __call__(self, facts: HasFrame) -> Result:
        """Ask DuckDB, and count the rows that it returns; SQL that fails or takes too long refuses."""
        return _guarded(lambda: _asked(self.sql, facts.frame(), max_seconds=self.max_seconds))


def _guarded(rule: Callable[[], Result]) -> Result:
    """Return what a team's own code finds; whatever it raises is a refusal that no override is a way out of."""
    try:
        return rule()
    except Exception as error:  # noqa: BLE001 - the code of others: whatever it raises, the gate is named
        kind = type(error).__name__
        remedy = '; repair it, or set {gate} = "off" in [gates.modes]'
        return Result(Verdict.REFUSED, None, f"it crashed with {kind}: {error}", remedy, compared={NOT_COMPARED: kind})


def _validated(schema: Any, frame: pl.DataFrame) -> Result:
    with only_polars():
        import pandera.polars as pa  # noqa: PLC0415 - see `only_polars`

    if not (
        isinstance(schema, pa.DataFrameSchema) or (isinstance(schema, type) and issubclass(schema, pa.DataFrameModel))
    ):
        raise TypeError(f"{schema!r:.80} is no DataFrameSchema or DataFrameModel of pandera.polars")
    try:
        with judging_by_pandera():
            schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        cases = errors.failure_cases
        for one in errors.schema_errors:
            if one.reason_code is pa.errors.SchemaErrorReason.CHECK_ERROR:
                raise RuntimeError(f"{one.check} found nothing: {one}") from errors
        counts = cases.group_by(pl.col("check").cast(pl.String), maintain_order=True).len()
        broken = "; ".join(f"{check} ({count:,})" for check, count in counts.iter_rows())
        sample = cases.select("column", "check", "failure_case", "index").head(SAMPLE_ROWS)
        return _found(len(cases), len(frame), f"fail {broken}", sample)
    return _found(0, len(frame), "keep the schema", None)


def _asked(sql: str, frame: pl.DataFrame, *, max_seconds: float) -> Result:
    try:
        import duckdb  # noqa: PLC0415 - an extra, and only a build has to pay
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
    return _found(len(offenders), len(frame), "break the rule" if len(offenders) else "keep the rule", offenders)


def _found(count: int, rows: int, what: str, sample: pl.DataFrame | None) -> Result:
    found = f"{count:,} of {rows:,} rows {what}" if count else f"{rows:,} rows {what}"
    shown: tuple[Mapping[str, Scalar], ...] = ()
    if count and sample is not None:
        shown = tuple(scalars(one) for one in sample.head(SAMPLE_ROWS).iter_rows(named=True))
    remedy = ": fix the input, or change the gate if the rows are right"
    return Result(passes(ok=not count), count, found, remedy, count=count, sample=shown)
