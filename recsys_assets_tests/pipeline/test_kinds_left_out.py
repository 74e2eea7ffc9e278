"""Kinds without rows: left out of the release by name and reason, refused where services would lose them."""

import json

import pytest
from dagster import DagsterInstance

from recsys_assets.errors import RefusedError
from recsys_assets.pipeline.arrivals import is_up_to_date
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.journal import Actor, newest_first
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.report import report_release
from recsys_assets.upkeep.report_document import to_markdown
from recsys_assets.upkeep.status import status_of
from recsys_assets_tests.small_shop import CONFIG, HOME, after, day_lines, open_shop

ROW = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
KINDS = ("popularity", "cooc", "implicit", "content_sim", "session_seq", "item_seq", "sequential_rules")
BY = Actor(name="ann", reason="no users from today on", run_id=None)


class Shop:
    """A shop in a folder and a store in memory, built without Dagster."""

    def __init__(self, folder, *, kinds=KINDS, extra=""):
        self.folder, self.store = folder, MemoryStore()
        (folder / "raw").mkdir()
        names = ", ".join(f'"{kind}"' for kind in kinds)
        text = f"{CONFIG}[artifacts]\nwindow_days = 1\nkinds = [{names}]\n{extra}{ROW}"
        self.settings = parse_settings(text.encode(), name="recsys.toml", base=folder)

    def with_catalog(self):
        rows = [{"item_id": f"i{n}", "tags": ["red"]} for n in range(6)]
        (self.folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def without_catalog(self):
        (self.folder / "catalog.jsonl").unlink()

    def context(self, day):
        return DayContext(self.store, self.settings, self.settings.targets[0], day, run_id="test")

    def stage(self, day, lines):
        (self.folder / "raw" / f"{day}.jsonl").write_text("".join(f"{line}\n" for line in lines))
        build_raw(self.store, self.settings, day)
        context = self.context(day)
        build_canonical(context)
        judge_canonical(context)
        for kind in self.settings.artifacts.kinds:
            build_artifact(context, kind)
        return {kind: judge_artifact(context, kind) for kind in self.settings.artifacts.kinds}

    def ship(self, day, **how):
        return ship_day(self.context(day), by=BY, **how)


def changed(day, **fields):
    """Return the events of an ordinary day with other fields; None takes one away."""
    lines = [json.loads(line) | fields for line in day_lines(day, targets=[HOME])]
    return [json.dumps({name: value for name, value in line.items() if value is not None}) for line in lines]


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.mark.parametrize(
    ("fields", "catalog", "expected"),
    [
        pytest.param({"user_id": None}, True, {"implicit", "session_seq"}, id="no users"),
        pytest.param({}, False, {"content_sim"}, id="no catalog"),
        pytest.param({"ts": f"{after(0)}T08:00:00Z"}, True, {"item_seq"}, id="one instant"),
        pytest.param({"user_id": None}, False, {"implicit", "session_seq", "content_sim"}, id="neither"),
    ],
)
def test_kinds_without_rows_are_left_out_and_the_others_ship(shop, fields, catalog, expected):
    if catalog:
        shop.with_catalog()
    shop.stage(after(0), changed(after(0), **fields))
    shipped = shop.ship(after(0))
    current = read_current(shop.store, HOME)
    assert current is not None
    assert set(current.versions) == set(KINDS) - expected
    release = read_release(shop.store, HOME, current.release_id)
    assert {report.subject for report in release.gates if report.left_out_because} == expected
    status = status_of(shop.store, HOME, now=shop.context(after(0)).now())
    assert set(status.left_out) == expected
    entry = next(iter(newest_first(shop.store, HOME)))
    report = to_markdown(report_release(shop.store, HOME, release, live=True))
    for kind in expected:
        for text in (entry.details["left_out"], entry.details["message"], shipped.numbers["left_out"], report):
            assert kind in str(text).lower()
        assert status.left_out[kind] in report
    assert is_up_to_date(shop.context(after(0)))


def test_a_catalog_that_is_not_configured_is_left_out_too(tmp_path):
    shop = Shop(tmp_path)
    shop.settings = shop.settings.model_copy(update={"raw": shop.settings.raw.model_copy(update={"catalog": None})})
    shop.stage(after(0), changed(after(0)))
    assert "content_sim" not in shop.ship(after(0)).outcome.release.refs


@pytest.mark.parametrize("kind", ["popularity", "cooc"])
def test_a_kind_that_any_event_fills_still_refuses(tmp_path, kind):
    shop = Shop(tmp_path, kinds=("popularity", "cooc"), extra=f'[artifacts.{kind}]\nevents = ["buy"]\n')
    report = shop.stage(after(0), changed(after(0)))[kind]
    assert [finding.gate for finding in report.refusals] == ["not_empty"]
    with pytest.raises(RefusedError, match=rf"{kind}: gate not_empty refused"):
        shop.ship(after(0))


def test_nothing_ships_where_every_kind_is_left_out(tmp_path):
    shop = Shop(tmp_path, kinds=("implicit",))
    shop.stage(after(0), changed(after(0), user_id=None))
    with pytest.raises(RefusedError, match="nothing to ship"):
        shop.ship(after(0))


def test_a_kind_that_is_live_does_not_vanish_unless_somebody_answers_for_it(tmp_path):
    shop = Shop(tmp_path, kinds=("popularity", "implicit"))
    shop.stage(after(0), changed(after(0)))
    shop.ship(after(0))
    report = shop.stage(after(1), changed(after(1), user_id=None))["implicit"]
    assert [finding.gate for finding in report.refusals] == ["not_empty"]
    with pytest.raises(RefusedError, match="services would lose"):
        shop.ship(after(1))
    shipped = shop.ship(after(1), override=["not_empty"])
    assert "implicit" not in shipped.outcome.release.refs
    assert "implicit: not_empty" in str(shipped.outcome.entry and shipped.outcome.entry.details["overridden"])
    shop.stage(after(2), changed(after(2), user_id=None))
    assert "implicit" in str(shop.ship(after(2)).numbers["left_out"])


def test_a_catalog_that_went_away_refuses(tmp_path):
    shop = Shop(tmp_path, kinds=("popularity", "content_sim"))
    shop.with_catalog()
    shop.stage(after(0), changed(after(0)))
    shop.ship(after(0))
    shop.without_catalog()
    shop.stage(after(1), changed(after(1)))
    with pytest.raises(
        RefusedError, match="content_sim: gate not_empty refused: it has no rows, as there is no catalog"
    ):
        shop.ship(after(1))


def test_a_kind_that_became_live_after_the_judgement_does_not_vanish(tmp_path):
    """The day was judged when nothing was live: the swap looks again."""
    shop = Shop(tmp_path, kinds=("popularity", "implicit", "session_seq"))
    shop.stage(after(1), changed(after(1), user_id=None))
    shop.stage(after(0), changed(after(0)))
    shop.ship(after(0))
    before = read_current(shop.store, HOME)
    with pytest.raises(RefusedError, match="implicit, session_seq would be lost"):
        shop.ship(after(1))
    assert read_current(shop.store, HOME) == before


def test_an_advisory_gate_lets_a_live_kind_go(tmp_path):
    shop = Shop(tmp_path, kinds=("popularity", "implicit"), extra='[gates.modes]\nnot_empty = "advisory"\n')
    shop.stage(after(0), changed(after(0)))
    shop.ship(after(0))
    shop.stage(after(1), changed(after(1), user_id=None))
    assert "implicit" not in shop.ship(after(1)).outcome.release.refs


def test_a_run_says_what_it_left_out(tmp_path):
    with DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure('[artifacts]\nkinds = ["popularity", "implicit", "session_seq"]\n', targets=ROW)
        shop.write(after(0), changed(after(0), user_id=None))
        result = shop.build(after(0))
        assert result.success
        (shown,) = [
            event.step_materialization_data.materialization.metadata
            for event in result.all_events
            if event.event_type_value == "ASSET_MATERIALIZATION" and event.asset_key.path[-1] == "manifest"
        ]
        assert shown["left_out"].value == (
            "implicit: no event that it counts names a user; session_seq: no event that it counts names a user"
        )
