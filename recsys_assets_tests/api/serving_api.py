"""A real server on a port of this machine, as the command starts it, and pages as a real browser sees them."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

START = re.compile(r"running on (http://127\.0\.0\.1:\d+)")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
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
        os.sched_yield()
    raise RuntimeError(f"the server ended with {process.returncode}: {log.read_text()[-3000:]}")


def seen(url, folder, *options):
    """Return the page's document after a real browser has read it."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'chromium'}"]
    done = subprocess.run([*command, *options, url], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
