"""Signals: a day's artifacts of one target as database rows, written once every gate has passed."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import polars as pl

from recsys_assets.evidence import Scalar
from recsys_assets.identity import ArtifactRef
from recsys_assets.ingest.timestamps import NANOSECONDS, read_instant
from recsys_assets.kind_descriptions import Shape, Signals
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import read_configured_catalog
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.pipeline.stored_artifact import read_rows
from recsys_assets.postgres.client import begin_transaction, connected
from recsys_assets.release.journal import Actor
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

VARIABLE = "RECSYS_SIGNALS_DATABASE_URL"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = Sequence[object]
_CREATED = "created_at"  # the catalog column with a timestamp, as text


class SignalsWritten(msgspec.Struct, frozen=True):
    """Numbers of a write: for each table, the rows written (new or different) and deleted.

    Without a write, only the outcome and the message.
    """

    numbers: Mapping[str, Scalar]


def write_signals(context: DayContext, *, by: Actor) -> SignalsWritten:
    """Write the artifacts of a target's day to the database, in one transaction. A second call changes nothing.

    The kinds' descriptions define the tables. A table without a day column is not changed if the day is older than the
    live release, and no table is changed whose kind is not built. While the target is held, nothing is written.

    Raises `RefusedError`, before connecting, if any gate has not passed on the stored bytes. Raises
    `StoreUnavailableError`, `ConfigurationError` or `InputError` on errors of the database.
    """
    store, settings, row, day = context.store, context.settings, context.row, context.day
    outcome = ship_day(context, by=by, dry_run=True).outcome
    if outcome.how is Ruling.HELD:
        return SignalsWritten({"outcome": outcome.how.value, "message": outcome.message})
    refs = outcome.release.artifacts
    described = {name: KINDS[name].description.signals for name in refs if name in KINDS}
    tables = {
        name: each for name, each in described.items() if each and (each.daily or outcome.how is not Ruling.OLDER)
    }
    rows = {name: (each, _rows(store, settings, row, name, refs[name])) for name, each in tables.items()}
    with connected(VARIABLE, what=f"signals of {row.target} {day}") as connection:
        return _write(connection, settings, row, day, rows)


def _write(
    connection: Any,
    settings: Settings,
    row: TargetSettings,
    day: date,
    rows: Mapping[str, tuple[Signals, Iterator[Row]]],
) -> SignalsWritten:
    # Imported here so that psycopg is required only where signals are written.
    from recsys_assets.postgres.client import create_tenant, tenant_id  # noqa: PLC0415
    from recsys_assets.postgres.replacing import KeyedTable, replace_rows  # noqa: PLC0415

    chosen = settings.signals
    begin_transaction(connection, statement_timeout_seconds=chosen.statement_timeout_seconds)
    # Two runs of one target would write the same rows: the second one waits for the lock, then has nothing to change.
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"recsys-assets {row.target}"])
    if chosen.create_tenants and chosen.tenants:
        create_tenant(connection, chosen.tenants, row.tenant)
    tenant = tenant_id(connection, chosen.tenants, row.tenant) if chosen.tenants else row.tenant
    numbers: dict[str, Scalar] = {"outcome": "written"}
    for kind, (signals, artifact_rows) in sorted(rows.items()):
        table = KeyedTable(signals.table, *_columns(signals, KINDS[kind].row_shape))
        scope = {"tenant_id": tenant, "namespace": row.surface, **({"day": day} if signals.daily else {})}
        replaced = replace_rows(connection, table, scope=scope, rows=artifact_rows)
        numbers |= {f"written/{table.name}": replaced.written, f"deleted/{table.name}": replaced.deleted}
    return SignalsWritten(numbers)


def _columns(signals: Signals, shape: Shape) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the key columns of a table, and its value columns: one row a member with its score, or a list a key."""
    keys = ("tenant_id", "namespace", *((shape.key,) if shape.key else ()), *((shape.column,) if shape.value else ()))
    values = ("score",) if shape.value else (shape.entries or shape.body,)
    return (*keys, *(("day",) if signals.daily else ())), (*values, *signals.of_catalog)


def _rows(store: ObjectStore, settings: Settings, row: TargetSettings, kind: str, ref: ArtifactRef) -> Iterator[Row]:
    """Yield the rows of an artifact, without the columns tenant, namespace and day."""
    shape, signals = KINDS[kind].row_shape, KINDS[kind].description.signals
    frame = read_rows(store, row.target, ref, shape)[1].frame()
    if not shape.value:
        frame = frame.group_by(frame.columns[0], maintain_order=True).agg(pl.all())
    names = signals.of_catalog if signals else ()
    extras = _extras(settings, names) if names else {}
    for item, *values in frame.iter_rows():
        yield (item, *values, *extras.get(item, (None,) * len(names)))


def _extras(settings: Settings, columns: Sequence[str]) -> Mapping[str, Row]:
    """Return these catalog columns by item, from the last row of each item. Timestamps are parsed."""
    rows = read_configured_catalog(settings).rows.select("item_id", *columns)
    times = [name == _CREATED for name in columns]
    return {
        item: [_parse_timestamp(value) if is_time else value for value, is_time in zip(values, times, strict=True)]
        for item, *values in rows.iter_rows()
    }


def _parse_timestamp(text: str | None) -> datetime | None:
    """Parse an RFC 3339 timestamp. None for any other text: catalogs often have some, and the database refuses it."""
    try:
        return None if text is None else _EPOCH + timedelta(microseconds=read_instant(text) * 10**6 // NANOSECONDS)
    except (ValueError, OverflowError):
        return None
