"""Bad rows of the catalog: counted in the facts, kept in quarantine by line, and gated by their share."""

import json

import pytest

from recsys_assets.errors import RefusedError
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import catalog_quarantine_key
from recsys_assets.release.ship_rules import Ruling
from recsys_assets_tests.small_shop import FIRST, HOME, after, day_lines, open_shop

SEMICOLONS = "id;tags\na;café\nb;thé\n".encode("windows-1252")
BAD_NUMBERS = b'item_id,tags,price\ni1,red,9.90\ni2,blue,"1.299,00"\ni3,green,$12\ni4,red,7.00\ni5,silk,n/a\n'
STRAY = b'item_id,tags\ni0,a\ni1,"a\n' + b"".join(b"i%d,a\n" % n for n in range(2, 500))
ACCENTS = b"item_id,tags\n" + b"".join(b"i%d,caf\xe9\ni%d0,tea\n" % (n, n) for n in range(1, 9))


class Shop:
    """A shop of one day whose catalog is the bytes given."""

    def __init__(self, folder):
        self.shop = open_shop(folder, None)  # nothing here needs Dagster
        self.shop.write(FIRST, day_lines(FIRST, targets=(HOME,)))

    def judge(self, data, **raw):
        (self.shop.folder / "catalog.csv").write_bytes(data)
        changed = {"catalog": "catalog.csv", **raw}
        settings = self.shop.settings
        settings = settings.model_copy(update={"raw": settings.raw.model_copy(update=changed)})
        context = DayContext(self.shop.store, settings, settings.targets[0], FIRST, run_id="test")
        build_raw(self.shop.store, settings, FIRST)
        build_canonical(context)
        built = build_artifact(context, "content_sim")
        return built, judge_artifact(context, "content_sim")

    def quarantined(self):
        key = catalog_quarantine_key(HOME, FIRST)
        if self.shop.store.stat(key) is None:
            return []
        lines = self.shop.store.get(key, max_bytes=10**7).data.splitlines()
        return [(reject["line"], reject["reason"]) for reject in map(json.loads, lines)]


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.mark.parametrize(
    ("data", "bad", "message"),
    [
        pytest.param(BAD_NUMBERS, [(3, "wrong_type"), (4, "wrong_type"), (6, "wrong_type")], "1.299,00", id="numbers"),
        pytest.param(STRAY, [(n, "not_csv") for n in range(3, 502)], "stray quote", id="stray quote"),
        pytest.param(ACCENTS, [(n, "bad_utf8") for n in range(2, 18, 2)], "raw.catalog_encoding", id="Windows-1252"),
    ],
)
def test_bad_rows_are_counted_kept_by_line_and_refused_above_their_share(shop, data, bad, message):
    built, report = shop.judge(data)
    assert shop.quarantined() == bad
    assert built.numbers["bad_catalog_rows"] == len(bad)
    assert [finding.gate for finding in report.refusals] == ["bad_catalog_share"]
    assert message in report.refusals[0].message
    assert "raw.max_bad_catalog_share" in report.refusals[0].message


def test_a_share_within_the_limit_passes_and_a_fixed_catalog_leaves_nothing_behind(shop):
    built, report = shop.judge(BAD_NUMBERS, max_bad_catalog_share=0.6)
    assert report.passed
    assert built.numbers["bad_catalog_share"] == 0.6
    built, report = shop.judge(b"item_id,tags\ni1,red\n")
    assert report.passed
    assert "bad_catalog_rows" not in built.numbers
    assert shop.quarantined() == []


def test_what_is_declared_is_read(shop):
    built, report = shop.judge(SEMICOLONS, catalog_encoding="windows-1252", catalog_delimiter=";")
    assert report.passed
    assert built.preview["tag"].to_list() == ["café", "thé"]


def test_a_catalog_that_lost_half_of_lives_items_ships_only_if_somebody_answers_for_it(shop):  # F63
    def build(day, items):
        text = "item_id,tags\n" + "".join(f"i{n},red\n" for n in range(items))
        (shop.shop.folder / "catalog.csv").write_text(text)
        shop.shop.write(day, day_lines(day, targets=(HOME,)))
        settings = shop.shop.settings
        changed = {"raw": {"catalog": "catalog.csv"}, "artifacts": {"kinds": ("content_sim",)}}
        parts = {name: getattr(settings, name).model_copy(update=update) for name, update in changed.items()}
        settings = settings.model_copy(update=parts)
        context = DayContext(shop.shop.store, settings, settings.targets[0], day, run_id="test")
        build_raw(shop.shop.store, settings, day)
        build_canonical(context)
        judge_canonical(context)
        build_artifact(context, "content_sim")
        return context, [finding.gate for finding in judge_artifact(context, "content_sim").refusals]

    def ship(context, **how):
        return ship_day(context, by=Actor("ada", "the range was halved"), **how).outcome.how

    first, found = build(FIRST, 40)
    assert (found, ship(first)) == ([], Ruling.SHIP)
    second, found = build(after(1), 20)
    assert found == ["catalog_lost"]
    with pytest.raises(RefusedError, match="catalog_lost"):
        ship(second)
    assert ship(second, override=("catalog_lost",)) == Ruling.SHIP
    third, found = build(after(2), 19)
    assert (found, ship(third)) == ([], Ruling.SHIP)
