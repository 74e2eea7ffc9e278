"""The nightly build: one more day by `run`, with a window of many days that has its tallies, and with a window of one.

    python benchmarks/bench_nightly.py --events 100000 --days 28 [--alike] [--rounds 3]

Prints a Markdown table: processor and wall seconds of the whole day (raw, canonical, all kinds, gates, ship) and the
peak of the process's anonymous memory, and how the two windows compare; then the first build of the window, which makes
the tallies. Every day is drawn by itself from the same users and items, so that a window has more pairs than a day.
With --alike all days have the events of the first but sessions of their own: the artifacts are as large as a day's, and
what is measured is the window alone. Each build has a process of its own, which has built a small day before.
"""

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
from bench_kernels import Peak
from generate import CATALOG, DAY, SEED, SURFACE, TENANT, distinct_items, generate, make_day, write_lines
from workspace import CONFIG, PLENTY

from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.run_day import run_day
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.open import open_store

WARM_UP_EVENTS = 5_000
SESSIONS_OF_A_DAY = 10_000_000  # numbers of sessions that no other day has
LIMITS = f"[limits]\nmax_events = {PLENTY}\nmax_users = {PLENTY}\nmax_distinct_items = {PLENTY}\n"
COLUMNS = ("build", "CPU s", "wall s", "peak heap MB", "bytes of artifacts", "CPU, one day = 1", "heap, one day = 1")


@dataclasses.dataclass(frozen=True, slots=True)
class Built:
    """What the build of one day took."""

    cpu: float
    wall: float
    heap_mb: float
    size: int


