"""Steps in Dagster's UI: a backfill with a gap and a bad day, the fix, a rollback past a queue, a hold, two clicks."""

import json
import time
from datetime import timedelta

import dagster as dg

from recsys_assets.release.hold import read_hold
from recsys_assets.release.pointer import read_current
from recsys_assets_tests.small_shop import CART, HOME, day_lines
from recsys_assets_tests.walk.scene import BAD, FIRST_DAY, GAP, LAST_DAY, NEWEST

QUEUED = 20
ROLLBACK_SECONDS = 20
YEAR_SECONDS = 600
GROUP_PAGE = '/asset-groups~group:"shop%2Fhome"/'
REFUSAL = "gate bad_share refused"
CHANGED = "inputs changed since this day was built"

RUNS = """query Runs($filter: RunsFilter!, $limit: Int) { runsOrError(filter: $filter, limit: $limit) { ... on Runs {
  results { runId status startTime endTime jobName parentRunId tags { key value } } } } }"""
BACKFILLS = "{ partitionBackfillsOrError { ... on PartitionBackfills { results { id status } } } }"
STATES = """query States($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name partitionStatuses {
    ... on AssetCheckTimePartitionStatuses { ranges { startKey endKey status } } } } } } } } }"""
LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } } }"""
CANCEL = """mutation Cancel($ids: [String!]!) {
  terminateRuns(runIds: $ids, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename } }"""
FINAL = ("SUCCESS", "FAILURE", "CANCELED")


def backfill_of_a_group(walk):
    """A group of which nothing was built, nor raw, from the UI: good days ship, a gap is a skip, a bad day is red."""
    page = walk.dagster
    page.goto(GROUP_PAGE)
    page.get_by_role("button", name="Materialize all").click()
    page.get_by_role("button", name="Confirm").click()  # Dagster warns of raw, which it has not seen yet
    days = page.get_by_placeholder("No matching partitions")
    days.fill(f"[{FIRST_DAY}...{LAST_DAY}]")
    days.press("Enter")
    walk.picture("backfill")
    page.get_by_role("button", name="Launch backfill").click()
    state = walk.dev.until(lambda: _ended_backfill(walk), seconds=600, what="the backfill ended")
    found = {_tag(run, "dagster/partition"): run["status"] for run in _runs(walk)}
    wanted = {str(day): "FAILURE" if day == BAD else "SUCCESS" for day in _days()}
    assert (found, state) == (wanted, "COMPLETED_FAILED"), (found, state)
    assert read_current(walk.store, HOME) is not None, "nothing is live"
    assert _events_of(walk, BAD, "NotFound") == []
    assert REFUSAL in _check_of(walk, BAD)
    states = {
        day: one["status"]
        for check in _graph_states(walk)
        for one in check["partitionStatuses"]["ranges"]
        for day in (one["startKey"], one["endKey"])
    }
    assert states[str(GAP)] == "SUCCEEDED", "a gap leaves the graph green"


def fix_and_execute_again(walk):
    """The input is fixed: from failure says that it changed and what to do, and all steps read it."""
    page, failed = walk.dagster, _run_of(walk, BAD)
    walk.shop.write(BAD, day_lines(BAD))
    page.goto(f"/runs/{failed['runId']}")
    menu = page.get_by_role("button", name="Re-execute all")
    menu.wait_for()
    menu.locator("xpath=following::button").first.click()
    page.get_by_role("menuitem", name="From failure").first.click()
    page.get_by_role("button", name="Confirm").click()  # the run was one of a backfill, which is over
    second = walk.dev.until(lambda: _child_of(walk, failed), seconds=240, what="a run from failure ended")
    assert second["status"] == "FAILURE"
    assert _events_of(walk, second, CHANGED), "it says why it fails again"
    page.goto(f"/runs/{failed['runId']}")
    page.get_by_role("button", name="Re-execute all").click()
    page.get_by_role("button", name="Confirm").click()
    third = walk.dev.until(
        lambda: _child_of(walk, failed, besides=second), seconds=240, what="a run of all steps ended"
    )
    assert third["status"] == "SUCCESS", third


def rollback_past_a_queue(walk):
    """A rollback from the launchpad is done within seconds, behind 20 builds that wait."""
    launched = [_launch(walk, "build_shop__cart", day=LAST_DAY) for _ in range(QUEUED)]
    live = read_current(walk.store, HOME)
    started = _launchpad(walk, "roll_back", "roll_back_target", {"to": "previous", "hold": False})
    walk.dev.until(lambda: read_current(walk.store, HOME) != live, seconds=300, what="the pointer moved")
    took = time.monotonic() - started
    waiting = [run for run in _runs(walk) if run["runId"] in launched and run["status"] not in FINAL]
    walk.dev.ask(CANCEL, ids=[run["runId"] for run in waiting])
    walk.say(f"rollback behind {len(waiting)} waiting builds: {took:.1f} s")
    assert len(waiting) >= QUEUED // 2, "too few builds were waiting to say anything"
    assert took < walk.limit(ROLLBACK_SECONDS), f"{took:.1f} s"


def hold_from_the_launchpad(walk):
    """A hold is placed from the launchpad."""
    _launchpad(walk, "hold", "hold_target", {})
    walk.dev.until(lambda: read_hold(walk.store, HOME) is not None, seconds=120, what="the target is held")
    walk.picture("hold")


def refused_day_in_two_clicks(walk):
    """From the newest day's red asset to the sentence of the gate."""
    good = day_lines(NEWEST)
    walk.shop.write(NEWEST, [*good, *(line.replace('"v": 1', '"v": 9') for line in day_lines(NEWEST, targets=[HOME]))])
    run = _launch(walk, "build_shop__home", day=NEWEST)
    walk.dev.until(lambda: _status(walk, run) in FINAL, seconds=300, what="the bad day was built")
    page = walk.dagster
    page.goto("/assets/shop/home/canonical")
    page.get_by_text("Checks", exact=True).first.click()
    page.get_by_text(REFUSAL).first.wait_for()
    walk.picture("refused")


