"""Build of one artifact: by the kind's kernel in this process, or by its relational definition on an engine."""

from collections.abc import Sequence
from functools import partial

from recsys_assets.encoding.codec import cut_to_fit, encode_content
from recsys_assets.encoding.rows import Rows, without_items
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.kinds.params import KindParams
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import read_kernel_input
from recsys_assets.pipeline.stored_artifact import BuildResult, BuildSpec, encoding_args, keep_artifact
from recsys_assets.settings.settings import Settings, TargetSettings

NATIVE = "native"


def make_artifact(context: DayContext, spec: BuildSpec) -> BuildResult:
    """Build an artifact natively or on the engine that is configured for its kind and target, and store it.

    Raises what `read_kernel_input` raises. An engine also raises `EngineRefusedError` or `EngineUnavailableError`.
    """
    settings = context.settings
    engine = engine_of(settings, spec.row, spec.params)
    if engine == NATIVE:
        return _make_natively(context, spec)

    from recsys_assets.pipeline.build_on_engine import make_on_engine  # noqa: PLC0415 - imports Narwhals

    engines = context.engines or EngineRegistry(settings.resolved_engines, context.store.root_uri)
    return make_on_engine(context, spec, engines, engine)


def engine_of(settings: Settings, row: TargetSettings, params: KindParams) -> str:
    """Return the name of the engine that is configured for a kind of a target."""
    return params.engine or row.engine or settings.artifacts.engine


def cut_to_max_bytes(pieces: Sequence[Rows], spec: BuildSpec) -> tuple[list[Rows], dict[str, int]]:
    """Return the first rows of a single-list kind that fit into `max_bytes`, and the number of rows cut off, if any.

    Such a list cannot be split into shards. Its best rows can still be served, while all of them could not ship.
    """
    fitting = cut_to_fit(pieces, spec.kind.row_shape, **encoding_args(spec))
    cut = sum(map(len, pieces)) - sum(map(len, fitting))
    return fitting, {"cut_for_max_bytes": cut} if cut else {}


def _make_natively(context: DayContext, spec: BuildSpec) -> BuildResult:
    _, kind, params, window, blocked = spec
    source = read_kernel_input(context, kind.reading(params), window, aged=params.aged)
    built = kind.build(source.read, params, context.settings.limits)
    rows, cut = without_items(built.rows, blocked), dict[str, int]()
    if isinstance(rows, Rows) and kind.row_shape.key is None:
        fitting, cut = cut_to_max_bytes([rows], spec)
        rows = fitting[0] if fitting else rows.head(0)
    whole = partial(encode_content, rows, **encoding_args(spec))
    stored = keep_artifact(context.store, spec, whole, [rows] if isinstance(rows, Rows) else None)
    return BuildResult(
        stored,
        rows,
        len(rows),
        built.left_out,
        {**built.numbers, **source.numbers, **cut},
        source.events,
        source.inputs,
        source.missing,
        source.refused,
    )
