"""Inputs of a kernel: a day's events, the merged tallies of a longer window, or the rows of the catalog."""

from collections.abc import Mapping
from datetime import date

import msgspec
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
from recsys_assets.ingest.sources.discovery import open_stream
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


class KernelInput(msgspec.Struct, frozen=True):
    """Input of a kernel, with its event count, its inputs, and the missing and refused days of the window."""

    read: Events | pl.DataFrame
    events: int | None
    inputs: tuple[Input, ...]
    missing: tuple[date, ...] = ()
    # Added to the facts of the artifact.
    numbers: Mapping[str, Scalar] = msgspec.field(default_factory=dict[str, Scalar])
    refused: tuple[date, ...] = ()


class WindowDays(msgspec.Struct, frozen=True):
    """The usable canonical days of a window, oldest first, and the missing ones.

    `refused` are the earlier days whose gates refused them: their events are stored, but not used.
    """

    records: Mapping[date, CanonicalRecord]
    inputs: tuple[Input, ...]
    missing: tuple[date, ...]
    refused: tuple[date, ...] = ()

    @property
    def events(self) -> int:
        """Number of events of all usable days."""
        return sum(record.rows for record in self.records.values())


def read_kernel_input(context: DayContext, kind: Kind, window: Window, *, aged: bool = False) -> KernelInput:
    """Return the events or catalog rows from which `kind` is built for this window.

    `aged` adds to events their age: the number of days before the window's last day. Raises `InputError` if no day of
    the window has canonical events, and `LimitExceededError` before loading more events than allowed.
    """
    if kind.from_catalog:
        loaded = load_catalog(context)
        return KernelInput(loaded.rows, None, loaded.inputs, numbers=loaded.numbers)
    return _events(context, window, kind, aged=aged)


def _events(context: DayContext, window: Window, kind: Kind, *, aged: bool) -> KernelInput:
    """Load the columns that a kernel reads: of a single day its events, of a longer window its merged tallies."""
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
    """Return the days of a window that have canonical events and were not refused. Their events are not loaded.

    The window's last day is the one being judged. It is used even if its gates refuse it, because it ships only if they
    pass. An earlier day that was refused is excluded until it is rebuilt and passes, or until its refusal is
    overridden.

    Raises `InputError` if there is no such day, or if some days are hashed by another `raw.user_key` than the last one,
    and `LimitExceededError` if they have more events than `limits.max_events`.
    """
    store, target = context.store, context.target
    prefetch(store, [canonical_record_key(target, day) for day in window.days], max_bytes=MAX_DOCUMENT_BYTES)
    by_day = {day: find_document(store, canonical_record_key(target, day), CanonicalRecord) for day in window.days}
    stored = {day: record for day, record in by_day.items() if record is not None}
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
        excluded = f" ({', '.join(map(str, refused))} were refused)" if refused else ""
        raise InputError(
            f"{target}: no canonical day in {window.first} to {window.last}{excluded}: build canonical first"
        )
    _refuse_mixed_keys(target, records)
    return days


def is_refused(context: DayContext, day: date, record: CanonicalRecord) -> bool:
    """Return whether the gates refused exactly these bytes. Publishing reports a day that was never judged."""
    report = if_readable(lambda: find_canonical_report(context.store, context.target, day, record))
    return report is not None and report.version == record.digest and bool(report.refusals)


def _refuse_mixed_keys(target: Target, records: Mapping[date, CanonicalRecord]) -> None:
    """Raise `InputError` if some days hash users by another key than the last day: no user would match across them."""
    last = max(records)
    others = [day for day, record in sorted(records.items()) if record.user_key != records[last].user_key]
    if others:
        raise InputError(
            f"{target}: users of {', '.join(map(str, others))} are hashed by another key, or not at all, than those of "
            f"{last}: build these days again (recsys-assets run --start {others[0]} --end {last})"
        )


class LoadedCatalog(msgspec.Struct, frozen=True):
    """The catalog's rows of a target's surface, its file as input, and the counts of its bad rows, if any."""

    rows: pl.DataFrame
    inputs: tuple[Input, ...]
    numbers: Mapping[str, Scalar]


def load_catalog(context: DayContext) -> LoadedCatalog:
    """Return the catalog's rows of the target's surface, and write its bad rows to quarantine.

    Without a catalog, there are no rows: a shop without one ships its other kinds. If a catalog has disappeared, the
    gate on the number of rows reports it. Raises what `read_catalog` raises, except `MissingInputError`.
    """
    settings, row = context.settings, context.row
    if settings.raw.catalog is None:
        return LoadedCatalog(pl.DataFrame(schema=dict(SCHEMA)), (), {})
    try:
        catalog = read_configured_catalog(settings)
    except MissingInputError:
        return LoadedCatalog(pl.DataFrame(schema=dict(SCHEMA)), (), {})
    _quarantine(context, catalog)
    source = Input(name=f"catalog:{settings.raw.catalog}", digest=catalog.digest, size=catalog.size)
    return LoadedCatalog(rows_of_surface(catalog.rows, row.surface), (source,), _bad_rows(catalog))


def read_configured_catalog(settings: Settings) -> Catalog:
    """Read the configured catalog in its configured encoding and delimiter.

    Raises `ConfigurationError` if none is configured, and what `read_catalog` raises.
    """
    if settings.raw.catalog is None:
        raise ConfigurationError(
            "raw.catalog is not set, but a kind in artifacts.kinds reads it: set it, or remove that kind"
        )
    form = CatalogForm(settings.raw.catalog_encoding, settings.raw.catalog_delimiter)
    return read_catalog(settings.resolve(settings.raw.catalog), open_stream=open_stream, form=form)


def _quarantine(context: DayContext, catalog: Catalog) -> None:
    """Write the bad rows of the catalog, replacing those of an earlier build.

    These are deleted if no row is bad now.
    """
    key = catalog_quarantine_key(context.target, context.day)
    if catalog.rejects:
        context.store.put(key, encode_rejects(catalog.rejects))
    elif context.is_new(canonical_record_key(context.target, context.day)):
        return  # no earlier build can have written any
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
