"""What a kernel reads: a day's events, a longer window put together from its days' tallies, or the catalog's rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import polars as pl

from recsys_assets.artifacts.content_sim import rows_of_surface
from recsys_assets.artifacts.decay import with_ages
from recsys_assets.artifacts.kinds import Kind
from recsys_assets.artifacts.tallies import merge_tallies
from recsys_assets.canonical.events import Events
from recsys_assets.config.settings import Settings
from recsys_assets.config.target import TargetSettings
from recsys_assets.errors import ConfigurationError, InputError, LimitExceededError
from recsys_assets.identity import Target, Window
from recsys_assets.manifest.documents import CanonicalRecord, Input
from recsys_assets.manifest.encoding import find_document
from recsys_assets.manifest.layout import canonical_key, canonical_record_key
from recsys_assets.raw.catalog import read_catalog
from recsys_assets.sources.finding import open_stream
from recsys_assets.stages.canonical import read_events
from recsys_assets.stages.tallies import read_tallies
from recsys_assets.storage.store import ObjectStore


@dataclass(frozen=True, slots=True)
class Source:
    """What a kernel reads, of how many events, what it was made from, and which days of the window are missing."""

    read: Events | pl.DataFrame
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowDays:
    """The canonical days of a window that stand, oldest first, and how many events they hold together."""

    records: Mapping[date, CanonicalRecord]
    inputs: tuple[Input, ...]
    missing: tuple[date, ...]

    @property
    def events(self) -> int:
        """Events of all days."""
        return sum(record.rows for record in self.records.values())


def read_source(
    store: ObjectStore, settings: Settings, row: TargetSettings, kind: Kind, window: Window, *, aged: bool = False
) -> Source:
    """Return what `kind` is built from for this window; `aged` adds how many days before the window's last each is.

    Raises `InputError` when no day of the window has canonical events, `LimitExceededError` before anything is loaded
    that cannot fit, `ConfigurationError` for a kind of the catalog without one.
    """
    if kind.from_catalog:
        rows, catalog = load_catalog(settings, row)
        return Source(rows, None, (catalog,))
    return _events(store, settings, row.target, window, kind, aged=aged)


def _events(
    store: ObjectStore, settings: Settings, target: Target, window: Window, kind: Kind, *, aged: bool
) -> Source:
    """Load the columns that a kernel reads of every day in the window that stands; of several days their tallies."""
    days = find_days(store, settings, target, window)
    records = days.records
    if window.first == window.last:
        read = read_events(store, target, window.last, records[window.last], columns=kind.event_columns)
    else:
        tallies = read_tallies(store, target, kind, records)
        ages = [(window.last - day).days for day in sorted(records)]
        read = merge_tallies(with_ages(tallies, ages) if aged else tallies)
    return Source(read, days.events, days.inputs, days.missing)


def find_days(store: ObjectStore, settings: Settings, target: Target, window: Window) -> WindowDays:
    """Return which days of a window have canonical events; nothing of them is loaded.

    Raises `InputError` if none has, or some under another `raw.user_key` than the last, `LimitExceededError` if they
    are more than `limits.max_events` allows.
    """
    found = {day: find_document(store, canonical_record_key(target, day), CanonicalRecord) for day in window.days}
    records = {day: record for day, record in found.items() if record is not None}
    inputs = tuple(Input(name=canonical_key(target, day), digest=r.digest, size=r.size) for day, r in records.items())
    days = WindowDays(records, inputs, tuple(day for day in window.days if day not in records))
    limit = settings.limits.max_events
    if days.events > limit:
        raise LimitExceededError(
            f"{target}: {days.events:,} events in {window.first} to {window.last}, limits.max_events allows {limit:,}"
        )
    if not records:
        raise InputError(f"{target}: no canonical day in {window.first} to {window.last}: build canonical first")
    _refuse_mixed_keys(target, records)
    return days


def _refuse_mixed_keys(target: Target, records: Mapping[date, CanonicalRecord]) -> None:
    """Raise `InputError` if users of some days are hashed otherwise than those of the last: none would be the same."""
    last = max(records)
    others = [day for day, record in sorted(records.items()) if record.user_key != records[last].user_key]
    if others:
        raise InputError(
            f"{target}: users of {', '.join(map(str, others))} are hashed by another key, or not at all, than those of "
            f"{last}: build these days again (recsys-assets run --start {others[0]} --end {last})"
        )


def load_catalog(settings: Settings, row: TargetSettings) -> tuple[pl.DataFrame, Input]:
    """Return the catalog's rows of the target's surface, and what was read; `ConfigurationError` if none is named."""
    if settings.raw.catalog is None:
        raise ConfigurationError(
            "content_sim is on and raw.catalog names no file: name it, or take content_sim out of artifacts.kinds"
        )
    catalog = read_catalog(settings.resolve(settings.raw.catalog), open_stream=open_stream)
    named = Input(name=f"catalog:{settings.raw.catalog}", digest=catalog.digest, size=catalog.size)
    return rows_of_surface(catalog.rows, row.surface), named
