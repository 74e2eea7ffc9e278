"""Spark Connect: the canary and a golden case over sc://, without a Java in the process that asks (F33)."""

import os
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from recsys_assets.engines.building import prove_engine
from recsys_assets.engines.spark_engine import ArrowFiles, OwnFiles, SparkEngine
from recsys_assets.engines.spark_session import SparkCluster, connect, lost
from recsys_assets.errors import ConfigurationError, EngineUnavailableError
from recsys_assets.kinds.registry import KINDS
from recsys_assets_tests.engines.made import by_kernel, on_engine
from recsys_assets_tests.engines.spark_cluster import (
    HOME,
    LIGHT,
    free_port,
    home_of_wheel,
    need_java,
    start_connect_server,
)
from recsys_assets_tests.kinds.golden_cases import find_case
from recsys_assets_tests.thoroughness import THOROUGH

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server, and a process that would find no Java if it looked for one."""
    need_java()
    port = free_port()
    started = start_connect_server(tmp_path_factory.mktemp("connect") / "log", port)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("JAVA_HOME", raising=False)
        environment.setenv("PATH", "")
        yield SparkCluster(remote=f"sc://127.0.0.1:{port}/;user_id=nobody"), started
        started.kill()
        started.wait()
    os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)


OWN = pytest.param("cooc", OwnFiles(), id="own")
ARROW = pytest.param("implicit", ArrowFiles(), id="arrow")  # as the golden case


@pytest.mark.parametrize(("kind", "files"), [OWN, ARROW] if THOROUGH else [OWN])
def test_spark_connect_proves_itself_on_the_canary(server, kind, files, tmp_path):
    prove_engine(SparkEngine(server[0], files=files), KINDS[kind], work=str(tmp_path), proven=set())
    assert list((tmp_path / "canary").iterdir()) == []


def test_a_golden_case_has_the_same_version_over_spark_connect(server, tmp_path):
    golden = find_case("edge")
    source, params = golden.source("session_seq"), golden.params("session_seq")
    engine = SparkEngine(server[0], files=ArrowFiles())
    made = on_engine(engine, "session_seq", [source], params, tmp_path, target=golden.target, window=golden.window)
    assert made == by_kernel("session_seq", source, params, target=golden.target, window=golden.window)
    assert made.blob.ref.version == golden.case["versions"]["session_seq"]


def test_f33_a_server_that_is_gone_is_reported_and_what_follows_its_address_is_not(server, tmp_path):
    """Last of those that need the server."""
    cluster, process = server
    session = connect(cluster)
    process.kill()
    process.wait()
    with pytest.raises(EngineUnavailableError, match=r"sc://127\.0\.0\.1:\d+ failed: .*Connection refused") as message:
        prove_engine(SparkEngine(cluster, files=ArrowFiles()), KINDS["popularity"], work=str(tmp_path), proven=set())
    assert "nobody" not in str(message.value)
    assert session.is_stopped, "pyspark would ask the dead server for ten minutes when this process ends"


def test_an_address_that_spark_does_not_take_is_not_repeated():
    from pyspark.errors import PySparkException  # noqa: PLC0415 - a second that only this file needs
    from pyspark.sql.connect.client import DefaultChannelBuilder  # noqa: PLC0415

    remote = "sc://127.0.0.1:15002/;token=half;of-a-secret"
    with pytest.raises(PySparkException, match="of-a-secret") as refused:
        DefaultChannelBuilder(remote)
    message = str(lost(SparkCluster(remote=remote), refused.value))
    assert "INVALID_CONNECT_URL" in message
    assert "secret" not in message


def test_a_driver_without_java_says_how_to_get_one(monkeypatch, tmp_path):
    from pyspark import SparkContext  # noqa: PLC0415

    if SparkContext._gateway:
        SparkContext._gateway.proc.kill()
        SparkContext._gateway.proc.wait()
    monkeypatch.setenv("PATH", str(tmp_path))
    for home in ("", str(tmp_path)):
        monkeypatch.setenv("JAVA_HOME", home)
        with pytest.raises(ConfigurationError, match=r"Java was not found.*Java 17 or newer.*engines\.spark\.remote"):
            connect(SparkCluster(master="local[1]", conf=LIGHT))


def test_the_java_of_the_wheel_takes_what_spark_asks_of_one(tmp_path):
    java = home_of_wheel(tmp_path) / "bin" / "java"
    message = subprocess.run(
        [java, "--add-modules=jdk.incubator.vector", "-Dtext=two words", "-version"], capture_output=True, check=True
    )
    assert b"openjdk version" in message.stderr


def test_the_server_for_kubernetes_is_valid_and_names_secrets_that_are_created():
    objects = list(yaml.safe_load_all((KUBERNETES / "spark-connect.yaml").read_text()))
    for one in objects:
        kubernetes_validate.validate(one, "1.37.0", strict=True)
    (container,) = next(one for one in objects if one["kind"] == "Deployment")["spec"]["template"]["spec"]["containers"]
    script = HOME / "sbin" / Path(container["command"][0]).name
    assert "--wait" in script.read_text()
    keys = [one.rpartition("=")[2] for one in container["args"] if "secretKeyRef" in one]
    message = (KUBERNETES / "recsys.yaml").read_text()
    assert keys == ["recsys-secrets:AWS_ACCESS_KEY_ID", "recsys-secrets:AWS_SECRET_ACCESS_KEY"]
    assert all(f"--from-literal={key.rpartition(':')[2]}=" in message for key in keys)
