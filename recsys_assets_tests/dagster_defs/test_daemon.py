"""The whole thing as people run it: `dagster dev` on two code locations, seen and steered by GraphQL alone."""

import os
import re
import signal
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.dagster_defs.run_launcher import PROCESS_TAG
from recsys_assets.identity import Target
from recsys_assets.pipeline.freshness import freshness
from recsys_assets.release.layout import pointer_key
from recsys_assets.storage.filesystem import locked
from recsys_assets_tests.dagster_defs.dagster_dev import dagster_dev, open_home
from recsys_assets_tests.small_shop import CART, HOME, day_lines, open_shop

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]

RUNS = """query Runs($tags: [ExecutionTag!]!) { runsOrError(filter: {tags: $tags}) { ... on Runs { results {
  runId status startTime endTime tags { key value } } } } }"""
CHECK = """query Check($key: AssetKeyInput!) { assetCheckExecutions(assetKey: $key, checkName: "fresh", limit: 5) {
  evaluation { success description metadataEntries { label ... on TextMetadataEntry { text } } } } }"""
BADGE = """query Badge($key: AssetKeyInput!) { assetNodes(assetKeys: [$key]) {
  freshnessStatusInfo { freshnessStatus } } }"""
GROUPS = "{ assetNodes { groupName assetKey { path } repository { location { name } } } }"
COLLISIONS = """query Collisions($keys: [AssetKeyInput!]!) { assetNodeDefinitionCollisions(assetKeys: $keys) {
  assetKey { path } } }"""
BACKFILL = """mutation Backfill($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on RunConfigValidationInvalid { errors { message } } } }"""
SCHEDULE = """query State($selector: ScheduleSelector!) { scheduleOrError(scheduleSelector: $selector) {
  ... on Schedule { scheduleState { id } } } }"""
STOP = """mutation Stop($id: String!) { stopRunningSchedule(id: $id) { ... on ScheduleStateResult {
  scheduleState { status } } } }"""
RUN = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
CANCEL = """mutation Cancel($ids: [String!]!) { terminateRuns(runIds: $ids) { ... on TerminateRunsResult {
  terminateRunResults { __typename } } } }"""
EVENTS = """query Events($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
  assetMaterializations(limit: 1) { partition description } } } }"""
RELOAD = (
    """mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"""
)

TARGETS = """
[[targets]]
tenant = "small"
surface = "home"
[targets.automation]
nightly = true
cron = "* * * * *"
[[targets]]
tenant = "shop"
surface = "home"
[[targets]]
tenant = "shop"
surface = "cart"
[targets.automation]
watch = true
settled_minutes = 0
"""


SMALL = Target("small", "home")
FIRST_SLICE, SECOND_SLICE = "part_1_of_2", "part_2_of_2"
OLD_DAYS = (5, 4)  # as many days ago
QUEUED = 8  # builds of one target, of which the queue runs one at a time

SLICES = {CART: FIRST_SLICE, HOME: SECOND_SLICE, SMALL: SECOND_SLICE}


def ago(days):
    return datetime.now(UTC).date() - timedelta(days=days)


def manifest(target):
    return {"path": [target.tenant, target.surface, "manifest"]}


def live(target):
    return {"path": ["live", target.tenant, target.surface]}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Two days of two targets, shipped before anything runs by itself; the third target waits for its schedule."""
    folder = tmp_path_factory.mktemp("dev")
    home = open_home(folder / "home")
    settings = (home / "dagster.yaml").read_text()
    assert "poll_interval_seconds: 30" in settings
    (home / "dagster.yaml").write_text(settings.replace("poll_interval_seconds: 30", "poll_interval_seconds: 5"))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        opened = open_shop(folder, instance)
        configure(opened)
        for back in (2, 1):
            for target in (HOME, CART, SMALL):
                write(opened, ago(back), target)
        for target in (HOME, CART):
            assert all(opened.run(ago(back), only=target).success for back in (2, 1))
        configure(opened, more=f"[targets.freshness]\nmax_age_hours = {_age_in(seconds=45)}\n")
        settings = opened.settings
        assert freshness(opened.store, settings, settings.find("shop", "cart"), now=datetime.now(UTC)).fresh
        yield opened


@pytest.fixture(scope="module")
def dev(shop):
    config, workspace = shop.folder / "recsys.toml", shop.folder / "workspace.yaml"
    words = ["workspace", "--config", str(config), "--locations", "2", "--output", str(workspace)]
    assert recsys_assets.main(words, standalone_mode=False) == 0
    with dagster_dev(shop.folder / "home", config, workspace, FRESHNESS_DAEMON_INTERVAL_SECONDS="5") as running:
        yield running


def configure(shop, *, more=""):
    shop.configure(
        '[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n',
        targets=TARGETS + more,
    )
    file = shop.folder / "recsys.toml"
    text = file.read_text().replace("{day}*.jsonl*", "{day}-{tenant}-{surface}*.jsonl")
    file.write_text(text.replace("start = 2026-01-01", f"start = {ago(20)}"))


def _age_in(*, seconds):
    """The age in hours of yesterday's data so many seconds from now."""
    return (datetime.now(UTC).timestamp() % 86_400 + seconds) / 3600


