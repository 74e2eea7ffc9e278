"""Parameters are read from two tables, the target's over the kind's, and a wrong one is named with what is allowed."""

from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from recsys_assets.errors import ConfigurationError
from recsys_assets.kinds.cooc_scan import Score
from recsys_assets.kinds.registry import KINDS, find_kind, read_params
from recsys_assets.settings.artifacts import DEFAULT_KINDS
from recsys_assets.settings.reading import parse_settings

TARGET = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'

OFF_BY_DEFAULT = {"item_seq", "sequential_rules", "als_factors"}


ALL = {"events": ()}  # of every kind that is built from events


def params_of(text, kind):
    settings = parse_settings(text.encode(), name="recsys.toml", base=Path())
    return read_params(settings, settings.targets[0], kind)


def test_the_kinds_of_the_configuration_are_those_of_the_table():
    assert set(KINDS) == {*DEFAULT_KINDS, *OFF_BY_DEFAULT}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_known_by_its_name_and_says_what_it_is_in_a_sentence(name):
    kind = find_kind(name)
    assert kind.name == name
    assert kind.description.summary.endswith(".")
    assert kind.from_catalog == (name == "content_sim")


def test_an_unknown_kind_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigurationError, match=r"no kind 'trending'; known are popularity, cooc, implicit"):
        find_kind("trending")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param(
            "popularity", {"max_items": 100_000, "half_life_days": None, "weights": {}, **ALL}, id="popularity"
        ),
        pytest.param(
            "cooc",
            {"min_support": 2, "max_neighbors": 20, "max_items": 100_000, "max_items_per_session": 200}
            | {"score": Score.COUNT, "shrinkage": 0, "half_life_days": None, **ALL},
            id="cooc",
        ),
        pytest.param(
            "implicit",
            {"max_items_per_user": 500, "max_events_per_user": 10_000, "weights": {"default": Decimal(1)}, **ALL},
            id="implicit",
        ),
        pytest.param(
            "session_seq", {"max_items_per_user": 500, "max_events_per_user": 10_000, **ALL}, id="session_seq"
        ),
        pytest.param("content_sim", {"max_items": 100_000}, id="content_sim"),
        pytest.param(
            "item_seq",
            {"min_support": 2, "max_next": 20, "max_items": 100_000, "max_items_per_session": 200, **ALL},
            id="item_seq",
        ),
        pytest.param(
            "sequential_rules",
            {"max_neighbors": 20, "max_items": 100_000, "max_items_per_session": 200}
            | {"by_support": False, "self_entry": False, **ALL},
            id="sequential_rules",
        ),
        pytest.param(
            "als_factors",
            {"max_items_per_user": 500, "max_events_per_user": 10_000, "weights": {"default": Decimal(1)}}
            | {"factors": 32, "iterations": 15, "regularization": 0.01, "alpha": 10.0, "seed": 1}
            | {"max_items": 100_000, "max_bytes": 100_000_000, **ALL},
            id="als_factors",
        ),
    ],
)
def test_defaults_are_those_of_the_design(kind, expected):
    common = {"window_days": 28, "min_days": 1, "max_bytes": 10_000_000}
    assert params_of(TARGET, kind).model_dump() == {**common, **expected}


def test_rows_with_a_key_split_into_shards_once_they_outgrow_an_object_and_others_never():
    shards = {kind: params_of(TARGET, kind).shards for kind in KINDS}
    never = {kind for kind, found in shards.items() if found == "never"}
    assert never == {"popularity", "als_factors"}
    assert set(shards.values()) == {"never", "over_max_bytes"}


@pytest.mark.parametrize("kind", ["content_sim", "cooc", "sequential_rules"])
def test_one_object_that_has_no_room_for_as_many_items_as_allowed_is_refused_by_the_configuration(kind):
    never = f'[artifacts.{kind}]\nshards = "never"\n'
    with pytest.raises(
        ConfigurationError, match=r"max_bytes = 10,000,000 has space for about [\d,]+ full rows"
    ) as refused:
        params_of(never + TARGET, kind)
    assert "max_items allows 100,000: lower max_items" in str(refused.value)
    assert params_of(f"{never}max_items = 1000\n{TARGET}", kind).shards == "never"
    assert params_of(f"{never}max_bytes = 100_000_000\n{TARGET}", kind).shards == "never"
    assert params_of(TARGET, kind).max_items == 100_000


