"""Build of one artifact on an engine: its inputs as files, its rows encoded like those of a kernel."""

from collections.abc import Mapping
from datetime import date
from functools import partial

import msgspec

from recsys_assets.encoding.codec import encode_pieces
from recsys_assets.engines.building import answer_on_engine, find_definition, scan_source
from recsys_assets.engines.engine import Engine
from recsys_assets.engines.lists import encode_tags
from recsys_assets.engines.parts import attempt, write_file
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.errors import InputError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import Kind
from recsys_assets.pipeline.build import cut_to_max_bytes
from recsys_assets.pipeline.canonical_commit import read_day
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import WindowDays, find_days, load_catalog
from recsys_assets.pipeline.stored_artifact import BuildResult, BuildSpec, encoding_args, keep_artifact
from recsys_assets.release.documents import Input
from recsys_assets.release.layout import canonical_key
from recsys_assets.storage.store import Listed, ObjectStore


class EngineSource(msgspec.Struct, frozen=True):
    """Input files of an engine build, oldest day first, with event count, inputs, and missing and refused days."""

    files: tuple[str, ...]
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...] = ()
    # Added to the facts of the artifact.
    numbers: Mapping[str, Scalar] = msgspec.field(default_factory=dict[str, Scalar])
    refused: tuple[date, ...] = ()
    # State, at its verification, of each key that the engine reads in place.
    in_place: Mapping[str, Listed | None] = msgspec.field(default_factory=dict[str, Listed | None])

    def check_unchanged(self, store: ObjectStore) -> None:
        """Raise `InputError` if a day that the engine read in place was rewritten in the meantime."""
        changed = [key for key, verified in self.in_place.items() if store.stat(key) != verified]
        if changed:
            raise InputError(f"{', '.join(changed)} changed while an engine read it: build the artifact again")


def offer_source(context: DayContext, kind: Kind, window: Window, *, engine: Engine, folder: str) -> EngineSource:
    """Return the input files of a kind's definition. Copies are written to the attempt's `folder`.

    Raises `CorruptObjectError` if the bytes of a day do not match its record, and what `find_days` raises.
    """
    if kind.from_catalog:
        return _tags(context, folder)
    days = find_days(context, window)
    offer = _in_place if engine.in_place else _copied
    return offer(context.store, context.target, days, engine, folder)


def _in_place(store: ObjectStore, target: Target, days: WindowDays, engine: Engine, _folder: str) -> EngineSource:
    """Return the stored objects of the days. The engine hashes them, so their bytes are not downloaded here."""
    keys = {canonical_key(target, day): record.digest for day, record in sorted(days.records.items())}
    before = {key: store.stat(key) for key in keys}
    engine.verify({f"{store.root_uri}/{key}": digest for key, digest in keys.items()})
    files = tuple(f"{store.root_uri}/{key}" for key in keys)
    return EngineSource(files, days.events, days.inputs, days.missing, refused=days.refused, in_place=before)


def _copied(store: ObjectStore, target: Target, days: WindowDays, _engine: Engine, folder: str) -> EngineSource:
    """Copy the days one by one, each verified by its digest: a copy cannot change while the engine reads it."""
    files: list[str] = []
    for day, record in sorted(days.records.items()):
        files.append(f"{folder}/{day}.parquet")
        write_file(files[-1], read_day(store, target, day, record))
    return EngineSource(tuple(files), days.events, days.inputs, days.missing, refused=days.refused)


def _tags(context: DayContext, folder: str) -> EngineSource:
    """Write the catalog's tags for the engine. This package reads and cleans them: a catalog is small."""
    loaded = load_catalog(context)
    file = f"{folder}/tags.parquet"
    write_file(file, encode_tags(loaded.rows))
    return EngineSource((file,), None, loaded.inputs, numbers=loaded.numbers)


def make_on_engine(context: DayContext, spec: BuildSpec, engines: EngineRegistry, name: str) -> BuildResult:
    """Build and store an artifact on the engine called `name`, once the engine has passed its checks.

    The engine writes into a folder that is deleted afterwards. Raises what `EngineRegistry.open` raises,
    `ConfigurationError` if the kind has no definition for these parameters, and `InputError` if a day that the engine
    read was rewritten in the meantime.
    """
    row, kind, params, window, blocked = spec
    find_definition(kind, params)
    opened = engines.open(name, kind)
    engine = opened.engine
    with attempt(opened.work, f"{row.tenant}/{row.surface}/{kind.name}") as folder:
        source = offer_source(context, kind, window, engine=engine, folder=folder)
        scanned = scan_source(engine, kind, source.files)
        output = answer_on_engine(engine, kind, params, scanned, folder=folder, blocked=blocked)
        pieces, cut = (output, dict[str, int]()) if kind.row_shape.key else cut_to_max_bytes(list(output), spec)
        encode_whole = partial(encode_pieces, pieces, kind.row_shape, **encoding_args(spec))
        stored = keep_artifact(context.store, spec, encode_whole, pieces)
        source.check_unchanged(context.origin)
    left_out, counted = output.counts()
    numbers = {"engine": engine.name, **counted, **source.numbers, **cut}
    return BuildResult(
        stored,
        output.first,
        output.lists - cut.get("cut_for_max_bytes", 0),
        left_out,
        numbers,
        source.events,
        source.inputs,
        source.missing,
        source.refused,
    )
