"""The event log that `dagster.yaml` selects: what Dagster's own reads and writes, with connections that stay open."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets.dagster_defs import event_log
from recsys_assets.dagster_defs.event_log import HISTORY, OPEN_FILES, OpenSqliteEventLog
from recsys_assets.dagster_defs.private_api import SqliteEventLog
from recsys_assets_tests.dagster_defs.dagster_dev import open_home

ASSET = dg.AssetKey("seen")
WAIT_SECONDS = 60
WRITER = """
import os, signal, sys
import dagster as dg
with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    for number in range(30):
        instance.report_runless_asset_event(dg.AssetMaterialization("seen", metadata={"number": number}))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@dg.asset
def seen():
    return dg.MaterializeResult(metadata={"rows": 1})


@pytest.fixture
def home(tmp_path):
    return open_home(tmp_path / "home")


@pytest.fixture
def instance(home):
    with dg.DagsterInstance.from_config(str(home)) as opened:
        yield opened


def dagsters_own(home, tmp_path):
    """The same files, read by an instance that keeps to Dagster's defaults."""
    plain = tmp_path / "plain"
    shutil.copytree(home, plain)
    (plain / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return dg.DagsterInstance.from_config(str(plain))


def materialize(instance):
    result = dg.materialize([seen], instance=instance)
    assert result.success
    return result.run_id


def events(instance, run):
    return [record.dagster_event.event_type_value for record in instance.all_logs(run) if record.is_dagster_event]


def stored(instance):
    return len(instance.fetch_materializations(ASSET, limit=100).records)


def test_the_projects_instance_uses_it(instance, home):
    assert type(instance.event_log_storage) is OpenSqliteEventLog
    materialize(instance)
    assert (home / HISTORY / "index.db").exists()


def test_dagsters_own_reads_what_it_wrote_and_it_reads_what_dagsters_own_wrote(home, tmp_path):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        first = materialize(instance)
        written = events(instance, first)
    with dagsters_own(home, tmp_path) as own:
        assert Counter(events(own, first)) == Counter(written)
        second = materialize(own)
        expected = events(own, second)
        assert stored(own) == 2
    shutil.copytree(tmp_path / "plain" / HISTORY, home / HISTORY, dirs_exist_ok=True)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert events(instance, second) == expected
        assert Counter(expected) == Counter(written)
        assert stored(instance) == 2


def test_the_tables_of_a_run_are_those_that_dagster_creates(instance, tmp_path):
    """A run's database is a copy of one that Dagster made once; two that are asked for at once become one."""
    run = materialize(instance)
    own = SqliteEventLog(str(tmp_path / "own"))
    with own.run_connection("any"):
        pass
    kept = Path(instance.event_log_storage.path_for_shard(run))
    assert schema(kept) == schema(Path(own.path_for_shard("any")))
    content = kept.read_bytes()
    event_log._create(kept)
    assert kept.read_bytes() == content
    assert {path.suffix for path in kept.parent.iterdir()} <= {".db", ".db-wal", ".db-shm"}


def schema(path):
    """Tables, revision and kind of journal."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
        revision = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        return tables, revision, connection.execute("PRAGMA journal_mode").fetchall()


def test_connections_stay_open_and_are_few(instance):
    runs = [materialize(instance) for _ in range(OPEN_FILES + 2)]
    folder = str(Path(instance.root_directory) / HISTORY)
    opened = {file for file in _open_files() if file.startswith(folder) and file.endswith(".db")}
    assert f"{folder}/index.db" in opened
    assert f"{folder}/{runs[-1]}.db" in opened
    assert f"{folder}/{runs[0]}.db" not in opened
    assert len(opened) <= OPEN_FILES
    assert all(events(instance, run) for run in runs)


def test_no_connection_is_open_once_the_instance_is_closed(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        materialize(instance)
    assert not [file for file in _open_files() if file.startswith(str(home / HISTORY))]


def _open_files():
    return [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]


def test_a_database_that_was_deleted_is_created_again(instance):
    run = materialize(instance)
    for file in (Path(instance.root_directory) / HISTORY).glob(f"{run}.db*"):
        file.unlink()
    assert events(instance, run) == []
    instance.report_engine_event("after", run_id=run, job_name="any")
    assert events(instance, run) == ["ENGINE_EVENT"]
    assert stored(instance) == 1


def test_a_run_that_is_deleted_leaves_no_event(instance):
    run = materialize(instance)
    instance.delete_run(run)
    assert events(instance, run) == []


def test_a_forked_process_and_its_parent_both_write(instance):
    materialize(instance)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            instance.report_runless_asset_event(dg.AssetMaterialization(ASSET))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    instance.report_runless_asset_event(dg.AssetMaterialization(ASSET))
    assert stored(instance) == 3


def test_threads_share_it(instance):
    def write():
        for _ in range(5):
            instance.report_runless_asset_event(dg.AssetMaterialization(ASSET))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stored(instance) == 20


@pytest.mark.slow
def test_what_a_killed_process_wrote_is_there(home, tmp_path):
    killed = subprocess.run([sys.executable, "-c", WRITER, str(home)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert stored(instance) == 30
    with dagsters_own(home, tmp_path) as own:
        assert stored(own) == 30


def test_a_web_server_that_watches_a_run_sees_events_while_the_writer_is_open(instance):
    """The server reads by an instance of its own, and looks again when the file's time changes."""
    run = materialize(instance)
    arrived = threading.Event()
    with dg.DagsterInstance.from_config(instance.root_directory) as server:
        cursor = server.event_log_storage.get_records_for_run(run).cursor
        server.watch_event_logs(run, cursor, lambda *_: arrived.set())
        instance.report_engine_event("later", run_id=run, job_name="any")
        assert arrived.wait(WAIT_SECONDS)
        server.end_watch_event_logs(run, None)


def test_a_table_that_was_found_is_not_looked_for_again_until_the_file_is_replaced(instance, monkeypatch):
    log, looked = instance.event_log_storage, []
    look = SqliteEventLog.has_table
    monkeypatch.setattr(SqliteEventLog, "has_table", lambda self, name: looked.append(name) or look(self, name))
    materialize(instance)
    looked.clear()
    assert [log.has_table("asset_keys"), log.has_table("asset_keys"), log.has_table("none")] == [True, True, False]
    log.has_table("none")
    assert looked == ["asset_keys", "none", "none"]
    path = Path(log.path_for_shard("index"))
    shutil.copy(path, path.with_suffix(".copy")).replace(path)
    assert log.has_table("asset_keys")
    assert looked[3:] == ["asset_keys"]


def test_a_migration_that_is_not_complete_is_looked_for_again(instance):
    log = instance.event_log_storage
    materialize(instance)
    assert not log.has_secondary_index("later")
    log.enable_secondary_index("later")
    assert log.has_secondary_index("later")
    assert log.has_secondary_index("later")
