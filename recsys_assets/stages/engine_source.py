"""What an engine reads: canonical days where they are stored, or copies of bytes that were proven; a catalog's tags."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from recsys_assets.artifacts.kinds import Kind
from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.engines.content_sim import encode_tags
from recsys_assets.engines.engine import Engine
from recsys_assets.engines.parts import write_file
from recsys_assets.errors import InputError
from recsys_assets.identity import Target, Window
from recsys_assets.manifest.documents import Input
from recsys_assets.manifest.layout import canonical_key
from recsys_assets.stages.canonical import read_day
from recsys_assets.stages.source import WindowDays, find_days, load_catalog
from recsys_assets.storage.store import Listed, ObjectStore


@dataclass(frozen=True, slots=True)
class EngineSource:
    """Files for an engine, oldest day first, of how many events, what they were made from, and the days not there."""

    files: tuple[str, ...]
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...] = ()
    in_place: Mapping[str, Listed | None] = field(default_factory=dict[str, Listed | None])  # keys, as they were proven

    def check_unchanged(self, store: ObjectStore) -> None:
        """Raise `InputError` if a day that was read where it is stored was written anew meanwhile."""
        changed = [key for key, found in self.in_place.items() if store.stat(key) != found]
        if changed:
            raise InputError(f"{', '.join(changed)} changed while an engine read it: build the artifact again")


def offer_source(
    store: ObjectStore,
    settings: Settings,
    row: TargetSettings,
    kind: Kind,
    window: Window,
    *,
    engine: Engine,
    folder: str,
) -> EngineSource:
    """Return what a kind's definition reads, laid out for an engine; copies go to the attempt's `folder`.

    Raises `CorruptObjectError` if the bytes of a day are not those of its record, and what `find_days` raises.
    """
    if kind.from_catalog:
        return _tags(settings, row, folder)
    days = find_days(store, settings, row.target, window)
    offer = _in_place if engine.in_place else _copied
    return offer(store, row.target, days, engine, folder)


def _in_place(store: ObjectStore, target: Target, days: WindowDays, engine: Engine, _folder: str) -> EngineSource:
    """Name the days where they are; the engine hashes them, so that no byte of them comes here."""
    keys = {canonical_key(target, day): record.digest for day, record in sorted(days.records.items())}
    seen = {key: store.stat(key) for key in keys}
    engine.verify({f"{store.root_uri}/{key}": digest for key, digest in keys.items()})
    files = tuple(f"{store.root_uri}/{key}" for key in keys)
    return EngineSource(files, days.events, days.inputs, days.missing, seen)


def _copied(store: ObjectStore, target: Target, days: WindowDays, _engine: Engine, folder: str) -> EngineSource:
    """Copy one day after the other, each proven: what the engine reads cannot change under it."""
    files: list[str] = []
    for day, record in sorted(days.records.items()):
        files.append(f"{folder}/{day}.parquet")
        write_file(files[-1], read_day(store, target, day, record))
    return EngineSource(tuple(files), days.events, days.inputs, days.missing)


def _tags(settings: Settings, row: TargetSettings, folder: str) -> EngineSource:
    """Write the catalog's tags, read and cleaned here: a catalog is small, and texts are ours to read."""
    rows, catalog = load_catalog(settings, row)
    file = f"{folder}/tags.parquet"
    write_file(file, encode_tags(rows))
    return EngineSource((file,), None, (catalog,))
