"""A rollout without anybody watching: the sensor looks at what consumers answered, and runs the guard's decision."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from recsys_assets.dagster_defs.alerts import WEBHOOK
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollout import Plan, RolloutState, find_rollout
from recsys_assets.serving.reader import Reader
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.serving.releases import TARGET, Shop

PLAN = Plan(steps=(50, 100), bake_minutes=0)
KEYS = [f"user-{n}" for n in range(1000)]


@pytest.fixture
def shop(tmp_path):
    settings_in(tmp_path, targets=[("shop", "home")])
    with (tmp_path / "recsys.toml").open("a") as file:
        file.write('[rollout]\nenabled = true\nmin_requests = 100\n[rollback]\nautomatic = "act"\n')
    shop = Shop(FilesystemStore(tmp_path / "store"), clock=lambda: datetime.now(UTC) - timedelta(minutes=1))
    shop.ship(0)
    return shop


def serve(shop, user):
    """A reader that answers every key once, on whichever side it is."""
    ask(Reader(shop.store, "shop", "home", rollouts=True, heartbeat="web-1"), user)


def ask(reader, user):
    reader.refresh()
    for key in KEYS:
        reader.snapshot(key).for_user(user)
    assert reader.beat()


def tick(tmp_path, instance, sensor="rollouts", job="decide_rollout", cursor=None):
    """One evaluation of the sensor, and the run that it asks for; return why it asks for none."""
    graph = build_definitions(load_settings(tmp_path / "recsys.toml"))
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        found = graph.resolve_sensor_def(sensor)(context)
    for request in found.run_requests or ():
        job = graph.resolve_job_def(job)
        assert job.execute_in_process(run_config=request.run_config, instance=instance).success
    return found.skip_reason and found.skip_reason.skip_message


def test_a_harmless_candidate_becomes_live_and_a_harmful_one_ends_and_is_marked_bad(shop, tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        assert "no release is being rolled out" in tick(tmp_path, instance)
        good = shop.ship(1, plan=PLAN)
        assert "0 requests" in tick(tmp_path, instance)
        serve(shop, "user")
        tick(tmp_path, instance)
        assert read_current(shop.store, TARGET).release_id == good.id
        bad = shop.ship(2, plan=PLAN, implicit={"somebody else": {"item 2": 2}})
        serve(shop, "user")
        tick(tmp_path, instance)
    assert read_current(shop.store, TARGET).release_id == good.id
    assert find_rollout(shop.store, TARGET).state is RolloutState.ABORTED
    reason = find_label(shop.store, TARGET, Labelled.BAD, bad.id).reason
    assert "implicit: 100.00%" in reason
    assert "answers unknown, live 0.00%" in reason


def test_what_is_live_and_answers_worse_is_rolled_back_and_posted_to_the_webhook(shop, tmp_path, inbox, monkeypatch):
    monkeypatch.setenv(WEBHOOK, f"http://127.0.0.1:{inbox.server_port}/hook")
    reader = Reader(shop.store, "shop", "home", heartbeat="web-1")
    ask(reader, "user")
    good = read_current(shop.store, TARGET).release_id
    bad = shop.ship(1, implicit={"somebody else": {"item 2": 2}})
    with dg.DagsterInstance.ephemeral() as instance:
        assert "0 kinds" in tick(tmp_path, instance, "answers", "decide_rollback")
        ask(reader, "user")
        tick(tmp_path, instance, "answers", "decide_rollback")
        assert read_current(shop.store, TARGET).release_id == good
        assert find_label(shop.store, TARGET, Labelled.BAD, bad.id).actor == "answer guard (answers (sensor))"
    (alert,) = (json.loads(body) for _, body in inbox.received)
    assert (alert["event"], alert["decision"], alert["release"]) == ("answers_worse", "roll_back", bad.id)
    assert "shop/home is rolled back: implicit: 100.0%" in alert["text"]
