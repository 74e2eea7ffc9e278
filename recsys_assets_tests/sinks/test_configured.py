"""Configured sinks: behind commands, `sync` and `status`, in the build of a day, and in Dagster; each on its own."""

import json
from datetime import timedelta

import dagster as dg
import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target
from recsys_assets.release.pointer import read_current
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets.settings.reading import load_settings
from recsys_assets.sinks.redis import RedisSink
from recsys_assets.sinks.sync import read_sink_pointer
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.sinks.conftest import Place, rows_of
from recsys_assets_tests.small_shop import FIRST, HOME, day_lines, open_shop

pytestmark = pytest.mark.slow
TARGET = ("--tenant", "shop", "--surface", "home")


@pytest.fixture
def place(tmp_path, redis_url, monkeypatch):
    """A configuration with one target and one sink, and a store with two days of it."""
    monkeypatch.setenv("SINK_URL", redis_url)
    found = Place(RedisSink(redis_url, what="sinks.online"), store=FilesystemStore(tmp_path / "store"))
    settings_in(tmp_path, targets=[("shop", "home")])
    with (tmp_path / "recsys.toml").open("a") as file:
        file.write(f'[sinks.online]\ntype = "redis"\nurl = "env:SINK_URL"\nprefix = "{found.prefix}"\n')
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    for n in range(2):
        publish_fixture(found.store, "shop", "home", rows_of(n), day=DAY + timedelta(days=n))
    return found


@pytest.fixture
def call(capsys):
    def act(*words):
        code = recsys_assets.main([*words], standalone_mode=False)
        found = capsys.readouterr()
        return code, found.out, found.err

    return act


def sinks_in(out):
    return json.loads(out)[0]["sinks"]


def test_sync_makes_it_follow_status_says_so_and_a_rollback_takes_it_back(place, call):
    (sink,) = sinks_in(call("status", "--json")[1])
    assert (sink["state"], sink["release"], sink["is_problem"]) == ("behind", None, False)
    assert "serves nothing, live is release" in call("sync", "--dry-run")[1]
    assert place.pointer() is None
    code, out, _ = call("sync")
    assert (code, "switched to release" in out) == (0, True)
    (sink,) = sinks_in(call("status", "--json")[1])
    assert (sink["state"], sink["release"]) == ("follows", read_current(place.store, HOME).release_id)
    assert "sink online: serves release" in call("status")[1]
    code, _, err = call("rollback", *TARGET, "--to", "previous", "--reason", "wrong")
    assert (code, place.serves()) == (0, {0})
    assert "sink online: switched to release" in err
    assert [one["state"] for one in json.loads(call("sync", "--json", "--verify")[1])] == ["proven"]


def test_a_rollback_stands_where_a_sink_is_away_and_says_so(place, call, monkeypatch):
    call("sync")
    monkeypatch.setenv("SINK_URL", "redis://127.0.0.1:9/0")
    left = read_current(place.store, HOME).release_id
    code, _, err = call("rollback", *TARGET, "--to", "previous", "--reason", "wrong")
    assert read_current(place.store, HOME).release_id != left
    assert (code, "warning: shop/home: sink online does not follow yet" in err) == (1, True)
    code, out, _ = call("sync")
    assert (code, "sinks.online: " in out) == (1, True)
    code, out, _ = call("status", "--json")
    assert (code, sinks_in(out)[0]["state"]) == (1, "unreadable")


@pytest.mark.usefixtures("place")
def test_a_sink_that_is_not_configured_is_named_with_those_that_are(call, tmp_path):
    with pytest.raises(ConfigurationError, match="no sink onlin"):
        call("sync", "--sink", "onlin")
    settings_in(tmp_path)
    with pytest.raises(ConfigurationError, match="no sink is configured"):
        call("sync")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param('type = "redis"', "only url for type redis", id="no address"),
        pytest.param('type = "redis"\nurl = "redis://u:p@host"', "env:NAME", id="a password in the file"),
        pytest.param('type = "dynamodb"\ntable = "abc"\ncluster = true', "cluster", id="a cluster of tables"),
        pytest.param(
            'type = "redis"\nurl = "env:A"\nkinds = ["x"]', "sinks.online.kinds: unknown x", id="an unknown kind"
        ),
        pytest.param(
            'type = "redis"\nurl = "env:A"\ntargets = ["x/y"]',
            "sinks.online.targets: unknown x/y",
            id="an unknown target",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_when_the_file_is_read(tmp_path, table, message):
    settings_in(tmp_path)
    with (tmp_path / "recsys.toml").open("a") as file:
        file.write(f"[sinks.online]\n{table}\n")
    with pytest.raises(ConfigurationError, match=message) as refused:
        load_settings(str(tmp_path / "recsys.toml"))
    assert "u:p@" not in str(refused.value)


def test_a_day_is_written_behind_its_ship_and_the_sensor_takes_a_sink_along_that_is_behind(
    tmp_path, redis_url, monkeypatch
):
    monkeypatch.setenv("SINK_URL", redis_url)
    sink = RedisSink(redis_url, what="sinks.online")
    prefix = tmp_path.name.replace(".", "-")[:50]
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        table = f'[sinks.online]\ntype = "redis"\nurl = "env:SINK_URL"\nprefix = "{prefix}"\ntargets = ["shop/home"]\n'
        shop.configure(table)
        shop.write(FIRST, day_lines(FIRST))
        ran = shop.run(FIRST)
        assert ran.success
        assert [line.asset for line in ran.lines if line.asset.endswith("/sinks")] == ["shop/home/sinks"]
        live = shop.live().release_id
        assert read_sink_pointer(sink, prefix, HOME)[0].release == live
        assert read_sink_pointer(sink, prefix, Target("shop", "cart"))[1] is None

        graph = build_definitions(shop.settings)
        alone = shop.build(FIRST, selection=[dg.AssetKey(["shop", "home", "sinks"])])
        (event,) = alone.asset_materializations_for_node("shop__home__sinks")
        assert event.metadata["state/online"].value == "unchanged"

        def tick():
            with dg.build_sensor_context(instance=instance) as context:
                return graph.resolve_sensor_def("sinks")(context)

        assert "serves release" in tick().skip_reason.skip_message
        sink._client.delete(f"{prefix}:shop:home:current")
        (request,) = tick().run_requests
        job = graph.resolve_job_def("sync_sinks")
        assert job.execute_in_process(run_config=request.run_config, instance=instance).success
        assert read_sink_pointer(sink, prefix, HOME)[0].release == live
