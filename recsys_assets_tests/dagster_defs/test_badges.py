"""Badge and check of live data say the same, whatever happened: asked by GraphQL, after the daemon has looked."""

import warnings
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.freshness import FreshnessDaemon
from dagster_graphql.test.utils import execute_dagster_graphql

from recsys_assets.identity import Target
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import pointer_key
from recsys_assets.release.rollback import roll_back
from recsys_assets_tests.dagster_defs.test_automation import tick_sensor
from recsys_assets_tests.small_shop import day_lines, open_shop

ANN = Actor("ann", "to see what the badge says")
SITUATIONS = {
    "fresh": True,
    "silent": False,
    "held": False,
    "refused": False,
    "older": False,  # an older day was built again just now
    "older_beside_fresh": True,
    "rolled_back": False,
    "never": False,
    "gone": False,  # the pointer was deleted after it was seen
}
HEALTH = """query Health($key: AssetKeyInput!) {
  assetNodes(assetKeys: [$key]) { freshnessStatusInfo { freshnessStatus } partitionDefinition { name } }
  assetCheckExecutions(assetKey: $key, checkName: "fresh", limit: 1) { evaluation { success } }
  manifest: assetNodes(assetKeys: [$key]) {
    dependencies { asset { assetKey { path } freshnessStatusInfo { freshnessStatus } } } }
}"""


def ago(days):
    return datetime.now(UTC).date() - timedelta(days=days)


def now():
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Nine targets, each brought into its situation as people and schedules do."""
    folder = tmp_path_factory.mktemp("badges")
    (folder / "history").mkdir()
    with dg.DagsterInstance.local_temp(str(folder / "history")) as instance:
        opened = open_shop(folder, instance)
        rows = "".join(f'[[targets]]\ntenant = "shop"\nsurface = "{name}"\n' for name in SITUATIONS)
        opened.configure('[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n', targets=rows)
        file = folder / "recsys.toml"
        text = file.read_text().replace("{day}*.jsonl*", "{day}-{surface}.jsonl")
        file.write_text(text.replace("start = 2026-01-01", f"start = {ago(20)}"))
        build(opened, "fresh", 1)
        for name in ("older_beside_fresh", "gone"):
            ship(opened, name, 1)
        for name in ("silent", "held", "refused", "older", "rolled_back"):
            ship(opened, name, 3)
        place_hold(opened.store, Target("shop", "held"), by=ANN, now=now)
        for name in ("held", "rolled_back"):
            ship(opened, name, 1)
        assert not build(opened, "refused", 1, bad=True)
        for name in ("older", "older_beside_fresh"):
            build(opened, name, 5)
        cursor = look(opened)
        roll_back(opened.store, Target("shop", "rolled_back"), to="previous", by=ANN, now=now)
        opened.store.delete(pointer_key(Target("shop", "gone")))
        look(opened, cursor)
        yield opened


def look(shop, cursor=None):
    """Tick the sensor, and record what it found as the daemon does."""
    tick = tick_sensor(shop, "freshness", cursor)
    for event in tick.asset_events:
        shop.instance.report_runless_asset_event(event)
    return tick.cursor


def build(shop, name, back, *, bad=False):
    """Build a day by Dagster, where its last run may say another thing of a target than what is live."""
    write(shop, name, back, bad=bad)
    return shop.build(ago(back), job=f"build_shop__{name}").success


def ship(shop, name, back):
    """Build a day without Dagster, which reports what is live by the sensor alone."""
    write(shop, name, back)
    assert shop.run(ago(back), only=Target("shop", name)).success


def write(shop, name, back, *, bad=False):
    lines = day_lines(ago(back), targets=[Target("shop", name)])
    shop.write(ago(back), ["{"] * len(lines) + lines[:1] if bad else lines, name=f"-{name}")


@pytest.fixture(scope="module")
def ask(shop):
    """Ask the whole graph by GraphQL, once the daemon has evaluated every policy."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dagster reads a property of its own that it has deprecated
        patch.setenv("RECSYS_CONFIG", str(shop.folder / "recsys.toml"))
        origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="recsys_assets.definitions"), "here")
        with WorkspaceProcessContext(shop.instance, InProcessWorkspaceLoadTarget(origin)) as process:
            list(FreshnessDaemon().run_iteration(process))
            context = process.create_request_context()

            def answer(name):
                key = {"path": ["live", "shop", name]}
                found = execute_dagster_graphql(context, HEALTH, {"key": key})
                assert not found.errors, found.errors
                return found.data

            yield answer


@pytest.mark.slow
@pytest.mark.parametrize("name", SITUATIONS)
def test_badge_and_check_agree(ask, name):
    found = ask(name)
    (node,) = found["assetNodes"]
    checked = found["assetCheckExecutions"][0]["evaluation"]["success"]
    badge = node["freshnessStatusInfo"]["freshnessStatus"]
    assert checked is SITUATIONS[name]
    assert badge == ("UNKNOWN" if name == "never" else "HEALTHY" if checked else "DEGRADED")
    assert node["partitionDefinition"] is None
    (manifest,) = [one["asset"] for one in found["manifest"][0]["dependencies"]]
    assert manifest["assetKey"]["path"] == ["shop", name, "manifest"]
    assert manifest["freshnessStatusInfo"] is None, "a build of whatever day would make it green"


@pytest.mark.slow
def test_live_data_is_reported_only_when_it_moved(shop):
    def events(name):
        key = dg.AssetKey(["live", "shop", name])
        found = shop.instance.fetch_materializations(key, limit=10).records
        return [(one.asset_materialization.metadata["data_through"].value, one.timestamp) for one in found]

    (one,) = events("fresh")
    assert one[0] == str(ago(1))
    assert datetime.fromtimestamp(one[1], UTC) == datetime(ago(0).year, ago(0).month, ago(0).day, tzinfo=UTC)
    assert [day for day, _ in events("rolled_back")] == [str(ago(3)), str(ago(1))]
    assert [day for day, _ in events("older")] == [str(ago(3))]
    assert events("never") == []
