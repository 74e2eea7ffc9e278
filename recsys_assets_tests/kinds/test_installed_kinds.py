"""A kind that another package adds is one like ours; a package whose kind cannot be had is named, never passed over."""

import json
import sys
from datetime import date
from textwrap import dedent

import pytest

from recsys_assets.engines.building import canary_params, find_definition
from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import NO_BASELINE, Verdict
from recsys_assets.identity import Target
from recsys_assets.kind_descriptions import _all_entry_points, describe, installed_descriptions
from recsys_assets.kinds.registry import KINDS, find_kind, installed_kinds
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.baseline import live_baseline
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.tune_options import configured, scores, vary
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.recommending import recommenders
from recsys_assets.serving.served import form_of_kind
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.diff import diff, read_named
from recsys_assets.upkeep.report import describe_change
from recsys_assets_tests.kinds.event_rows import events_of, row

GOOD = """
    from recsys_assets.kinds.registry import Kind
    from recsys_assets.kind_descriptions import POPULARITY_SHAPE, KindDescription
    from recsys_assets.kinds.popularity import PopularityParams, build_popularity

    class ShortParams(PopularityParams):
        max_items: int = 1

    ABOUT = KindDescription("trending", "The most seen item alone.", POPULARITY_SHAPE, place="the trends")
    KIND = Kind(
        description=ABOUT,
        params=ShortParams,
        event_columns=("item_id",),
        kernel=build_popularity,
        definition="recsys_assets.engines.lists:POPULARITY",
    )
"""


MADE_OF_CATALOG = """
    from recsys_assets.kinds.registry import Kind
    from recsys_assets.kind_descriptions import CONTENT_SIM_SHAPE, KindDescription
    from recsys_assets.kinds.content_sim import ContentSimParams, list_tags

    ABOUT = KindDescription("trending", "The labels of each item.", CONTENT_SIM_SHAPE)
    KIND = Kind(description=ABOUT, params=ContentSimParams, event_columns=(), kernel=list_tags)
"""