def write(shop, day, target, *, shift=0, name=""):
    lines = day_lines(day, targets=[target], shift=shift)
    shop.write(day, lines, name=f"-{target.tenant}-{target.surface}{name}")


def runs(dev, **tags):
    wanted = [{"key": key.replace("__", "/"), "value": value} for key, value in tags.items()]
    return dev.ask(RUNS, tags=wanted)["runsOrError"]["results"]


def verdict(dev, target):
    found = dev.ask(CHECK, key=live(target))["assetCheckExecutions"]
    return found[0]["evaluation"] if found else None


def location(slice_name):
    return f"recsys_assets_{slice_name.removeprefix('part_')}"


def launch(dev, job, *, config=None, day=None):
    selector = {"repositoryLocationName": location(SECOND_SLICE), "repositoryName": "__repository__", "jobName": job}
    tags = [{"key": "dagster/partition", "value": str(day)}] if day else []
    params = {"selector": selector, "runConfigData": config or {}, "executionMetadata": {"tags": tags}}
    answer = dev.ask(LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return answer["run"]["runId"]


def ended(dev, run):
    status = dev.ask(RUN, id=run)["runOrError"]["status"]
    return status if status in {"SUCCESS", "FAILURE", "CANCELED"} else None


@pytest.fixture(scope="module")
def backfill(dev, shop):
    """A backfill that has begun, a run of the small tenant launched after it, and what was live before.

    It goes on beside the tests that wait for the clock.
    """
    before = [shop.live(target) for target in (HOME, CART)]
    for back in OLD_DAYS:
        write(shop, ago(back), HOME)  # and none of the other, which is skipped: its sensor would start the same days
    names = ("canonical", "popularity", "manifest")
    assets = [{"path": ["raw", part]} for part in (FIRST_SLICE, SECOND_SLICE)]
    assets += [{"path": [target.tenant, target.surface, name]} for target in (HOME, CART) for name in names]
    params = {"assetSelection": assets, "partitionNames": [str(ago(back)) for back in OLD_DAYS]}
    name = dev.ask(BACKFILL, params=params)["launchPartitionBackfill"]["backfillId"]
    dev.until(lambda: runs(dev, dagster__backfill=name), seconds=90, what="the backfill has begun")
    return name, launch(dev, "build_small__home", day=ago(1)), before


def test_two_locations_are_one_graph_in_which_no_key_stands_twice(dev):
    nodes = dev.ask(GROUPS)["assetNodes"]
    keys = [tuple(node["assetKey"]["path"]) for node in nodes]
    assert len(set(keys)) == len(keys)
    assert dev.ask(COLLISIONS, keys=[node["assetKey"] for node in nodes])["assetNodeDefinitionCollisions"] == []
    found = {key: node["repository"]["location"]["name"] for key, node in zip(keys, nodes, strict=True)}
    for target, part in SLICES.items():
        assert found["raw", part] == found[target.tenant, target.surface, "manifest"] == location(part)


@pytest.mark.usefixtures("backfill")
def test_a_tick_of_the_schedule_builds_and_ships_the_day_before(dev, shop):
    name = "nightly_small__home"
    run = dev.until(lambda: runs(dev, dagster__schedule_name=name), seconds=120, what="the schedule has ticked")[-1]
    assert dev.until(lambda: ended(dev, run["runId"]), seconds=60, what="its run has ended") == "SUCCESS"
    (ended_run,) = [one for one in runs(dev, dagster__schedule_name=name) if one["runId"] == run["runId"]]
    tags = {tag["key"]: tag["value"] for tag in ended_run["tags"]}
    assert tags["dagster/partition"] == str(ago(1))
    assert tags["recsys/tenant"] == "small"
    assert PROCESS_TAG in tags, "it was forked from the process that has loaded the definitions"
    assert shop.live(SMALL) is not None
    stop_schedule(dev, name)  # every minute one more run, which shows nothing more


def stop_schedule(dev, name):
    repository = {"repositoryLocationName": location(SECOND_SLICE), "repositoryName": "__repository__"}
    schedule = dev.ask(SCHEDULE, selector={**repository, "scheduleName": name})["scheduleOrError"]
    stopped = dev.ask(STOP, id=schedule["scheduleState"]["id"])["stopRunningSchedule"]
    assert stopped["scheduleState"]["status"] == "STOPPED"


def test_live_data_turns_red_when_the_clock_passes_its_age_and_nothing_runs(dev):
    red = dev.until(lambda: (v := verdict(dev, CART)) and not v["success"] and v, seconds=120, what="cart is stale")
    message = {entry["label"]: entry.get("text") for entry in red["metadataEntries"]}
    assert (message["cause"], message["data_through"]) == ("input_missing", str(ago(1)))
    assert message["wanted_through"] == str(ago(0))
    assert "no raw file" in red["description"]
    dev.until(lambda: verdict(dev, SMALL)["success"], seconds=60, what="what the schedule ships is fresh")


def test_the_badge_turns_red_with_the_check_and_stays_green_where_the_schedule_ran(dev):
    def badge(target):
        return dev.ask(BADGE, key=live(target))["assetNodes"][0]["freshnessStatusInfo"]["freshnessStatus"]

    dev.until(lambda: badge(CART) == "DEGRADED", seconds=90, what="the badge of stale data is red")
    dev.until(lambda: badge(SMALL) == "HEALTHY", seconds=90, what="the badge of fresh data is green")


def test_f33_a_backfill_of_old_days_ships_none_of_them_and_lets_the_small_tenant_pass(dev, shop, backfill):
    """One backfill over both locations: each day is a run in each, tagged by its tenant as a nightly run is."""
    name, small, before = backfill

    def over():
        found = runs(dev, dagster__backfill=name)
        return len(found) == 2 * len(OLD_DAYS) and all(run["endTime"] for run in found) and found

    found = dev.until(over, seconds=300, what="the backfill is over")
    assert {run["status"] for run in found} == {"SUCCESS"}
    assert [shop.live(target) for target in (HOME, CART)] == before
    tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in found]
    assert {tag["recsys/tenant"] for tag in tags} == {"shop"}
    assert sorted(tag["recsys/target"] for tag in tags) == ["shop/cart", "shop/cart", "shop/home", "shop/home"]
    (passed,) = [run for run in runs(dev, recsys__tenant="small") if run["runId"] == small]
    assert passed["startTime"] < max(run["startTime"] for run in found)


