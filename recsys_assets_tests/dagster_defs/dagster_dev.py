"""A real `dagster dev`, web server and daemon, in a folder of its own, spoken to by GraphQL alone."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
START_SECONDS = 200


@dataclass(frozen=True)
class DagsterDev:
    """The running thing."""

    url: str
    log: Path

    def ask(self, query, **variables):
        """The data of a GraphQL answer; an error in it is raised with its message."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=150) as reply:  # noqa: S310 - loopback
            answer = json.load(reply)
        if answer.get("errors"):
            raise RuntimeError(json.dumps(answer["errors"], indent=1)[:3000])
        return answer["data"]

    def until(self, probe, *, seconds, what):
        """Ask until `probe` gives something that is true, and return it."""
        deadline = time.monotonic() + seconds
        while not (found := probe()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds} s: {what}\n{self.log.read_text()[-4000:]}")
            time.sleep(1)
        return found


@contextmanager
def dagster_dev(home, config, workspace, **environment):
    """Start it on an initialised DAGSTER_HOME, wait until all locations are loaded, and end every process of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = home / "dev.log"
    names = {"DAGSTER_HOME": str(home), "RECSYS_CONFIG": str(config), "PYTHONWARNINGS": "ignore"}
    command = [str(Path(sys.executable).parent / "dagster"), "dev", "--workspace", str(workspace)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=out,
            stderr=out,
            cwd=ROOT,
            env=os.environ | names | environment,
            start_new_session=True,
            preexec_fn=_listen_to_signals,  # noqa: PLW1509 - a test process has no threads that hold locks
        )
    dev = DagsterDev(f"http://127.0.0.1:{port}", log)
    try:
        dev.until(lambda: _is_loaded(dev), seconds=START_SECONDS, what="the code locations are loaded")
        yield dev
    finally:
        _end(process)


def open_home(folder):
    """A DAGSTER_HOME with the project's own dagster.yaml."""
    folder.mkdir()
    shutil.copy(ROOT / "dagster.yaml", folder / "dagster.yaml")
    return folder


def _listen_to_signals():
    """A process started in the background ignores SIGINT, and Dagster would then ignore SIGTERM as well."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _is_loaded(dev):
    query = "{ workspaceOrError { ... on Workspace { locationEntries { name loadStatus locationOrLoadError { __typename"
    query += " ... on PythonError { message } } } } } }"
    try:
        entries = dev.ask(query)["workspaceOrError"]["locationEntries"]
    except (urllib.error.URLError, ConnectionError):
        return False
    loaded = [entry["locationOrLoadError"] for entry in entries]
    for one in loaded:
        if one and one["__typename"] == "PythonError":
            raise RuntimeError(one["message"])
    return bool(loaded) and all(loaded)


def _end(process):
    """Ask nicely, then end the whole session: a killed `dagster dev` leaves its children behind."""
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
