"""An artifact made by an engine: its definition over canonical days, and the rows encoded here as a kernel's are."""

from functools import partial

from recsys_assets.artifacts.streaming import encode_pieces
from recsys_assets.config.settings import Settings
from recsys_assets.engines.attempts import attempt
from recsys_assets.engines.building import answer_on_engine, scan_source
from recsys_assets.engines.definitions import find_definition
from recsys_assets.engines.room import EngineRoom
from recsys_assets.stages.engine_source import offer_source
from recsys_assets.stages.keeping import keep_artifact
from recsys_assets.stages.making import Making, named
from recsys_assets.stages.order import Order
from recsys_assets.storage.store import ObjectStore


def make_on_engine(store: ObjectStore, settings: Settings, order: Order, room: EngineRoom, name: str) -> Making:
    """Return the artifact as the engine called `name` made it, once it has proven itself.

    It writes below a folder that is gone afterwards. Raises what `EngineRoom.open` raises, `ConfigurationError` if the
    kind with these parameters has no definition, and `InputError` if a day that it read was written anew meanwhile.
    """
    row, kind, params, window = order
    find_definition(kind.name, params)
    opened = room.open(name, kind)
    engine = opened.engine
    with attempt(opened.work, f"{row.tenant}/{row.surface}/{kind.name}") as folder:
        source = offer_source(store, settings, row, kind, window, engine=engine, folder=folder)
        scanned = scan_source(engine, kind, source.files)
        answer = answer_on_engine(engine, kind, params, scanned, folder=folder)
        kept = keep_artifact(store, order, partial(encode_pieces, answer, kind.row_shape, **named(order)), answer)
        source.check_unchanged(store)
    left_out, told = answer.told()
    numbers = {"engine": engine.name, **told}
    return Making(kept, answer.first, answer.lists, left_out, numbers, source.events, source.inputs, source.missing)
