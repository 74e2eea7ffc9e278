"""Building of one artifact: by the kind's kernel in this process, or by its relational definition on an engine."""

from functools import partial

from recsys_assets.encoding.codec import encode_content
from recsys_assets.encoding.rows import Rows, without_items
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.pipeline.build_spec import BuildSpec, named
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.source import read_source
from recsys_assets.pipeline.stored_artifact import BuildResult, keep_artifact

NATIVE = "native"


def make_artifact(context: DayContext, spec: BuildSpec) -> BuildResult:
    """Build an artifact natively, or on the engine that the configuration names for the kind and target, and keep it.

    Raises what `read_source` raises, and of engines `EngineRefusedError` and `EngineUnavailableError`.
    """
    settings = context.settings
    engine = spec.params.engine or spec.row.engine or settings.artifacts.engine
    if engine == NATIVE:
        return _make_natively(context, spec)

    from recsys_assets.pipeline.build_on_engine import make_on_engine  # noqa: PLC0415 - imports Narwhals

    engines = context.engines or EngineRegistry(settings.resolved_engines, context.store.root_uri)
    return make_on_engine(context, spec, engines, engine)


def _make_natively(context: DayContext, spec: BuildSpec) -> BuildResult:
    _, kind, params, window, blocked = spec
    source = read_source(context, kind.reading(params), window, aged=params.aged)
    built = kind.build(source.read, params, context.settings.limits)
    rows = without_items(built.rows, blocked)
    whole = partial(encode_content, rows, **named(spec))
    kept = keep_artifact(context.store, spec, whole, [rows] if isinstance(rows, Rows) else None)
    return BuildResult(
        kept,
        rows,
        len(rows),
        built.left_out,
        {**built.numbers, **source.numbers},
        source.events,
        source.inputs,
        source.missing,
        source.refused,
    )
