"""Runs every engine on the same days, several rounds in turn, checks that they agree, and writes docs/benchmarks.md.

python benchmarks/run.py --events 100000 1000000 --rounds 3

Refuses to begin on a machine that is busy already, because what it measured there would be the neighbours' work;
--despite-load measures all the same, and the report says so.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from engines import REFERENCE, REFERENCE_VARIABLE, SPARK_IS_HERE, Engine, all_engines, reference_binary
from generate import generate
from process import EngineFailedError, Run, run_process
from report import write_report

ROOT = Path(__file__).parents[1]
MAX_ASIDE_EVENTS = 1_000_000
MAX_LOAD = 1.5
NO_REFERENCE = (
    f"The reference (`{REFERENCE}`) was not available: no binary is named by {REFERENCE_VARIABLE} and none is on PATH. "
    "The ratios are to DuckDB and the other peers.\n"
)
NO_SPARK = "Spark was not available: it needs the group `test-spark` and a Java.\n"

Runs = dict[int, dict[str, list[Run]]]


def main(arguments: Sequence[str]) -> int:
    """Measure, compare and write; exit 1 when an engine failed or two disagree."""
    chosen = _parse(arguments)
    load = os.getloadavg()[0]
    if load > MAX_LOAD and not chosen.despite_load:
        print(
            f"the machine is busy: its load is {load:.1f}, at most {MAX_LOAD} is measured at: wait, or measure all the "
            "same by --despite-load (make bench LOAD=--despite-load), which the report will say",
            file=sys.stderr,
        )
        return 2
    engines = [engine for engine in all_engines() if not chosen.engines or engine.name in chosen.engines]
    runs: Runs = {}
    failures: list[str] = []
    for events in chosen.events:
        data = generate(events, chosen.data / str(events)).parent
        runs[events] = defaultdict(list)
        for round_number in range(1, chosen.rounds + 1):
            for engine in engines:
                if events > engine.max_events or (round_number > 1 and events >= engine.one_round_from):
                    continue
                try:
                    run = measure(engine, data)
                except EngineFailedError as error:
                    failures.append(str(error))
                    print(error, file=sys.stderr, flush=True)
                    continue
                runs[events][engine.name].append(run)
                print(
                    f"{events:>11,} {engine.name:<13} round {round_number} {run.wall:8.2f} s {run.cpu:8.2f} CPU-s",
                    flush=True,
                )
        failures += disagreements(runs[events], events=events)
    message = {engine.name: engine.message for engine in engines}
    tables, faults = ({}, []) if chosen.engines_only else asides(chosen)
    absent = ("" if reference_binary() else NO_REFERENCE) + ("" if SPARK_IS_HERE else NO_SPARK)
    write_report(runs, message, folder=chosen.out, rounds=chosen.rounds, asides=tables, load=load, absent=absent)
    failures += faults
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def measure(engine: Engine, data: Path) -> Run:
    """Run one engine once on an empty workspace, and remove what it wrote."""
    command = engine.prepare(data)
    environment = {**os.environ, **engine.environment(data)}
    run = run_process(command, environment={name: value for name, value in environment.items() if value is not None})
    run.digests.update(engine.collect(data))
    run.did.update(engine.did)
    shutil.rmtree(data / engine.name, ignore_errors=True)
    return run


def asides(chosen: argparse.Namespace) -> tuple[dict[str, str], list[str]]:
    """Return the tables of what is measured beside the engines, by program, and which of these programs failed.

    Each has a process of its own: one that fails does not take the report of the others with it.
    """
    day = min(max(chosen.events), MAX_ASIDE_EVENTS)
    programs = {
        "bench_ingest.py": ["--events", str(day), "--folder", str(chosen.data), "--rounds", str(chosen.rounds)],
        "bench_windows.py": ["--events", str(day // 10), "--data", str(chosen.data)],
        "bench_nightly.py": ["--events", str(day // 10)],
        "bench_pointer.py": [],
        "bench_store_latency.py": [],
        "bench_serving.py": [],
    }
    if max(chosen.events) > MAX_ASIDE_EVENTS:  # it waits for the daemon for minutes
        programs["bench_recorded.py"] = []
    tables: dict[str, str] = {}
    failures: list[str] = []
    for program, arguments in programs.items():
        try:
            tables[program] = _table(program, *arguments)
        except subprocess.CalledProcessError as error:
            failures.append(f"{program} ended with {error.returncode}: {error.stderr[-2000:]}")
    return tables, failures


def _table(program: str, *arguments: str) -> str:
    command = [sys.executable, str(Path(__file__).with_name(program)), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def disagreements(runs: Mapping[str, Sequence[Run]], *, events: int) -> list[str]:
    """Return one line per result on which two engines, or two rounds of one, differ."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, engine_runs in runs.items():
        for run in engine_runs:
            for what, digest in run.digests.items():
                found[what][digest].add(name)
    return [
        f"{events:,} events: no agreement on {what}: " + "; ".join(f"{d} by {sorted(n)}" for d, n in digests.items())
        for what, digests in found.items()
        if len(digests) > 1
    ]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, nargs="+", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--despite-load", action="store_true", help=f"measure even above a load of {MAX_LOAD}")
    parser.add_argument("--engines", nargs="*", help="names; all that can run when left out")
    parser.add_argument("--engines-only", action="store_true", help="leave out what is measured beside the engines")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "bench", help="where days are generated and kept")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="where benchmarks.md and benchmarks.svg go")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
