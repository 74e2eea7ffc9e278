"""Order of the run queue: places are few, and one tenant never has all of them."""

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.run_coordinator import QueuedRunCoordinatorDaemon

from recsys_assets.dagster_defs.naming import run_tags
from recsys_assets.settings.settings import TargetSettings
from recsys_assets_tests.dagster_defs.dagster_dev import open_home

MANY = 40  # runs: more would only take longer
REPOSITORY = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(LoadableTargetOrigin(module_name="recsys_assets.definitions")), "__repository__"
)


@pytest.fixture
def queue(tmp_path):
    """The project's own instance, whose queue is asked and not started: no process is launched."""
    with dg.DagsterInstance.from_config(str(open_home(tmp_path / "home"))) as instance:
        yield Queue(instance)


class Queue:
    """Runs wait in it; `dequeue` starts those that Dagster would launch in its next round."""

    def __init__(self, instance):
        self.instance = instance
        self.daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)

    def wait(self, name, tenant, surface="home", *, priority=0, **tags):
        row = TargetSettings(tenant=tenant, surface=surface)
        known = {key.replace("__", "/"): value for key, value in tags.items()}
        tags = run_tags(row, priority=priority) | known
        origin = RemoteJobOrigin(REPOSITORY, name)
        self.instance.add_run(
            dg.DagsterRun(job_name=name, status=DagsterRunStatus.QUEUED, tags=tags, remote_job_origin=origin)
        )

    def dequeue(self):
        chosen = self.daemon._get_runs_to_dequeue(  # the round's decision, without its processes
            self.instance, self.instance.get_concurrency_config(), fixed_iteration_time=None
        )
        for run in chosen:
            started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name)
            self.instance.run_storage.handle_run_event(run.run_id, started)
        return [run.job_name for run in chosen]


def test_a_heavy_tenant_does_not_keep_a_small_one_waiting(queue):
    for n in range(MANY):
        queue.wait(f"heavy {n}", "heavy", f"s{n}")
    queue.wait("small", "small")
    assert queue.dequeue() == ["heavy 0", "small"]


def test_a_backfill_leaves_a_place_for_the_night_and_no_second_backfill_takes_it(queue):
    for n in range(MANY):
        queue.wait(f"day {n}", "heavy", dagster__backfill="abc")
        queue.wait(f"another's day {n}", "other", dagster__backfill="def")
    queue.wait("nightly", "small")
    assert queue.dequeue() == ["day 0", "nightly"]
    assert queue.dequeue() == []


def test_who_has_priority_goes_first_and_no_tenant_has_two_places(queue):
    queue.wait("first", "shop", "home")
    queue.wait("urgent", "shop", "cart", priority=5)
    assert queue.dequeue() == ["urgent"]
    assert queue.dequeue() == []
