"""Processes of their own that begin with the package imported: each is forked from one that is kept ready.

`start` and `run` take what `subprocess.Popen` and `subprocess.run` take, for command lines of this Python only
(`-c CODE`, `-m MODULE` or `SCRIPT`), and give what those give: a child of the caller with a pid, pipes and signals.
Only the seconds of the imports are saved, so what is about a start itself is not for them.
"""

import array
import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
from functools import cache
from pathlib import Path

from recsys_assets.compiled import runtime

# What a program reads while it is imported: with another value it begins as any other.
READ_AT_IMPORT = ("PYTHON", "NUMBA", "POLARS", "OMP", "OPENBLAS", "MKL")
READY = (
    "boto3",
    "dagster._core.storage.sqlite_storage",
    "numba",
    "recsys_assets.cli.change_commands",
    "recsys_assets.cli.main",
    "recsys_assets.cli.recorded_run",
    "recsys_assets.cli.run",
    "recsys_assets.cli.show",
    "recsys_assets.dagster_defs.assemble",
    "recsys_assets.dagster_defs.queue",
    "recsys_assets_tests.release.acting",
)
_PR_SET_CHILD_SUBREAPER = 36
_LARGEST_REQUEST = 1 << 20


class _WarmProcess(subprocess.Popen):
    """A process that is forked from the ready one, and adopted by this one."""

    def _execute_child(self, args, *rest):
        """Begin it where `subprocess` would fork: the order of what it hands over is that of Python 3.11 and 3.12."""
        cwd, env = rest[4:6]
        pipes, session = rest[9:15], rest[20]
        given = pipes[0], pipes[3], pipes[5]
        streams = [usual if stream == -1 else stream for usual, stream in enumerate(given)]
        words, environment = list(args[1:]), dict(os.environ if env is None else env)
        request = {"words": words, "cwd": str(cwd or Path.cwd()), "env": environment, "session": session}
        self.pid = _ready_process().fork(request, streams)
        self._child_created = True
        self._close_pipe_fds(*pipes)


class _ReadyProcess:
    """The process that all others are forked from, and the socket it listens to."""

    def __init__(self):
        self._lock = threading.Lock()
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self._socket, other):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_REQUEST)
        program = f"from {__name__} import serve; serve({other.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program], pass_fds=[other.fileno()], cwd=Path(__file__).parents[1]
        )
        other.close()
        atexit.register(self._end)

    def fork(self, request, streams):
        """Have a process made that this one is the parent of, as the next above it that takes orphans."""
        with self._lock:
            _take_orphans(on=True)
            try:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
                self._socket.sendmsg([json.dumps(request).encode(errors="surrogateescape")], rights)
                answer = self._socket.recv(64)
            finally:
                _take_orphans(on=False)
        if not answer:
            raise RuntimeError("the ready process has ended; what it printed stands above")
        return int(answer)

    def _end(self):
        self._socket.close()
        self._process.wait(10)


def start(line, **how):
    """Begin a process as `subprocess.Popen` does."""
    kind = _WarmProcess if _may_be_forked(line, how.get("env")) else subprocess.Popen
    return kind([os.fspath(word) for word in line], **how)


def run(line, *, timeout=None, input=None, check=False, capture_output=False, **how):  # noqa: A002 - as subprocess.run
    """Begin a process and wait for its end, as `subprocess.run` does."""
    if capture_output:
        how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        how["stdin"] = subprocess.PIPE
    with start(line, **how) as process:
        try:
            output, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(line, process.returncode, output, errors)
    if check:
        done.check_returncode()
    return done


def serve(descriptor):
    """Wait for requests and fork a process for each, until the other end is closed."""
    for name in READY:
        importlib.import_module(name)
    runtime._import_numba()  # the part of it that compiled code needs
    from recsys_assets.dagster_defs.fork_server import preload, unsafe_threads  # noqa: PLC0415 - loads Dagster

    preload()
    if refusal := unsafe_threads():
        raise RuntimeError(refusal)
    gc.freeze()
    listening = socket.socket(fileno=descriptor)
    while True:
        message, rights, _flags, _address = listening.recvmsg(_LARGEST_REQUEST, socket.CMSG_SPACE(12))
        if not message:
            return
        request = json.loads(message)
        streams = array.array("i", rights[0][2])
        reading, writing = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child == 0:
                os.close(reading)
                os.close(writing)
                listening.close()
                _become(request, streams)
            os.write(writing, str(child).encode())
            os._exit(0)
        os.waitpid(between, 0)
        listening.send(os.read(reading, 64))
        for used in (reading, writing, *streams):
            os.close(used)


def _become(request, streams):
    """Be the process that was asked for, in its folder, with its streams and its environment, to its end."""
    if request["session"]:
        os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        if stream > 2:
            os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # one that began in the background ignores it
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # children inherit one that is ignored
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    code = _run(*request["words"])
    threading._shutdown()  # wait for threads, then call what is registered, as an interpreter that ends
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to free two thousand modules one by one takes longer than most programs here


def _run(option, *words):
    """Run a program as the interpreter's own command line does; return its exit code."""
    try:
        if option == "-c":
            code, *words = words
            sys.argv = ["-c", *words]
            sys.path.insert(0, "")
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102 - as python -c
        elif option == "-m":
            sys.argv = list(words)
            sys.path.insert(0, "")
            sys.modules.pop(words[0], None)
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [option, *words]
            sys.path.insert(0, str(Path(option).resolve().parent))
            runpy.run_path(option, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return end.code or 0
        sys.stderr.write(f"{end.code}\n")
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        traceback.print_exc()
        sys.stderr.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - as the interpreter itself
        traceback.print_exc()
        return 1
    return 0


def _may_be_forked(line, env):
    """Return whether a line is one of this Python's, on Linux, and in an environment that imports read alike."""
    given = os.environ if env is None else env

    def read(environment):
        return {name: value for name, value in environment.items() if name.startswith(READ_AT_IMPORT)}

    return sys.platform == "linux" and line[0] == sys.executable and read(given) == read(os.environ)


@cache
def _ready_process():
    return _ReadyProcess()


def _take_orphans(*, on):
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
