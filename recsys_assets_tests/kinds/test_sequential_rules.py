"""Items that follow within a session, on days small enough to follow by hand; agreement with the oracle is a law."""

import pytest

from recsys_assets.engines.building import find_definition
from recsys_assets.errors import ConfigurationError
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import decode_tally, encode_tally, merge_tallies, tally_day
from recsys_assets.settings.inputs import LimitSettings
from recsys_assets_tests.kinds.event_rows import events_of, row

KIND = KINDS["sequential_rules"]


def session(path, name="s"):
    """Return the events of a session: items of one word are at one instant."""
    return [row(n, None, name, item) for n, step in enumerate(path.split()) for item in step]


def built(rows, **params):
    return KIND.build(events_of(rows), KIND.params(**params), LimitSettings())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("a b", [("a", "b", 5040), ("b", "a", 2520)], id="half as much back"),
        pytest.param("ab", [("a", "b", 5040), ("b", "a", 5040)], id="one instant has no order"),
        pytest.param("a a b", [("a", "b", 2520 + 5040), ("b", "a", 1260 + 2520)], id="every visit counts"),
        pytest.param("a " + "x " * 9 + "b", [("a", "b", 504), ("b", "a", 252)], id="ten instants away"),
        pytest.param("a " + "x " * 10 + "b", [], id="too far"),
        pytest.param("a", [], id="a session of one item has no rule"),
    ],
)
def test_weights_fall_with_the_distance_in_distinct_instants(path, expected):
    found = built(session(path)).rows.frame().rows()
    assert [one for one in found if "x" not in one] == expected


def test_the_self_entry_counts_the_sessions_in_which_an_item_comes_again():
    rows = [*session("a b a a", "s"), *session("a", "t"), *session("b c", "u")]
    share = built(rows, self_entry=True, by_support=True).rows.frame().rows()
    assert ("a", "a", 500_000) in share
    assert ("a", "a", 5040) in built(rows, self_entry=True).rows.frame().rows()
    assert not [one for one in built(rows).rows.frame().rows() if one[0] == one[1]]


def test_division_takes_the_popular_down():
    rows = [line for n in range(32) for line in session("p", f"p{n}")]
    rows += [*session("a p", "s"), *session("a q", "t")]
    counts = {to: count for item, to, count in built(rows, by_support=True).rows.frame().rows() if item == "a"}
    # Half of the sessions of `a` lead to either; 33 sessions have a fifth root of 2.012.
    assert counts == {"q": 500_000, "p": 500_000 * 1000 // 2012}


def test_tallies_of_two_days_give_the_rules_of_both():
    first, second = session("a b c"), [row(90, None, "s", "a"), row(91, None, "t", "b")]
    days = [events_of(first), events_of(second)]
    tallies = [decode_tally(encode_tally(tally_day(day, KIND.event_columns))) for day in days]
    merged = KIND.build(merge_tallies(tallies), KIND.params(self_entry=True), LimitSettings())
    assert merged.rows.frame().equals(built([*first, *second], self_entry=True).rows.frame())


def test_no_engine_but_the_native_one_divides_by_support():
    with pytest.raises(ConfigurationError, match="only the native engine supports by_support of sequential_rules"):
        find_definition(KIND, KIND.params(by_support=True))
