"""Spark sessions on an existing cluster or on this machine: connected on first use, and reconnected after a loss."""

import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from recsys_assets.engines.libraries import require
from recsys_assets.errors import ConfigurationError, EngineUnavailableError

_FOREWORD = "An error occurred while calling"  # First line of Java errors. The relevant text follows.
# Python errors of executors are at the end, after the traceback. Of Java errors the first line is relevant.
_OF_PYTHON = re.compile(r"(?!java|org|scala|py4j)[\w.]+(Error|Exception): ")
_GONE = "the driver's Java process is gone (killed, or out of memory)"
_ADDRESS = "INVALID_CONNECT_URL"  # the text after it repeats the URL, which may contain a token
_OTHER_SERVER = "INVALID_HANDLE"  # a Connect server was restarted or dropped the session
_PORTS = {"spark": 7077, "sc": 15002}
_CONNECT_TIMEOUT_SECONDS = 10
_CANCEL_AGAIN_SECONDS = 1.0
APP = "recsys-assets"
_OURS: Mapping[str, str] = {
    "spark.app.name": APP,
    "spark.sql.session.timeZone": "UTC",
    # Integer overflow is an error instead of a wrong number.
    "spark.sql.ansi.enabled": "true",
    # Top-k results are kept in memory only if few, because Spark allocates max_items rows in advance.
    "spark.sql.execution.topKSortFallbackThreshold": "100000",
}


def spark_errors() -> tuple[type[BaseException], ...]:
    """Return the exception types of failures of Spark or of the connection to it."""
    pyspark, py4j = require("pyspark.errors", extra="spark"), require("py4j.protocol", extra="spark")
    # An OSError means that the driver process ended. pyspark asserts that it runs.
    return (pyspark.PySparkException, py4j.Py4JError, OSError, AssertionError)


def lost(where: object, error: BaseException, *, dead: bool = False) -> EngineUnavailableError:
    """Return the error for a Spark failure with the remedy. `where` is the cluster. `dead`: the driver has ended."""
    bridge = require("py4j.protocol", extra="spark").Py4JNetworkError
    text = _GONE if dead and isinstance(error, (OSError, bridge)) else _text(error)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(_FOREWORD)]
    last = next((line for line in reversed(lines) if _OF_PYTHON.match(line)), None)
    reason = last or (lines[0] if lines else type(error).__name__)
    if _ADDRESS in text:
        reason = f"{_ADDRESS}, engines.spark.remote does not have the format sc://host:port/;name=value;name=value"
    return EngineUnavailableError(
        f"Spark at {where} failed: {reason[:500]}; nothing was shipped, and its output is discarded: check the "
        "cluster's log (lost executors, memory, disk), then run the day again"
    )


def check_java() -> None:
    """Raise `ConfigurationError` if a driver must be started in this process and Java is missing."""
    contexts = require("pyspark", extra="spark").SparkContext
    started = contexts._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ  # noqa: SLF001 - as pyspark checks
    if not started and not shutil.which(_java()):
        raise no_driver(f"Java was not found ({_java()})")


def no_driver(reason: str = "") -> ConfigurationError:
    """Return the error of a driver that cannot be started on this machine."""
    reason = reason or f"{_java()} exited at once (see stderr)"
    return ConfigurationError(
        f'engine = "spark" starts a driver here, but {reason}: install Java 17 or newer (JAVA_HOME), or set '
        "engines.spark.remote to a Spark Connect server, which needs no Java"
    )


