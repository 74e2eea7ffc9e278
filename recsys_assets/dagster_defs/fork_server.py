"""Fork server: a process that has loaded the definitions and forks one process for each run, on Linux.

The run launcher starts it as `python -m recsys_assets.dagster_defs.fork_server DESCRIPTOR`, with one end of a socket
for requests. It ends when the other end is closed. Runs continue, so they outlive a restart of the daemon.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from dagster import DagsterInstance, DagsterRunStatus

from recsys_assets.dagster_defs.event_log import new_database
from recsys_assets.dagster_defs.private_api import (
    RunArguments,
    execute_run,
    import_instance_classes,
    load_definitions,
    module_of,
    open_instance,
    read_arguments,
)
from recsys_assets.events.rules import only_polars
from recsys_assets.settings.reading import path_of_settings

State: TypeAlias = dict[str, tuple[int, int, int]]

PACKAGE: Final = Path(__file__).parents[1]
LARGEST_MESSAGE: Final = 1 << 20
READY: Final = b"ready"
CANCELLATION_SECONDS: Final = 1.0  # how often a run asks whether it is to be canceled
PRELOADED: Final = (
    "dagster._cli.api",
    "llvmlite.binding",
    "pyarrow.compute",
    "numpy.ma",
    "upath.core",
)
OWN_DEFINITIONS: Final = frozenset({"recsys_assets.definitions", "recsys_assets.dagster_defs.slices"})
# Threads that imports start and that hold no lock that a forked process needs: OpenBLAS and jemalloc prepare theirs for
# a fork, and Polars' cleaner of spilled files has nothing to do.
HARMLESS_THREADS: Final = frozenset({"python", "jemalloc_bg_thd", "polars-ooc-clea"})


def serve(requests: socket.socket) -> None:
    """Fork a process for each request, the serialized arguments of Dagster's `execute_run`, until the end of requests.

    The first message that it sends is `READY`. The answer to each request is a JSON object: `process` names the process
    of the run, as `describe_process` does; or `refused` says why this server cannot fork, e.g. since a file has changed
    that it had loaded, and no run was begun.
    """
    known = state_of_files()
    preload()
    requests.send(READY)
    loaded: list[object] = []
    while request := requests.recv(LARGEST_MESSAGE):
        _reap()
        arguments = read_arguments(request.decode())
        if changed := _changed(known):
            refusal = f"{changed} has changed since this fork server loaded it"
        else:
            if arguments.job_origin.repository_origin not in loaded:
                loaded.append(arguments.job_origin.repository_origin)
                _load(arguments)
                known = state_of_files() | known
                gc.freeze()  # what is never written to stays shared with the runs
            refusal = unsafe_threads()
        if refusal:
            requests.send(json.dumps({"refused": refusal}).encode())
        elif os.fork() == 0:
            _supervise(requests, request.decode(), arguments)


def preload() -> None:
    """Import what runs import late, and create the tables of an event log once, of which each run gets a copy."""
    for name in PRELOADED:
        importlib.import_module(name)
    with only_polars():
        importlib.import_module("pandera.polars")
    new_database()


def _load(arguments: RunArguments) -> None:
    """Load what a run needs, its definitions only if they depend on nothing but the package and the configuration.

    A project's own definitions may read other files, such as the YAML of components: its runs load them themselves.
    """
    import_instance_classes(arguments)
    if module_of(arguments) in OWN_DEFINITIONS:
        with suppress(Exception):  # the run loads them again and fails with the error
            load_definitions(arguments)


def describe_process(pid: int) -> str:
    """Return host, pid and start time of a process: a later process that is given the same pid differs in the last."""
    return f"{socket.gethostname()} {pid} {_start_time(pid)}"


def is_alive(description: str) -> bool:
    """Return whether a process that `describe_process` described is alive. One of another host is taken to be."""
    host, pid, started = description.split()
    return host != socket.gethostname() or _start_time(int(pid)) == int(started)


def state_of_files() -> State:
    """Return inode, size and time of change of the configuration, the package's files and loaded modules."""
    return {path: state for path in set(_files()) if (state := _state(path)) is not None}


def _files() -> Iterator[str]:
    yield os.fspath(path_of_settings())
    for folder, _, names in os.walk(PACKAGE):
        if not folder.endswith("__pycache__"):  # bytecode and machine code, which other processes write at any time
            yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118
    yield from (file for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None)))


def _state(path: str) -> tuple[int, int, int] | None:
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - thousands of them
        return status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _changed(known: State) -> str:
    """Return a file that is no longer in its known state, or a new one of the package, or ""."""
    now = state_of_files()
    gone_or_other = (path for path, state in known.items() if (now.get(path) or _state(path)) != state)
    new = (path for path in now if path not in known and path.startswith(f"{PACKAGE}{os.sep}"))
    return next(chain(gone_or_other, new), "")


def unsafe_threads() -> str:
    """Return why a fork is unsafe: a thread that may hold a lock. Empty if it is safe."""
    names = {thread.name for thread in threading.enumerate()} - {threading.main_thread().name}
    names |= {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()} - HARMLESS_THREADS
    return f"an import started threads, beside which a fork is unsafe: {', '.join(sorted(names))}" if names else ""


def _supervise(requests: socket.socket, request: str, arguments: RunArguments) -> NoReturn:
    """Fork the run, answer with its process, and report the run as failed if its process ends before it."""
    try:
        run = os.fork()
        if run == 0:
            requests.close()
            _execute(request, arguments)
        requests.send(json.dumps({"process": describe_process(run)}).encode())
        requests.close()
        _, status = os.waitpid(run, 0)
        if code := os.waitstatus_to_exitcode(status):
            _report(arguments, code)
    finally:
        os._exit(0)


def _execute(request: str, arguments: RunArguments) -> NoReturn:
    """Be the process of a run: execute it as Dagster's own command does, and end as an interpreter does."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        threading.Thread(target=_interrupt_when_canceled, args=[arguments], daemon=True).start()
        execute_run(request)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process ends here, with its error in the log
        traceback.print_exc()
    finally:
        with suppress(BaseException):
            atexit._run_exitfuncs()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as an interpreter does
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _interrupt_when_canceled(arguments: RunArguments) -> None:
    """Interrupt this process once its run is to be canceled: the request may come from another host."""
    pause = threading.Event()
    pause.wait(CANCELLATION_SECONDS)  # most runs of an operation have ended by then
    with open_instance(arguments) as instance:
        while not _is_canceled(instance, arguments.run_id):
            pause.wait(CANCELLATION_SECONDS)
    os.kill(os.getpid(), signal.SIGINT)


def _is_canceled(instance: DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.status in {DagsterRunStatus.CANCELING, DagsterRunStatus.CANCELED}


def _report(arguments: RunArguments, code: int) -> None:
    """Report a run as failed whose process ended too early with this exit code (negative: the number of a signal)."""
    cause = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    with open_instance(arguments) as instance:
        run = instance.get_run_by_id(arguments.run_id)
        if run is not None and not run.is_finished:
            instance.report_run_failed(run, f"The process of the run {cause}. Out of memory is a frequent cause.")


def _reap() -> None:
    """Remove supervisors that have ended from the table of processes."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _start_time(pid: int) -> int:
    """Return when a process began, in ticks since the start of the machine; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def main(words: list[Any]) -> None:
    """Serve the socket whose descriptor is the only argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the runs
    serve(socket.socket(fileno=int(words[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
