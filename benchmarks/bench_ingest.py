"""Times each step of ingest on a generated day, beside Polars' own reader, with the peak of memory.

    python benchmarks/bench_ingest.py --events 1000000 [--folder /tmp/bench] [--step parse] [--rounds 3]

Prints a Markdown table.

Each step runs in a process of its own; its first round, which compiles or loads what is compiled, is not counted.
Seconds are the best of the rounds, by the clock and of processor time (all threads); memory is the most anonymous
memory that the process ever had, the interpreter and its libraries included.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
from generate import DAY, SEED, SURFACE, TENANT, generate

from recsys_assets.events.canonicalize import canonicalize
from recsys_assets.events.contract import check_events
from recsys_assets.events.event_files import decode_events, decode_part, encode_events, encode_part
from recsys_assets.identity import Target
from recsys_assets.ingest.counts import RawReport
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.part_merge import Part
from recsys_assets.ingest.sources.files import RawFile

TARGET = Target(TENANT, SURFACE)
BAD = (
    b"{",
    b"",
    b'{"v":1}',
    b'\xff"',
    b'{"v":2,',
    b"[1,2]",
    b"null",
    b'{"v":1} x',
    b'{"ts":5}',
    b'\xef\xbb\xbf{"v":1}',
)
Step = Callable[[Path, Path], Callable[[], str]]


def main(arguments: list[str]) -> None:
    """Print one row per step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/bench"))  # noqa: S108 - shared with run.py
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    lines = generate(chosen.events, chosen.folder / str(chosen.events))
    if chosen.step:
        print(json.dumps(measure(STEPS[chosen.step], lines, chosen.events, chosen.rounds)))
        return
    for step in STEPS:
        command = [sys.executable, __file__, "--step", step, *arguments]
        message = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if step == next(iter(STEPS)):
            print("| step |" + "".join(f" {name} |" for name in message) + "\n|---|" + "---:|" * len(message))
        print(f"| {step} |" + "".join(f" {value} |" for value in message.values()), flush=True)


def measure(step: Step, lines: Path, events: int, rounds: int) -> dict[str, object]:
    """Run a step once to warm up and then `rounds` times."""
    seconds, processor, said = [], [], ""
    with Peak() as peak, TemporaryDirectory() as folder:
        work = step(lines, Path(folder))
        for _ in range(rounds + 1):
            started, spent = perf_counter(), process_time()
            said = work()
            seconds.append(perf_counter() - started)
            processor.append(process_time() - spent)
    best = min(seconds[1:])
    return {
        "seconds": round(best, 3),
        "cpu_seconds": round(min(processor[1:]), 3),
        "M_events/s": round(events / best / 1e6, 2),
        "anon_mb": round(peak.most / 1e6),
        "said": said,
    }


def parse(path: Path, threads: int) -> tuple[RawReport, int]:
    """Read a file and let go of each part as it comes; return the report and the bytes of the parts as kept."""
    stored = 0

    def keep(_: Target, part: Part) -> None:
        nonlocal stored
        stored += len(encode_part(part))

    file = RawFile(path.name, path, path.stat().st_size, (TARGET,))
    report = parse_day([file], day=DAY, targets=[TARGET], keep_part=keep, keep_rejects=lambda _: None, threads=threads)
    return report, stored


def parse_in(threads: int) -> Step:
    """Lines to parts: the whole of ingest, hash of the file and Parquet of the parts included."""
    return lambda lines, _: lambda: message(*parse(lines, threads))


def parse_bad(lines: Path, folder: Path) -> Callable[[], str]:
    """The same, with a bad line of some kind in a thousand."""
    path = folder / lines.name
    chance = np.random.default_rng(SEED)
    with lines.open("rb") as good, path.open("wb") as mixed:
        while texts := good.readlines(1 << 24):
            for place in chance.choice(len(texts), max(len(texts) // 1000, 1), replace=False).tolist():
                texts[place] = BAD[place % len(BAD)] + b"\n"
            mixed.writelines(texts)
    return lambda: message(*parse(path, 2))


def parse_packed(codec: str, suffix: str) -> Step:
    """The same, from a compressed file."""

    def prepare(lines: Path, folder: Path) -> Callable[[], str]:
        path = folder / f"{lines.name}{suffix}"
        with pa.CompressedOutputStream(str(path), codec) as packed, lines.open("rb") as plain:
            while block := plain.read(1 << 24):
                packed.write(block)
        return lambda: message(*parse(path, 2))

    return prepare


def message(report: RawReport, stored: int) -> str:
    """Return what came out, so that a step that does nothing is not taken for a fast one."""
    share = report.targets[TARGET]
    return f"{share.events} events, {report.rejects} rejects, {stored} bytes"


def polars(lines: Path, _: Path) -> Callable[[], str]:
    """Lines to a Parquet file by Polars' streaming reader, which neither checks, nor codes, nor quarantines."""
    schema = {"v": pl.Int64, "ts": pl.String, "rank": pl.Int64}
    schema |= dict.fromkeys(("tenant", "surface", "user_id", "session_id", "item_id", "request_id", "event"), pl.String)

    def work() -> str:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "day.parquet"
            pl.scan_ndjson(lines, schema=schema).sink_parquet(path, compression="zstd", compression_level=1)
            return f"{path.stat().st_size} bytes"

    return work


def canonical(lines: Path, _: Path) -> Callable[[], str]:
    """Stored parts to canonical events."""
    stored = stored_parts(lines)
    return lambda: str(canonicalize(decode_part(data) for data in stored)[1])


def encode(lines: Path, _: Path) -> Callable[[], str]:
    """Canonical events to Parquet."""
    events = canonicalize(decode_part(data) for data in stored_parts(lines))[0]
    return lambda: f"{len(encode_events(events))} bytes"


def decode(lines: Path, _: Path) -> Callable[[], str]:
    """Parquet to canonical events."""
    data = encode_events(canonicalize(decode_part(data) for data in stored_parts(lines))[0])
    return lambda: f"{len(decode_events(data).codes)} rows"


def contract(lines: Path, _: Path) -> Callable[[], str]:
    """Canonical events against their contract."""
    events = canonicalize(decode_part(data) for data in stored_parts(lines))[0]
    return lambda: check_events(events, day=DAY)[0].verdict


def stored_parts(lines: Path) -> list[bytes]:
    """Return the parts of a file as they are kept between the steps."""
    stored: list[bytes] = []
    file = RawFile(lines.name, lines, lines.stat().st_size, (TARGET,))
    parse_day(
        [file],
        day=DAY,
        targets=[TARGET],
        keep_part=lambda _, part: stored.append(encode_part(part)),
        keep_rejects=lambda _: None,
    )
    return stored


STEPS: dict[str, Step] = {
    "parse 1 thread": parse_in(1),
    "parse 2 threads": parse_in(2),
    "parse 0.1% bad": parse_bad,
    "parse .gz": parse_packed("gzip", ".gz"),
    "parse .zst": parse_packed("zstd", ".zst"),
    "polars": polars,
    "canonicalize": canonical,
    "encode": encode,
    "decode": decode,
    "contract": contract,
}


class Peak:
    """Watches this process's anonymous memory from another thread."""

    def __enter__(self) -> Self:
        self.most, self.done = 0, threading.Event()
        self.watch = threading.Thread(target=self._run)
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.watch.join()

    def _run(self) -> None:
        while not self.done.wait(0.01):
            status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            self.most = max(self.most, *(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon")))


if __name__ == "__main__":
    main(sys.argv[1:])