def stale_target_in_two_clicks(walk):
    """From live data to why it is stale."""
    page = walk.dagster
    walk.dev.until(lambda: _is_red(walk), seconds=180, what="the check of freshness is red")
    page.goto("/assets/live/shop/home")
    page.get_by_text("Checks", exact=True).first.click()
    page.get_by_text("bad_share").first.wait_for()
    walk.picture("stale")


def automation_explains_itself(walk):
    """Every schedule and sensor says what it starts and when, or why it is off."""
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { name description }"
    query += " schedules { name description } } } } }"
    for found in walk.dev.ask(query)["repositoriesOrError"]["nodes"]:
        silent = [one["name"] for one in (*found["sensors"], *found["schedules"]) if not one["description"]]
        assert silent == [], silent
    walk.dagster.goto("/automation")
    walk.dagster.get_by_text("nightly_shop__home").first.wait_for()
    walk.picture("automation")


def year_in_one_run(walk):
    """The job `backfill` builds a year of one target."""
    last = FIRST_DAY - timedelta(days=30)
    first = last - timedelta(days=364)
    for n in range(365):
        day = first + timedelta(days=n)
        walk.shop.write(day, day_lines(day, targets=[CART]))
    config = {"first_day": str(first), "last_day": str(last)}
    started = _launchpad(walk, "backfill", "backfill_target", config, target="shop/cart")
    run = walk.dev.until(lambda: _newest_of(walk, "backfill"), seconds=120, what="the backfill began")
    walk.dev.until(lambda: _status(walk, run) in FINAL, seconds=3600, what="the year is built")
    took = time.monotonic() - started
    walk.say(f"a year in one run: {took:.0f} s of the clock")
    assert _status(walk, run) == "SUCCESS"
    assert took < walk.limit(YEAR_SECONDS), f"{took:.0f} s"


