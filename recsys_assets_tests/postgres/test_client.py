"""A server that answers and lets nobody in: a setting is wrong, and trying again is in vain."""

import socket
import threading

import psycopg
import pytest

from recsys_assets.errors import ConfigurationError, InputError, StoreUnavailableError
from recsys_assets.postgres.client import connected

VARIABLE = "RECSYS_TEST_DATABASE_URL"


def message(kind, body):
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def refusal(state, text):
    return message(b"E", f"SFATAL\0VFATAL\0C{state}\0M{text}\0\0".encode())


def serve(listener, answer):
    """Answer one client as PostgreSQL's protocol says: ask for a password, read it, and refuse."""
    client, _ = listener.accept()
    with client:
        client.recv(4096)
        client.sendall(message(b"R", (3).to_bytes(4, "big")))
        client.recv(4096)
        client.sendall(answer)


@pytest.fixture
def server(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        options = "sslmode=disable&gssencmode=disable"
        monkeypatch.setenv(VARIABLE, f"postgresql://reader:secret@127.0.0.1:{port}/shop?{options}")
        yield listener


@pytest.mark.parametrize(
    ("state", "text", "error"),
    [
        pytest.param("28P01", 'password authentication failed for user "reader"', ConfigurationError, id="password"),
        pytest.param("28000", 'role "reader" does not exist', ConfigurationError, id="role"),
        pytest.param("3D000", 'database "shop" does not exist', ConfigurationError, id="database"),
        pytest.param("28000", 'no pg_hba.conf entry for host "127.0.0.1"', ConfigurationError, id="host"),
        pytest.param("53300", "sorry, too many clients already", StoreUnavailableError, id="full: try again"),
        pytest.param("57P03", "the database system is starting up", StoreUnavailableError, id="starting: try again"),
    ],
)
def test_who_may_not_come_in_has_a_wrong_setting_and_who_must_wait_has_not(server, state, text, error):  # F50
    answering = threading.Thread(target=serve, args=(server, refusal(state, text)))
    answering.start()
    try:
        with (
            pytest.raises(error, match="check server, user and password") as caught,
            connected(VARIABLE, what="signals"),
        ):
            pytest.fail("it came in")
    finally:
        answering.join()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        pytest.param(psycopg.DataError("text fields cannot contain NUL (0x00) bytes"), InputError, id="NUL"),
        pytest.param(psycopg.DataError("integer out of range"), InputError, id="a number that fits no column"),
        pytest.param(psycopg.ProgrammingError("cannot adapt type 'object'"), ConfigurationError, id="no such type"),
        pytest.param(psycopg.errors.ProgramLimitExceeded("index row size exceeds maximum"), InputError, id="too long"),
        pytest.param(psycopg.OperationalError("the connection is lost"), StoreUnavailableError, id="broken off"),
        pytest.param(psycopg.InterfaceError("the connection is closed"), StoreUnavailableError, id="closed"),
    ],
)
def test_an_error_without_a_state_is_an_outage_only_if_the_connection_broke(database, monkeypatch, raised, error):
    monkeypatch.setenv(VARIABLE, database)
    with pytest.raises(error), connected(VARIABLE, what="signals"):
        raise raised
