"""Counts the instructions of parse, canonical, cooc and encode on 100,000 events, so that noise cannot hide a change.

    python benchmarks/instructions.py           compare with benchmarks/instructions.json; exit 1 over 5 % more
    python benchmarks/instructions.py --record  write what is counted there, for a change that is meant

Counts come from callgrind (valgrind), which simulates the processor: they do not hang on what else the machine does,
nor on its cache or clock, and are the same within a fraction of a percent. They do hang on versions of libraries, which
stand beside them; counts of other versions are shown, and decide nothing. Compiled code is made for one common kind of
processor (x86-64-v3), in a folder of its own, outside of the simulation. A run takes some minutes.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KNOWN = Path(__file__).with_name("instructions.json")
EVENTS = 100_000
ALLOWED = 0.05
PHASES = ("parse", "canonical", "cooc", "encode")
LIBRARIES = ("numba", "numpy", "polars", "pyarrow")
ENVIRONMENT = {
    "NUMBA_CPU_NAME": "x86-64-v3",  # what valgrind can simulate
    "NUMBA_CPU_FEATURES": "",
    "NUMBA_CACHE_DIR": str(ROOT / "data" / "bench" / "numba"),
    "POLARS_MAX_THREADS": "1",  # waiting threads spin, and count
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
}


def main(arguments: list[str]) -> int:
    """Count, then compare or record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write the counts to benchmarks/instructions.json")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.work:
        work()
        return 0
    if shutil.which("valgrind") is None or shutil.which("callgrind_control") is None:
        print("valgrind is not installed: apt-get install valgrind, or whatever this system calls it", file=sys.stderr)
        return 2
    counted = count()
    known: dict[str, Any] = json.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.exists() else {}
    if chosen.record:
        found = {"events": EVENTS, "versions": versions(), "instructions": counted}
        KNOWN.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return compare(known, counted)


def versions() -> dict[str, str]:
    """Return the versions on which counts hang."""
    python = ".".join(map(str, sys.version_info[:2]))
    return {"python": python, **{name: version(name) for name in LIBRARIES}}


def compare(known: Mapping[str, Any], counted: Mapping[str, int]) -> int:
    """Print a row per phase; return 1 if one takes over 5 % more instructions than is known of these versions."""
    same = known.get("versions") == versions()
    before: Mapping[str, int] = known.get("instructions", {})
    grown: list[str] = []
    print("| phase | instructions | an event | before | change |\n|---|---:|---:|---:|---:|")
    for phase in PHASES:
        change = counted[phase] / before[phase] - 1 if phase in before else None
        if change is not None and change > ALLOWED:
            grown.append(phase)
        cells = (f"{counted[phase]:,}", f"{counted[phase] / EVENTS:,.0f}", f"{before.get(phase, 0):,}")
        print(f"| {phase} | {' | '.join(cells)} | {'' if change is None else f'{change:+.1%}'} |")
    if known and not same:
        print(f"counted with other versions than before, so nothing is compared: {known['versions']} -> {versions()}")
        return 0
    if grown:
        print(f"over {ALLOWED:.0%} more: {', '.join(grown)}; find out why, or --record what is meant", file=sys.stderr)
    return 1 if grown else 0


def count() -> dict[str, int]:
    """Compile outside of the simulation, run inside of it, and read what callgrind wrote of each phase."""
    environment = {**os.environ, **ENVIRONMENT}
    command = [sys.executable, __file__, "--work"]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        simulated = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"]
        simulated += [f"--callgrind-out-file={folder}/out", *command]
        subprocess.run(simulated, check=True, env={**environment, "COUNTED": "1"}, stderr=subprocess.DEVNULL)
        found: dict[str, int] = {}
        for path in Path(folder).iterdir():
            text = path.read_text(encoding="utf-8", errors="replace")
            phase = re.search(r"^desc: Trigger: .*?(\w+)$", text, re.MULTILINE)
            total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
            if phase and total and phase[1] in PHASES:
                found[phase[1]] = int(total[1])
    if missing := set(PHASES) - set(found):
        sys.exit(f"callgrind wrote nothing of {sorted(missing)}")
    return found


def work() -> None:
    """Do every phase twice: first to load what is compiled, then counted, if this is the simulation."""
    from bench_kernels import CUTS, UNCUT  # noqa: PLC0415 - what only counts imports nothing of the project
    from generate import CATALOG, DAY, SURFACE, TENANT, generate  # noqa: PLC0415
    from workspace import CONFIG  # noqa: PLC0415

    from recsys_assets.encoding.codec import encode  # noqa: PLC0415
    from recsys_assets.identity import Target, Window  # noqa: PLC0415
    from recsys_assets.kinds.registry import KINDS  # noqa: PLC0415
    from recsys_assets.pipeline.canonical import build_canonical  # noqa: PLC0415
    from recsys_assets.pipeline.canonical_commit import read_events  # noqa: PLC0415
    from recsys_assets.pipeline.context import DayContext  # noqa: PLC0415
    from recsys_assets.pipeline.raw import build_raw  # noqa: PLC0415
    from recsys_assets.settings.inputs import LimitSettings  # noqa: PLC0415
    from recsys_assets.settings.reading import parse_settings  # noqa: PLC0415
    from recsys_assets.storage.memory import MemoryStore  # noqa: PLC0415

    data = ROOT / "data" / "bench" / str(EVENTS)
    generate(EVENTS, data)
    config = CONFIG.replace('"../', f'"{data}/')
    settings = parse_settings(config.encode(), name=CATALOG, base=data)
    kind, target, window = KINDS["cooc"], Target(TENANT, SURFACE), Window.ending(DAY, days=1)
    params = kind.params(**CUTS)
    for counting in (False, "COUNTED" in os.environ):
        store = MemoryStore()
        context = DayContext(store, settings, settings.targets[0], DAY)
        counted("parse", counting, partial(build_raw, store, settings, DAY))
        record = counted("canonical", counting, partial(build_canonical, context)).record
        events = read_events(store, target, DAY, record, columns=kind.event_columns)
        built = counted("cooc", counting, partial(kind.build, events, params, LimitSettings()))
        write = partial(encode, built.rows, kind=kind.name, target=target, window=window, max_bytes=UNCUT)
        counted("encode", counting, write)


def counted(phase: str, counting: bool, do: Callable[[], Any]) -> Any:  # noqa: FBT001 - read where it is called
    """Do some work; if it counts, under the simulation's eyes, which writes what it saw under the phase's name."""
    if not counting:
        return do()
    control("--instr=on")  # stays on: what callgrind writes after it was off is not what came since
    control("--dump=before")  # each dump counts from the one before
    try:
        return do()
    finally:
        control(f"--dump={phase}")


def control(order: str) -> None:
    subprocess.run(["callgrind_control", order, str(os.getpid())], check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
