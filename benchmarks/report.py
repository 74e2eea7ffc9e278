"""Turns measured runs into docs/benchmarks.md and its plots: medians, ratios to ours, peaks, growth, versions."""

import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from plot import draw, draw_phases
from process import Run
from result import DEEDS

Runs = Mapping[int, Mapping[str, Sequence[Run]]]

PHASES = ("parse", "canonical", "popularity", "cooc", "implicit", "session_seq", "content_sim", "gates", "manifest")
ASIDE = {"cooc_coded", "code", "start"}  # measured for one comparison each, no part of the path
OURS = "ours"
AIMS = Path(__file__).with_name("aims.md")  # written by hand: what was aimed at, what was reached, and why not more

INTRODUCTION = """# Benchmarks

Written by `make bench` and `make bench-full`; do not edit (edit the aims in `benchmarks/aims.md`). One generated day
per size (Zipf items, sessions with a topic, about 200 bytes a line, fixed seeds; `benchmarks/generate.py`), and its
catalog as CSV. Every engine runs in a process of its own, {rounds} rounds in turn; figures are medians of the rounds
that an engine took part in. *wall* counts from the start of the process to the end of its work, interpreter and imports
included; *CPU* is the processor time of the process and its children, which depends little on other work;
*work* is the sum of the phases, by wall clock and by the processor's. *heap* is the peak of RssAnon, *resident* the
peak of the resident set, pages of mapped files included. *others* is how many processors were busy with something else
meanwhile: 0 is a quiet machine, and wall times are of use only near it.

{absent}Results are compared: every engine must have the same rows at min_support 1 and without a cut of users' lists,
or the run fails.
"""

TOTALS = (
    "engine",
    "rounds",
    "wall s",
    "CPU s",
    "work s",
    "work CPU s",
    "events/s of work",
    "heap MB",
    "resident MB",
    "others",
    "work, ours = 1",
    "work CPU, ours = 1",
)
GROWTH = "Exponents: 1.00 is in proportion to the events, less is slower growth; a fixed start makes them small."

