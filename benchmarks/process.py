"""One engine in a process of its own: how long until it said it was done, and how much memory it had at most."""

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from result import MEASURED

SAMPLE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Run:
    """One process: seconds from its start to the end of its work, its peaks, and what it handed over."""

    wall: float
    anon_mb: float  # peak RssAnon: heap, without the mapped pages of files, which the kernel can drop
    rss_mb: float  # peak resident set, those pages included
    seconds: dict[str, float]
    digests: dict[str, str]
    facts: dict[str, str]


class EngineFailedError(Exception):
    """A process that did not end well; its last words stand in the message."""


def run_process(command: Sequence[str], *, environment: Mapping[str, str]) -> Run:
    """Run `command` and watch it until it prints MEASURED, or else until it ends."""
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
    wall = None
    assert process.stdout is not None  # noqa: S101 - it was asked for above
    for line in process.stdout:
        if line.strip() == MEASURED:
            wall = perf_counter() - started
            done.set()
        lines.append(line)
    code = process.wait()
    wall = wall or perf_counter() - started
    done.set()
    watcher.join()
    if code != 0:
        raise EngineFailedError(f"{' '.join(command)} ended with {code}:\n{''.join(lines[-5:])}{errors()[-2000:]}")
    return _run(wall, peaks, lines)


def _run(wall: float, peaks: dict[str, float], lines: list[str]) -> Run:
    """Read what the process handed over; a program that is not ours hands over nothing."""
    last: dict[str, Any] = json.loads(lines[-1]) if lines and lines[-1].startswith('{"seconds"') else {}
    return Run(
        wall=wall,
        anon_mb=peaks.get("RssAnon", 0.0),
        rss_mb=max(peaks.get("VmHWM", 0.0), peaks.get("VmRSS", 0.0)),
        seconds=last.get("seconds", {}),
        digests=last.get("digests", {}),
        facts=last.get("facts", {}),
    )


def _watch(pid: int, peaks: dict[str, float], done: threading.Event) -> None:
    """Keep the highest figures of /proc/<pid>/status until `done`; nothing is known on systems without it."""
    status = Path(f"/proc/{pid}/status")
    while not done.is_set():
        try:
            lines = status.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            name, _, value = line.partition(":")
            if name in {"RssAnon", "VmRSS", "VmHWM"}:
                peaks[name] = max(peaks.get(name, 0.0), int(value.split()[0]) / 1024)
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
