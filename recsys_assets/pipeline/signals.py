"""Signals: a day's artifacts of one target, once every gate has passed, as rows for services that read a database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl

from recsys_assets.evidence import Scalar
from recsys_assets.identity import ArtifactRef
from recsys_assets.ingest.timestamps import NANOSECONDS, read_instant
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.pipeline.source import read_configured_catalog
from recsys_assets.pipeline.stored_artifact import read_rows
from recsys_assets.postgres.client import begin_transaction, connected
from recsys_assets.release.journal import Actor
from recsys_assets.release.judgement import Ruling
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore

VARIABLE = "RECSYS_SIGNALS_DATABASE_URL"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = Sequence[object]


@dataclass(frozen=True, slots=True)
class SignalsWritten:
    """How many rows of each table were written, because they were new or different, and deleted."""

    numbers: Mapping[str, Scalar]


def write_signals(context: DayContext, *, by: Actor) -> SignalsWritten:
    """Make a day's rows of a target in the database those of its artifacts, in one transaction; again changes nothing.

    Tables: `item_popularity_daily`, `item_covisit_daily`, and, unless the day is older than what is live, `item_tags`;
    a table whose kind is not built is left alone. While the target is held nothing is written.

    Raises `RefusedError` before the database is asked when any gate has not passed on the very bytes stored;
    `StoreUnavailableError`, `ConfigurationError` and `InputError` of the database.
    """
    store, settings, row, day = context.store, context.settings, context.row, context.day
    outcome = ship_day(context, by=by, dry_run=True).outcome
    if outcome.how is Ruling.HELD:
        return SignalsWritten({"outcome": outcome.how.value, "message": outcome.message})
    refs = outcome.release.artifacts
    tables = [name for name in ("popularity", "cooc", "content_sim") if name in refs]
    if outcome.how is Ruling.OLDER:
        tables = [name for name in tables if name != "content_sim"]
    with connected(VARIABLE, what=f"signals of {row.target} {day}") as connection:
        return _write(
            connection, settings, row, day, {name: _rows(store, settings, row, name, refs[name]) for name in tables}
        )


def _write(
    connection: Any, settings: Settings, row: TargetSettings, day: date, rows: Mapping[str, Iterator[Row]]
) -> SignalsWritten:
    # Imported only here: who writes no signals need not install psycopg.
    from recsys_assets.postgres.replacing import Table, replace_rows  # noqa: PLC0415
    from recsys_assets.postgres.tenants import create_tenant, tenant_id  # noqa: PLC0415

    chosen = settings.signals
    tables = {
        "popularity": Table("item_popularity_daily", ("tenant_id", "namespace", "item_id", "day"), ("score",)),
        "cooc": Table("item_covisit_daily", ("tenant_id", "namespace", "item_id", "neighbor_id", "day"), ("score",)),
        "content_sim": Table("item_tags", ("tenant_id", "namespace", "item_id"), ("tags", "price", "created_at")),
    }
    begin_transaction(connection, statement_timeout_seconds=chosen.statement_timeout_seconds)
    # Two runs of one target would write the same rows: the second waits, and then finds nothing to change.
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"recsys-assets {row.target}"])
    if chosen.create_tenants and chosen.tenants:
        create_tenant(connection, chosen.tenants, row.tenant)
    tenant = tenant_id(connection, chosen.tenants, row.tenant) if chosen.tenants else row.tenant
    numbers: dict[str, Scalar] = {"outcome": "written"}
    for kind, found in rows.items():
        table = tables[kind]
        scope = {"tenant_id": tenant, "namespace": row.surface, **({"day": day} if "day" in table.keys else {})}
        replaced = replace_rows(connection, table, scope=scope, rows=found)
        numbers |= {f"written/{table.name}": replaced.written, f"deleted/{table.name}": replaced.deleted}
    return SignalsWritten(numbers)


def _rows(store: ObjectStore, settings: Settings, row: TargetSettings, kind: str, ref: ArtifactRef) -> Iterator[Row]:
    """Yield the rows of an artifact without tenant, namespace and day."""
    frame = read_rows(store, row.target, ref, KINDS[kind].row_shape)[1].frame()
    if kind != "content_sim":
        yield from frame.iter_rows()
        return
    extras = _extras(settings)
    for item, tags in frame.group_by(frame.columns[0], maintain_order=True).agg(pl.all()).iter_rows():
        yield (item, tags, *extras.get(item, (None, None)))


def _extras(settings: Settings) -> Mapping[str, tuple[float | None, datetime | None]]:
    """Return price and time of creation by item, of the last row of each in the catalog."""
    catalog = read_configured_catalog(settings)
    rows = catalog.rows.select("item_id", "price", "created_at").iter_rows()
    return {item: (price, _instant(created)) for item, price, created in rows}


def _instant(text: str | None) -> datetime | None:
    """Return an RFC 3339 time; catalogs hold many other things in this column, which no database column takes."""
    try:
        return None if text is None else _EPOCH + timedelta(microseconds=read_instant(text) * 10**6 // NANOSECONDS)
    except (ValueError, OverflowError):
        return None
