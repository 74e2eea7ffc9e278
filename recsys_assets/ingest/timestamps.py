"""Conversion of RFC 3339 timestamps to exact nanoseconds since 1970 in UTC: nothing is rounded, repaired or guessed."""

import re
from calendar import monthrange

NANOSECONDS = 1_000_000_000
DAY_SECONDS = 86_400

_LOCAL = r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
_INSTANT = re.compile(_LOCAL + r"(?:([Zz])|([+-])(\d\d):(\d\d))", re.ASCII)
_NO_ZONE = re.compile(_LOCAL, re.ASCII)
_MONTHS = 12


def read_instant(text: str) -> int:
    """Return nanoseconds since 1970-01-01T00:00:00Z of a year from 0000 to 9999. The result may exceed 64 bits.

    Accepted are `T` and `Z` in lower case, as RFC 3339 says, up to nine digits of fraction, and every offset up to
    23:59, also `-00:00`. Leap seconds, hour 24, a space for `T`, and text around the timestamp are refused.

    Raises `MissingZoneError` if only the zone is missing, `ValueError` for any other fault.
    """
    match = _INSTANT.fullmatch(text)
    if match is None:
        if _NO_ZONE.fullmatch(text):
            raise MissingZoneError("has no zone: expected Z or an offset such as +01:00 at the end")
        raise ValueError("is not an RFC 3339 timestamp: expected e.g. 2026-01-31T04:00:00.123Z")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if not (1 <= month <= _MONTHS and 1 <= day <= _month_days(year, month)):
        raise ValueError("names a day that does not exist")
    if hour > 23 or minute > 59 or second > 59:  # noqa: PLR2004 - bounds of a clock
        raise ValueError("names a time of day that does not exist (leap seconds are not accepted)")
    seconds = days_before(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second - _offset(match)
    return seconds * NANOSECONDS + int((match[7] or "").ljust(9, "0"))


class MissingZoneError(ValueError):
    """A timestamp without a zone: its UTC day is unknown."""


def days_before(year: int, month: int, day: int) -> int:
    """Return the number of days from 1970-01-01 to a proleptic Gregorian date, whose year may be 0 or negative."""
    year -= month <= 2  # noqa: PLR2004 - years are counted from March, so that the leap day is the last
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1  # noqa: PLR2004
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468


def name_of_day(nanoseconds: int) -> str:
    """Return the UTC day of a timestamp, as `2026-01-31`, also for years outside the range of `datetime`."""
    days = nanoseconds // (DAY_SECONDS * NANOSECONDS) + 719_468
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + (3 if shifted < 10 else -9)  # noqa: PLR2004 - March is month 0
    year = year_of_era + era * 400 + (month <= 2)  # noqa: PLR2004
    return f"{year:04d}-{month:02d}-{day_of_year - (153 * shifted + 2) // 5 + 1:02d}"


def _month_days(year: int, month: int) -> int:
    # The calendar repeats every 400 years. `monthrange` refuses year 0.
    return monthrange(year % 400 + 400, month)[1]


def _offset(match: re.Match[str]) -> int:
    """Return seconds east of UTC."""
    if match[8]:
        return 0
    hours, minutes = int(match[10]), int(match[11])
    if hours > 23 or minutes > 59:  # noqa: PLR2004 - bounds of a clock
        raise ValueError("has an offset beyond 23:59")
    return (hours * 3600 + minutes * 60) * (-1 if match[9] == "-" else 1)