def _java() -> str:
    """Return the Java that Spark's scripts call."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def discard_if_dead(session: Any, error: BaseException) -> bool:
    """Discard a session whose driver, cluster or server is gone, so that the next caller gets a new one.

    Returns whether it was dead. `error` is the error of the failed call.
    """
    context = getattr(session, "_sc", None)  # Set if the driver is a child process. Spark Connect has none.
    if context is None:
        return _discard_server_session(session, error)
    if forget_dead_driver():
        return True
    with suppress(Exception):
        if context._jsc.sc().isStopped():  # noqa: SLF001 - no public API
            session.stop()
            return True
    return False


def forget_dead_driver() -> bool:
    """Reset pyspark if the driver of this process has ended, so that the next session starts one. Returns whether so.

    Otherwise pyspark would wait for the dead driver forever.
    """
    pyspark = require("pyspark", extra="spark")
    contexts, sessions = pyspark.SparkContext, require("pyspark.sql", extra="spark").SparkSession
    process = getattr(contexts._gateway, "proc", None)  # noqa: SLF001 - no public API
    if process is None or process.poll() is None:
        return False
    with suppress(OSError):
        process.stdin.close()
    context = contexts._active_spark_context  # noqa: SLF001
    if context is not None:
        context._jsc = None  # noqa: SLF001 - no process to stop
        context.stop()
    contexts._gateway = contexts._jvm = None  # noqa: SLF001
    sessions._instantiatedSession = sessions._activeSession = None  # noqa: SLF001
    return True


def _discard_server_session(session: Any, error: BaseException) -> bool:
    message = _text(error)
    if _OTHER_SERVER not in message and "UNAVAILABLE" not in message:
        return False
    _close_client(session)
    return True


def _close_client(session: Any) -> None:
    """Close the client of a Connect session, if it is one, without a request.

    pyspark would retry a request for minutes, also when the process ends.
    """
    with suppress(Exception):
        session.client.close()


def _text(error: BaseException) -> str:
    """Return the text of an error. Java errors read it from the driver process, which may have ended."""
    try:
        return str(error)
    except OSError:
        return f"{type(error).__name__}: {_GONE}"


class SparkCluster(msgspec.Struct, frozen=True):
    """Spark cluster: `master` (spark://, k8s://, yarn, local[n]) or `remote` (sc://, Spark Connect), and its settings.

    Without either, SPARK_REMOTE, MASTER or spark-defaults.conf apply, as for every Spark program.
    """

    master: str | None = None
    remote: str | None = None
    conf: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    patience_minutes: float = 240  # longer jobs are cancelled, because without executors Spark waits forever

    def __post_init__(self) -> None:
        if self.master and self.remote:
            raise ConfigurationError("engines.spark has both master and remote: keep only one")

    def __str__(self) -> str:
        server = (self.remote or "").partition(";")[0].rstrip("/")  # a token, which must stay secret, may follow
        return server or self.master or "the cluster of spark-defaults.conf"


def connect(cluster: SparkCluster) -> Any:
    """Return the session of a cluster, or the existing one of this process if it is alive.

    Raises `EngineUnavailableError` if the cluster cannot be reached, `ConfigurationError` without pyspark or Java.
    """
    sql = require("pyspark.sql", extra="spark")
    forget_dead_driver()
    session = sql.SparkSession.getActiveSession()
    if cluster.remote or session is None:
        try:
            _check_reachable(cluster)
        except EngineUnavailableError:
            _close_client(session)
            raise
    if not cluster.remote:
        check_java()
        os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)  # set by pyspark after a remote session
    builder = sql.SparkSession.builder
    builder = builder.remote(cluster.remote) if cluster.remote else builder
    builder = builder.master(cluster.master) if cluster.master else builder
    for key, value in {**_OURS, **cluster.conf}.items():
        builder = builder.config(key, value)
    errors = require("pyspark.errors", extra="spark")
    try:
        return _with_python(cluster, builder.getOrCreate())
    except errors.PySparkRuntimeError as error:
        if "JAVA_GATEWAY" not in (error.getCondition() or ""):
            raise lost(cluster, error) from error
        raise no_driver() from error
    except spark_errors() as error:
        raise lost(cluster, error) from error


@contextmanager
def with_timeout(cluster: SparkCluster, session: Any) -> Generator[None]:
    """Cancel the jobs of the session after `patience_minutes`, and those that it starts later. They fail as cancelled.

    Between two jobs there is nothing to cancel while the driver plans the next one, so one attempt is not enough.
    """
    ended = threading.Event()

    def cancel_until_ended() -> None:
        pause = cluster.patience_minutes * 60
        while not ended.wait(pause):
            _cancel(session)
            pause = _CANCEL_AGAIN_SECONDS

    watcher = threading.Thread(target=cancel_until_ended, name="spark-timeout", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join(_CONNECT_TIMEOUT_SECONDS)


def _with_python(cluster: SparkCluster, session: Any) -> Any:
    """Return the session with its executors' Python set: configured, this one if local, else python3 on their path.

    pyspark itself uses only PYSPARK_PYTHON. A Connect server uses its own Python.
    """
    here = sys.executable if (cluster.master or "").startswith("local") else None
    python = cluster.conf.get("spark.pyspark.python") or os.environ.get("PYSPARK_PYTHON") or here
    if python and not cluster.remote:
        session.sparkContext.pythonExec = python
    return session


def _check_reachable(cluster: SparkCluster) -> None:
    """Raise at once if the cluster's port is closed, because Spark itself retries for a minute or more."""
    scheme, _, rest = (cluster.remote or cluster.master or "").partition("://")
    if scheme not in {"spark", "sc"}:
        return
    last: OSError | None = None
    for address in rest.partition("/")[0].split(","):
        host, _, port = address.partition(":")
        try:
            socket.create_connection((host, int(port or _PORTS[scheme])), timeout=_CONNECT_TIMEOUT_SECONDS).close()
        except OSError as error:
            last = error
        else:
            return
    raise lost(cluster, last or OSError("no address")) from last


def _cancel(session: Any) -> None:
    with suppress(Exception):  # if the cluster is gone, the job itself fails
        if hasattr(session, "_sc"):
            session.sparkContext.cancelAllJobs()
        else:
            session.interruptAll()
