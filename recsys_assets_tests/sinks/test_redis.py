"""A sink in Redis, what is its own: errors, servers that lose keys, clusters; and writers that are killed."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import redis

from recsys_assets.errors import ConfigurationError, StoreUnavailableError
from recsys_assets.release.fault_points import VARIABLE
from recsys_assets.settings.outputs import SinkSettings
from recsys_assets.sinks import sink as sinks
from recsys_assets.sinks.redis import RedisSink
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests import warm_processes
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.sinks.conftest import Place, rows_of, running_redis

pytestmark = pytest.mark.slow
SYNC = """
import sys
from datetime import UTC, datetime, timedelta
from recsys_assets.identity import Target
from recsys_assets.sinks.redis import RedisSink
from recsys_assets.sinks.sync import SinkRules, sync_target
from recsys_assets.storage.filesystem import FilesystemStore
root, url, prefix = sys.argv[1:]
rules = SinkRules("online", prefix, (), 1, timedelta(0))
sink = RedisSink(url, what="online")
print(sync_target(sink, FilesystemStore(root), Target("shop", "home"), rules, now=lambda: datetime.now(UTC)).state)
"""


@pytest.fixture
def stored(tmp_path, redis_url):
    """A shop in a folder, for processes, and a sink that follows its first day."""
    found = Place(RedisSink(redis_url, what="sinks.online"), store=FilesystemStore(tmp_path / "store"))
    found.ship(0)
    found.sync()
    found.ship(1)
    return found


def begin(place, root, url, point=""):
    command = [sys.executable, "-c", SYNC, str(root), url, place.prefix]
    return warm_processes.start(command, env=os.environ | {VARIABLE: point}, stdout=-1, text=True)


@pytest.mark.parametrize(
    ("point", "served"),
    [
        ("sink.after_buckets", {0}),
        ("sink.before_switch", {0}),
        ("sink.after_switch", {1}),
        ("sink.after_delete", {1}),
    ],
)
def test_killed_anywhere_services_read_one_whole_release_and_the_next_one_goes_on(
    stored, tmp_path, redis_url, point, served
):
    with begin(stored, tmp_path / "store", redis_url, point) as child:
        assert child.wait(60) == -signal.SIGKILL
    assert stored.serves() == served
    with begin(stored, tmp_path / "store", redis_url) as child:
        assert child.communicate(timeout=60)[0].strip() in {"switched", "unchanged"}
    assert stored.serves() == {1}
    with redis.Redis.from_url(redis_url) as client:
        assert len(list(client.scan_iter(f"{stored.prefix}:*"))) == 4  # the pointer, and a bucket of each kind


def test_a_sync_killed_while_it_writes_is_completed_by_the_next_one_row_by_row(stored, tmp_path, redis_url):
    cooc = {f"item {n}": {f"neighbor {n} {m}": 1 + n % 7 + m for m in range(8)} for n in range(20_000)}
    cooc |= rows_of(2)["cooc"]
    old = {key: stored.row("cooc", key) for key in rows_of(0)["cooc"]}
    stored.ship(2, rows_of(2) | {"cooc": cooc})
    with redis.Redis.from_url(redis_url) as client:
        before = client.dbsize()
        with begin(stored, tmp_path / "store", redis_url) as child:
            while client.dbsize() < before + 20 and child.poll() is None:
                pass
            child.kill()
            assert child.wait(60) == -signal.SIGKILL
        (space,) = (one for one in stored.pointer().writing if one.kind == "cooc")
        assert 0 < len(list(client.scan_iter(f"{space.name}:*"))) < space.buckets, "killed in the middle of its rows"
    assert stored.serves() == {0}
    assert {key: stored.row("cooc", key) for key in old} == old
    with begin(stored, tmp_path / "store", redis_url) as child:
        assert child.communicate(timeout=60)[0].strip() == "switched"
    assert stored.serves() == {2}
    assert stored.pointer().kinds["cooc"].name == space.name, "it goes on with what was written"
    found = {}
    for number in range(space.buckets):
        for key, row in stored.sink.read_bucket(f"{space.name}:{number}").items():
            found[key] = {one["item_id"]: one["count"] for one in json.loads(row)["items"]}
    assert found == cooc


def test_processes_that_sync_at_once_end_with_one_whole_release(stored, tmp_path, redis_url):
    children = [begin(stored, tmp_path / "store", redis_url) for _ in range(4)]
    assert sorted({child.communicate(timeout=60)[0].strip() for child in children}) in (
        ["switched"],
        ["switched", "unchanged"],
    )
    assert all(child.returncode == 0 for child in children)
    assert stored.serves() == {1}


def test_a_swap_takes_what_was_read_or_is_its_own(redis_place):
    redis_place.check_swaps()


@pytest.fixture
def own_server(tmp_path):
    """A server whose settings a test may change."""
    with running_redis(tmp_path) as url, redis.Redis.from_url(url) as client:
        yield url, client


def test_a_server_that_drops_any_key_or_is_full_is_not_written_to(own_server):
    url, client = own_server
    place = Place(RedisSink(url, what="sinks.online"))
    place.ship(0)
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", "100mb")
    with pytest.raises(ConfigurationError, match="maxmemory-policy"):
        place.sync()
    client.config_set("maxmemory-policy", "noeviction")
    place = Place(RedisSink(url, what="sinks.online"), store=place.store, at=place.at)
    place.sync()
    place.ship(1)
    client.config_set("maxmemory", "1mb")
    with pytest.raises(StoreUnavailableError, match="memory is full"):
        place.sync()
    assert place.serves() == {0}


def test_wrong_passwords_and_servers_that_are_away_are_named_without_secrets(own_server, tmp_path):
    _, client = own_server
    client.config_set("requirepass", "right")
    with pytest.raises(ConfigurationError, match=r"sinks\.x: .*check user, password") as refused:
        RedisSink(f"unix://:wr0ng@{tmp_path}/socket", what="sinks.x").read_pointer("a")
    assert "wr0ng" not in str(refused.value)
    with pytest.raises(StoreUnavailableError, match=r"sinks\.x: .*still serves"):
        RedisSink("redis://:wr0ng@127.0.0.1:9/0", what="sinks.x").read_pointer("a")
    with pytest.raises(ConfigurationError, match="not the address of a Redis server"):
        RedisSink("http://:wr0ng@127.0.0.1", what="sinks.x")


def test_a_key_that_is_something_else_is_refused(redis_place):
    client = redis_place.sink._client
    client.hset(redis_place.key, "a", "b")
    redis_place.ship(0)
    with pytest.raises(ConfigurationError, match="use the prefix"):
        redis_place.sync()


def test_the_code_of_the_page_on_sinks_finds_rows(redis_place, redis_url):
    redis_place.prefix = f"rank{redis_place.prefix}"
    redis_place.ship(0, {"popularity": {"i1": 2}, "cooc": {"i1": {"i2": 6}}})
    redis_place.sync()
    page = (Path(__file__).parents[2] / "docs/how-to/sinks.md").read_text(encoding="utf-8")
    *code, last = page.split("```{.python .no-run}\n")[1].split("```")[0].strip().splitlines()
    text = "\n".join(code).replace("redis://localhost:6379/0", redis_url).replace("rank:", f"{redis_place.prefix}:")
    scope = {}
    exec(text, scope)  # noqa: S102 - our own page
    assert eval(last, scope) == (  # noqa: S307
        {"item_id": "i1", "items": [{"item_id": "i2", "count": 6}]},
        [{"item_id": "i1", "count": 2}],
    )
    scope["client"].close()


def test_a_cluster_takes_every_command(tmp_path):
    port = _free_port()
    options = ("--port", str(port), "--cluster-enabled", "yes", "--bind", "127.0.0.1")
    with running_redis(tmp_path, *options) as url, redis.Redis.from_url(url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        while client.cluster("INFO")["cluster_state"] != "ok":
            pass
        place = Place(RedisSink(f"redis://127.0.0.1:{port}", what="sinks.online", cluster=True))
        place.rules = {"keep": 1, "grace": place.at - place.at}
        for n in range(2):
            place.ship(n)
            place.sync()
        assert place.serves() == {1}
        assert client.dbsize() == 4


def _free_port():
    while True:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        if port < 55_000:  # the bus of the cluster listens ten thousand above
            return port


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "recsys_assets.sinks.redis")
    with pytest.raises(ConfigurationError, match=r'sinks\.online .* pip install "recsys-assets\[redis\]"'):
        sinks.open_sink(settings_in(tmp_path), "online", SinkSettings(type="redis", url="redis://localhost"))
