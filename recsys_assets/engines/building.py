"""Building artifacts on an engine: runs a kind's relational definition, reads the rows in order, and encodes them."""

from collections.abc import Iterator, Sequence
from pkgutil import resolve_name

import msgspec
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
