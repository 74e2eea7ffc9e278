"""Building of artifacts on an engine, and the canary: two synthetic days that an engine must compute correctly first.

An artifact is built by running the relational definition of a kind, reading its rows in order, and encoding them.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import cache
from pkgutil import resolve_name
from typing import Any

import msgspec
import polars as pl

from recsys_assets.artifact_format import Blob
from recsys_assets.encoding.codec import encode_content, encode_pieces
from recsys_assets.encoding.decoder import decode
from recsys_assets.encoding.rows import Excluded, KernelOutput, Rows, rows_without_items
from recsys_assets.engines.engine import Engine, EngineOutput
from recsys_assets.engines.lists import encode_tags
from recsys_assets.engines.parts import attempt, columns_of, rows_of, write_file
from recsys_assets.engines.relation import Definition, Frame
from recsys_assets.errors import ConfigurationError, CorruptObjectError, EngineRefusedError, EngineUnavailableError
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.events.event_files import encode_events
from recsys_assets.events.events import ID_COLUMNS, SCHEMA, Events
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import KINDS, Kind
from recsys_assets.settings.inputs import LimitSettings

TARGET = Target("canary", "engine", "\u00e9<&>")
DAYS = 2
EVENTS_A_DAY = 240

# Chosen to reveal other sort orders (UTF-16, locale), trimming, type inference from text, and terminators.
IDS = (
    *("a", "A", "b", "i1", "i10", "i2", "\U0001d4b3", "\uff21", 'q"\\<&\u2028>', "\x7f\x01", "e\u0301", "\u00e9"),
    *("x", "x\x00", "x\x00y", "\x1cx\x1f", "in side", "\u200b", "\u202ertl", "%s{0}[]*?'`$;--", "a,b", "'", '"', "\\N"),
    *("NULL", "null", "nan", "1e5", "007", "7", "true", "2026-01-01", "-0", "\U0001f600", "l" * 300, "\ufffd"),
)
EVENT_KINDS = (None, "click", "purchase", "default", "\u00e9")
_NANOSECONDS_A_DAY = 86_400 * 10**9
_ROBOT, _CRAWLED, _ONCE = "robot", "crawled", "once"


def definition_of(kind: Kind) -> Definition:
    """Return the relational definition of a kind. Raises `ConfigurationError` if it has none."""
    if not kind.definition:
        supported = ", ".join(name for name, other in KINDS.items() if other.definition)
        raise ConfigurationError(
            f"artifacts.{kind.name}.engine: {kind.name} has no relational definition, so only the native engine builds "
            f"it; kinds with a definition are {supported}"
        )
    try:
        definition: object = resolve_name(kind.definition)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"the definition {kind.definition} of the kind {kind.name} cannot be loaded ({error}): repair "
            "the package that adds the kind"
        ) from error
    if not isinstance(definition, Definition):
        raise ConfigurationError(f"the kind {kind.name}: {kind.definition} is not an engines.relation.Definition")
    return definition


def find_definition(kind: Kind, params: KindParams) -> Definition:
    """Return the relational definition of a kind. Raises `ConfigurationError` if it has none for these parameters."""
    definition = definition_of(kind)
    if params.native_only:
        raise ConfigurationError(
            f"artifacts.{kind.name}.engine: only the native engine supports {params.native_only} of {kind.name}: "
            'remove it, or build the kind with engine = "native"'
        )
    return definition


class EngineArtifact(msgspec.Struct, frozen=True):
    """Artifact computed by an engine: its blob, exclusions, numbers, and first rows."""

    blob: Blob
    left_out: Excluded
    numbers: dict[str, Scalar]
    lists: int  # objects in the body's array
    first: Rows | None


def scan_source(engine: Engine, kind: Kind, files: Sequence[str]) -> Frame:
    """Return the input of a kind's definition: canonical days, oldest first, or a table of catalog tags."""
    if kind.from_catalog:
        return engine.scan_table(files[0])
    return engine.scan_days(files, definition_of(kind).columns)


