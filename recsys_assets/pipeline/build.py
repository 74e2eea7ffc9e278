"""Building of one artifact: by the kind's kernel in this process, or by its relational definition on an engine."""

from functools import partial

from recsys_assets.encoding.codec import encode_content
from recsys_assets.encoding.rows import Rows
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.pipeline.build_spec import BuildSpec, named
from recsys_assets.pipeline.source import read_source
from recsys_assets.pipeline.stored_artifact import BuildResult, keep_artifact
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.store import ObjectStore

NATIVE = "native"


def make_artifact(
    store: ObjectStore, settings: Settings, order: BuildSpec, room: EngineRegistry | None = None
) -> BuildResult:
    """Make an artifact natively, or on the engine that the configuration names for the kind and target, and keep it.

    `room` opens engines; without one, they are where the configuration says. Raises what `read_source` raises, and of
    engines `EngineRefusedError` and `EngineUnavailableError`.
    """
    engine = order.params.engine or order.row.engine or settings.artifacts.engine
    if engine == NATIVE:
        return _make_natively(store, settings, order)

    from recsys_assets.pipeline.build_on_engine import make_on_engine  # noqa: PLC0415 - imports Narwhals

    return make_on_engine(
        store, settings, order, room or EngineRegistry(settings.resolved_engines, store.root_uri), engine
    )


def _make_natively(store: ObjectStore, settings: Settings, order: BuildSpec) -> BuildResult:
    row, kind, params, window = order
    source = read_source(store, settings, row, kind.reading(params), window, aged=params.aged)
    built = kind.build(source.read, params, settings.limits)
    rows = built.rows
    whole = partial(encode_content, rows, **named(order))
    kept = keep_artifact(store, order, whole, [rows] if isinstance(rows, Rows) else None)
    return BuildResult(
        kept, rows, len(rows), built.left_out, built.numbers, source.events, source.inputs, source.missing
    )