def test_a_new_row_is_a_new_group_after_a_reload(dev, shop):
    configure(shop, more='[[targets]]\ntenant = "new"\nsurface = "home"\n')
    dev.ask(RELOAD, name=location(SECOND_SLICE))
    dev.until(
        lambda: "new/home" in {node["groupName"] for node in dev.ask(GROUPS)["assetNodes"]},
        seconds=60,
        what="the new target is there",
    )


def test_a_rollback_from_the_ui_waits_for_no_build_and_shows_on_the_manifest_with_its_reason(dev, shop):
    left = shop.live(HOME)
    builds = [launch(dev, "build_small__home", day=ago(1)) for _ in range(QUEUED)]
    config = {"target": "shop/home", "actor": "Ann", "reason": "prices are wrong"}
    run = launch(dev, "roll_back", config={"ops": {"roll_back_target": {"config": config}}})
    assert dev.until(lambda: ended(dev, run), seconds=60, what="the rollback has ended") == "SUCCESS"
    left_over = [build for build in builds if not ended(dev, build)]
    assert left_over, "builds that were queued before it are still to be run"
    dev.ask(CANCEL, ids=left_over)  # they would show nothing more
    (tagged,) = runs(dev, recsys__operation="roll_back")
    assert {"key": "recsys/target", "value": "shop/home"} in tagged["tags"]
    assert shop.live(HOME).release_id != left.release_id
    (event,) = dev.ask(EVENTS, key=manifest(HOME))["assetOrError"]["assetMaterializations"]
    assert event["partition"] == str(ago(2))
    assert "prices are wrong" in event["description"]


def test_f26_a_late_file_starts_its_day_by_itself_and_again_when_the_process_dies(dev, shop):
    """The sensor asks once for a content, so a run that leaves nothing behind must be begun again by the instance."""
    write(shop, ago(1), CART, shift=1, name="-late")
    before = shop.live(CART)
    with locked(str(shop.folder / "store"), pointer_key(CART), seconds=1):  # the run cannot end before it is killed
        run = dev.until(
            lambda: runs(dev, dagster__sensor_name="raw_arrivals"), seconds=90, what="the sensor has started a run"
        )[0]
        os.kill(dev.until(lambda: worker_of(shop, run), seconds=60, what="its process is there"), signal.SIGKILL)
    assert dev.until(lambda: ended(dev, run["runId"]), seconds=90, what="its death was noticed") == "FAILURE"
    again = dev.until(lambda: runs(dev, dagster__parent_run_id=run["runId"]), seconds=90, what="it is started again")[0]
    assert dev.until(lambda: ended(dev, again["runId"]), seconds=120, what="the second run has ended") == "SUCCESS"
    assert shop.live(CART).release_id != before.release_id


def worker_of(shop, run):
    """The process of a run, as its first event says it."""
    message = shop.instance.all_logs(run["runId"], of_type=dg.DagsterEventType.ENGINE_EVENT)
    pids = [re.search(r"pid: (\d+)", entry.message) for entry in message]
    return next((int(found[1]) for found in pids if found), None)