def main(arguments: Sequence[str]) -> None:
    """Measure and print the table; with --of, build one day in this process and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000, help="of each day")
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--alike", action="store_true", help="all days have the same events")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="*", help="only these kinds")
    parser.add_argument("--folder", type=Path, help="where days and stores are made; a temporary one if left out")
    parser.add_argument("--of", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.of:
        print(json.dumps(dataclasses.asdict(build(Path(chosen.of[0]), int(chosen.of[1])))))
        return
    with ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        _measure(folder, chosen)


def _measure(folder: Path, chosen: argparse.Namespace) -> None:
    """Make the days but for the last, build the window of the last but one, then the last with both windows."""
    configure(warm_up := folder / "warm-up", 2, None)
    for number in range(3):
        write_day(warm_up, number, WARM_UP_EVENTS, alike=False)
    configure(one := folder / "one", 1, chosen.kinds)
    configure(window := folder / "window", chosen.days, chosen.kinds)
    last = chosen.days
    for number in range(last + 1):
        lines = write_day(window, number, chosen.events, alike=chosen.alike)
        if number < last - 1:
            ingest(window, number)
            lines.unlink()
        else:
            shutil.copy(lines, one)
    ingest(one, last - 1)
    first_of_one = measure_build(one, last - 1)
    first = measure_build(window, last - 1)
    found: dict[Path, list[Built]] = {one: [], window: []}
    for _ in range(chosen.rounds):
        for workspace, builds in found.items():
            with tempfile.TemporaryDirectory(dir=folder) as copy:
                shutil.copytree(workspace, copy, dirs_exist_ok=True, copy_function=link)
                builds.append(measure_build(Path(copy), last))
    rows = {
        "first build, window of one day": first_of_one,
        f"first build, window of {chosen.days} days": first,
        "one more day, window of one day": _median(found[one]),
        f"one more day, window of {chosen.days} days": _median(found[window]),
    }
    base = rows["one more day, window of one day"]
    print(f"| {' | '.join(COLUMNS)} |")
    print(f"|---{'|---:' * (len(COLUMNS) - 1)}|")
    for name, row in rows.items():
        ratios = f"{row.cpu / base.cpu:.2f} | {row.heap_mb / base.heap_mb:.2f}"
        print(f"| {name} | {row.cpu:.2f} | {row.wall:.2f} | {row.heap_mb:,.0f} | {row.size:,} | {ratios} |")


def link(source: str, target: str) -> None:
    """Give a file a second name: stored objects are replaced as a whole, never written to."""
    Path(target).hardlink_to(source)


def _median(builds: Sequence[Built]) -> Built:
    return Built(*(median(values) for values in zip(*map(dataclasses.astuple, builds), strict=True)))


def configure(folder: Path, days: int, kinds: Sequence[str] | None) -> None:
    """Make a workspace with a window of `days` for every kind of events."""
    folder.mkdir()
    text = CONFIG.replace('"../', '"').replace("window_days = 1\n", f"window_days = {days}\n")
    chosen = f"[artifacts]\nkinds = {json.dumps(kinds)}\n" if kinds else ""
    (folder / "recsys.toml").write_text(chosen + LIMITS + text, encoding="utf-8")


def write_day(folder: Path, number: int, events: int, *, alike: bool) -> Path:
    """Write the lines of a day, and the catalog, into a workspace; return the file of lines."""
    items = distinct_items(events)
    day = drawn = make_day(events, items=items, rng=np.random.default_rng([SEED, events, number]))
    if alike:  # but not at the same times, or a gate would take the day for a replay
        day = make_day(events, items=items, rng=np.random.default_rng([SEED, events]))
    day = dataclasses.replace(day, at=drawn.at, session=day.session + number * SESSIONS_OF_A_DAY)
    path = folder / f"{day_after(number)}.jsonl"
    write_lines(day, day_after(number), path)
    if not (folder / CATALOG).exists():
        with tempfile.TemporaryDirectory() as made:
            shutil.copy(generate(events, Path(made)).parent / CATALOG, folder)
    return path


def ingest(folder: Path, number: int) -> None:
    """Bring a day to canonical and no further."""
    settings = load_settings(folder / "recsys.toml")
    store = open_store(settings.resolve(settings.storage.root))
    build_raw(store, settings, day_after(number))
    build_canonical(DayContext(store, settings, settings.find(TENANT, SURFACE), day_after(number)))


def measure_build(folder: Path, number: int) -> Built:
    """Build a day in a process of its own."""
    command = [sys.executable, __file__, "--of", str(folder), str(number)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Built(**json.loads(done.stdout))


def build(folder: Path, number: int) -> Built:
    """Build a small day, then the one that is measured."""
    with tempfile.TemporaryDirectory() as copy:
        warm_up = next(p / "warm-up" for p in folder.parents if (p / "warm-up").exists())
        shutil.copytree(warm_up, copy, dirs_exist_ok=True)
        for small in range(3):
            run(Path(copy), small)
    with Peak() as peak:
        wall, cpu = perf_counter(), process_time()
        run(folder, number)
        cpu, wall = process_time() - cpu, perf_counter() - wall
    size = sum(path.stat().st_size for path in newest_artifacts(folder))
    return Built(cpu, wall, (peak.before + peak.added) / 1e6, size)


def newest_artifacts(folder: Path) -> list[Path]:
    """Return the files of the artifacts that are live."""
    pointer = json.loads((folder / "store/registry/current" / TENANT / SURFACE / "manifest.json").read_bytes())
    found = [next((folder / "store").rglob(f"*{Path(uri).stem}*"), None) for uri in pointer["current"].values()]
    return [path for path in found if path is not None]


def run(folder: Path, number: int) -> None:
    """Do what `run` does for one day; raise `RuntimeError` where an asset was not built or refused."""
    settings = load_settings(folder / "recsys.toml")
    store = open_store(settings.resolve(settings.storage.root))
    failed = [line.text for line in run_day(store, settings, settings.targets, day_after(number)) if line.failed]
    if failed:
        raise RuntimeError("\n".join(failed))


def day_after(number: int) -> date:
    """Return the date of a day by its number."""
    return DAY + timedelta(days=number)


if __name__ == "__main__":
    main(sys.argv[1:])
