"""A day is scored on events that nothing was made from, beside the live release; the swap proves what came of it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from recsys_assets.config.reading import parse_settings
from recsys_assets.evidence import Verdict
from recsys_assets.identity import Target
from recsys_assets.manifest.journal import Actor
from recsys_assets.manifest.layout import canonical_key
from recsys_assets.stages.ship import ship_day
from recsys_assets.stages.warm_up import build_days
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.ring_world import write_catalog, write_ring_day

TARGET = Target("shop", "home")
FIRST = date(2026, 1, 1)
SECOND, THIRD = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
CONFIG = """
[raw]
exposures = "{day}.jsonl"
catalog = "catalog.jsonl"
[artifacts.session_seq]
window_days = 2
[gates.rehearsal]
mode = "off"
[gates.backtest]
mode = "required"
min_samples = 100
rounds = 200
[[targets]]
tenant = "shop"
surface = "home"
"""


class Shop:
    """A store that days of the ring are built in, and shipped from."""

    def __init__(self, folder, config=CONFIG):
        self.folder, self.store = folder, MemoryStore()
        self.settings = parse_settings(config.encode(), name="test", base=folder)
        self.row = self.settings.targets[0]
        write_catalog(folder)

    def build(self, *days, like=None, seed=0):
        for number, day in enumerate(days):
            write_ring_day(self.folder, day, seed + day.toordinal(), like if number == len(days) - 1 else None)
        build_days(self.settings, days, store=self.store)

    def ship(self, day, **options):
        by = Actor("nightly", "the day's build")
        return ship_day(
            self.store, self.settings, self.row, day, by=by, now=lambda: datetime.now(UTC), **options
        ).outcome

    def report(self, day):
        """Return the back-test's report in the release that a day makes."""
        (report,) = self.ship(day).release.gates
        return report


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.fixture
def live(shop):
    """A shop of which the first day is live."""
    shop.build(FIRST)
    shop.ship(FIRST)
    return shop


def test_the_first_release_has_nothing_to_be_compared_with(shop):
    shop.build(FIRST)
    report = shop.report(FIRST)
    assert {finding.verdict for finding in report.findings} == {Verdict.PASSED}
    assert {finding.message for finding in report.findings} == {"no baseline"}


def test_another_day_of_the_same_law_ships_on_the_last_part_of_its_own(live):
    live.build(SECOND)
    report = live.report(SECOND)
    assert {finding.gate: finding.verdict for finding in report.findings if not finding.ok} == {}
    assert report.facts["held_out"] == canonical_key(TARGET, SECOND)
    assert report.facts["hit_rate/cooc"] > 0.5
