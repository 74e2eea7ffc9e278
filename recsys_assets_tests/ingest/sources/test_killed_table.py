"""Ingest that is killed while rows of a table come in: no day stands half, and reading it again brings the whole."""

import os
import signal
import sys
import time

import psycopg
import pytest

from recsys_assets.errors import NotFoundError
from recsys_assets.ingest.sources.postgresql_table import VARIABLE
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.layout import raw_record_key
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests import warm_processes
from recsys_assets_tests.ingest.sources.test_killed_transfer import INGEST
from recsys_assets_tests.small_shop import FIRST

pytestmark = pytest.mark.slow
WAIT = 60
ROWS = 12_000  # more than two batches of the cursor, and held up in the second
LOCK = 4711
CONFIG = """
[storage]
root = "store"
[raw]
exposures = "postgresql:events"
[[targets]]
tenant = "shop"
surface = "home"
"""
# A view, as a database may offer one: of a cursor, and of nothing else, it holds one row back while a lock is taken.
SCHEMA = """
    CREATE FUNCTION pause(n int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$ BEGIN
        IF n = 9000 AND EXISTS (SELECT FROM pg_cursors WHERE name = 'recsys_assets_raw') THEN
            PERFORM pg_advisory_lock_shared(4711);
        END IF;
        RETURN 's' || n % 97;
    END $$;
    CREATE VIEW events AS SELECT timestamptz '2026-01-01T12:00:00Z' + n * interval '1 second' AS ts,
        'shop' AS tenant, 'home' AS surface, pause(n) AS session_id, 'i' || n % 50 AS item_id, 'u' || n % 9 AS user_id
        FROM generate_series(1, 12000) AS n
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
READING = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'FETCH%%' AND datname = current_database()"


@pytest.fixture
def shop(tmp_path, database, monkeypatch):
    monkeypatch.setenv(VARIABLE, database)
    (tmp_path / "recsys.toml").write_text(CONFIG)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SCHEMA)
        yield tmp_path, connection


def wait_for(connection, query, *values, count):
    """Return once a query counts so many; it is polled, for a server notifies nobody."""
    deadline = time.monotonic() + WAIT
    while connection.execute(query, values or None).fetchone()[0] != count:
        assert time.monotonic() < deadline, query


def test_an_ingest_that_is_killed_between_rows_leaves_no_day_and_is_done_again(shop):  # F1
    folder, connection = shop
    settings, store = load_settings(folder / "recsys.toml"), FilesystemStore(folder / "store")
    connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    child = warm_processes.start([sys.executable, "-c", INGEST, str(folder)], env=dict(os.environ))
    try:
        wait_for(connection, WAITING, LOCK, count=1)
        assert child.poll() is None
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(WAIT)
    connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    with pytest.raises(NotFoundError):
        build_canonical(DayContext(store, settings, settings.targets[0], FIRST))
    assert build_raw(store, settings, FIRST).reused is False
    record = build_canonical(DayContext(store, settings, settings.targets[0], FIRST)).record
    assert (record.rows, record.duplicates, record.bad) == (ROWS, 0, 0)
    clean = FilesystemStore(folder / "clean")
    build_raw(clean, settings, FIRST)
    assert build_canonical(DayContext(clean, settings, settings.targets[0], FIRST)).record == record
    assert read_document(clean, raw_record_key(FIRST), RawRecord) == read_document(
        store, raw_record_key(FIRST), RawRecord
    )
    wait_for(connection, READING, count=0)  # the server, too, has let go of it
