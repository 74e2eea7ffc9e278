"""Inputs of a kernel: a day's events, a longer window from its days' tallies, or the rows of the catalog."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

import polars as pl

from recsys_assets.catalog.catalog import SCHEMA, Catalog, CatalogForm, read_catalog
from recsys_assets.errors import (
    ConfigurationError,
    InputError,
    LimitExceededError,
    MissingInputError,
)
from recsys_assets.events.events import Events
from recsys_assets.evidence import Scalar
from recsys_assets.identity import Target, Window
from recsys_assets.ingest.quarantine import encode_rejects
from recsys_assets.ingest.sources.finding import open_stream
from recsys_assets.kinds.content_sim import rows_of_surface
from recsys_assets.kinds.registry import Kind
from recsys_assets.kinds.tallies import merge_tallies, with_ages
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.window_tallies import read_tallies
from recsys_assets.release.document_encoding import MAX_DOCUMENT_BYTES, find_document, if_readable
from recsys_assets.release.documents import CanonicalRecord, Input
from recsys_assets.release.layout import (
    canonical_key,
    canonical_record_key,
    catalog_quarantine_key,
)
from recsys_assets.release.staged import find_canonical_report
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.run_cache import prefetch


@dataclass(frozen=True, slots=True)
class KernelInput:
    """What a kernel reads, of how many events, inputs, and which days of the window are missing or refused."""

    read: Events | pl.DataFrame
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...] = ()
    numbers: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])  # facts of the artifact, if there are some
    refused: tuple[date, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowDays:
    """The canonical days of a window that may be used, oldest first, and how many events they hold together.

    `refused` are earlier days of it that their gates refused: their events are there, and are not used.
    """

    records: Mapping[date, CanonicalRecord]
    inputs: tuple[Input, ...]
    missing: tuple[date, ...]
    refused: tuple[date, ...] = ()

    @property
    def events(self) -> int:
        """Events of all days."""
        return sum(record.rows for record in self.records.values())


def read_kernel_input(context: DayContext, kind: Kind, window: Window, *, aged: bool = False) -> KernelInput:
    """Return what `kind` is built from for this window; `aged` adds how many days before the window's last each is.

    Raises `InputError` when no day of the window has canonical events, `LimitExceededError` before anything is loaded
    that cannot fit.
    """
    if kind.from_catalog:
        loaded = load_catalog(context)
        return KernelInput(loaded.rows, None, loaded.inputs, numbers=loaded.numbers)
    return _events(context, window, kind, aged=aged)


def _events(context: DayContext, window: Window, kind: Kind, *, aged: bool) -> KernelInput:
    """Load the columns that a kernel reads of every day in the window that stands; of several days their tallies."""
    store, target = context.store, context.target
    days = find_days(context, window)
    records = days.records
    if window.first == window.last:
        read = read_events(store, target, window.last, records[window.last], columns=kind.event_columns)
    else:
        tallies = read_tallies(store, target, kind, records)
        ages = [(window.last - day).days for day in sorted(records)]
        read = merge_tallies(with_ages(tallies, ages) if aged else tallies)
    return KernelInput(read, days.events, days.inputs, days.missing, refused=days.refused)


def find_days(context: DayContext, window: Window) -> WindowDays:
    """Return which days of a window have canonical events that no gate refused; nothing of them is loaded.

    The window's last day is the one to be judged, and is used whatever its gates say: it ships only if they pass. An
    earlier day that was refused is left out until it is built again and passes, or until somebody answers for it.

    Raises `InputError` if none has, or some under another `raw.user_key` than the last, `LimitExceededError` if they
    are more than `limits.max_events` allows.
    """
    store, target = context.store, context.target
    prefetch(store, [canonical_record_key(target, day) for day in window.days], max_bytes=MAX_DOCUMENT_BYTES)
    found = {day: find_document(store, canonical_record_key(target, day), CanonicalRecord) for day in window.days}
    stored = {day: record for day, record in found.items() if record is not None}
    refused = tuple(day for day, record in stored.items() if day < window.last and is_refused(context, day, record))
    records = {day: record for day, record in stored.items() if day not in refused}
    inputs = tuple(Input(name=canonical_key(target, day), digest=r.digest, size=r.size) for day, r in records.items())
    days = WindowDays(records, inputs, tuple(day for day in window.days if day not in stored), refused)
    limit = context.settings.limits.max_events
    if days.events > limit:
        raise LimitExceededError(
            f"{target}: {days.events:,} events in {window.first} to {window.last}, limits.max_events allows {limit:,}"
        )
    if not records:
        named = f" ({', '.join(map(str, refused))} were refused)" if refused else ""
        raise InputError(f"{target}: no canonical day in {window.first} to {window.last}{named}: build canonical first")
    _refuse_mixed_keys(target, records)
    return days


def is_refused(context: DayContext, day: date, record: CanonicalRecord) -> bool:
    """Return whether the gates refused these very bytes; a day that was never judged is for the swap to name."""
    report = if_readable(lambda: find_canonical_report(context.store, context.target, day, record))
    return report is not None and report.version == record.digest and bool(report.refusals)


def _refuse_mixed_keys(target: Target, records: Mapping[date, CanonicalRecord]) -> None:
    """Raise `InputError` if users of some days are hashed otherwise than those of the last: none would be the same."""
    last = max(records)
    others = [day for day, record in sorted(records.items()) if record.user_key != records[last].user_key]
    if others:
        raise InputError(
            f"{target}: users of {', '.join(map(str, others))} are hashed by another key, or not at all, than those of "
            f"{last}: build these days again (recsys-assets run --start {others[0]} --end {last})"
        )


@dataclass(frozen=True, slots=True)
class LoadedCatalog:
    """The catalog's rows of a target's surface, what was read, and counts of its bad rows; none: no counts."""

    rows: pl.DataFrame
    inputs: tuple[Input, ...]
    numbers: Mapping[str, Scalar]


def load_catalog(context: DayContext) -> LoadedCatalog:
    """Return the catalog's rows of the target's surface (none without a catalog); its bad rows go to quarantine.

    A shop without a catalog ships what it has; that one which was there is gone, the gate of rows says. Raises what
    `read_catalog` raises.
    """
    settings, row = context.settings, context.row
    if settings.raw.catalog is None:
        return LoadedCatalog(pl.DataFrame(schema=dict(SCHEMA)), (), {})
    try:
        catalog = read_configured_catalog(settings)
    except MissingInputError:
        return LoadedCatalog(pl.DataFrame(schema=dict(SCHEMA)), (), {})
    _quarantine(context, catalog)
    named = Input(name=f"catalog:{settings.raw.catalog}", digest=catalog.digest, size=catalog.size)
    return LoadedCatalog(rows_of_surface(catalog.rows, row.surface), (named,), _bad_rows(catalog))


def read_configured_catalog(settings: Settings) -> Catalog:
    """Return the catalog that the configuration names, in the form that it names."""
    if settings.raw.catalog is None:
        raise ConfigurationError(
            "raw.catalog names no file, and a kind of artifacts.kinds reads it: name the file, or take that kind out"
        )
    form = CatalogForm(settings.raw.catalog_encoding, settings.raw.catalog_delimiter)
    return read_catalog(settings.resolve(settings.raw.catalog), open_stream=open_stream, form=form)


def _quarantine(context: DayContext, catalog: Catalog) -> None:
    """Write the bad rows of the catalog over those of an earlier build, or delete those."""
    key = catalog_quarantine_key(context.target, context.day)
    if catalog.rejects:
        context.store.put(key, encode_rejects(catalog.rejects))
    elif context.is_new(canonical_record_key(context.target, context.day)):
        return  # no build before this one could write any
    elif context.store.stat(key) is not None:
        context.store.delete(key)


def _bad_rows(catalog: Catalog) -> dict[str, Scalar]:
    if not catalog.bad:
        return {}
    reasons = ", ".join(f"{n:,} {reason.value}" for reason, n in sorted(catalog.faults.items()))
    first = catalog.rejects[0]
    return {
        "bad_catalog_rows": catalog.bad,
        "bad_catalog_share": catalog.bad_share,
        "bad_catalog_reasons": f"{reasons}; first: line {first.line}, {first.detail}",
    }
