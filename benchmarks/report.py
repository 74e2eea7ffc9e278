"""Turns measured runs into docs/benchmarks.md and its plot: medians, ratios to ours, peaks, growth, versions."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from plot import draw
from process import Run

Runs = Mapping[int, Mapping[str, Sequence[Run]]]

PHASES = ("parse", "canonical", "popularity", "cooc", "implicit", "session_seq", "content_sim", "gates", "manifest")
ASIDE = {"cooc_coded", "code"}  # measured for one comparison each, no part of the path
OURS = "ours"

INTRODUCTION = """# Benchmarks

Written by `make bench` and `make bench-full`; do not edit. One generated day per size (Zipf items, sessions with a
topic, about 200 bytes a line, fixed seeds; `benchmarks/generate.py`). Every engine runs in a process of its own,
{rounds} rounds in turn; figures are medians. *wall* counts from the start of the process to the end of its work,
interpreter and imports included; *work* is the sum of the phases. *heap* is the peak of RssAnon, *resident* the peak of
the resident set, pages of mapped files included.

What the engines do is not all the same, and the difference is not in our favour: `ours` checks every line, puts bad
ones aside, writes a canonical day, encodes, hashes and gates five artifacts and swaps the pointer durably; the peers
parse and compute four of them, and keep the rows in memory. `implicit` does only cooc; `cooc_coded` is DuckDB on the
coded ids that ours works on. Results are compared: every engine must have the same rows, or the run fails.
"""

ASIDES = {  # by program: the heading, and the text above its table
    "bench_ingest.py": (
        "Ingest, step by step",
        """Of the largest day up to a million events. *said* is what came out: what does nothing is not fast. With a bad
line of ten kinds in a thousand (`parse 0.1% bad`) every one is found and reported with its number and reason.""",
    ),
    "bench_windows.py": (
        "Rolling windows",
        """28 days of a tenth of that: built from all events at once; from the days' tallies on the first day, which
makes them; on the next day, which reads one day's events and 27 tallies. The rows are the same, or the run fails.""",
    ),
    "bench_pointer.py": (
        "Shipping, undoing, reading",
        """On a folder of this machine, with artifacts of three rows: the price of conditions, of fsync, of proofs and
of the journal. Commands are processes of their own, start to end.""",
    ),
    "bench_store_latency.py": (
        "A store that is far away",
        """SeaweedFS on this machine, behind a proxy that lets each request wait 20 ms: requests, the most at once, the
seconds in which at least one was under way (at most what was waited for the store), and the wall clock. Tiny days.""",
    ),
    "bench_serving.py": (
        "Serving",
        """One process loads a release from a folder and answers from it: with short rows, the worst case for an index,
and with long ones; alone, and while another thread loads one release after the other. A lookup is timed from the moment
at which it was due, so that its wait for a turn counts.""",
    ),
}


def write_report(
    runs: Runs, message: Mapping[str, str], *, folder: Path, rounds: int, asides: Mapping[str, str]
) -> None:
    """Write benchmarks.md and benchmarks.svg into `folder`."""
    lines = [INTRODUCTION.format(rounds=rounds), *_machine(runs), "", "![time and memory by size](benchmarks.svg)", ""]
    for events, engines in runs.items():
        lines += [f"## {events:,} events", "", *_totals(engines, message, events=events), "", *_phases(engines), ""]
    lines += ["## Growth", "", *_growth(runs), "", "## Agreement", "", *_agreement(runs), ""]
    for program, table in asides.items():
        heading, text_above = ASIDES[program]
        lines += [f"## {heading}", "", text_above, f"(`benchmarks/{program}`)", "", table]
    folder.mkdir(exist_ok=True)
    (folder / "benchmarks.md").write_text("\n".join(lines), encoding="utf-8")
    draw(_series(runs), folder / "benchmarks.svg")


def _machine(runs: Runs) -> Iterator[str]:
    cpu = next(
        (line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.machine()
    )
    facts = {
        k: v for engines in runs.values() for found in engines.values() for run in found for k, v in run.facts.items()
    }
    yield f"Machine: {cpu}, {os.cpu_count()} cores; Python {platform.python_version()}; {datetime.now(UTC):%Y-%m-%d}."
    yield "Versions: " + ", ".join(f"{name} {value}" for name, value in sorted(facts.items())) + "."


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _totals(engines: Mapping[str, Sequence[Run]], message: Mapping[str, str], *, events: int) -> Iterator[str]:
    yield "| engine | wall s | work s | events/s of work | heap MB | resident MB | work, ours = 1 |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    base = _work(engines[OURS]) if engines.get(OURS) else None
    for name, found in engines.items():
        work = _work(found)
        ratio = f"{work / base:.1f}" if base else ""
        cells = (
            f"**{name}**: {message[name]}",
            f"{median(run.wall for run in found):.2f}",
            f"{work:.2f}",
            f"{events / work:,.0f}",
            f"{median(run.anon_mb for run in found):,.0f}",
            f"{median(run.rss_mb for run in found):,.0f}",
            ratio,
        )
        yield f"| {' | '.join(cells)} |"


def _phases(engines: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """One row per phase; what an engine does not do stays empty."""
    names = [name for name, found in engines.items() if found and found[0].seconds]
    extra = sorted({phase for name in names for phase in engines[name][0].seconds} - set(PHASES))
    yield f"| seconds | {' | '.join(names)} |"
    yield f"|---|{'---:|' * len(names)}"
    for phase in (*PHASES, *extra):
        cells = [_phase(engines[name], phase) for name in names]
        if any(cells):
            yield f"| {phase} | {' | '.join(cells)} |"


def _phase(found: Sequence[Run], phase: str) -> str:
    return f"{median(run.seconds[phase] for run in found):.3f}" if phase in found[0].seconds else ""


def _growth(runs: Runs) -> Iterator[str]:
    yield "| engine | from | to | events | work | heap |"
    yield "|---|---:|---:|---:|---:|---:|"
    sizes = list(runs)
    for small, large in pairwise(sizes):
        for name in runs[large]:
            before, after = runs[small].get(name), runs[large][name]
            if before and after:
                heap = median(run.anon_mb for run in after) / (median(run.anon_mb for run in before) or 1)
                times = f"{_work(after) / _work(before):.1f} times"
                yield f"| {name} | {small:,} | {large:,} | {large / small:.0f} times | {times} | {heap:.1f} times |"


def _agreement(runs: Runs) -> Iterator[str]:
    yield "| events | result | engines that agree | digest |"
    yield "|---:|---|---|---|"
    for events, engines in runs.items():
        found: dict[tuple[str, str], set[str]] = {}
        for name, engine_runs in engines.items():
            for run in engine_runs:
                for what, digest in run.digests.items():
                    found.setdefault((what, digest), set()).add(name)
        for (what, digest), names in found.items():
            yield f"| {events:,} | {what} | {', '.join(sorted(names))} | {digest[:40]} |"


def _series(runs: Runs) -> dict[str, list[tuple[int, float, float]]]:
    """Return, per engine, (events, work seconds, heap MB) by size, for the plot."""
    series: dict[str, list[tuple[int, float, float]]] = {}
    for events, engines in runs.items():
        for name, found in engines.items():
            point = (events, _work(found), median(run.anon_mb for run in found))
            series.setdefault(name, []).append(point)
    return series


def _work(found: Sequence[Run]) -> float:
    """Seconds of all phases, or of the whole process where an engine reports none."""
    return median(
        sum(seconds for phase, seconds in run.seconds.items() if phase not in ASIDE) or run.wall for run in found
    )
