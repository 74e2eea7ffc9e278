"""Targets, windows and references: what they accept is what every store can carry."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import ConfigurationError, UnsafeNameError
from recsys_assets.identity import (
    ArtifactRef,
    Target,
    Window,
    check_distinct,
    check_segment,
    parse_rfc3339,
    rfc3339,
)

HOSTILE = [
    "",
    ".",
    "..",
    " ",
    "a/b",
    "a\\b",
    "../x",
    "%2e%2e",
    "nul\0",
    "line\n",
    "tab\t",
    "x" * 201,
    "é" * 101,
    "dot.",
    " lead",
    "trail ",
    "rtl\u202e",
    "zero\u200bwidth",
    "a?b",
    "a#b",
    "\u2028",
    "\ud800",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_f17_a_hostile_name_is_no_segment(name):
    with pytest.raises(UnsafeNameError):
        check_segment(name, what="tenant")


@pytest.mark.parametrize(
    "name", ["shop", "acme-eu", "home.page", "a=b", "emoji😀", "a|b", "[x]", "{tenant}", "con", ".hidden"]
)
def test_an_unusual_but_safe_name_is_kept_as_it_is(name):
    assert check_segment(name, what="tenant") == name
    assert Target(name, "home").tenant == name


@pytest.mark.parametrize(("one", "two"), [("Shop", "shop"), ("caf\u00e9", "cafe\u0301"), ("ﬁne", "fine")])
def test_f17_names_that_some_stores_hold_as_one_are_refused_as_a_pair(one, two):
    with pytest.raises(UnsafeNameError, match="differ only by case or Unicode form"):
        check_distinct([one, "other", two], what="targets")


@given(st.text(max_size=250))
def test_whatever_is_accepted_is_one_plain_segment(name):
    try:
        check_segment(name, what="tenant")
    except UnsafeNameError:
        return
    assert "/" not in name
    assert name not in {".", ".."}
    assert 0 < len(name.encode()) <= 200


@given(st.dates(date(1970, 2, 1), date(2100, 1, 1)), st.integers(1, 60))
def test_a_window_ends_with_its_day_and_holds_as_many_days_as_asked(day, days):
    window = Window.ending(day, days=days)
    assert window.days[-1] == day
    assert len(window.days) == days
    assert window.end - window.start == timedelta(days=days)
    assert window.start <= datetime(day.year, day.month, day.day, tzinfo=UTC) < window.end


def test_a_window_of_no_days_is_refused():
    with pytest.raises(ConfigurationError, match="at least 1"):
        Window.ending(date(2026, 1, 1), days=0)


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_survives_its_text(instant):
    text = rfc3339(instant)
    assert text.endswith("Z")
    assert parse_rfc3339(text) == instant


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01T00:00:00", "yesterday", ""])
def test_a_time_without_zone_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_rfc3339(text)


@pytest.mark.parametrize(
    ("version", "digest", "size"),
    [("0" * 63, "0" * 64, 1), ("A" * 64, "0" * 64, 1), ("0" * 64, "x" * 64, 1), ("0" * 64, "0" * 64, 0)],
)
def test_a_reference_that_names_no_bytes_is_refused(version, digest, size):
    with pytest.raises(ConfigurationError):
        ArtifactRef("cooc", version, size, digest)