def _forget():
    for cached in (_all_entry_points, installed_kinds, installed_descriptions, form_of_kind):
        cached.cache_clear()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a package where Python finds it, as an installer does: its module, and its metadata beside it."""

    def put(text, entry="trending = acme_kinds:KIND"):
        (tmp_path / "acme_kinds.py").write_text(dedent(text))
        metadata = tmp_path / "acme_recsys-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-recsys\nVersion: 1.2\n")
        described = "[recsys_assets.kind_descriptions]\ntrending = acme_kinds:ABOUT\n" if "ABOUT =" in text else ""
        (metadata / "entry_points.txt").write_text(f"[recsys_assets.kinds]\n{entry}\n{described}")
        monkeypatch.syspath_prepend(tmp_path)
        _forget()

    yield put
    _forget()
    sys.modules.pop("acme_kinds", None)


def test_a_kind_of_another_package_is_in_the_table_behind_ours_and_builds(install):
    ours = list(KINDS)
    install(GOOD)
    assert list(KINDS) == [*ours, "trending"]
    kind = find_kind("trending")
    events = events_of([row(n, None, "s", item) for n, item in enumerate("abb")])
    assert kind.build(events, kind.params(), LimitSettings()).rows.frame().rows() == [("b", 2)]


@pytest.mark.parametrize(
    ("text", "entry", "message"),
    [
        pytest.param(
            "import nowhere_at_all", "trending = acme_kinds:KIND", "fails to load with ModuleNotFound", id="import"
        ),
        pytest.param("1 / 0", "trending = acme_kinds:KIND", "ZeroDivisionError: division by zero", id="raises"),
        pytest.param("", "trending = acme_kinds:KIND", "fails to load with AttributeError", id="nothing there"),
        pytest.param("KIND = 3", "trending = acme_kinds:KIND", "leads to 3, not to a recsys_assets", id="no kind"),
        pytest.param(GOOD, "rising = acme_kinds:KIND", "its kind is called 'trending'", id="another name"),
        pytest.param(
            GOOD.replace("trending", "cooc"), "cooc = acme_kinds:KIND", "a kind of this name already", id="one of ours"
        ),
    ],
)
def test_a_broken_package_is_named_even_where_only_our_kinds_are_asked_for(install, text, entry, message):
    install(text, entry)
    with pytest.raises(ConfigurationError, match=message) as raised:
        find_kind("popularity")
    assert "the package acme-recsys 1.2 adds the kind" in str(raised.value)
    assert "uninstall it" in str(raised.value)


DAYS = (date(2026, 1, 1), date(2026, 1, 2))
SHIPPED = [{"trending": {"tea": 3, "cup": 2}}, {"trending": {"tea": 3, "cup": 5, "pot": 1}}]


@pytest.fixture
def shipped(install):
    """Return a store with two releases of the installed kind."""
    install(GOOD)
    store = MemoryStore()
    for day, artifacts in zip(DAYS, SHIPPED, strict=True):
        publish_fixture(store, "shop", "home", artifacts, day=day)
    return store


def compared(store):
    """Return how the kind differs between the two releases."""
    target = Target("shop", "home")
    live = read_named(store, target, "live")
    (found,) = diff(store, target, live.parent, live.id).kinds
    return found


def test_an_installed_kind_is_a_ranking_in_diff_and_report(shipped):
    found = compared(shipped)
    assert (found.entered, found.moved) == (("pot",), (("cup", 2, 1), ("tea", 1, 2)))
    assert describe_change(found).startswith(
        "trending, from 2 to 3 rows: 1 item entered the trends, 2 items changed place."
    )


def test_a_release_of_a_kind_that_nobody_describes_any_more_is_compared_by_its_structure(shipped, monkeypatch):
    monkeypatch.undo()
    _forget()
    assert describe("trending") is None
    found = compared(shipped)
    assert found.moved == (("cup", 2, 1), ("tea", 1, 2))
    assert describe_change(found).startswith(
        "trending, from 2 to 3 rows: 1 row entered the artifact, 2 rows changed place."
    )


def test_an_installed_kind_is_looked_up_in_and_asked_by_the_back_test(shipped):
    with Reader(shipped, "shop", "home") as reader, reader.snapshot() as snapshot:
        assert snapshot.rows("trending").find("cup").count == 5
        assert "trending" in recommenders(snapshot.lookups)
    assert find_kind("trending").description.orders_items


def test_an_installed_kind_runs_on_engines_by_the_definition_that_it_names(install):
    install(GOOD)
    kind = find_kind("trending")
    assert find_definition(kind, kind.params()).columns == ("item_id",)


@pytest.mark.parametrize(
    ("definition", "message"), [("", "only the native engine builds it"), ("acme_kinds:nothing", "cannot be loaded")]
)
def test_a_kind_without_a_definition_is_native_only_and_says_so(install, definition, message):
    install(GOOD.replace("recsys_assets.engines.lists:POPULARITY", definition))
    kind = find_kind("trending")
    with pytest.raises(ConfigurationError, match=message):
        find_definition(kind, kind.params())


ITEMS = [f"i{number:02}" for number in range(24)]
CONFIG = """
[raw]
exposures = "{day}.jsonl"
catalog = "catalog.jsonl"
[artifacts]
window_days = 1
kinds = ["popularity", "trending"]
[[targets]]
tenant = "shop"
surface = "home"
"""


@pytest.fixture
def catalog_shop(install, tmp_path):
    """Return a second day: live of another package's kind knows all items, the catalog two of them."""
    install(MADE_OF_CATALOG)
    event = {"v": 1, "tenant": "shop", "surface": "home", "session_id": "s", "user_id": "u"}
    seen = [event | {"ts": f"{DAYS[1]}T08:00:{number:02}Z", "item_id": item} for number, item in enumerate(ITEMS)]
    (tmp_path / f"{DAYS[1]}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in seen))
    rows = [json.dumps({"item_id": item, "tags": ["new"]}) for item in ITEMS[:2]]
    (tmp_path / "catalog.jsonl").write_text("\n".join([*rows, "{"]) + "\n")
    settings, store = parse_settings(CONFIG.encode(), name="test", base=tmp_path), MemoryStore()
    live = {"popularity": {"i00": 3, "other": 2}, "trending": {item: ["old"] for item in ITEMS}}
    publish_fixture(store, "shop", "home", live, day=DAYS[0])
    context = DayContext(store, settings, settings.targets[0], DAYS[1], run_id="test")
    build_raw(store, settings, DAYS[1])
    build_canonical(context)
    return context


def test_a_kind_of_another_package_that_is_made_of_the_catalog_is_compared_with_live(catalog_shop):
    build_artifact(catalog_shop, "trending")
    found = {one.gate: one for one in judge_artifact(catalog_shop, "trending").findings}
    refused = {name for name, one in found.items() if one.verdict is Verdict.REFUSED}
    assert {"catalog_lost", "catalog_unknown", "bad_catalog_share"} <= refused
    assert found["catalog_lost"].value == pytest.approx(22 / 24)
    assert NO_BASELINE not in found["catalog_changed"].message


def test_the_items_of_a_kind_of_another_package_are_the_catalog_where_no_other_is_live(catalog_shop):
    baseline = live_baseline(catalog_shop.store, catalog_shop.target, "popularity")
    assert baseline is not None
    assert sorted(baseline.catalog) == ITEMS


def test_a_kind_of_another_package_says_itself_what_is_tuned_and_what_its_canary_meets(install, tmp_path):
    grid = 'tuning=TuningGrid(({"max_items": 1}, {"max_items": 5}), {"window_days": (1, 2)}), canary={"max_items": 3},'
    text = GOOD.replace("kernel=build", f"{grid}\n        kernel=build")
    install("from recsys_assets.kinds.params import TuningGrid\n" + dedent(text))
    settings = parse_settings(CONFIG.encode(), name="test", base=tmp_path)
    now = configured(settings, settings.targets[0])
    assert now.kind == "trending"
    tried = [one for one in scores(settings, settings.targets[0]) if one.kind == "trending"]
    assert [one.varied["max_items"] for one in tried] == [1, 5]
    assert [one.params.window_days for one in vary(now, "window_days")] == [1, 2]
    assert canary_params("trending").model_dump()["max_items"] == 3
