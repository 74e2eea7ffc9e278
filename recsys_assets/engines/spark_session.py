"""A Spark session on an existing cluster, or on this machine: connected at first use, and again after a loss."""

import os
import re
import shutil
import socket
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from recsys_assets.engines.libraries import require
from recsys_assets.errors import ConfigurationError, EngineUnavailableError

_FOREWORD = "An error occurred while calling"  # of what came over the bridge to Java; what matters comes after
# What Python on an executor raised stands last, below its traceback; of Java's errors the first line says most.
_OF_PYTHON = re.compile(r"(?!java|org|scala|py4j)[\w.]+(Error|Exception): ")
_GONE = "the driver's Java process is gone (killed, or out of memory)"
_ADDRESS = "INVALID_CONNECT_URL"  # what stands after it repeats the address, in which a token may be
_OTHER_SERVER = "INVALID_HANDLE"  # a Connect server that was restarted, or has forgotten the session
_PORTS = {"spark": 7077, "sc": 15002}
_KNOCK_SECONDS = 10
APP = "recsys-assets"
_OURS: Mapping[str, str] = {
    "spark.app.name": APP,
    "spark.sql.session.timeZone": "UTC",
    # Sums of whole numbers that overflow are an error, not another number.
    "spark.sql.ansi.enabled": "true",
    # The best of many are held in memory only when they are few: room for all of max_items is taken beforehand.
    "spark.sql.execution.topKSortFallbackThreshold": "100000",
}


def spark_errors() -> tuple[type[BaseException], ...]:
    """Return the errors that mean that Spark, or the way to it, failed."""
    pyspark, py4j = require("pyspark.errors", extra="spark"), require("py4j.protocol", extra="spark")
    # An OSError is the end of the driver's process; pyspark asserts that it lives.
    return (pyspark.PySparkException, py4j.Py4JError, OSError, AssertionError)


def lost(where: object, error: BaseException, *, dead: bool = False) -> EngineUnavailableError:
    """Return the error that says what Spark said, and what to do; `where` is the cluster, `dead` if nobody is there."""
    bridge = require("py4j.protocol", extra="spark").Py4JNetworkError
    text = _GONE if dead and isinstance(error, (OSError, bridge)) else _text(error)
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(_FOREWORD)]
    last = next((line for line in reversed(lines) if _OF_PYTHON.match(line)), None)
    said = last or (lines[0] if lines else type(error).__name__)
    if _ADDRESS in text:
        said = f"{_ADDRESS}, engines.spark.remote is not of the form sc://host:port/;name=value;name=value"
    return EngineUnavailableError(
        f"Spark at {where} gave up: {said[:500]}; nothing was shipped and nothing that it wrote is read: look at the "
        "cluster's own log (executors lost, memory, disk), then run the day again"
    )


def check_java() -> None:
    """Raise `ConfigurationError` if the first driver of this process is yet to start and no Java is there for it."""
    contexts = require("pyspark", extra="spark").SparkContext
    started = contexts._gateway is not None or "PYSPARK_GATEWAY_PORT" in os.environ  # noqa: SLF001 - as pyspark asks
    if not started and not shutil.which(_java()):
        raise no_driver(f"no Java was found ({_java()})")


def no_driver(why: str = "") -> ConfigurationError:
    """Return the error of a driver that cannot be started on this machine."""
    why = why or f"{_java()} ended at once (it said why on stderr)"
    return ConfigurationError(
        f'engine = "spark" starts a driver here, and {why}: install Java 17 or newer (JAVA_HOME), or name a Spark '
        "Connect server in engines.spark.remote, which needs none"
    )


def _java() -> str:
    """Return the Java that Spark's scripts call."""
    home = os.environ.get("JAVA_HOME")
    return f"{home}/bin/java" if home else "java"


def let_go_if_dead(session: Any, error: BaseException) -> bool:
    """Forget a session whose driver, cluster or server is gone, so that whoever asks next gets a new one.

    Returns whether it was dead. `error` is what it failed with.
    """
    context = getattr(session, "_sc", None)  # of a driver that is a child of this process; Spark Connect has none
    if context is None:
        return _let_go_of_server(session, error)
    if forget_dead_driver():
        return True
    with suppress(Exception):
        if context._jsc.sc().isStopped():  # noqa: SLF001 - there is no public way to ask
            session.stop()
            return True
    return False


