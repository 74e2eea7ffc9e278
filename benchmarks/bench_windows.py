"""Rolling windows: the first day, which reads every day's events, and the next, which reads one day's and the tallies.

    python benchmarks/bench_windows.py --events 100000 --days 28

Prints a Markdown table: processor seconds to build each kind of one day; to read and build it over the window from all
events at once, then from tallies made on the way, then from stored ones; what DuckDB takes for the same over as many
Parquet files; the memory that the build from stored tallies added, the build of a day beside it; and the rows that a
window holds in memory. All must make the same rows, or the run fails.
"""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from time import process_time

import duckdb
import peer_duckdb
import polars as pl
from bench_kernels import Peak
from generate import DAY, SURFACE, TENANT, generate
from workspace import CONFIG

from recsys_assets.encoding.rows import KernelOutput
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.events.event_files import encode_events
from recsys_assets.events.events import Events
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import KINDS, Kind, read_params
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.kernel_input import read_kernel_input
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_key, canonical_record_key
from recsys_assets.settings.artifacts import DEFAULT_KINDS
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.settings.reading import parse_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.memory import MemoryStore

TARGET = Target(TENANT, SURFACE)
COLUMNS = (
    "kind",
    "one day, CPU s",
    "all events, CPU s",
    "tallies, first day, CPU s",
    "tallies, next day, CPU s",
    "DuckDB, CPU s",
    "next day, one day = 1",
    "one day MB",
    "next day MB",
    "events held",
    "rows held",
)
QUERIES = {
    "popularity": peer_duckdb.POPULARITY,
    "cooc": peer_duckdb.COOC.format(table="events"),
    "implicit": peer_duckdb.IMPLICIT,
    "session_seq": peer_duckdb.SESSION_SEQ,
}
ROOT = Path(__file__).parents[1]


def main(arguments: list[str]) -> None:
    """Measure on days in memory and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000, help="of each day")
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "bench")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(generate(chosen.events, chosen.data / str(chosen.events)), Path(folder), chosen.days)
        store = days_of(settings, chosen.days)
        print(f"| {' | '.join(COLUMNS)} |")
        print(f"|---{'|---:' * (len(COLUMNS) - 1)}|")
        files = parquet_days(store, Path(folder), chosen.days)
        for kind in (kind for kind in KINDS.values() if kind.name in DEFAULT_KINDS and not kind.from_catalog):
            print(measure(store, settings, kind, chosen.days, files), flush=True)


def settings_of(lines: Path, folder: Path, days: int) -> Settings:
    """Return the peers' configuration with a window of `days` for every kind, over the generated day."""
    text = CONFIG.replace('"../', f'"{lines.parent.absolute()}/')
    for kind in (kind for kind in KINDS.values() if not kind.from_catalog):
        head = f"[artifacts.{kind.name}]\nwindow_days = "
        text = text.replace(f"{head}1\n", f"{head}{days}\n")
    return parse_settings(text.encode(), name="recsys.toml", base=folder)


def days_of(settings: Settings, days: int) -> MemoryStore:
    """Build the generated day, and let it stand for all others: the same users and items, sessions of their own."""
    store, row = MemoryStore(), settings.find(TENANT, SURFACE)
    build_raw(store, settings, DAY)
    record = build_canonical(DayContext(store, settings, row, DAY)).record
    day = read_events(store, TARGET, DAY, record)
    for number in range(1, days + 1):
        shifted = day.codes.with_columns((pl.col("ts") + timedelta(days=number)).dt.cast_time_unit("ns"))
        sessions = (day.ids["session_id"] + f"-{number:03d}").alias("session_id")
        data = encode_events(Events(shifted, {**day.ids, "session_id": sessions}))
        store.put(canonical_key(TARGET, day_after(number)), data)
        message = CanonicalRecord(
            digest=hashlib.sha256(data).hexdigest(),
            size=len(data),
            rows=record.rows,
            events=record.events,
            duplicates=0,
            bad=0,
            rejects={},
            inputs=(),
        )
        store.put(canonical_record_key(TARGET, day_after(number)), encode(message))
    return store


