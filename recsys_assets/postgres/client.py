"""Connections to PostgreSQL: translation of errors, names of tables, and ids of tenants."""

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
_WRONG = ("25", "28", "3D", "3F", "42")  # SQLSTATE: writes in a read-only session, credentials, database, schema, names
_BAD_DATA = ("22", "21", "54")  # SQLSTATE: values, cardinality, rows that are too long for the database or its index
# Set for each transaction, so that timestamps have one format whatever the database, role or URL configure.
_SESSION = "set_config('timezone', 'UTC', true), set_config('datestyle', 'ISO, YMD', true)"
# Messages of servers that refuse a user (28P01, 28000, 3D000). libpq keeps no SQLSTATE of a failed connection, so that
# only the text remains. A server with another language counts as unavailable, which is retried without success.
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


def require_driver(subject: str) -> Any:
    """Return psycopg. It is optional and slow to import, so it is imported only when used.

    Raises `ConfigurationError`, with `subject` in front, if it is not installed.
    """
    try:
        import psycopg  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(f"{subject}: needs psycopg: pip install 'recsys-assets[postgres]'") from error
    return psycopg


@contextmanager
def connected(variable: str, *, what: str) -> Generator[Any]:
    """Yield a psycopg connection to the database whose URL is in the environment variable `variable`.

    psycopg's errors become the package's, with `what` in front: `StoreUnavailableError` if the server is down, does not
    answer in time, or disconnects. Raises `ConfigurationError` for a wrong URL, name or right. Raises `InputError` for
    data that the database itself cannot read. Timestamps are in UTC once `begin_transaction` is called.
    """
    psycopg = require_driver(what)
    url = os.environ.get(variable)
    if not url:
        raise ConfigurationError(f"{what}: ${variable} is not set: put postgresql://user:password@host/database there")
    try:
        connection = psycopg.connect(url, connect_timeout=_CONNECT_SECONDS, client_encoding="utf8")
    except psycopg.ProgrammingError:
        # The text of the error repeats the URL, and with it the password.
        raise ConfigurationError(
            f"{what}: ${variable} is not a database URL: expected postgresql://user:password@host/database"
        ) from None
    except psycopg.Error as error:
        kind = ConfigurationError if _is_refused(error) else StoreUnavailableError
        raise kind(f"{what}: {_first_line(error)}: check server, user and password in ${variable}") from error
    try:
        with connection:
            yield connection
    except psycopg.DataError as error:
        raise _error_for(what, error) from None  # the details of the cause repeat the data
    except psycopg.Error as error:
        raise _error_for(what, error) from error


def begin_transaction(connection: Any, *, statement_timeout_seconds: float) -> None:
    """Begin the connection's next transaction with the statement timeout, and with times in UTC and ISO format."""
    timeout = str(round(statement_timeout_seconds * 1000))
    connection.execute(f"SELECT set_config('statement_timeout', %s, true), {_SESSION}", [timeout])


def find_bad_json(connection: Any, table: Any, rows: Any, value: Any, *, hidden: str) -> str | None:
    """Return the key of the first row whose `value` is not JSON that the database can return, else None.

    `table`, `rows` (`FROM table AS e WHERE ...`) and `value` are psycopg's composables. The key is the primary key, or
    the row's ctid if there is no primary key or it includes the column `hidden`.
    """
    from psycopg import Error, sql  # noqa: PLC0415 - see `require_driver`

    columns = [name for (name,) in connection.execute(_KEY, [table.as_string(connection)]).fetchall()]
    if hidden in columns:
        columns = []
    parts = [sql.SQL("{} || coalesce(e.{}::text, '')").format(f"{name}=", sql.Identifier(name)) for name in columns]
    key = sql.SQL(" || ', ' || ").join(parts) if parts else sql.SQL("'ctid=' || e.ctid::text")
    tag = sql.SQL(f"$find_{secrets.token_hex(8)}$")  # pyright: ignore[reportArgumentType] - not a literal, but safe
    try:
        connection.execute(sql.SQL(_FIND).format(tag=tag, key=key, value=value, rows=rows, found=_FOUND))
    except Error as error:
        if error.sqlstate == _FOUND:
            return error.diag.message_primary
        raise
    return None


def _error_for(subject: str, error: Any) -> RecsysAssetsError:
    """Return the package's error for an error of psycopg: by its SQLSTATE, or by its class if the driver raised it."""
    psycopg = require_driver(subject)
    message = _first_line(error)
    state: str = error.sqlstate or ""
    if state.startswith(_WRONG) or (not state and isinstance(error, psycopg.ProgrammingError)):
        return ConfigurationError(f"{subject}: {message}: check names and rights")
    if state.startswith(_BAD_DATA) or (not state and isinstance(error, psycopg.DataError)):
        return InputError(f"{subject}: {message}: correct the data and run the day again")
    return StoreUnavailableError(f"{subject}: {message}: nothing is known to have changed; try again")


def _is_refused(error: Exception) -> bool:
    """Return whether the server answered and refused the user, the password or the database."""
    return _REFUSED.search(str(error)) is not None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def table_name(name: str) -> "sql.Identifier":
    """Return `table` or `schema.table` as an identifier. Raises `ConfigurationError` for anything else."""
    parts = name.split(".")
    if len(parts) > 2 or not all(parts):  # noqa: PLR2004 - a schema and a table
        raise ConfigurationError(f"{name!r} is not the name of a table: expected table or schema.table")
    from psycopg import sql  # noqa: PLC0415 - see `require_driver`

    return sql.Identifier(*parts)


def tenant_id(connection: Any, table: str, tenant: str) -> Any:
    """Return the `id` of the one row whose external_id or id is `tenant`.

    Raises `InputError` if there are none or several.
    """
    from psycopg import sql  # noqa: PLC0415 - see `require_driver`

    query = sql.SQL("SELECT id FROM {} WHERE external_id::text = {} OR id::text = {}")
    ids = [row[0] for row in connection.execute(query.format(table_name(table), tenant, tenant)).fetchall()]
    if len(ids) != 1:
        raise InputError(f"table {table} has {len(ids) or 'no'} tenants {tenant!r} by external_id or id: expected one")
    return ids[0]


def create_tenant(connection: Any, table: str, tenant: str) -> None:
    """Insert a row with this external_id, and the table's default id, unless a row has the tenant as either."""
    from psycopg import sql  # noqa: PLC0415 - see `require_driver`

    query = sql.SQL(
        "INSERT INTO {table} (external_id) SELECT {tenant} WHERE NOT EXISTS "
        "(SELECT 1 FROM {table} WHERE external_id::text = {tenant} OR id::text = {tenant}) ON CONFLICT DO NOTHING"
    )
    connection.execute(query.format(table=table_name(table), tenant=tenant))
