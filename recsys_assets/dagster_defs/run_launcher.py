"""Run launcher that forks a run from a process that has loaded the definitions, instead of starting Python again."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

from dagster import DagsterRun, DefaultRunLauncher

from recsys_assets.dagster_defs.fork_server import LARGEST_MESSAGE, READY, is_alive
from recsys_assets.dagster_defs.private_api import (
    ClassConfig,
    HealthResult,
    LaunchContext,
    WorkerStatus,
    is_on_this_machine,
    run_arguments,
)

_log = logging.getLogger(__name__)

PROCESS_TAG: Final = "recsys/process"
ANSWER_SECONDS: Final = 120.0  # the first answer waits for the definitions of all targets


class ForkServerLauncher(DefaultRunLauncher):
    """Run launcher, set in `dagster.yaml`, whose runs begin with everything imported (ADR 28).

    It launches runs of code locations on this machine that have this process's Python. All others are left to their
    code server, as `DefaultRunLauncher` leaves all.
    """

    def __init__(self, inst_data: ClassConfig | None = None) -> None:
        """Start no process: that waits for the first run."""
        super().__init__(inst_data)
        self._server: _ForkServer | None = None
        self._is_refused = False
        self._lock = threading.Lock()

    def launch_run(self, context: LaunchContext) -> None:
        """Fork a process that executes the run, or have its code server start one."""
        run = context.dagster_run
        process = ""
        with self._lock:
            if _is_forkable(context) and not self._is_refused:
                process = self._fork(run_arguments(run, self._instance))
        if not process:
            super().launch_run(context)
            return
        self._instance.add_run_tags(run.run_id, {PROCESS_TAG: process})
        self._run_ids.add(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Request that a run ends. Its process asks once a second; returns False if the run has ended."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished or PROCESS_TAG not in run.tags:
            return super().terminate(run_id)
        self._instance.report_run_canceling(run)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring can ask for the process of a run: yes."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> HealthResult:
        """Return whether the process of a run is alive. That of a run that a code server started is taken to be."""
        process = run.tags.get(PROCESS_TAG)
        if process is None or is_alive(process):
            return HealthResult(WorkerStatus.RUNNING)
        return HealthResult(WorkerStatus.NOT_FOUND, msg=f"process {process} (host, pid, start time) has ended")

    def dispose(self) -> None:
        """End the fork server. Its runs continue."""
        with self._lock:
            self._end_server()
        super().dispose()

    def _fork(self, arguments: str) -> str:
        """Have a process forked; return its description, or "" if that is refused. A refusing server is replaced once.

        A second server that refuses, e.g. since an import starts a thread, is the last one of this process.

        Raises `RuntimeError` if the server dies instead of answering, so that it is unknown whether a run was begun.
        """
        refusal = ""
        for _attempt in range(2):
            if self._server is None or self._server.owner != os.getpid():
                self._server = _ForkServer()
            try:
                answer = self._server.request(arguments)
            except RuntimeError:
                self._end_server()  # its answer may come later, and is none to another request
                raise
            if "process" in answer:
                return answer["process"]
            refusal = answer["refused"]
            self._end_server()
        self._is_refused = True
        _log.warning("runs are started by their code server until this process is started again: %s", refusal)
        return ""

    def _end_server(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


def _is_forkable(context: LaunchContext) -> bool:
    origin = context.job_code_origin
    has_this_python = origin is not None and origin.executable_path == sys.executable
    return sys.platform == "linux" and has_this_python and is_on_this_machine(context.dagster_run)


class _ForkServer:
    """Handle of a fork server: its process and this end of the socket."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self._is_ready = False
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_MESSAGE)
        command = [sys.executable, "-m", "recsys_assets.dagster_defs.fork_server", str(other.fileno())]
        self._server = subprocess.Popen(command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL)  # noqa: S603
        other.close()
        self._socket.settimeout(ANSWER_SECONDS)
        with suppress(OSError):
            self._is_ready = self._socket.recv(len(READY)) == READY

    def request(self, arguments: str) -> dict[str, str]:
        """Send the arguments of a run; return the answer. Raises `RuntimeError` if none comes."""
        if not self._is_ready:
            return {"refused": "it has not started; its error is in the log of this process"}
        try:
            self._socket.send(arguments.encode())
            answer = self._socket.recv(LARGEST_MESSAGE)
        except OSError as error:
            raise RuntimeError(f"the fork server does not answer, so a run may have been begun: {error}") from error
        if not answer:
            raise RuntimeError("the fork server ended while it started a run: its error is in the log of this process")
        return json.loads(answer)

    def close(self) -> None:
        """End the server, and wait for it."""
        self._socket.close()
        try:
            self._server.wait(10)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()