def make_on_engine(
    engine: Engine, kind: Kind, params: KindParams, source: Frame, *, folder: str, target: Target, window: Window
) -> EngineArtifact:
    """Compute a kind on an engine, which writes below `folder`, and encode its rows piece by piece.

    Raises `ConfigurationError` for settings that only the native engine supports, `EngineUnavailableError` if the
    engine failed or a part of its result is missing, `LimitExceededError` if the blob would be larger than `max_bytes`.
    """
    answer = answer_on_engine(engine, kind, params, source, folder=folder)
    blob = encode_pieces(
        answer, kind.row_shape, kind=kind.name, target=target, window=window, max_bytes=params.max_bytes
    )
    left_out, numbers = answer.counts()
    return EngineArtifact(blob, left_out, numbers, answer.lists, answer.first)


def answer_on_engine(
    engine: Engine,
    kind: Kind,
    params: KindParams,
    source: Frame,
    *,
    folder: str,
    blocked: frozenset[str] = frozenset(),
) -> "FinishedRows":
    """Compute a kind on an engine, which writes below `folder`. The rows can be read while the folder exists.

    Blocked items are removed from the rows.

    Raises as `make_on_engine` does, except for the limit.
    """
    definition = find_definition(kind, params)
    finished = engine.finish(definition.answer(source, params, engine.keep), folder)
    return FinishedRows(engine, finished, kind, definition, blocked=blocked)


class FinishedRows:
    """Rows of an engine output, piece by piece. Every iteration checks that all written rows were read."""

    def __init__(
        self, engine: Engine, finished: EngineOutput, kind: Kind, definition: Definition, *, blocked: frozenset[str]
    ) -> None:
        self._blocked = blocked
        self._engine, self._finished, self._shape = engine, finished, kind.row_shape
        self._definition = definition
        self.first: Rows | None = None
        self.lists = 0
        self._rows = 0

    def counts(self) -> tuple[Excluded, dict[str, Scalar]]:
        """Return the exclusions and the numbers. They are valid after an iteration over the rows."""
        return self._definition.report(self._finished.counts, self.lists)

    def __iter__(self) -> Iterator[Rows]:
        self.lists = self._rows = 0
        for whole in rows_of(self._batches(), self._shape):
            piece = rows_without_items(whole, self._blocked) if self._blocked else whole
            self.first = self.first or piece
            self.lists += len(piece)
            yield piece
        if self._rows != self._finished.rows:
            raise EngineUnavailableError(
                f"{self._engine.name} wrote {self._finished.rows:,} rows, but {self._rows:,} can be read: a part of "
                "the result is lost; nothing was shipped: run the day again"
            )

    def _batches(self) -> Iterator[pl.DataFrame]:
        for part in self._finished.parts:
            for batch in self._engine.read(part, columns_of(self._shape)):
                self._rows += len(batch)
                yield batch


def canary_window() -> Window:
    """Return the window of the canary's days."""
    return Window.ending(date(2026, 1, DAYS), days=DAYS)


def canary_params(kind: str) -> KindParams:
    """Return parameters that trigger every cut and limit of the kind, with defaults for the others."""
    return KINDS[kind].params.model_validate(KINDS[kind].canary)


def canary_source(kind: str) -> Events | pl.DataFrame:
    """Return the input of a kind's native kernel: both days merged, or the catalog."""
    return canary_catalog() if KINDS[kind].from_catalog else merge_days(canary_days())


@cache
def canary_days() -> Sequence[Events]:
    """Return the days in canonical order, each with its own dictionaries."""
    return [_coded([(ts + day * _NANOSECONDS_A_DAY, *rest) for ts, *rest in _events(day)]) for day in range(DAYS)]


@cache
def canary_catalog() -> pl.DataFrame:
    """Return catalog rows with repeated ids, without tags, and with tags that differ only by case, space and form."""
    tags = ("Red", " red\u2003", "", " ", "\u0130x", "\u03a3", "b&w", "\x00", "red", "z" * 200)
    rows = [(IDS[n * 7 % len(IDS)], [tags[(n * k) % len(tags)] for k in range(n % 5)]) for n in range(60)]
    return pl.DataFrame(rows, schema={"item_id": pl.String, "tags": pl.List(pl.String)}, orient="row")


