"""Instants: exactly those of RFC 3339 with a zone, to the nanosecond."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.ingest.timestamps import (
    DAY_SECONDS,
    NANOSECONDS,
    MissingZoneError,
    days_before,
    name_of_day,
    read_instant,
)

EIGHT = 1_767_254_400 * NANOSECONDS


INSTANTS = [
    pytest.param("2026-01-01T08:00:00Z", EIGHT, id="plain"),
    pytest.param("2026-01-01t08:00:00z", EIGHT, id="lower case"),
    pytest.param("2026-01-01T08:00:00+00:00", EIGHT, id="offset of nothing"),
    pytest.param("2026-01-01T08:00:00-00:00", EIGHT, id="unknown local offset"),
    pytest.param("2026-01-01T13:30:00+05:30", EIGHT, id="east"),
    pytest.param("2025-12-31T22:00:00-10:00", EIGHT, id="west, another day"),
    pytest.param("2026-01-02T07:59:00+23:59", EIGHT, id="the largest offset"),
    pytest.param("2026-01-01T08:00:00.5Z", EIGHT + 500_000_000, id="one digit"),
    pytest.param("2026-01-01T08:00:00.000000001Z", EIGHT + 1, id="nanosecond"),
    pytest.param("2024-02-29T00:00:00Z", 1_709_164_800 * NANOSECONDS, id="leap day"),
    pytest.param("2000-02-29T00:00:00Z", 951_782_400 * NANOSECONDS, id="leap day of a fourth century"),
    pytest.param("1970-01-01T00:00:00Z", 0, id="epoch"),
    pytest.param("1969-12-31T23:59:59.999999999Z", -1, id="before the epoch"),
    pytest.param("0000-01-01T00:00:00Z", -62_167_219_200 * NANOSECONDS, id="year 0"),
    pytest.param("9999-12-31T23:59:59Z", 253_402_300_799 * NANOSECONDS, id="year 9999"),
]


@pytest.mark.parametrize(("text", "expected"), INSTANTS)
def test_an_instant_is_read_exactly(text, expected):
    assert read_instant(text) == expected


NO_INSTANTS = [
    pytest.param("", id="empty"),
    pytest.param("2026-01-01", id="date only"),
    pytest.param("2026-01-01 08:00:00Z", id="space for T"),
    pytest.param(" 2026-01-01T08:00:00Z", id="space before"),
    pytest.param("2026-01-01T08:00:00Z\n", id="newline behind"),
    pytest.param("2026-01-01T08:00Z", id="no seconds"),
    pytest.param("2026-1-1T08:00:00Z", id="one digit"),
    pytest.param("2026-01-01T08:00:00.Z", id="no digit behind the point"),
    pytest.param("2026-01-01T08:00:00.1234567890Z", id="ten digits"),
    pytest.param("2026-01-01T08:00:00,5Z", id="comma"),
    pytest.param("2026-01-01T08:00:60Z", id="leap second"),
    pytest.param("2026-01-01T24:00:00Z", id="hour 24"),
    pytest.param("2026-01-01T08:60:00Z", id="minute 60"),
    pytest.param("2026-13-01T08:00:00Z", id="month 13"),
    pytest.param("2026-00-01T08:00:00Z", id="month 0"),
    pytest.param("2026-01-00T08:00:00Z", id="day 0"),
    pytest.param("2026-04-31T08:00:00Z", id="April 31"),
    pytest.param("2026-02-29T08:00:00Z", id="no leap year"),
    pytest.param("2100-02-29T08:00:00Z", id="no leap year, a century"),
    pytest.param("2026-01-01T08:00:00+0100", id="offset without a colon"),
    pytest.param("2026-01-01T08:00:00+24:00", id="offset of a day"),
    pytest.param("2026-01-01T08:00:00+01:60", id="offset of 60 minutes"),
    pytest.param("2026-01-01T08:00:00ZZ", id="two zones"),
    pytest.param("٢٠٢٦-01-01T08:00:00Z", id="digits of another script"),
    pytest.param("+2026-01-01T08:00:00Z", id="sign"),
    pytest.param("2026-01-01T08:00:00.5", id="no zone"),
]


@pytest.mark.parametrize("text", NO_INSTANTS[:-1])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match=r"names|RFC 3339|offset"):
        read_instant(text)


def test_an_instant_without_a_zone_is_distinguished_from_garbage():
    with pytest.raises(MissingZoneError, match="no zone"):
        read_instant("2026-01-01T08:00:00.5")


OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes(timezones=OFFSETS))
def test_every_datetime_is_read_as_python_counts_it(instant):
    expected = (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    assert read_instant(instant.isoformat()) == expected


@given(st.dates())
def test_days_are_counted_and_named_as_the_calendar_does(day):
    days = (day - date(1970, 1, 1)).days
    assert days_before(day.year, day.month, day.day) == days
    assert name_of_day(days * DAY_SECONDS * NANOSECONDS) == day.isoformat()
    assert name_of_day((days + 1) * DAY_SECONDS * NANOSECONDS - 1) == day.isoformat()
