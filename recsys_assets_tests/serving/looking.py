"""A reader in a process of its own, which looks on command and prints its memory: python -m ... ROOT."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from recsys_assets.serving.reader import Reader
from recsys_assets.storage.open import open_store
from recsys_assets_tests.serving.releases import TARGET

PROJECT = Path(__file__).parents[2]


@contextmanager
def reader_process(root, **environment):
    """Yield a function that lets the process look once, and returns what came of it, with memory in bytes."""
    command = [sys.executable, "-m", __name__, str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=PROJECT, env=os.environ | environment, **pipes) as process:

        def look():
            process.stdin.write("look\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield look
        process.stdin.close()
        assert process.wait(30) == 0


def main():
    reader = Reader(open_store(sys.argv[1]), TARGET.tenant, TARGET.surface)
    for _ in sys.stdin:
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        before = memory("VmRSS")
        refresh = reader.refresh()
        peak = memory("VmHWM")
        message = {"outcome": refresh.outcome, "problem": refresh.problem, "why": refresh.why}
        sys.stdout.write(json.dumps(message | {"before": before, "peak": peak, "after": memory("VmRSS")}) + "\n")
        sys.stdout.flush()


def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
