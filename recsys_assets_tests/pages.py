"""Reads a page of the documentation as a script: the commands in it, in order, and the output that it promises."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from recsys_assets.cli.main import main

NOTHING: Mapping[str, Callable[[], object]] = MappingProxyType({})

PIECE = re.compile(
    r"^```(?P<language>sh|text)(?: title=\"exits with (?P<code>\d)\")?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMAND = re.compile(r"^(\S.*?(?:<<'(\w+)'.*\n(?:.*\n)*?\2)?)$", re.MULTILINE)  # a line, with its here-document
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


def follow(
    page: Path, capture: pytest.CaptureFixture[str], *, meanwhile: Mapping[str, Callable[[], object]] = NOTHING
) -> None:
    """Do what a page says, from its first command to its last; fail where an exit code or a line of output differs."""
    capture.readouterr()
    printed = ""
    for step in read_page(page):
        match step:
            case Meanwhile(event):
                meanwhile[event]()
            case Output(lines):
                assert list(missing_lines(lines, printed)) == [], printed
            case Commands(lines, code):
                printed = "".join(_run_block(lines, code, capture))


def read_page(page: Path) -> list[Step]:
    """Return the steps of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = sorted([*PIECE.finditer(text), *MEANWHILE.finditer(text)], key=re.Match.start)
    return [_step(match) for match in found]


def _step(match: re.Match[str]) -> Step:
    parts = match.groupdict()
    if "event" in parts:
        return Meanwhile(parts["event"])
    if parts["language"] == "text":
        return Output(tuple(parts["body"].splitlines()))
    commands = COMMAND.findall(parts["body"].replace("\\\n", " "))
    return Commands(tuple(whole for whole, _ in commands), int(parts["code"] or 0))


def _run_block(lines: tuple[str, ...], code: int, capture: pytest.CaptureFixture[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        found, message = run_line(line, capture)
        assert found == (code if number == len(lines) else 0), f"{line}\n{message}"
        yield message


def run_line(line: str, capture: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run one command and return its exit code and all that it printed; ours in this process, others in bash."""
    program, *arguments = shlex.split(os.path.expandvars(line.partition("\n")[0]))
    if program == "export":
        os.environ.update({name: value for name, _, value in (pair.partition("=") for pair in arguments)})
        return 0, ""
    if program != "recsys-assets":
        bash = ["bash", "-eu", "-o", "pipefail", "-c", line]
        done = subprocess.run(bash, capture_output=True, text=True, check=False, timeout=60)
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
