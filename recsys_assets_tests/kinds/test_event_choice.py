"""Choice and weights of events: by kind, in what gates judge by, and refused by engines that do not know it."""

from pathlib import Path

import pytest

from recsys_assets.engines.building import find_definition
from recsys_assets.errors import ConfigurationError
from recsys_assets.gates.policy import artifact_policy
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets.settings.reading import parse_settings
from recsys_assets_tests.kinds.event_rows import events_of, row

SEEN_AND_BOUGHT = [
    row(0, "u1", "s1", "tea", "view"),
    row(1, "u1", "s1", "cup", "view"),
    row(2, "u1", "s1", "cup", "buy"),
    row(3, "u1", "s1", "pot", "buy"),
    row(4, "u2", "s2", "tea", None),
    row(5, "u2", "s2", "pot", "buy"),
]
ONE_SHOP = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'


def built(kind, **params):
    found = KINDS[kind].build(events_of(SEEN_AND_BOUGHT), KINDS[kind].params(**params), LimitSettings())
    return found.rows.frame().rows()


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        pytest.param("popularity", {"events": ["buy"]}, [("pot", 2), ("cup", 1)], id="bought, by popularity"),
        pytest.param("popularity", {"events": [""]}, [("tea", 1)], id="events without a kind"),
        pytest.param("popularity", {"events": ["bouhgt"]}, [], id="a kind that no event has"),
        pytest.param(
            "popularity", {"weights": {"buy": 5}}, [("pot", 10), ("cup", 6), ("tea", 2)], id="a purchase counts five"
        ),
        pytest.param(
            "popularity", {"weights": {"buy": 1, "default": 0}}, [("pot", 2), ("cup", 1)], id="others count nothing"
        ),
        pytest.param("popularity", {"weights": {"view": 3}, "events": ["view"]}, [("cup", 3), ("tea", 3)], id="both"),
        pytest.param(
            "cooc", {"events": ["buy"], "min_support": 1}, [("cup", "pot", 1), ("pot", "cup", 1)], id="bought together"
        ),
        pytest.param("item_seq", {"events": ["buy"], "min_support": 1}, [("cup", "pot", 1)], id="bought next"),
        pytest.param(
            "session_seq", {"events": ["buy"]}, [("u1", "pot", 1.0), ("u2", None, None)], id="the first one bought"
        ),
        pytest.param(
            "implicit",
            {"events": ["buy"], "weights": {"buy": 2.5}},
            [("u1", "cup", 2.5), ("u1", "pot", 2.5), ("u2", "pot", 2.5)],
            id="of each user",
        ),
    ],
)
def test_only_the_chosen_events_count_by_their_weights(kind, params, expected):
    assert built(kind, **params) == expected


def test_factors_are_made_of_the_chosen_events():
    params = KINDS["als_factors"].params(events=["buy"], factors=2)
    tables = KINDS["als_factors"].build(events_of(SEEN_AND_BOUGHT), params, LimitSettings()).rows.tables
    assert tables["item_id"].ids.to_list() == ["cup", "pot"]


def test_a_column_more_is_read_only_where_events_are_chosen_or_weighed():
    popularity = KINDS["popularity"]
    assert popularity.reading(popularity.params()) == popularity
    for params in ({"events": ["buy"]}, {"weights": {"buy": 2}}):
        assert popularity.reading(popularity.params(**params)).event_columns == ("item_id", "event")


@pytest.mark.parametrize(
    ("kind", "params", "named"),
    [
        pytest.param("popularity", {"events": ["buy"], "weights": {"buy": 2}}, "events and weights", id="popularity"),
        pytest.param("cooc", {"events": ["buy"]}, "events", id="cooc"),
        pytest.param("implicit", {"events": ["buy"]}, "events", id="implicit"),
        pytest.param("session_seq", {"events": ["buy"]}, "events", id="session_seq"),
    ],
)
def test_an_engine_that_does_not_know_the_choice_refuses_it_by_name(kind, params, named):
    with pytest.raises(ConfigurationError, match=f"only the native engine supports {named} of {kind}"):
        find_definition(KINDS[kind], KINDS[kind].params(**params))


def test_the_choice_of_a_target_stands_over_that_of_the_kind_and_in_what_its_gates_judge_by():
    """F32: a report on other events proves nothing, be it none at all against those without a kind."""
    seen = set()
    for line in ("", "events = []", 'events = [""]', 'events = ["view"]', 'events = ["view", "buy", "view"]'):
        text = f'[artifacts.cooc]\nevents = ["view"]\n{ONE_SHOP}[targets.artifacts.cooc]\n{line}\n'
        settings = parse_settings(text.encode(), name="recsys.toml", base=Path())
        target = settings.targets[0]
        params = read_params(settings, target, "cooc")
        seen.add((params.events, artifact_policy(settings, target, "cooc", params).digest))
    assert {events for events, _ in seen} == {("view",), (), ("",), ("buy", "view")}
    assert len({digest for _, digest in seen}) == 4
