"""One engine in a process of its own: seconds until it was done, those of the processor, and its peak of memory."""

import json
import os
import resource
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from result import MEASURED

SAMPLE_SECONDS = 0.01
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """One process: seconds from its start to the end of its work, its peaks, and what it handed over."""

    wall: float
    cpu: float  # of the processor, by the process and all that it started
    work_cpu: float  # the same of its phases alone; that of the whole where it does not say
    load: float  # of the machine in the minute before it began
    others: float  # processors that others kept busy meanwhile; 0 on a quiet machine
    anon_mb: float  # peak RssAnon: heap, without the mapped pages of files, which the kernel can drop
    rss_mb: float  # peak resident set, those pages included
    seconds: dict[str, float]
    digests: dict[str, str]
    facts: dict[str, str]
    did: dict[str, str]


class EngineFailedError(Exception):
    """A process that did not end well; its last words stand in the message."""


def run_process(command: Sequence[str], *, environment: Mapping[str, str]) -> Run:
    """Run `command` and watch it until it prints MEASURED, or else until it ends."""
    load, busy, ended = os.getloadavg()[0], _busy_seconds(), _ended_children()
    started = perf_counter()
    process = subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    done = threading.Event()
    peaks: dict[str, float] = {}
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, done))
    watcher.start()
    errors = _drain(process)
    lines: list[str] = []
    spent: tuple[float, float, float] | None = None  # wall, processor, processors of all
    assert process.stdout is not None  # noqa: S101 - it was asked for above
    for line in process.stdout:
        if line.strip() == MEASURED:
            spent = perf_counter() - started, _spent_by(_family(process.pid)), _busy_seconds() - busy
            done.set()
        lines.append(line)
    code = process.wait()
    wall, cpu, of_all = spent or (perf_counter() - started, _ended_children() - ended, _busy_seconds() - busy)
    done.set()
    watcher.join()
    if code != 0:
        raise EngineFailedError(f"{' '.join(command)} ended with {code}:\n{''.join(lines[-5:])}{errors()[-2000:]}")
    last: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith('{"seconds"') else {}
    return Run(
        wall=wall,
        cpu=cpu,
        work_cpu=last.get("work_cpu") or cpu,
        load=load,
        others=max(of_all - cpu, 0.0) / wall,
        anon_mb=peaks.get("RssAnon", 0.0),
        rss_mb=max(peaks.get("VmHWM", 0.0), peaks.get("VmRSS", 0.0)),
        seconds=last.get("seconds", {}),
        digests=last.get("digests", {}),
        facts=last.get("facts", {}),
        did=last.get("did", {}),
    )


def _ended_children() -> float:
    """Processor seconds of this process's children that have ended, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _busy_seconds() -> float:
    """Processor seconds that the whole machine has spent on work; 0 on systems that do not say."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq = map(int, path.read_text().splitlines()[0].split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def _family(pid: int) -> list[int]:
    """Return a process and all that it started, as far as they live."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            found += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return found


def _spent_by(pids: Sequence[int]) -> float:
    """Processor seconds of these processes and of those of their children that have ended."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def _watch(pid: int, peaks: dict[str, float], done: threading.Event) -> None:
    """Keep the highest figures of the family's /proc/<pid>/status until `done`; unknown on systems without it."""
    while not done.is_set():
        sums: dict[str, float] = {}
        for one in _family(pid):
            with suppress(OSError):
                for line in Path(f"/proc/{one}/status").read_text().splitlines():
                    name, _, value = line.partition(":")
                    if name in {"RssAnon", "VmRSS", "VmHWM"}:
                        sums[name] = sums.get(name, 0.0) + int(value.split()[0]) / 1024
        for name, size in sums.items():
            peaks[name] = max(peaks.get(name, 0.0), size)
        sleep(SAMPLE_SECONDS)


def _drain(process: subprocess.Popen[str]) -> Any:
    """Read standard error beside the work, so that a talkative engine never waits for us; return a way to get it."""
    parts: list[str] = []
    assert process.stderr is not None  # noqa: S101 - it was asked for above
    reader = threading.Thread(target=parts.extend, args=(process.stderr,))
    reader.start()

    def message() -> str:
        reader.join()
        return "".join(parts)

    return message
