"""Raw files, catalog, dropped files and store in a bucket of each cloud: a whole life cycle, no byte on local disk."""

from datetime import UTC, datetime, timedelta

import pytest

from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.imported import import_day, judge_import
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.serving.reader import Reader
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.open import open_store
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.roots import Retention
from recsys_assets_tests.small_shop import HOME, after, day_lines

pytestmark = pytest.mark.slow
BY = Actor("tester", "a test")
CONFIG = """
[storage]
root = "{uri}/store"
[raw]
exposures = "{uri}/raw/{{day}}/*.jsonl"
catalog = "{uri}/catalog.jsonl"
[partitions]
start = 2026-01-01
[artifacts]
window_days = 1
kinds = ["popularity", "cooc", "content_sim"]
[imports.scores]
path = "{uri}/drop/{{day}}.jsonl"
format = "jsonl"
contract = {{ item_id = "string" }}
[[targets]]
tenant = "shop"
surface = "home"
"""


def now():
    return datetime.now(UTC)


class World:
    def __init__(self, bucket, folder):
        self.bucket = bucket
        text = CONFIG.format(uri=bucket.uri)
        self.settings = parse_settings(text.encode(), name="recsys.toml", base=folder)
        self.row = self.settings.targets[0]
        self.store = open_store(self.settings.storage.root)
        self.put("catalog.jsonl", "".join(f'{{"item_id":"i{n}","tags":["red"]}}\n' for n in range(6)))

    def put(self, key, text):
        self.bucket.put(key, text.encode())

    def night(self, n):
        """Deliver and build a day, every gate of it, and ship it."""
        day, row = after(n), self.row
        self.put(f"raw/{day}/a.jsonl", "\n".join(day_lines(day, targets=(HOME,), shift=n)) + "\n")
        self.put(f"drop/{day}.jsonl", f'{{"item_id":"i{n}"}}\n')
        build_raw(self.store, self.settings, day)
        build_canonical(DayContext(self.store, self.settings, row, day))
        judge_canonical(DayContext(self.store, self.settings, row, day))
        for kind in self.settings.artifacts.kinds:
            build_artifact(DayContext(self.store, self.settings, row, day, run_id="test"), kind)
            judge_artifact(DayContext(self.store, self.settings, row, day), kind)
        import_day(DayContext(self.store, self.settings, row, day, run_id="test"), "scores")
        judge_import(DayContext(self.store, self.settings, row, day), "scores")
        return ship_day(DayContext(self.store, self.settings, row, day, now=now), by=BY).outcome.how.value

    @property
    def live(self):
        return read_current(self.store, HOME).release_id


@pytest.fixture
def world(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return World(bucket, tmp_path)


def test_a_life_cycle_leaves_nothing_on_local_disk(world, tmp_path):
    assert world.night(0) == "done"
    first = world.live
    assert world.night(1) == "done"
    assert world.night(1) == "unchanged"
    second = world.live
    roll_back(world.store, HOME, to="previous", by=BY, now=now)
    assert world.live == first
    release_hold(world.store, HOME, by=BY, now=now)
    place_hold(world.store, HOME, by=BY, now=now)
    assert world.night(2) == "held"
    release_hold(world.store, HOME, by=BY, now=now)
    assert world.night(2) == "done"
    with Reader(world.store, "shop", "home") as reader, reader.snapshot() as release:
        assert release.table("scores").to_pylist() == [{"item_id": "i2"}]
        assert release.top_items(1)
    found = collect(
        world.store, HOME, by=BY, now=lambda: now() + timedelta(days=3), retention=Retention(keep=1), apply=True
    )
    assert {item.key.rpartition(".")[2] for item in found.taken} == {"json", "jsonl"}
    assert second != world.live
    assert list(tmp_path.iterdir()) == []
