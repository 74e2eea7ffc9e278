"""The id by which a database knows a tenant."""

from typing import Any

from psycopg import sql

from recsys_assets.errors import InputError
from recsys_assets.postgres.names import table_name


def tenant_id(connection: Any, table: str, tenant: str) -> Any:
    """Return the `id` of the one row whose external_id or id is `tenant`; `InputError` if there is none, or several."""
    query = sql.SQL("SELECT id FROM {} WHERE external_id::text = {} OR id::text = {}")
    ids = [row[0] for row in connection.execute(query.format(table_name(table), tenant, tenant)).fetchall()]
    if len(ids) != 1:
        raise InputError(f"table {table} has {len(ids) or 'no'} tenants {tenant!r} by external_id or id: expected one")
    return ids[0]


def create_tenant(connection: Any, table: str, tenant: str) -> None:
    """Add a row with this external_id, its id by the table's default, unless the tenant is there by either."""
    query = sql.SQL(
        "INSERT INTO {table} (external_id) SELECT {tenant} WHERE NOT EXISTS "
        "(SELECT 1 FROM {table} WHERE external_id::text = {tenant} OR id::text = {tenant}) ON CONFLICT DO NOTHING"
    )
    connection.execute(query.format(table=table_name(table), tenant=tenant))
