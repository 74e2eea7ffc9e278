"""What makes an artifact of a window: the kind's coded kernel here, or its relational definition on an engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TypedDict

from recsys_assets.artifacts.rows import LeftOut, Rows
from recsys_assets.artifacts.vectors import Vectors
from recsys_assets.artifacts.writing import encode_content
from recsys_assets.config.settings import Settings
from recsys_assets.engines.room import EngineRoom
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, Window
from recsys_assets.manifest.documents import Input
from recsys_assets.stages.keeping import Kept, keep_artifact
from recsys_assets.stages.order import Order
from recsys_assets.stages.source import read_source
from recsys_assets.storage.store import ObjectStore

NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Making:
    """One artifact as it was made and kept: its first rows, what is told of it, and what it was made from."""

    kept: Kept
    first: Rows | Vectors | None  # the first piece of its rows: all of them if they were made here
    lists: int  # objects in the body's array
    left_out: LeftOut
    numbers: Mapping[str, Scalar]
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...]


def make_artifact(store: ObjectStore, settings: Settings, order: Order, room: EngineRoom | None = None) -> Making:
    """Make an artifact natively, or on the engine that the configuration names for the kind and target, and keep it.

    `room` opens engines; without one, they are where the configuration says. Raises what `read_source` raises, and of
    engines `EngineRefusedError` and `EngineUnavailableError`.
    """
    engine = order.params.engine or order.row.engine or settings.artifacts.engine
    if engine == NATIVE:
        return _make_natively(store, settings, order)
    from recsys_assets.stages.making_on_engine import make_on_engine  # noqa: PLC0415 - native days need no Narwhals

    return make_on_engine(store, settings, order, room or EngineRoom(settings.resolved_engines, store.root_uri), engine)


def _make_natively(store: ObjectStore, settings: Settings, order: Order) -> Making:
    row, kind, params, window = order
    source = read_source(store, settings, row, kind.reading(params), window, aged=params.aged)
    built = kind.build(source.read, params, settings.limits)
    rows = built.rows
    whole = partial(encode_content, rows, **named(order))
    kept = keep_artifact(store, order, whole, [rows] if isinstance(rows, Rows) else None)
    return Making(kept, rows, len(rows), built.left_out, built.numbers, source.events, source.inputs, source.missing)


class Named(TypedDict):
    """What every object of an artifact is encoded with."""

    kind: str
    target: Target
    window: Window
    max_bytes: int


def named(order: Order) -> Named:
    """Return what every object of an artifact is encoded with."""
    row, kind, params, window = order
    return {"kind": kind.name, "target": row.target, "window": window, "max_bytes": params.max_bytes}
