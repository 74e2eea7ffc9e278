"""Kinds built side by side: in order, each with its own error, and not begun any more when the process is to stop."""

import os
import signal
import threading

import pytest
from msgspec.structs import replace

from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.parallel_steps import started_in_parallel
from recsys_assets.pipeline.run_day import run_day
from recsys_assets.pipeline.steps import BuiltStep, Step
from recsys_assets.pipeline.stopping import run_until_signal
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.storage.run_cache import RunCache
from recsys_assets_tests.small_shop import FIRST, HOME, day_lines, open_shop

ONE = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
TWO_KINDS = '[artifacts]\nkinds = ["cooc", "popularity"]\n'
CUSTOM = '[gates.custom.some]\nsql = "SELECT * FROM rows WHERE false"\nkinds = ["popularity"]\n'
ENGINE = '[artifacts]\nengine = "duckdb"\nkinds = ["cooc", "popularity"]\n'


@pytest.fixture
def shop(tmp_path):
    shop = open_shop(tmp_path, None)
    shop.configure(TWO_KINDS, targets=ONE)
    shop.write(FIRST, day_lines(FIRST, targets=[HOME]))
    return shop


def context_of(shop):
    row = shop.settings.find(HOME.tenant, HOME.surface)
    return DayContext(RunCache(MemoryStore()), shop.settings, row, FIRST)


class Work:
    """Steps that end when they are let, and the names of those that began, and on which threads."""

    def __init__(self):
        self.began, self.two, self.go_on = {}, threading.Event(), threading.Event()

    def step(self, name):
        def build(_context):
            self.began[name] = threading.current_thread()
            if len(self.began) > 1:
                self.two.set()
            assert self.go_on.wait(10)
            if name == "bad":
                raise ValueError(name)
            yield BuiltStep(name, {})

        return Step(name, frozenset(), build)


def test_a_stop_lets_what_was_begun_end_and_begins_nothing_else(shop):
    work, handled, context = Work(), threading.Event(), context_of(shop)
    steps = [work.step(name) for name in ("a", "b", "c", "d")]

    def build_and_stop():
        with started_in_parallel(context, steps) as begun:
            assert work.two.wait(10)
            os.kill(os.getpid(), signal.SIGTERM)
            assert handled.wait(10)
            work.go_on.set()
            return [
                result.version for step in steps if begun.should_run(step) for result in begun.results_of(step, context)
            ]

    assert run_until_signal(build_and_stop, notify=lambda _: handled.set()) == (["a", "b"], signal.SIGTERM)
    assert sorted(work.began) == ["a", "b"]


def test_each_step_has_its_own_error_and_is_built_again_when_it_is_taken_again(shop):
    work, context = Work(), context_of(shop)
    work.go_on.set()
    bad, good = work.step("bad"), work.step("good")
    with started_in_parallel(context, [bad, good]) as begun:
        with pytest.raises(ValueError, match="bad"):
            list(begun.results_of(bad, context))
        assert [result.version for result in begun.results_of(good, context)] == ["good"]
        assert threading.current_thread() not in work.began.values()
        assert [result.version for result in begun.results_of(good, context)] == ["good"]
        assert work.began["good"] is threading.current_thread()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TWO_KINDS + CUSTOM, id="a team's gates"),
        pytest.param(ENGINE, id="an engine"),
    ],
)
def test_what_was_not_made_for_threads_is_built_one_after_another(shop, text):
    shop.configure(text, targets=ONE)
    work, context = Work(), context_of(shop)
    work.go_on.set()
    steps = [work.step(name) for name in ("a", "b")]
    with started_in_parallel(context, steps) as begun:
        assert not work.began
        assert [result.version for step in steps for result in begun.results_of(step, context)] == ["a", "b"]
    assert set(work.began.values()) == {threading.current_thread()}


def test_a_store_without_a_cache_of_the_run_is_read_one_step_after_another(shop):
    work = Work()
    with started_in_parallel(replace(context_of(shop), store=MemoryStore()), [work.step("a"), work.step("b")]):
        assert not work.began


def test_a_retry_of_one_kind_keeps_what_the_others_staged(shop):
    store, waited = MemoryStore(), []
    store.inject(Fault("create", FaultMode.FAIL, prefix="artifacts/", times=1))
    lines = list(run_day(store, shop.settings, shop.settings.targets, FIRST, pause=waited.append))
    assert waited == [5]
    assert [(line.asset, line.state) for line in lines] == [
        ("raw", "ok"),
        *((f"shop/home/{name}", "ok") for name in ("canonical", "cooc", "popularity", "manifest")),
    ]
