"""Real servers that sinks write to: Redis from the machine, DynamoDB by moto's server, one of each for the session."""

import secrets
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import boto3
import pytest
import redis
from moto.server import ThreadedMotoServer

from recsys_assets.artifact_format import shard_of
from recsys_assets.errors import ConflictError
from recsys_assets.identity import Target
from recsys_assets.release.document_encoding import decode
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets.sinks.dynamodb import DynamoSink
from recsys_assets.sinks.redis import RedisSink
from recsys_assets.sinks.spaces import SinkPointer
from recsys_assets.sinks.sync import SinkRules, sync_target
from recsys_assets.storage.memory import MemoryStore

TARGET = Target("shop", "home")
TABLE = "recommendations"


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    """The URL of a Redis server that keeps nothing."""
    if shutil.which("redis-server") is None:
        pytest.skip("no `redis-server` program: apt-get install redis-server")
    folder = tmp_path_factory.mktemp("redis")
    with running_redis(folder) as url:
        yield url


class running_redis:  # noqa: N801 - used as a function is
    """A Redis server of its own that listens on a socket in a folder, and ends with the block."""

    def __init__(self, folder, *options):
        self.folder, self.options = folder, options

    def __enter__(self):
        place = ["--unixsocket", str(self.folder / "socket"), "--dir", str(self.folder)]
        if "--port" not in self.options:
            place += ["--port", "0"]
        command = ["redis-server", *place, "--save", "", "--appendonly", "no", "--daemonize", "no", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        url = f"unix://{self.folder / 'socket'}"
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(redis.RedisError, OSError), redis.Redis.from_url(url) as client:
                if client.ping():
                    return url
            time.sleep(0.01)
        raise RuntimeError("redis-server did not begin to answer")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="session")
def dynamo_endpoint():
    """Where a DynamoDB by moto listens, with the table in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(endpoint).items():
            patch.setenv(name, value)
        boto3.session.Session().client("dynamodb").create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        )
    yield endpoint
    server.stop()


def environment(endpoint):
    return {
        "AWS_ENDPOINT_URL_DYNAMODB": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@pytest.fixture
def dynamo(dynamo_endpoint, monkeypatch):
    """The environment by which that server is found."""
    for name, value in environment(dynamo_endpoint).items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def dynamo_sink(dynamo_endpoint):
    """A sink on that server: to make a client takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(dynamo_endpoint).items():
            patch.setenv(name, value)
        return DynamoSink(TABLE, region=None, what="sinks.online", pause=lambda _: None)


@pytest.fixture
def redis_place(redis_url):
    """A shop in memory, and a sink on Redis that it is written to: for what no database can change."""
    return Place(RedisSink(redis_url, what="sinks.online"))


@pytest.fixture(params=["redis", "dynamodb"])
def place(request):
    """The same on each database."""
    if request.param == "redis":
        return request.getfixturevalue("redis_place")
    return Place(request.getfixturevalue("dynamo_sink"))


@dataclass
class Watched:
    """A real sink whose every call is counted, and may be broken off or answered by another writer first."""

    sink: object
    calls: list = field(default_factory=list)
    before: object = None  # called with the verb's name and its number
    after: object = None

    def __getattr__(self, name):
        verb = getattr(self.sink, name)

        def call(*words, **named):
            number = len(self.calls)
            self.calls.append(name)
            if self.before:
                self.before(name, number)
            found = verb(*words, **named)
            if self.after:
                self.after(name, number)
            return found

        return call


@dataclass
class Place:
    """A store, a sink under a prefix of its own, and what a service that reads the sink finds."""

    sink: object
    store: object = field(default_factory=MemoryStore)
    prefix: str = field(default_factory=lambda: f"t{secrets.token_hex(6)}")
    rules: dict = field(default_factory=dict)
    at: datetime = datetime(2026, 3, 1, tzinfo=UTC)

    def now(self):
        self.at += timedelta(seconds=1)
        return self.at

    def ship(self, n, rows=None, **more):
        """Ship the n-th day; every row of it names n."""
        day = DAY + timedelta(days=n)
        return publish_fixture(self.store, "shop", "home", rows or rows_of(n), day=day, now=self.now, **more).release

    def sync(self, sink=None, **more):
        rules = {"name": "online", "prefix": self.prefix, "kinds": (), "keep": 7, "grace": timedelta(hours=24)}
        return sync_target(
            sink or self.sink, self.store, TARGET, SinkRules(**(rules | self.rules)), now=self.now, **more
        )

    @property
    def key(self):
        return f"{self.prefix}:{quote('shop', safe='')}:{quote('home', safe='')}:current"

    def check_swaps(self):
        """A swap takes what was read, or finds that it was made already."""
        self.sink.swap_pointer(self.key, b"a", expected=None)
        self.sink.swap_pointer(self.key, b"a", expected=None)  # sent twice, because the first reply was lost
        with pytest.raises(ConflictError):
            self.sink.swap_pointer(self.key, b"b", expected=None)
        self.sink.swap_pointer(self.key, b"b", expected=b"a")
        with pytest.raises(ConflictError):
            self.sink.swap_pointer(self.key, b"c", expected=b"a")
        assert self.sink.read_pointer(self.key) == b"b"

    def pointer(self):
        """What services read first."""
        data = self.sink.read_pointer(self.key)
        return None if data is None else decode(data, SinkPointer, name="pointer")

    def row(self, kind, key, *, space=None):
        """One row, as docs/how-to/sinks.md says that a service finds it."""
        space = space or self.pointer().kinds[kind]
        return self.sink.read_bucket(f"{space.name}:{shard_of(key, space.buckets)}").get(key)

    def serves(self):
        """The days that the rows of all kinds name: one, unless releases were mixed or rows are missing."""
        pointer = self.pointer()
        if pointer is None or not pointer.kinds:
            return None
        texts = [self.row("popularity", "0"), self.row("cooc", "item"), self.row("content_sim", "item")]
        return {next((n for n in range(9) if text and f"day {n}".encode() in text), None) for text in texts}


def rows_of(n):
    more = {f"item {m}": {f"day {n}": 1 + m} for m in range(20)}
    return {
        "popularity": {f"day {n}": 7, "other": 1},
        "cooc": {"item": {f"day {n}": 3}, **more},
        "content_sim": {"item": [f"day {n}"]},
    }