def _events(day: int) -> Iterator[tuple[Any, ...]]:
    """Yield events, many with the same timestamp, so that their order depends on every sort column."""
    for n in range(EVENTS_A_DAY):
        user = None if n % 5 == 0 else IDS[n * n % 17]
        session = f"s{n * 7 % 23}" if n % 3 else IDS[n % 11]
        yield (n // 20, user, session, n % 3, IDS[(n * n + day) % len(IDS)], IDS[n % 4], EVENT_KINDS[n % 5])
    for n in range(61 if day else 3):
        yield (13, _ROBOT, f"r{n}", 0, IDS[n % len(IDS)], None, None)
    for n in range(20):
        yield (14, None, _CRAWLED, n, IDS[n], None, None)
    yield (15, f"{_ONCE}{day}", "s1", 2**62, "a", None, "click")
    yield (15, f"{_ONCE}{day}", "s1", 0, "b", None, None)
    yield (16, f"single{day}", "s2", 0, "a", None, None)


def _coded(rows: Sequence[tuple[object, ...]]) -> Events:
    """Return distinct events in canonical order, nulls first."""
    texts = {name: pl.String if name in ID_COLUMNS else pl.Int64 for name in SCHEMA}
    frame = pl.DataFrame(rows, schema=texts, orient="row").unique().sort(list(SCHEMA), nulls_last=False)
    ids = {name: frame[name].drop_nulls().unique().sort() for name in ID_COLUMNS}
    codes = {name: _codes(frame[name], ids[name]) if name in ids else frame[name] for name in SCHEMA}
    return Events(pl.DataFrame({name: codes[name].cast(dtype) for name, dtype in SCHEMA.items()}), ids)


def _codes(texts: pl.Series, ids: pl.Series) -> pl.Series:
    code_of = {text: code for code, text in enumerate(ids)}
    return pl.Series(texts.name, [code_of.get(text) for text in texts])


def prove_engine(engine: Engine, kind: Kind, *, work: str, proven: set[tuple[str, str]]) -> None:
    """Build the canary's artifact of a kind on an engine, which writes below `work`, and compare it with the kernel's.

    Runs once per engine and kind, which are added to `proven`. Raises `EngineRefusedError` with the first differing
    row.
    """
    if (engine.identity, kind.name) in proven:
        return
    built = kind.build(canary_source(kind.name), canary_params(kind.name), LimitSettings())
    with attempt(work, "canary") as folder:
        made = _on_engine(engine, kind, folder)
    difference = _difference(kind, built, made)
    if difference:
        raise EngineRefusedError(
            f'engine = "{engine.name}" ({engine.identity}) is refused for {kind.name}: on the canary {difference}; '
            'nothing was built: choose another engine for this kind (engine = "native"), or another version of it'
        )
    proven.add((engine.identity, kind.name))


def _on_engine(engine: Engine, kind: Kind, folder: str) -> EngineArtifact:
    files = [f"{folder}/{number}.parquet" for number in range(1 if kind.from_catalog else len(canary_days()))]
    contents = [encode_tags(canary_catalog())] if kind.from_catalog else [encode_events(day) for day in canary_days()]
    for file, content in zip(files, contents, strict=True):
        write_file(file, content)
    source, params = scan_source(engine, kind, files), canary_params(kind.name)
    return make_on_engine(engine, kind, params, source, folder=folder, target=TARGET, window=canary_window())


def _difference(kind: Kind, built: KernelOutput, made: EngineArtifact) -> str:
    """Return text on the first difference between the kernel's and the engine's artifact, or ""."""
    expected = encode_content(
        built.rows, kind=kind.name, target=TARGET, window=canary_window(), max_bytes=len(made.blob.data) * 9
    )
    if made.blob.ref.version != expected.ref.version:
        return _first_row(kind, expected, made.blob)
    both = {"left out": (built.left_out, made.left_out), "numbers": (dict(built.numbers), made.numbers)}
    return "; ".join(f"{label}: expected {old}, found {new}" for label, (old, new) in both.items() if old != new)


def _first_row(kind: Kind, expected: Blob, made: Blob) -> str:
    wanted = decode(expected.data, kind.row_shape)[1].frame()
    try:
        made_rows = decode(made.data, kind.row_shape)[1].frame()
    except CorruptObjectError as error:
        return f"its bytes cannot be read back: {error}"
    rows = enumerate(zip(wanted.rows(), made_rows.rows(), strict=False))
    position = next((n for n, (expected_row, row) in rows if expected_row != row), min(len(wanted), len(made_rows)))
    counts = f"{len(made_rows)} rows of {len(wanted)}"
    return f"row {position} is {_row(made_rows, position)}, expected {_row(wanted, position)} ({counts})"


def _row(frame: pl.DataFrame, position: int) -> str:
    return str(frame.row(position)) if position < len(frame) else "missing"
