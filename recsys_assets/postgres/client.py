"""Connections to PostgreSQL, and what its errors mean for the person who meets them."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from recsys_assets.errors import ConfigurationError, InputError, RecsysAssetsError, StoreUnavailableError

_CONNECT_SECONDS = 10
_WRONG = ("25", "28", "3D", "3F", "42")  # SQLSTATE: writes where none may be, credentials, database, schema, names
_BAD_DATA = "22"
# What servers say to who may not come in (28P01, 28000, 3D000). libpq keeps no SQLSTATE of a connection that failed, so
# the words must do; a server that says it in another language counts as unavailable, which is retried in vain.
_REFUSED = re.compile(
    r"authentication failed for user|no password supplied|no pg_hba\.conf entry|(role|database) \".*\" does not exist"
)


def require_driver(what: str) -> Any:
    """Return psycopg, imported only here: who has no database need not install it."""
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


def _error_for(what: str, error: Any) -> RecsysAssetsError:
    message = _first_line(error)
    state: str = error.sqlstate or ""
    if state.startswith(_WRONG):
        return ConfigurationError(f"{what}: {message}: check names and rights")
    if state.startswith(_BAD_DATA):
        return InputError(f"{what}: {message}: correct the data and run the day again")
    return StoreUnavailableError(f"{what}: {message}: nothing is known to have changed; try again")


def _is_refused(error: Exception) -> bool:
    """Return whether the server answered, and said that this user may not come in."""
    return _REFUSED.search(str(error)) is not None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
