"""A rollout without anybody watching: the sensor looks at what consumers answered, and runs the guard's decision."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

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
        file.write("[rollout]\nenabled = true\nmin_requests = 100\n")
    shop = Shop(FilesystemStore(tmp_path / "store"), clock=lambda: datetime.now(UTC) - timedelta(minutes=1))
    shop.ship(0)
    return shop


def serve(shop, user):
    """A reader that answers every key once, on whichever side it is."""
    reader = Reader(shop.store, "shop", "home", rollouts=True, heartbeat="web-1")
    reader.refresh()
    for key in KEYS:
        reader.snapshot(key).for_user(user)
    assert reader.beat()


def tick(tmp_path, instance):
    """One evaluation of the sensor, and the run that it asks for; return why it asks for none."""
    graph = build_definitions(load_settings(tmp_path / "recsys.toml"))
    with dg.build_sensor_context(instance=instance) as context:
        found = graph.resolve_sensor_def("rollouts")(context)
    for request in found.run_requests or ():
        job = graph.resolve_job_def("decide_rollout")
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