def test_a_window_for_all_kinds_gives_way_to_that_of_one():
    text = f"[artifacts]\nwindow_days = 7\n[artifacts.cooc]\nwindow_days = 90\n{TARGET}"
    assert {kind: params_of(text, kind).window_days for kind in ("popularity", "cooc")} == {"popularity": 7, "cooc": 90}


def test_a_target_overrides_single_keys_of_a_kind():
    text = (
        "[artifacts.cooc]\nmin_support = 3\nmax_neighbors = 7\n"
        f"{TARGET}[targets.artifacts.cooc]\nmax_neighbors = 9\nwindow_days = 28\n"
    )
    params = params_of(text, "cooc")
    assert (params.min_support, params.max_neighbors, params.window_days) == (3, 9, 28)


@pytest.mark.parametrize(
    ("kind", "line", "message"),
    [
        pytest.param(
            "cooc", "min_suport = 3", r"artifacts\.cooc\.min_suport: unknown key; did you mean min_support\?", id="typo"
        ),
        pytest.param("cooc", "max_neighbors = 0", r"artifacts\.cooc\.max_neighbors: .*\(found 0\)", id="zero"),
        pytest.param("popularity", 'max_items = "many"', r"max_items: .*\(found 'many'\)", id="a word for a number"),
        pytest.param("implicit", "window_days = 0", r"window_days: .*\(found 0\)", id="no days"),
        pytest.param(
            "implicit", "weights = { click = -1.0 }", r"weights\.click: .*greater than 0", id="negative weight"
        ),
        pytest.param("implicit", "weights = { click = 0 }", r"weights\.click: .*greater than 0", id="no weight"),
        pytest.param("implicit", "weights = { click = 0.0000001 }", r"weights\.click: .*6 decimal", id="too fine"),
        pytest.param("implicit", "weights = { click = nan }", r"weights\.click: ", id="not a number"),
        pytest.param("implicit", "weights = { click = inf }", r"weights\.click: ", id="infinite"),
        pytest.param("implicit", "weights = { click = 900_000 }", r"scores are not exact", id="sums past 2**33"),
        pytest.param("popularity", "weights = { click = 1.5 }", r"weights\.click: .*integer", id="parts of a count"),
        pytest.param("popularity", "weights = { click = -1 }", r"weights\.click: .*equal to 0", id="less than none"),
        pytest.param("cooc", "weights = { click = 2 }", r"weights: unknown key", id="pairs count sessions"),
        pytest.param("content_sim", 'events = ["click"]', r"events: unknown key", id="a catalog has no events"),
        pytest.param("cooc", 'events = "click"', r"events: .*\(found 'click'\)", id="events is a list"),
        pytest.param("implicit", "weights = 3", r"artifacts\.implicit\.weights: ", id="no table"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_found(kind, line, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        params_of(f"[artifacts.{kind}]\n{line}\n{TARGET}", kind)
    assert "shop/home" in str(raised.value)


def test_weights_are_read_as_written_not_as_binary_numbers():
    text = f"[artifacts.implicit]\nweights = {{ default = 0.1, click = 2, purchase = 1e-6 }}\n{TARGET}"
    params = params_of(text, "implicit")
    assert [params.millionths(kind) for kind in (None, "other", "click", "purchase")] == [
        100_000,
        100_000,
        2_000_000,
        1,
    ]


@pytest.mark.parametrize("name", KINDS)
def test_the_columns_of_a_kind_are_those_that_people_see(name):
    expected = {
        "popularity": {"item_id": pl.String(), "count": pl.Int64()},
        "cooc": {"item_id": pl.String(), "neighbor_id": pl.String(), "count": pl.Int64()},
        "implicit": {"user_id": pl.String(), "item_id": pl.String(), "score": pl.Float64()},
        "session_seq": {"user_id": pl.String(), "item_id": pl.String(), "score": pl.Int64()},
        "content_sim": {"item_id": pl.String(), "tag": pl.String()},
        "item_seq": {"item_id": pl.String(), "next_id": pl.String(), "count": pl.Int64()},
        "sequential_rules": {"item_id": pl.String(), "next_id": pl.String(), "count": pl.Int64()},
        "als_factors": {"of": pl.String(), "id": pl.String(), "norm": pl.Float64()},
    }
    assert KINDS[name].columns == expected[name]
