"""Connections to PostgreSQL: what their errors mean, and how tables and tenants are named."""

import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recsys_assets.errors import ConfigurationError, InputError, RecsysAssetsError, StoreUnavailableError

if TYPE_CHECKING:
    from psycopg import sql

_CONNECT_SECONDS = 10
_WRONG = ("25", "28", "3D", "3F", "42")  # SQLSTATE: writes where none may be, credentials, database, schema, names
_BAD_DATA = ("22", "21", "54")  # SQLSTATE: values, cardinality, rows that are too long for the database or its index
# Set by us for the transaction: whatever database, role or URL say, instants are read and written in one form.
_SESSION = "set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true)"
# What servers say to who may not come in (28P01, 28000, 3D000). libpq keeps no SQLSTATE of a connection that failed, so
# the words must do; a server that says it in another language counts as unavailable, which is retried in vain.
_REFUSED = re.compile(
    r"authentication failed for user|no password supplied|no pg_hba\.conf entry|(role|database) \".*\" does not exist"
)
_KEY = """
    SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = to_regclass(%s) AND i.indisprimary ORDER BY a.attnum
"""
_FIND = """
    DO {tag} DECLARE row record; read jsonb; BEGIN
        FOR row IN SELECT {key} AS key, {value}::text AS value {rows} LOOP
            BEGIN read := row.value::jsonb; EXCEPTION WHEN data_exception THEN
                RAISE EXCEPTION USING ERRCODE = {found}, MESSAGE = row.key;
            END;
        END LOOP;
    END {tag}
"""
_FOUND = "RA001"  # an SQLSTATE of our own


def require_driver(what: str) -> Any:
    """Return psycopg, imported when it is used: who has no database need not install it, nor wait for it."""
    try:
        import psycopg  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"{what}: needs psycopg: pip install 'recsys-assets[postgres]'") from error
    return psycopg


@contextmanager
def connected(variable: str, *, what: str) -> Generator[Any]:
    """Yield a connection (psycopg's, with times in UTC) to the database whose URL stands in an environment variable.

    psycopg's errors come out as the package's, with `what` in front: `StoreUnavailableError` if the server is down,
    does not answer in time, or breaks off; `ConfigurationError` for a wrong URL, name or right; `InputError` for data
    that the database itself cannot read.
    """
    psycopg = require_driver(what)
    url = os.environ.get(variable)
    if not url:
        raise ConfigurationError(f"{what}: ${variable} is not set: put postgresql://user:password@host/database there")
    try:
        connection = psycopg.connect(url, connect_timeout=_CONNECT_SECONDS, client_encoding="utf8")
    except psycopg.ProgrammingError:
        # Its text repeats the URL, and with it the password.
        raise ConfigurationError(
            f"{what}: ${variable} is no URL of a database: expected postgresql://user:password@host/database"
        ) from None
    except psycopg.Error as error:
        kind = ConfigurationError if _is_refused(error) else StoreUnavailableError
        raise kind(f"{what}: {_first_line(error)}: check server, user and password in ${variable}") from error
    try:
        with connection:
            yield connection
    except psycopg.DataError as error:
        raise _error_for(what, error) from None  # whose details repeat the data
    except psycopg.Error as error:
        raise _error_for(what, error) from error


def begin_transaction(connection: Any, *, statement_timeout_seconds: float) -> None:
    """Begin the connection's next transaction with the settings that our statements rely on."""
    timeout = str(round(statement_timeout_seconds * 1000))
    connection.execute(f"SELECT set_config('statement_timeout', %s, true), {_SESSION}", [timeout])


def find_bad_json(connection: Any, table: Any, rows: Any, value: Any, *, hidden: str) -> str | None:
    """Return the key of the first row whose `value` is no JSON that the database can give; None if there is none.

    `table`, `rows` (`FROM table AS e WHERE ...`) and `value` are psycopg's composables. The key is the primary key, or
    the row's place where there is none, or where it holds the column `hidden`.
    """
    from psycopg import Error, sql  # noqa: PLC0415 - who has no database need not install it

    columns = [name for (name,) in connection.execute(_KEY, [table.as_string(connection)]).fetchall()]
    if hidden in columns:
        columns = []
    parts = [sql.SQL("{} || coalesce(e.{}::text, '')").format(f"{one}=", sql.Identifier(one)) for one in columns]
    key = sql.SQL(" || ', ' || ").join(parts) if parts else sql.SQL("'ctid=' || e.ctid::text")
    tag = sql.SQL(f"$find_{secrets.token_hex(8)}$")  # pyright: ignore[reportArgumentType] - no literal, and safe
    try:
        connection.execute(sql.SQL(_FIND).format(tag=tag, key=key, value=value, rows=rows, found=_FOUND))
    except Error as error:
        if error.sqlstate == _FOUND:
            return error.diag.message_primary
        raise
    return None


def _error_for(what: str, error: Any) -> RecsysAssetsError:
    """Return what an error means: without an SQLSTATE the driver itself refused, and its class says what."""
    psycopg = require_driver(what)
    message = _first_line(error)
    state: str = error.sqlstate or ""
    if state.startswith(_WRONG) or (not state and isinstance(error, psycopg.ProgrammingError)):
        return ConfigurationError(f"{what}: {message}: check names and rights")
    if state.startswith(_BAD_DATA) or (not state and isinstance(error, psycopg.DataError)):
        return InputError(f"{what}: {message}: correct the data and run the day again")
    return StoreUnavailableError(f"{what}: {message}: nothing is known to have changed; try again")


def _is_refused(error: Exception) -> bool:
    """Return whether the server answered, and said that this user may not come in."""
    return _REFUSED.search(str(error)) is not None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def table_name(place: str) -> "sql.Identifier":
    """Return `table` or `schema.table` as an identifier; raises `ConfigurationError` for anything else."""
    parts = place.split(".")
    if len(parts) > 2 or not all(parts):  # noqa: PLR2004 - a schema and a table
        raise ConfigurationError(f"{place!r} names no table: expected table or schema.table")
    from psycopg import sql  # noqa: PLC0415 - see `require_driver`

    return sql.Identifier(*parts)


def tenant_id(connection: Any, table: str, tenant: str) -> Any:
    """Return the `id` of the one row whose external_id or id is `tenant`; `InputError` if there is none, or several."""
    from psycopg import sql  # noqa: PLC0415 - see `require_driver`

    query = sql.SQL("SELECT id FROM {} WHERE external_id::text = {} OR id::text = {}")
    ids = [row[0] for row in connection.execute(query.format(table_name(table), tenant, tenant)).fetchall()]
    if len(ids) != 1:
        raise InputError(f"table {table} has {len(ids) or 'no'} tenants {tenant!r} by external_id or id: expected one")
    return ids[0]


def create_tenant(connection: Any, table: str, tenant: str) -> None:
    """Add a row with this external_id, its id by the table's default, unless the tenant is there by either."""
    from psycopg import sql  # noqa: PLC0415 - see `require_driver`

    query = sql.SQL(
        "INSERT INTO {table} (external_id) SELECT {tenant} WHERE NOT EXISTS "
        "(SELECT 1 FROM {table} WHERE external_id::text = {tenant} OR id::text = {tenant}) ON CONFLICT DO NOTHING"
    )
    connection.execute(query.format(table=table_name(table), tenant=tenant))
