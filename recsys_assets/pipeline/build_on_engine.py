"""Building of one artifact on an engine: its inputs laid out in files, its rows encoded as a kernel's are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial

from recsys_assets.encoding.codec import encode_pieces
from recsys_assets.engines.building import answer_on_engine, find_definition, scan_source
from recsys_assets.engines.content_sim import encode_tags
from recsys_assets.engines.engine import Engine
from recsys_assets.engines.parts import attempt, write_file
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.errors import InputError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import Kind
from recsys_assets.pipeline.build import fit
from recsys_assets.pipeline.canonical_commit import read_day
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import WindowDays, find_days, load_catalog
from recsys_assets.pipeline.stored_artifact import BuildResult, BuildSpec, keep_artifact, named
from recsys_assets.release.documents import Input
from recsys_assets.release.layout import canonical_key
from recsys_assets.storage.store import Listed, ObjectStore


@dataclass(frozen=True, slots=True)
class EngineSource:
    """Files for an engine, oldest day first, of how many events, inputs, and the days not there or refused."""

    files: tuple[str, ...]
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...] = ()
    numbers: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])  # facts of the artifact, if there are some
    refused: tuple[date, ...] = ()
    in_place: Mapping[str, Listed | None] = field(default_factory=dict[str, Listed | None])  # keys, as they were proven

    def check_unchanged(self, store: ObjectStore) -> None:
        """Raise `InputError` if a day that was read where it is stored was rewritten meanwhile."""
        changed = [key for key, found in self.in_place.items() if store.stat(key) != found]
        if changed:
            raise InputError(f"{', '.join(changed)} changed while an engine read it: build the artifact again")


def offer_source(context: DayContext, kind: Kind, window: Window, *, engine: Engine, folder: str) -> EngineSource:
    """Return what a kind's definition reads, laid out for an engine; copies go to the attempt's `folder`.

    Raises `CorruptObjectError` if the bytes of a day are not those of its record, and what `find_days` raises.
    """
    if kind.from_catalog:
        return _tags(context, folder)
    days = find_days(context, window)
    offer = _in_place if engine.in_place else _copied
    return offer(context.store, context.target, days, engine, folder)


def _in_place(store: ObjectStore, target: Target, days: WindowDays, engine: Engine, _folder: str) -> EngineSource:
    """Name the days where they are; the engine hashes them, so that no byte of them comes here."""
    keys = {canonical_key(target, day): record.digest for day, record in sorted(days.records.items())}
    seen = {key: store.stat(key) for key in keys}
    engine.verify({f"{store.root_uri}/{key}": digest for key, digest in keys.items()})
    files = tuple(f"{store.root_uri}/{key}" for key in keys)
    return EngineSource(files, days.events, days.inputs, days.missing, refused=days.refused, in_place=seen)


def _copied(store: ObjectStore, target: Target, days: WindowDays, _engine: Engine, folder: str) -> EngineSource:
    """Copy one day after the other, each proven: what the engine reads cannot change under it."""
    files: list[str] = []
    for day, record in sorted(days.records.items()):
        files.append(f"{folder}/{day}.parquet")
        write_file(files[-1], read_day(store, target, day, record))
    return EngineSource(tuple(files), days.events, days.inputs, days.missing, refused=days.refused)


def _tags(context: DayContext, folder: str) -> EngineSource:
    """Write the catalog's tags, read and cleaned here: a catalog is small, and texts are ours to read."""
    loaded = load_catalog(context)
    file = f"{folder}/tags.parquet"
    write_file(file, encode_tags(loaded.rows))
    return EngineSource((file,), None, loaded.inputs, numbers=loaded.numbers)


def make_on_engine(context: DayContext, spec: BuildSpec, engines: EngineRegistry, name: str) -> BuildResult:
    """Return the artifact as the engine called `name` made it, once it has proven itself.

    It writes below a folder that is gone afterwards. Raises what `EngineRegistry.open` raises, `ConfigurationError` if
    the kind with these parameters has no definition, and `InputError` if a day that it read was rewritten meanwhile.
    """
    row, kind, params, window, blocked = spec
    find_definition(kind, params)
    opened = engines.open(name, kind)
    engine = opened.engine
    with attempt(opened.work, f"{row.tenant}/{row.surface}/{kind.name}") as folder:
        source = offer_source(context, kind, window, engine=engine, folder=folder)
        scanned = scan_source(engine, kind, source.files)
        answer = answer_on_engine(engine, kind, params, scanned, folder=folder, blocked=blocked)
        pieces, cut = (answer, dict[str, int]()) if kind.row_shape.key else fit(list(answer), spec)
        kept = keep_artifact(context.store, spec, partial(encode_pieces, pieces, kind.row_shape, **named(spec)), pieces)
        source.check_unchanged(context.origin)
    left_out, counted = answer.counts()
    numbers = {"engine": engine.name, **counted, **source.numbers, **cut}
    return BuildResult(
        kept,
        answer.first,
        answer.lists - cut.get("cut_for_max_bytes", 0),
        left_out,
        numbers,
        source.events,
        source.inputs,
        source.missing,
        source.refused,
    )