def forget_dead_driver() -> bool:
    """Let the next session start a driver if the one of this process has ended; return whether it had.

    pyspark would ask it for ever, and has no way out of that.
    """
    pyspark = require("pyspark", extra="spark")
    contexts, sessions = pyspark.SparkContext, require("pyspark.sql", extra="spark").SparkSession
    process = getattr(contexts._gateway, "proc", None)  # noqa: SLF001 - there is no public way to ask
    if process is None or process.poll() is None:
        return False
    with suppress(OSError):
        process.stdin.close()
    context = contexts._active_spark_context  # noqa: SLF001
    if context is not None:
        context._jsc = None  # noqa: SLF001 - nobody is there to be stopped
        context.stop()
    contexts._gateway = contexts._jvm = None  # noqa: SLF001
    sessions._instantiatedSession = sessions._activeSession = None  # noqa: SLF001
    return True


def _let_go_of_server(session: Any, error: BaseException) -> bool:
    message = _text(error)
    if _OTHER_SERVER not in message and "UNAVAILABLE" not in message:
        return False
    with suppress(Exception):
        session.client.close()  # without a word to the server: asking it again and again takes minutes
    return True


def _text(error: BaseException) -> str:
    """Return what an error says; one from Java asks the driver's process for its text, which may be gone."""
    try:
        return str(error)
    except OSError:
        return f"{type(error).__name__}: {_GONE}"


@dataclass(frozen=True, slots=True)
class SparkCluster:
    """Where Spark is: `master` (spark://, k8s://, yarn, local[n]) or `remote` (sc://, Spark Connect), and its settings.

    Neither means what SPARK_REMOTE, MASTER or spark-defaults.conf say, as for every Spark program.
    """

    master: str | None = None
    remote: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict[str, str])
    patience_minutes: float = 240  # a job that takes longer is cancelled: without executors Spark waits for ever

    def __post_init__(self) -> None:
        if self.master and self.remote:
            raise ConfigurationError("engines.spark has both master and remote: name the one that is meant")

    def __str__(self) -> str:
        server = (self.remote or "").partition(";")[0].rstrip("/")  # a token may follow, which is nobody's business
        return server or self.master or "the cluster of spark-defaults.conf"


def connect(cluster: SparkCluster) -> Any:
    """Return the session of a cluster; the one of this process if it is alive.

    Raises `EngineUnavailableError` if the cluster does not answer, `ConfigurationError` without pyspark or Java.
    """
    sql = require("pyspark.sql", extra="spark")
    forget_dead_driver()
    if cluster.remote or sql.SparkSession.getActiveSession() is None:
        _knock(cluster)
    if not cluster.remote:
        check_java()
        os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)  # where pyspark keeps that a session before was remote
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
def patiently(cluster: SparkCluster, session: Any) -> Generator[None]:
    """Cancel what runs in the session when patience ends, which then fails as any job does that was cancelled."""
    timer = threading.Timer(cluster.patience_minutes * 60, _cancel, [session])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _with_python(cluster: SparkCluster, session: Any) -> Any:
    """Return the session, whose executors run the Python that is named: here this one, else python3 on their path.

    pyspark itself heeds PYSPARK_PYTHON only; a Connect server has a Python of its own.
    """
    here = sys.executable if (cluster.master or "").startswith("local") else None
    python = cluster.conf.get("spark.pyspark.python") or os.environ.get("PYSPARK_PYTHON") or here
    if python and not cluster.remote:
        session.sparkContext.pythonExec = python
    return session


def _knock(cluster: SparkCluster) -> None:
    """Raise at once if nobody listens where the cluster should be: Spark itself would ask for a minute or more."""
    scheme, _, rest = (cluster.remote or cluster.master or "").partition("://")
    if scheme not in {"spark", "sc"}:
        return
    last: OSError | None = None
    for address in rest.partition("/")[0].split(","):
        host, _, port = address.partition(":")
        try:
            socket.create_connection((host, int(port or _PORTS[scheme])), timeout=_KNOCK_SECONDS).close()
        except OSError as error:
            last = error
        else:
            return
    raise lost(cluster, last or OSError("no address")) from last


def _cancel(session: Any) -> None:
    with suppress(Exception):  # the cluster may be gone, which the job then says itself
        if hasattr(session, "_sc"):
            session.sparkContext.cancelAllJobs()
        else:
            session.interruptAll()
