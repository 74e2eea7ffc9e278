"""One artifact on an engine: its kind's relational definition, whose rows are read back in order and encoded."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name

import polars as pl

from recsys_assets.artifact_format import Blob
from recsys_assets.encoding.codec import encode_pieces
from recsys_assets.encoding.rows import Excluded, Rows, rows_without_items
from recsys_assets.engines.engine import Engine, EngineOutput
from recsys_assets.engines.parts import columns_of, rows_of
from recsys_assets.engines.relation import Definition, Frame
from recsys_assets.errors import ConfigurationError, EngineUnavailableError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import KINDS, Kind


def definition_of(kind: Kind) -> Definition:
    """Return the relational definition of a kind; `ConfigurationError` if it is native only."""
    if not kind.definition:
        known = ", ".join(name for name, one in KINDS.items() if one.definition)
        raise ConfigurationError(
            f"artifacts.{kind.name}.engine: {kind.name} has no relational definition, so only the native engine builds "
            f"it; those that have one are {known}"
        )
    try:
        found: object = resolve_name(kind.definition)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"the kind {kind.name} names the definition {kind.definition}, which cannot be loaded ({error}): repair "
            "the package that adds the kind"
        ) from error
    if not isinstance(found, Definition):
        raise ConfigurationError(f"the kind {kind.name}: {kind.definition} is no engines.relation.Definition")
    return found


def find_definition(kind: Kind, params: KindParams) -> Definition:
    """Return the relational definition of a kind; `ConfigurationError` if it has none for these parameters."""
    definition = definition_of(kind)
    if params.native_only:
        raise ConfigurationError(
            f"artifacts.{kind.name}.engine: only the native engine knows {params.native_only} of {kind.name}: leave "
            'that out, or build the kind with engine = "native"'
        )
    return definition


@dataclass(frozen=True, slots=True)
class EngineArtifact:
    """One artifact that an engine computed: its blob, what was left out, its numbers, its first rows."""

    blob: Blob
    left_out: Excluded
    numbers: dict[str, Scalar]
    lists: int  # objects in the body's array
    first: Rows | None


def scan_source(engine: Engine, kind: Kind, files: Sequence[str]) -> Frame:
    """Return what a kind's definition reads: canonical days, oldest first, or one table of a catalog's tags."""
    if kind.from_catalog:
        return engine.scan_table(files[0])
    return engine.scan_days(files, definition_of(kind).columns)


def make_on_engine(
    engine: Engine, kind: Kind, params: KindParams, source: Frame, *, folder: str, target: Target, window: Window
) -> EngineArtifact:
    """Compute a kind on an engine, which writes below `folder`, and encode its rows without holding all of them.

    Raises `ConfigurationError` for settings that only the native engine knows, `EngineUnavailableError` if the engine
    gave up or a part of its result is not there, `LimitExceededError` if the blob would be larger than `max_bytes`.
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
    """Compute a kind on an engine, which writes below `folder`; the rows can be read while that stands.

    They are without the items that are blocked.

    Raises as `make_on_engine` does, but for the limit.
    """
    definition = find_definition(kind, params)
    finished = engine.finish(definition.answer(source, params, engine.keep), folder)
    return FinishedRows(engine, finished, kind, definition, blocked=blocked)


class FinishedRows:
    """The rows of a finished answer, piece by piece, counted: what was written must all be read each time through."""

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
        """Return what was left out, and the numbers; known once the rows were gone through."""
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
                f"{self._engine.name} wrote {self._finished.rows:,} rows and {self._rows:,} can be read: a part of the "
                "result is lost; nothing was shipped: run the day again"
            )

    def _batches(self) -> Iterator[pl.DataFrame]:
        for part in self._finished.parts:
            for batch in self._engine.read(part, columns_of(self._shape)):
                self._rows += len(batch)
                yield batch
