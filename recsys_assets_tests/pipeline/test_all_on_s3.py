"""Raw files, dropped files and store in buckets on a real server: a whole life cycle, and no byte on local disk."""

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
[partitions]
start = 2026-01-01
[artifacts]
window_days = 1
kinds = ["popularity", "cooc"]
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
    def __init__(self, server, folder):
        self.bucket, self.prefix, self.client = server.bucket, server.new_prefix(), server.client()
        text = CONFIG.format(uri=f"s3://{self.bucket}/{self.prefix}")
        self.settings = parse_settings(text.encode(), name="recsys.toml", base=folder)
        self.row = self.settings.targets[0]
        self.store = open_store(self.settings.storage.root)

    def put(self, key, text):
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=text.encode())

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
def world(s3_server, tmp_path, monkeypatch):
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return World(s3_server, tmp_path)


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
