"""Template filters that format times, ages, values and limits for people."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import Scalar
from recsys_assets.identity import parse_rfc3339
from recsys_assets.upkeep.report_document import shown

_UNITS: Final = (
    (timedelta(days=2), timedelta(days=1), "days"),
    (timedelta(hours=1), timedelta(hours=1), "h"),
    (timedelta(minutes=1), timedelta(minutes=1), "min"),
)


def instant(value: datetime | str) -> str:
    """Return a timestamp to the second in UTC, with its zone."""
    at = _at(value)
    return f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else str(value)


def ago(value: datetime | str | None, now: datetime) -> Markup:
    """Return the age of a timestamp as an HTML element whose title is the timestamp with its zone."""
    at = _at(value) if value else None
    if at is None:
        return Markup.escape(value or "-")
    values = (f"{at:%Y-%m-%dT%H:%M:%SZ}", instant(at), distance(now - at))
    return Markup('<time datetime="{}" title="{}">{}</time>').format(*values)


def distance(elapsed: timedelta) -> str:
    """Return an elapsed time, or a future one if negative, in its largest unit: "3 h ago", "in 5 min"."""
    size = abs(elapsed)
    for least, unit, name in _UNITS:
        if size >= least:
            amount = f"{size // unit} {name}"
            return f"{amount} ago" if elapsed > timedelta(0) else f"in {amount}"
    return "just now"


def limits(params: Mapping[str, Scalar]) -> str:
    """Return the numeric parameters of a gate, by name, as text."""
    numbers = ((name, value) for name, value in params.items() if isinstance(value, int | float))
    return ", ".join(f"{name} {shown(_whole(value))}" for name, value in numbers)


def _whole(value: float) -> float:
    """Return a whole number as an integer, which is shown with all its digits."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def url_part(name: object) -> str:
    """Return a name as one percent-encoded segment of a URL."""
    return quote(str(name), safe="")


def short(identifier: object) -> str:
    """Return the first 12 digits of a hash."""
    return str(identifier)[:12]


def grouped(count: int) -> str:
    """Return a whole number with thousands separators."""
    return f"{count:,}"


def brief(number: float) -> str:
    """Return a number in three digits, with k and M for thousands and millions."""
    for size, letter in ((1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            return f"{number / (1e6 if letter == 'M' else 1e3):.3g} {letter}"
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:.2g}"


def cell(value: object) -> str:
    """Return a value of a row as text. Values other than text and numbers become JSON."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    return msgspec.json.encode(value).decode()


def percent(share: float) -> str:
    """Return a share as a percentage with one digit."""
    return f"{share:.1%}"


def day_end(day: date | str) -> datetime:
    """Return the end of a day of data, in UTC."""
    first = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(days=1)


def filters() -> dict[str, Any]:
    """Return the filters by their names in templates."""
    return {
        "part": url_part,
        "short": short,
        "bytes": grouped,
        "share": percent,
        "shown": shown,
        "instant": instant,
        "ago": ago,
        "day_end": day_end,
        "limits": limits,
        "brief": brief,
        "cell": cell,
    }


def _at(value: datetime | str) -> datetime | None:
    """Return a timestamp in UTC, or None for invalid text, so that a damaged entry does not fail the page."""
    try:
        return (parse_rfc3339(value) if isinstance(value, str) else value).astimezone(UTC)
    except ConfigurationError:
        return None
