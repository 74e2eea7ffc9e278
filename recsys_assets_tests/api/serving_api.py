"""A real server on a port of this machine, as the command starts it."""

import re
import subprocess
import sys
import time
from contextlib import contextmanager

START = re.compile(r"running on (http://127\.0\.0\.1:\d+)")
RUN = "from recsys_assets.cli.main import main; main()"


@contextmanager
def served(config, *, code=RUN):
    """Serve a configuration by the command; the port is one that is free."""
    command = [sys.executable, "-c", code, "api", "--config", str(config), "--port", "0"]
    log = config.with_name("api.log")
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            yield _address(process, log), process
        finally:
            process.terminate()
            process.wait(timeout=20)


def _address(process, log):
    while process.poll() is None:
        found = START.search(log.read_text())
        if found:
            return found.group(1)
        time.sleep(0.02)
    raise RuntimeError(f"the server ended with {process.returncode}: {log.read_text()[-3000:]}")