def _launchpad(walk, job, op, config, *, target="shop/home"):
    """Start an operation as a person does, and return the time of the click."""
    page = walk.dagster
    page.goto(f"/locations/recsys_assets/jobs/{job}/playground")
    page.get_by_role("button", name="Launch Run").wait_for()
    editor = page.locator(".CodeMirror").first
    editor.get_by_text("dry_run").first.wait_for()
    asked = {"actor": "ann", "dry_run": False, "reason": "the walk", "target": target, **config}
    editor.click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(json.dumps({"ops": {op: {"config": asked}}}))
    page.get_by_text("No errors").wait_for()
    launch = page.get_by_role("button", name="Launch Run")
    started = time.monotonic()
    launch.click()
    return started


def _days():
    return [FIRST_DAY + timedelta(days=n) for n in range((LAST_DAY - FIRST_DAY).days + 1)]


def _runs(walk, **wanted):
    return walk.dev.ask(RUNS, filter=wanted, limit=100)["runsOrError"]["results"]


def _tag(run, key):
    return next((tag["value"] for tag in run["tags"] if tag["key"] == key), None)


def _run_of(walk, day):
    """Return the first run of a day."""
    return [run for run in _runs(walk) if _tag(run, "dagster/partition") == str(day)][-1]


def _child_of(walk, parent, *, besides=None):
    """Return the ended re-execution of a run."""
    others = {besides["runId"]} if besides else set()
    found = [run for run in _runs(walk) if run["parentRunId"] == parent["runId"] and run["runId"] not in others]
    return next((run for run in found if run["status"] in FINAL), None)


def _newest_of(walk, job):
    return next((run["runId"] for run in _runs(walk, pipelineName=job)), None)


def _status(walk, run):
    return _runs(walk, runIds=[run])[0]["status"]


def _ended_backfill(walk):
    found = walk.dev.ask(BACKFILLS)["partitionBackfillsOrError"]["results"]
    return next((one["status"] for one in found if one["status"].startswith(("COMPLETED", "FAILED"))), None)


def _events_of(walk, run, words):
    """Return what a run logged that holds some words; a day stands for its first run."""
    run_id = run["runId"] if isinstance(run, dict) else _run_of(walk, run)["runId"]
    with dg.DagsterInstance.from_config(str(walk.home)) as instance:
        logged = instance.all_logs(run_id)
        return [text for one in logged if words in (text := f"{one.user_message} {_failure(one)}")]


def _failure(entry):
    event = entry.dagster_event
    if event is None or not event.is_step_failure or event.step_failure_data.error is None:
        return ""
    return event.step_failure_data.error.to_string() + str(event.step_failure_data.user_failure_data)


def _check_of(walk, day):
    with dg.DagsterInstance.from_config(str(walk.home)) as instance:
        found = instance.all_logs(_run_of(walk, day)["runId"], of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        return " ".join(str(one.dagster_event.asset_check_evaluation_data.description) for one in found)


def _graph_states(walk):
    key = {"path": ["shop", "home", "popularity"]}
    return walk.dev.ask(STATES, key=key)["assetNodeOrError"]["assetChecksOrError"]["checks"]


def _is_red(walk):
    query = """query Red($key: AssetKeyInput!) { assetCheckExecutions(assetKey: $key, checkName: "fresh", limit: 1) {
      evaluation { success description } } }"""
    found = walk.dev.ask(query, key={"path": ["live", "shop", "home"]})["assetCheckExecutions"]
    return (
        bool(found) and not found[0]["evaluation"]["success"] and "bad_share" in found[0]["evaluation"]["description"]
    )


def _launch(walk, job, *, day):
    selector = {
        "repositoryLocationName": "recsys_assets",
        "repositoryName": "__repository__",
        "jobName": job,
    }
    metadata = {"tags": [{"key": "dagster/partition", "value": str(day)}]}
    answer = walk.dev.ask(LAUNCH, params={"selector": selector, "mode": "default", "executionMetadata": metadata})
    return answer["launchRun"]["run"]["runId"]
