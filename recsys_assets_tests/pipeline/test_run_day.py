"""A day without Dagster: the lines, journals and blobs of a day with it, and its own retries."""

import os
import signal
import subprocess
import sys
import threading

import dagster as dg
import pytest

from recsys_assets.cli.recorded_run import SequentialJobs, read_result
from recsys_assets.pipeline.run_day import run_day
from recsys_assets.pipeline.stopping import run_until_signal
from recsys_assets.release.journal import newest_first
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets_tests.small_shop import CART, FIRST, HOME, QUIET, after, day_lines, open_shop

ONE = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
QUICK = '[artifacts]\nkinds = ["popularity"]\n'
SMALL = '[artifacts]\nkinds = ["cooc", "popularity"]\n[artifacts.popularity]\nmax_bytes = 300\n'
PROGRAM = """
import sys
from importlib import import_module
from recsys_assets.cli.main import recsys_assets
code = recsys_assets.main(["run", "--config", "recsys.toml", "--start", "2026-01-01"], standalone_mode=False)
needless = {"dagster", "sqlalchemy", "psycopg", "scipy.linalg"} & set(sys.modules)
true_one = hasattr(import_module("scipy.linalg.cython_blas"), "__pyx_capi__")
sys.exit(code or (f"{needless} imported" if needless else 0 if true_one else "scipy is not what it was"))
"""


@pytest.fixture
def shop(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield open_shop(tmp_path, instance)


def lines(shop, day):
    return [line.text for line in run_day(shop.store, shop.settings, shop.settings.targets, day)]


def recorded_lines(shop, day):
    for job in SequentialJobs(shop.settings, shop.settings.targets):
        result = job.execute_in_process(
            partition_key=str(day), instance=shop.instance, raise_on_error=False, run_config=QUIET
        )
        yield from (line.text for line in read_result(result, day))


def journals(store):
    return [
        (entry.action, entry.outcome, entry.reason, {k: v for k, v in entry.details.items() if k != "intent"})
        for target in (HOME, CART)
        for entry in reversed(list(newest_first(store, target)))
    ]


@pytest.mark.slow
def test_a_day_without_dagster_has_the_lines_and_the_journal_of_one_with_it(shop, tmp_path):
    """A gate refuses the first target; of the second one a kind fails, and the others are built."""
    (tmp_path / "other").mkdir()
    other = open_shop(tmp_path / "other", shop.instance)
    for one in (shop, other):
        one.configure(SMALL)
        bad = [line.replace('"v": 1', '"v": 9') for line in day_lines(FIRST, targets=[HOME])]
        one.write(FIRST, [*day_lines(FIRST), *bad])
    found = lines(shop, FIRST)
    assert found == list(recorded_lines(other, FIRST))
    assert [line.split()[1:3] for line in found] == [
        ["raw", "ok"],
        ["shop/home/canonical", "ok"],
        ["shop/home/canonical", "gates"],
        ["shop/cart/canonical", "ok"],
        ["shop/cart/cooc", "ok"],
        ["shop/cart/popularity", "failed"],
    ]
    assert journals(shop.store) == journals(other.store)
    assert [entry[:2] for entry in journals(shop.store)] == [("build", "refused")] * 2


def test_a_day_without_files_is_skipped_and_not_failed(shop):
    assert [line.split()[1:3] for line in lines(shop, after(1))] == [["raw", "skipped"]]


@pytest.mark.parametrize(
    ("times", "pauses", "state"),
    [pytest.param(1, [5], "ok", id="cured"), pytest.param(99, [5, 5, 5], "failed", id="not cured")],
)
def test_f33_what_a_retry_may_cure_is_retried_after_a_pause_and_then_reported(shop, times, pauses, state):
    shop.configure(QUICK, targets=ONE)
    shop.write(FIRST, day_lines(FIRST, targets=[HOME]))
    store, waited = MemoryStore(), []
    store.inject(Fault("create", FaultMode.FAIL, prefix="artifacts/", times=times))
    found = list(run_day(store, shop.settings, shop.settings.targets, FIRST, pause=waited.append))
    assert waited == pauses
    assert (found[2].asset, found[2].state) == ("shop/home/popularity", state)
    failed = [entry for entry in newest_first(store, HOME) if entry.details.get("error") == "StoreUnavailableError"]
    assert len(failed) == (state == "failed")


class Remote(MemoryStore):
    """A store that calls `meet` before a target's canonical day is written, and knows in which order they were."""

    def __init__(self, meet=lambda: None):
        super().__init__()
        self.meet = meet
        self.surfaces = []

    @property
    def root_uri(self):
        return "s3://bucket/prefix"

    def create(self, key, data):
        if key.startswith("canonical/") and key.endswith(".parquet"):
            self.surfaces.append(key.split("/")[2])
            self.meet()
        return super().create(key, data)


def test_targets_of_a_remote_store_are_built_at_once_and_say_what_they_say_one_after_the_other(shop):
    shop.write(FIRST, day_lines(FIRST))
    together = threading.Barrier(2)
    remote = Remote(lambda: together.wait(timeout=30))
    found = [line.text for line in run_day(remote, shop.settings, shop.settings.targets, FIRST)]
    assert found == lines(shop, FIRST)
    assert {line.split()[2] for line in found} == {"ok"}
    assert journals(remote) == journals(shop.store)
    stored = [{item.key for item in store.list("artifacts/")} for store in (remote, shop.store)]
    assert stored[0] == stored[1] != set()


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param('[artifacts]\nengine = "duckdb"\n', id="another engine"),
        pytest.param('[artifacts.cooc]\nengine = "duckdb"\n', id="another engine of a kind"),
    ],
)
def test_targets_with_an_engine_are_built_one_after_the_other(shop, extra):
    shop.configure(extra)
    shop.write(FIRST, day_lines(FIRST))
    at_once, under_way = [], threading.Semaphore(1)
    remote = Remote(lambda: at_once.append(under_way.acquire(blocking=False)))
    for line in run_day(remote, shop.settings, shop.settings.targets, FIRST):
        if line.asset.endswith("/canonical"):
            under_way.release()
    assert (remote.surfaces, at_once) == (["home", "cart"], [True, True])


def test_a_signal_ends_every_target_after_the_step_under_way(shop):
    shop.write(FIRST, day_lines(FIRST))
    together, stopping = threading.Barrier(2), threading.Event()

    def meet():
        if together.wait(timeout=30) == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.wait(30)

    def run():
        return list(run_day(Remote(meet), shop.settings, shop.settings.targets, FIRST))

    found, stopped_by = run_until_signal(run, notify=lambda _: stopping.set())
    assert stopped_by == signal.SIGTERM
    done = [("raw", "ok"), ("shop/home/canonical", "ok"), ("shop/cart/canonical", "ok")]
    assert [(line.asset, line.state) for line in found] == done


def test_a_run_without_dagster_home_imports_no_dagster(shop, tmp_path):
    shop.configure(QUICK, targets=ONE)
    shop.write(FIRST, day_lines(FIRST, targets=[HOME]))
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "shop/home/manifest       ok      outcome=done" in done.stdout
