"""Dagster's event log on SQLite with connections that stay open, so that a recorded day takes a quarter less CPU time.

Dagster's own opens an engine and a connection for each of some 270 statements that a day of one target takes. Each
time, SQLAlchemy compiles the statement again, and SQLite moves its write-ahead log into the database when the last
connection closes. `dagster.yaml` selects this class (ADR 27). On PostgreSQL, Dagster keeps its connections itself.
"""

import os
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from dagster import DagsterInstance
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, inspect, text

from recsys_assets.dagster_defs.private_api import ClassConfig, SqliteEventLog

HISTORY: Final = Path("history", "runs")  # of Dagster's own event log, below $DAGSTER_HOME
_INDEX: Final = "index"  # Dagster's name of the database of all runs
OPEN_FILES: Final = 4  # the index, and the databases of the runs that were used last
BUSY_TIMEOUT_SECONDS: Final = 60


class _OpenFile(NamedTuple):
    """Engine of one database with its open connection; `inode` and `process` say whether it may still be used.

    `found` holds the tables and migrations that were found in it.
    """

    engine: Engine
    inode: int
    process: int
    found: set[str]


class OpenSqliteEventLog(SqliteEventLog):
    """Event log in the files and tables of `SqliteEventLogStorage`, with up to `OPEN_FILES` open connections.

    A commit does not wait for the disk (`synchronous = NORMAL` of SQLite): a power failure can lose the newest events
    but damages nothing, and `recsys-assets reindex` reports lost releases again from the store.
    """

    def __init__(self, inst_data: ClassConfig | None = None) -> None:
        """Wait for the instance: the base class begins with its folder, which is known only then."""
        self._inst_data = inst_data
        self._files: dict[str, _OpenFile] = {}  # least recently used first; guarded by `_db_lock`

    @classmethod
    def config_type(cls) -> Any:
        """Return the configuration, which is empty."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ClassConfig | None, config_value: Any) -> "OpenSqliteEventLog":  # noqa: ARG003
        """Return the event log of the instance that will register itself."""
        return cls(inst_data)

    def register_instance(self, instance: DagsterInstance) -> None:
        """Open the event log where Dagster's own would be, below the root folder of the instance."""
        super().__init__(str(Path(instance.root_directory) / HISTORY), self._inst_data)
        super().register_instance(instance)

    @contextmanager
    def _connect(self, shard: str) -> Generator[Connection]:
        """Yield the connection to one database, in a transaction that is committed when the block ends."""
        with self._db_lock:
            engine = self._opened(shard)
            with engine.connect() as connection:
                before = _changes(connection)
                with connection.begin():
                    yield connection
                if _changes(connection) != before:
                    # The web UI watches the file, and what is written to the write-ahead log does not touch it.
                    os.utime(self.path_for_shard(shard))

    def has_table(self, table_name: str) -> bool:
        """Return whether the index has a table. Dagster asks some 25 times a day; none is ever dropped."""
        return self._is_found(f"table {table_name}", partial(super().has_table, table_name))

    def has_secondary_index(self, name: str) -> bool:
        """Return whether a migration of the index is complete, which it stays."""
        return self._is_found(f"migration {name}", partial(super().has_secondary_index, name))

    def _is_found(self, what: str, find: Callable[[], bool]) -> bool:
        """Return whether the index has something that it never loses. Only what was found is remembered.

        Without `_db_lock`, which Dagster may hold when it asks.
        """
        index = self._files.get(_INDEX)
        if index is None or not self._is_current(_INDEX, index):
            return find()
        if what not in index.found and find():
            index.found.add(what)
        return what in index.found

    def _is_current(self, shard: str, opened: _OpenFile) -> bool:
        """Return whether a database is still the file that was opened, by this process."""
        return (opened.process, opened.inode) == (os.getpid(), _inode(self.path_for_shard(shard)))

    def dispose(self) -> None:
        """Close every connection, and stop watching."""
        with self._db_lock:
            while self._files:
                self._close(next(iter(self._files)))
        super().dispose()

    def _opened(self, shard: str) -> Engine:
        """Return the engine of a database; a new one if another file has its name, or if this process was forked."""
        path = self.path_for_shard(shard)
        found = self._files.get(shard)
        if found is not None and not self._is_current(shard, found):
            self._close(shard)
            self._initialized_dbs.discard(shard)
            found = None
        if found is None:
            if not Path(path).exists():
                _create(Path(path))
            engine = _new_engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                if not _has_tables_of_a_copy(engine):
                    self._initdb(engine)
                self._initialized_dbs.add(shard)
            found = _OpenFile(engine, _inode(path), os.getpid(), set())
            while len(self._files) >= OPEN_FILES:
                self._close(next(iter(self._files)))
        self._files.pop(shard, None)
        self._files[shard] = found
        return found.engine

    def _close(self, shard: str) -> None:
        """Close a connection; one of the parent process is left to the parent."""
        found = self._files.pop(shard)
        found.engine.dispose(close=found.process == os.getpid())


@cache
def new_database() -> tuple[bytes, str]:
    """Return a database of a run without events and the revision of its tables, created by Dagster once a process."""
    with tempfile.TemporaryDirectory() as folder:
        log = SqliteEventLog(folder)
        with log.run_connection("none") as connection:
            revision = _revision(connection)
        return Path(log.path_for_shard("none")).read_bytes(), revision


def _create(path: Path) -> None:
    """Create a database of a run whole or not at all; one that another process has created meanwhile is left alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        draft = Path(folder, path.name)
        draft.write_bytes(new_database()[0])
        with suppress(FileExistsError):
            os.link(draft, path)


def _has_tables_of_a_copy(engine: Engine) -> bool:
    """Return whether a database has the tables of `new_database`, if this process has created that already.

    To create it only for this question takes five times as long as Dagster's own check.
    """
    if not new_database.cache_info().currsize:
        return False
    with engine.connect() as connection:
        return _revision(connection) == new_database()[1]


def _revision(connection: Connection) -> str:
    """Return the revision of the tables of a database; "" if it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _new_engine(url: str) -> Engine:
    """Return an engine that keeps one connection open."""
    arguments = {"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False}
    engine = create_engine(url, poolclass=QueuePool, pool_size=1, connect_args=arguments)
    event.listen(engine, "connect", _set_up)
    return engine


def _set_up(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")


def _changes(connection: Connection) -> int:
    """Return the number of rows that were changed through a connection since it was opened."""
    return connection.connection.dbapi_connection.total_changes  # pyright: ignore[reportOptionalMemberAccess]


def _inode(path: str) -> int:
    """Return the inode of a file; 0 if it does not exist."""
    with suppress(FileNotFoundError):
        return Path(path).stat().st_ino
    return 0
