"""Reads a page of the documentation as a script: the commands in it, in order, and the output that it promises."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recsys_assets.cli.main import main

PIECE = re.compile(
    r"^```(?P<language>sh|text)(?: title=\"exits with (?P<code>\d)\")?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
MEANWHILE = re.compile(r"^<!-- meanwhile: (?P<event>.+?) -->$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Commands:
    """A fenced block of commands; all but the last end with 0, and the last with `code`."""

    lines: tuple[str, ...]
    code: int


@dataclass(frozen=True, slots=True)
class Output:
    """Lines that the commands before printed, among others, in this order; `…` stands for whatever changes."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What somebody else does at this point: the test does it."""

    event: str


Step = Commands | Output | Meanwhile


def read_page(page: Path) -> list[Step]:
    """Return the steps of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = sorted([*PIECE.finditer(text), *MEANWHILE.finditer(text)], key=re.Match.start)
    return [_step(match) for match in found]


def _step(match: re.Match[str]) -> Step:
    parts = match.groupdict()
    if "event" in parts:
        return Meanwhile(parts["event"])
    lines = tuple(parts["body"].replace("\\\n", " ").splitlines())
    return Output(lines) if parts["language"] == "text" else Commands(lines, int(parts["code"] or 0))


def run_line(line: str, capture: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run one command line and return its exit code and all that it printed; ours in this process, others in bash."""
    program, *arguments = shlex.split(os.path.expandvars(line))
    if program != "recsys-assets":
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False, timeout=60
        )
        return done.returncode, done.stdout + done.stderr
    code = _run_ours(arguments)
    printed = capture.readouterr()
    return code, printed.out + printed.err


def _run_ours(arguments: list[str]) -> int:
    before = sys.argv
    sys.argv = ["recsys-assets", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    finally:
        sys.argv = before
    return 0


def missing_lines(expected: tuple[str, ...], printed: str) -> Iterator[str]:
    """Yield the expected lines that do not follow one another in what was printed."""
    rest = iter(printed.splitlines())
    for line in expected:
        pattern = re.compile(r"\s*".join(".*".join(re.escape(w) for w in word.split("…")) for word in line.split()))
        if not any(pattern.search(found) for found in rest):
            yield line
