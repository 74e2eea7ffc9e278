"""A Spark session on an existing cluster, or on this machine: connected at first use, and again after a loss."""

import os
import socket
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from recsys_assets.engines.libraries import require
from recsys_assets.engines.spark_failures import check_java, forget_dead_driver, lost, no_driver, spark_errors
from recsys_assets.errors import ConfigurationError

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
    message = cluster.conf.get("spark.pyspark.python") or os.environ.get("PYSPARK_PYTHON") or here
    if message and not cluster.remote:
        session.sparkContext.pythonExec = message
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
