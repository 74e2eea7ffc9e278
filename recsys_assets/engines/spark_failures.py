"""Failures of Spark as errors of ours, and the state of a session after one."""

import os
import re
import shutil
from contextlib import suppress
from typing import Any

from recsys_assets.engines.libraries import require
from recsys_assets.errors import ConfigurationError, EngineUnavailableError

_FOREWORD = "An error occurred while calling"  # of what came over the bridge to Java; what matters comes after
# What Python on an executor raised stands last, below its traceback; of Java's errors the first line says most.
_OF_PYTHON = re.compile(r"(?!java|org|scala|py4j)[\w.]+(Error|Exception): ")
_GONE = "the driver's Java process is gone (killed, or out of memory)"
_ADDRESS = "INVALID_CONNECT_URL"  # what stands after it repeats the address, in which a token may be
_OTHER_SERVER = "INVALID_HANDLE"  # a Connect server that was restarted, or has forgotten the session


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
