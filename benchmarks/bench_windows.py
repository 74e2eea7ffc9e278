"""Rolling windows: the first day, which reads every day's events, and the next, which reads one day's and the tallies.

    python benchmarks/bench_windows.py --events 100000 --days 28

Prints a Markdown table: seconds to read and build each kind over the window from all events at once, then put together
from tallies made on the way, then from stored ones, and the rows that a window holds in memory. All three must make
the same rows, or the run fails.
"""

import argparse
import hashlib
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl
from generate import DAY, SURFACE, TENANT, generate
from workspace import CONFIG

from recsys_assets.encoding.rows import Built
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.events.event_files import encode_events
from recsys_assets.events.events import Events
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.registry import KINDS, Kind, read_params
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.source import read_source
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_key, canonical_record_key
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.settings.reading import parse_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.memory import MemoryStore

TARGET = Target(TENANT, SURFACE)
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
        print("| kind | all events s | tallies, first day s | tallies, next day s | events held | rows held |")
        print("|---|---:|---:|---:|---:|---:|")
        for kind in (kind for kind in KINDS.values() if not kind.from_catalog):
            print(measure(store, settings, kind, chosen.days), flush=True)


def settings_of(lines: Path, folder: Path, days: int) -> Settings:
    """Return the peers' configuration with a window of `days` for every kind, over the generated day."""
    text = CONFIG.replace('"../', f'"{lines.parent.absolute()}/')
    for kind in (kind for kind in KINDS.values() if not kind.from_catalog):
        text = text.replace(f"[artifacts.{kind.name}]", f"[artifacts.{kind.name}]\nwindow_days = {days}")
    return parse_settings(text.encode(), name="recsys.toml", base=folder)


def days_of(settings: Settings, days: int) -> MemoryStore:
    """Build the generated day, and let it stand for all others: the same users and items, sessions of their own."""
    store, row = MemoryStore(), settings.find(TENANT, SURFACE)
    build_raw(store, settings, DAY)
    record = build_canonical(DayContext(store, settings, row, DAY)).record
    day = read_events(store, TARGET, DAY, record)
    for number in range(1, days + 1):
        shifted = day.codes.with_columns(pl.col("ts") + timedelta(days=number))
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


def measure(store: MemoryStore, settings: Settings, kind: Kind, days: int) -> str:
    """Return one row of the table, the window moved on by a day for what is stored to be of use."""
    params = read_params(settings, settings.find(TENANT, SURFACE), kind.name)

    def put_together(last: int) -> tuple[Built, int]:
        window = Window.ending(day_after(last), days=days)
        source = read_source(
            DayContext(store, settings, settings.find(TENANT, SURFACE), window.last), kind, window
        ).read
        return kind.build(source, params, LimitSettings()), len(source.codes) if isinstance(source, Events) else 0

    def from_events(last: int) -> tuple[Built, int]:
        events = merge_days([_read(store, kind, day_after(n)) for n in range(last - days + 1, last + 1)])
        return kind.build(events, params, LimitSettings()), len(events.codes)

    timed(from_events, days - 1)  # loads what is compiled
    first, _, _ = timed(put_together, days - 1)
    seconds, built, held = timed(put_together, days)
    whole, expected, events = timed(from_events, days)
    if not built.rows.frame().equals(expected.rows.frame()):
        sys.exit(f"{kind.name}: tallies and events do not make the same rows")
    return f"| {kind.name} | {whole:.2f} | {first:.2f} | {seconds:.2f} | {events:,} | {held:,} |"


def timed(work: Any, last: int) -> tuple[float, Built, int]:
    """Return the seconds that it took, what was built, and how many rows were held."""
    started = perf_counter()
    built, held = work(last)
    return perf_counter() - started, built, held


def _read(store: MemoryStore, kind: Kind, day: date) -> Events:
    record = read_document(store, canonical_record_key(TARGET, day), CanonicalRecord)
    return read_events(store, TARGET, day, record, columns=kind.event_columns)


def day_after(number: int) -> date:
    return DAY + timedelta(days=number)


if __name__ == "__main__":
    main(sys.argv[1:])
