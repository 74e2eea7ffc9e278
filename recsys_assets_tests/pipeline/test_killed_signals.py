"""Writing signals, killed in the middle of its transaction: nothing of it stands, and writing again brings all."""

import os
import signal
import sys

import psycopg
import pytest

from recsys_assets.pipeline.signals import VARIABLE
from recsys_assets_tests import warm_processes
from recsys_assets_tests.pipeline.test_signals import ON, TABLES, Signals
from recsys_assets_tests.small_shop import FIRST, HOME, day_lines, open_shop

pytestmark = pytest.mark.slow
WRITE = """
import sys
from datetime import UTC, date, datetime
from recsys_assets.settings.reading import load_settings
from recsys_assets.release.journal import Actor
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.signals import write_signals
from recsys_assets.storage.filesystem import FilesystemStore
settings = load_settings(sys.argv[1] + "/recsys.toml")
store, row = FilesystemStore(sys.argv[1] + "/store"), settings.find("shop", "home")
write_signals(DayContext(store, settings, row, date(2026, 1, 1)), by=Actor("child", "a test"))
"""
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'item_tags'::regclass"


@pytest.fixture
def signals(tmp_path, database, monkeypatch):
    monkeypatch.setenv(VARIABLE, database)
    shop = open_shop(tmp_path)
    shop.configure(ON)
    shop.write(FIRST, day_lines(FIRST, targets=(HOME,)))
    found = Signals(shop, database)
    found.run(TABLES)
    found.run("INSERT INTO tenants (external_id) VALUES ('shop')")
    shop.configure(ON.replace("write = true", "write = false"))
    shop.run(FIRST)
    shop.configure(ON)
    return found


def test_a_transaction_that_is_killed_leaves_nothing_and_writing_again_brings_all(signals):  # F1
    with psycopg.connect(signals.url) as blocker, psycopg.connect(signals.url, autocommit=True) as looker:
        blocker.execute("LOCK TABLE item_tags IN ACCESS EXCLUSIVE MODE")  # the last table that is written
        child = warm_processes.start([sys.executable, "-c", WRITE, str(signals.shop.folder)], env=dict(os.environ))
        try:
            while looker.execute(WAITING).fetchone() == (0,):
                assert child.poll() is None, "it ended without waiting for the table"
        finally:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        blocker.rollback()
    assert signals.popularity() == {}
    signals.write()
    assert signals.popularity() != {}
    before = signals.all()
    signals.write()
    assert signals.all() == before