def parquet_days(store: MemoryStore, folder: Path, days: int) -> Path:
    """Write the days as plain Parquet with ids as strings, a file each, as a lake has them; return their folder."""
    files = folder / "days"
    files.mkdir()
    for number in range(1, days + 1):
        record = read_document(store, canonical_record_key(TARGET, day_after(number)), CanonicalRecord)
        day = read_events(store, TARGET, day_after(number), record)
        strings = {name: ids.gather(day.codes[name]) for name, ids in day.ids.items()}
        day.codes.with_columns(**strings).write_parquet(files / f"{day_after(number)}.parquet")
    return files


def measure(store: MemoryStore, settings: Settings, kind: Kind, days: int, files: Path) -> str:
    """Return one row of the table, the window moved on by a day for what is stored to be of use."""
    params = read_params(settings, settings.find(TENANT, SURFACE), kind.name)

    def put_together(last: int) -> tuple[KernelOutput, int]:
        window = Window.ending(day_after(last), days=days)
        source = read_kernel_input(
            DayContext(store, settings, settings.find(TENANT, SURFACE), window.last), kind, window
        ).read
        return kind.build(source, params, LimitSettings()), len(source.codes) if isinstance(source, Events) else 0

    def from_events(last: int) -> tuple[KernelOutput, int]:
        events = merge_days([_read(store, kind, day_after(n)) for n in range(last - days + 1, last + 1)])
        return kind.build(events, params, LimitSettings()), len(events.codes)

    def of_one_day(last: int) -> tuple[KernelOutput, int]:
        events = _read(store, kind, day_after(last))
        return kind.build(events, params, LimitSettings()), len(events.codes)

    timed(of_one_day, days)  # loads what is compiled
    alone = timed(of_one_day, days)
    first = timed(put_together, days - 1)
    tallied = timed(put_together, days)
    whole = timed(from_events, days)
    if not tallied.built.rows.frame().equals(whole.built.rows.frame()):
        sys.exit(f"{kind.name}: tallies and events do not make the same rows")
    peer = with_duckdb(kind.name, files, whole.built)
    cells = (
        *(f"{one.seconds:.2f}" for one in (alone, whole, first, tallied)),
        f"{peer:.2f}",
        f"{tallied.seconds / alone.seconds:.1f}",
        f"{alone.added_mb:,.0f}",
        f"{tallied.added_mb:,.0f}",
        f"{whole.held:,}",
        f"{tallied.held:,}",
    )
    return f"| {kind.name} | {' | '.join(cells)} |"


@dataclass(frozen=True, slots=True)
class Timed:
    """What was built, in how many seconds, of how many rows, and the most memory that it added."""

    built: KernelOutput
    held: int
    seconds: float
    added_mb: float


def timed(work: Callable[[int], tuple[KernelOutput, int]], last: int) -> Timed:
    """Do some work, and note what it took."""
    with Peak() as peak:
        started = process_time()
        built, held = work(last)
        seconds = process_time() - started
    return Timed(built, held, seconds, peak.added / 1e6)


def with_duckdb(kind: str, files: Path, expected: KernelOutput) -> float:
    """Return the seconds that DuckDB takes for a kind over the files of all days; its rows must be the same."""
    started = process_time()
    with duckdb.connect() as database:
        database.execute(f"create view events as from read_parquet('{files}/*.parquet')")
        rows = database.sql(QUERIES[kind]).pl()
    seconds = process_time() - started
    flat = rows if "items" not in rows.columns else rows.select("items").explode("items").unnest("items")
    counted, known = flat.to_series(-1), expected.rows.values
    if (len(counted), int(counted.sum())) != (len(known), int(known.sum()) // expected.rows.shape.scale):
        sys.exit(f"{kind}: DuckDB does not make the same rows")
    return seconds


def _read(store: MemoryStore, kind: Kind, day: date) -> Events:
    record = read_document(store, canonical_record_key(TARGET, day), CanonicalRecord)
    return read_events(store, TARGET, day, record, columns=kind.event_columns)


def day_after(number: int) -> date:
    return DAY + timedelta(days=number)


if __name__ == "__main__":
    main(sys.argv[1:])