ASIDES = {  # by program: the heading, and the text above its table
    "bench_ingest.py": (
        "Ingest, step by step",
        """Of the largest day up to a million events. *said* is what came out: what does nothing is not fast. With a bad
line of ten kinds in a thousand (`parse 0.1% bad`) every one is found and reported with its number and reason.""",
    ),
    "bench_windows.py": (
        "Rolling windows",
        """28 days of a tenth of that, in seconds of the processor: built from all events at once; from the days'
tallies on the first day, which makes them; on the next day, which reads one day's events and 27 tallies. DuckDB reads
and counts 28 Parquet files. The rows are the same, or the run fails.""",
    ),
    "bench_nightly.py": (
        "A night with a window",
        """What `run` does for one more day of a tenth of that, in a process that has built a small day before: raw,
canonical, all kinds, gates, ship. Every day has sessions of its own, drawn from the same users and items; the artifacts
of a window are larger than those of a day, and each of their bytes is written, hashed, read back, judged and compared
with live's. With `--alike` they are as large as a day's.""",
    ),
    "bench_pointer.py": (
        "Shipping, undoing, reading",
        """On a folder of this machine, with artifacts of three rows: the price of conditions, of fsync, of proofs and
of the journal. Commands are processes of their own, start to end.""",
    ),
    "bench_recorded.py": (
        "Days that Dagster records",
        """Of a small target with five kinds: by `run` with `DAGSTER_HOME`, a day more in the same process, and by the
daemon, where each day is a run in a process of its own, launched through the queue and forked from one that has loaded
the definitions (ADR 28; the first run, which starts that one, is not counted). Histories on SQLite are files on this
machine, PostgreSQL is a real server on it.""",
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
    runs: Runs,
    message: Mapping[str, str],
    *,
    folder: Path,
    rounds: int,
    asides: Mapping[str, str],
    load: float,
    absent: str,
) -> None:
    """Write benchmarks.md, benchmarks.svg and benchmarks-phases.svg into `folder`."""
    lines = [INTRODUCTION.format(rounds=rounds, absent=absent), *_machine(runs, load), ""]
    lines += [AIMS.read_text(encoding="utf-8")] if AIMS.exists() else []
    lines += ["## What each side does", "", *_deeds(runs), "", "![time and memory by size](benchmarks.svg)", ""]
    lines += ["![where the time goes](benchmarks-phases.svg)", ""]
    for events, engines in runs.items():
        lines += [f"## {events:,} events", "", *_totals(engines, message, events=events), "", *_phases(engines), ""]
    lines += ["## Growth", "", GROWTH, "", *_growth(runs), "", "## Agreement", "", *_agreement(runs), ""]
    for program, table in asides.items():
        heading, text_above = ASIDES[program]
        lines += [f"## {heading}", "", text_above, f"(`benchmarks/{program}`)", "", table]
    folder.mkdir(exist_ok=True)
    (folder / "benchmarks.md").write_text("\n".join(lines), encoding="utf-8")
    draw(_series(runs), folder / "benchmarks.svg")
    largest = {name: found for name, found in runs[max(runs)].items() if found and found[0].seconds}
    phases = {name: {phase: _seconds(found, phase) for phase in found[0].seconds} for name, found in largest.items()}
    draw_phases(phases, (*PHASES, "start"), folder / "benchmarks-phases.svg", events=max(runs))


def _deeds(runs: Runs) -> Iterator[str]:
    """One row per engine: what it did of a day's work, by its own account; what it did not stays empty."""
    yield f"| engine | {' | '.join(DEEDS)} |"
    yield f"|---{'|---' * len(DEEDS)}|"
    did = {name: run.did for engines in runs.values() for name, found in engines.items() for run in found}
    for name, deeds in did.items():
        yield f"| {name} | {' | '.join(deeds.get(deed, '') for deed in DEEDS)} |"


def _machine(runs: Runs, load: float) -> Iterator[str]:
    cpu = next(
        (line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), platform.machine()
    )
    facts = {
        k: v for engines in runs.values() for found in engines.values() for run in found for k, v in run.facts.items()
    }
    yield f"Machine: {cpu}, {os.cpu_count()} cores; Python {platform.python_version()}; {datetime.now(UTC):%Y-%m-%d}."
    others = [run.others for engines in runs.values() for found in engines.values() for run in found]
    yield f"Load when it began: {load:.1f}; meanwhile others kept {median(others):.1f} processors busy (median)."
    yield "Versions: " + ", ".join(f"{name} {value}" for name, value in sorted(facts.items())) + "."


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _totals(engines: Mapping[str, Sequence[Run]], message: Mapping[str, str], *, events: int) -> Iterator[str]:
    yield f"| {' | '.join(TOTALS)} |"
    yield f"|---{'|---:' * (len(TOTALS) - 1)}|"
    ours = engines.get(OURS)
    base = (_work(ours), _median(ours, lambda run: run.work_cpu)) if ours else None
    for name, found in engines.items():
        work = _work(found)
        cpu = _median(found, lambda run: run.work_cpu)
        ratios = [f"{work / base[0]:.1f}", f"{cpu / base[1]:.1f}"] if base else ["", ""]
        cells = (
            f"**{name}**: {message[name]}",
            f"{len(found)}",
            f"{_median(found, lambda run: run.wall):.2f}",
            f"{_median(found, lambda run: run.cpu):.2f}",
            f"{work:.2f}",
            f"{cpu:.2f}",
            f"{events / work:,.0f}",
            f"{_median(found, lambda run: run.anon_mb):,.0f}",
            f"{_median(found, lambda run: run.rss_mb):,.0f}",
            f"{_median(found, lambda run: run.others):.1f}",
            *ratios,
        )
        yield f"| {' | '.join(cells)} |"


def _median(found: Sequence[Run], of: Callable[[Run], float]) -> float:
    return median(of(run) for run in found)


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
    return f"{_seconds(found, phase):.3f}" if phase in found[0].seconds else ""


def _seconds(found: Sequence[Run], phase: str) -> float:
    return median(run.seconds[phase] for run in found)


def _growth(runs: Runs) -> Iterator[str]:
    yield "| engine | from | to | work | CPU | heap |"
    yield "|---|---:|---:|---:|---:|---:|"
    for small, large in pairwise(runs):
        for name, after in runs[large].items():
            before = runs[small].get(name)
            if before and after:
                measures = (
                    (_work(before), _work(after)),
                    (_median(before, lambda run: run.cpu), _median(after, lambda run: run.cpu)),
                    (_median(before, lambda run: run.anon_mb), _median(after, lambda run: run.anon_mb)),
                )
                cells = [f"{math.log(more / (less or 1)) / math.log(large / small):.2f}" for less, more in measures]
                yield f"| {name} | {small:,} | {large:,} | {' | '.join(cells)} |"


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
