"""A Spark session on an existing cluster, or on this machine: connected when first needed, anew after it was lost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recsys_assets.engines.libraries import require
from recsys_assets.errors import ConfigurationError, EngineUnavailableError

APP = "recsys-assets"
_OURS: Mapping[str, str] = {
    "spark.app.name": APP,
    "spark.sql.session.timeZone": "UTC",
    # Sums of whole numbers that overflow are an error, not another number.
    "spark.sql.ansi.enabled": "true",
}


@dataclass(frozen=True, slots=True)
class SparkCluster:
    """Where Spark is: `master` (spark://, k8s://, yarn, local[n]) or `remote` (sc://, Spark Connect), and its settings.

    Neither means what SPARK_REMOTE, MASTER or spark-defaults.conf say, as for every Spark program.
    """

    master: str | None = None
    remote: str | None = None
    conf: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if self.master and self.remote:
            raise ConfigurationError("engines.spark has both master and remote: name the one that is meant")

    def __str__(self) -> str:
        return self.remote or self.master or "the cluster of spark-defaults.conf"


def connect(cluster: SparkCluster) -> Any:
    """Return the session of a cluster; the one of this process if it is alive.

    Raises `EngineUnavailableError` if the cluster does not answer, `ConfigurationError` without pyspark or Java.
    """
    sql = require("pyspark.sql", extra="spark")
    builder = sql.SparkSession.builder
    builder = builder.remote(cluster.remote) if cluster.remote else builder
    builder = builder.master(cluster.master) if cluster.master else builder
    for key, value in {**_OURS, **cluster.conf}.items():
        builder = builder.config(key, value)
    errors = require("pyspark.errors", extra="spark")
    try:
        return builder.getOrCreate()
    except errors.PySparkRuntimeError as error:
        if "JAVA_GATEWAY" not in (error.getCondition() or ""):
            raise lost(cluster, error) from error
        raise ConfigurationError(
            'engine = "spark" starts a driver here and no Java was found: install Java 17 or newer (JAVA_HOME), or '
            "name a Spark Connect server in engines.spark.remote, which needs none"
        ) from error
    except spark_errors() as error:
        raise lost(cluster, error) from error


def spark_errors() -> tuple[type[BaseException], ...]:
    """Return the errors that mean that Spark, or the way to it, failed."""
    pyspark, py4j = require("pyspark.errors", extra="spark"), require("py4j.protocol", extra="spark")
    # An OSError is the end of the driver's process; pyspark asserts that it lives.
    return (pyspark.PySparkException, py4j.Py4JError, OSError, AssertionError)


def lost(cluster: SparkCluster, error: BaseException) -> EngineUnavailableError:
    """Return the error that says what Spark said, and what to do."""
    said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return EngineUnavailableError(
        f"Spark at {cluster} gave up: {said[:500]}; nothing was shipped and nothing that it wrote is read: look at the "
        "cluster's own log (executors lost, memory, disk), then run the day again"
    )
