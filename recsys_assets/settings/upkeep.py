"""Settings of operations: schedules, freshness, retention, metrics, rollback, outcomes and rollout."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from functools import cache
from itertools import product
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, SecretStr, field_validator

from recsys_assets.settings.model import MAX_DAYS, MAX_HOURS, MAX_MINUTES, ClosedModel, Share

_CRON = re.compile(r"[\d*,/-]+( [\dA-Za-z*,/-]+){4}")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS = (  # name, least and largest value, names of values
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    ("weekday", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)
_PART = re.compile(r"(\*|(?P<first>\w+)(-(?P<last>\w+))?)(/(?P<step>\d+))?")


class AutomationSettings(ClosedModel):
    """Automatic builds of a target: by schedule, and by arriving raw files."""

    nightly: bool = Field(default=False, description="whether the target's schedule is on when Dagster first loads it")
    cron: str = Field(
        default="0 1 * * *", description="schedule on which the previous day is built: minute hour day month weekday"
    )
    timezone: str = Field(default="UTC", description="time zone of `cron`; the days built are UTC days")
    watch: bool = Field(default=False, description="build the day of raw files that arrive or change")
    settled_minutes: float = Field(
        default=10,
        ge=0,
        le=MAX_MINUTES,
        description="minutes without a change after which raw files count as complete",
    )
    look_back_days: int = Field(
        default=7, ge=1, le=100, description="number of past days checked for late or changed raw files"
    )
    priority: int = Field(
        default=0, ge=-1000, le=1000, description="priority of queued runs; higher numbers start first"
    )

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        return check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _known_zones():
            raise ValueError('expected an IANA time zone, such as "UTC" or "Europe/Berlin"')
        return value


def check_cron(value: str) -> str:
    """Return a cron expression of five fields that matches some time. Raises `ValueError` with the expected form."""
    if _CRON.fullmatch(value) is None:
        raise ValueError('expected five fields, minute hour day month weekday, such as "0 1 * * *" or "*/30 * * * 1-5"')
    for text, field in zip(value.split(" "), _FIELDS, strict=True):
        _check_cron_field(text, *field)
    if value.split(" ")[2] in {"30", "31"} and value.split(" ")[3].lower() in {"2", "feb"}:
        raise ValueError(f"expected a date that exists: month 2 has no day {value.split(' ')[2]}")
    return value


class FreshnessSettings(ClosedModel):
    """Age limits of live data."""

    max_age_hours: float = Field(
        default=30,
        gt=0,
        le=MAX_HOURS,
        description="hours since the end of its last day after which live data is stale",
    )
    max_silence_hours: float = Field(
        default=30,
        ge=1 / 60,
        le=MAX_HOURS,
        description="no effect: the badge in the UI shows the age of live data, limited by max_age_hours",
    )


def _check_cron_field(text: str, name: str, least: int, largest: int, names: Mapping[str, int]) -> None:
    """Raise `ValueError` unless each part of a field is `*`, a value or a range, with a step or without."""
    allowed = f"expected {name} as * or {least} to {largest}, with - , and / (found {text!r})"
    for part in text.lower().split(","):
        match = _PART.fullmatch(part)
        if match is None or match["step"] == "0":
            raise ValueError(allowed)
        ends = [names.get(end, int(end) if end.isdecimal() else -1) for end in (match["first"], match["last"]) if end]
        if not all(least <= end <= largest for end in ends) or ends != sorted(ends):
            raise ValueError(allowed)


def next_tick(cron: str, timezone: str, now: datetime) -> datetime | None:
    """Return the next time after `now`, in UTC, of a checked cron expression, or None if there is none in four years.

    As in cron, either day matches if both day of month and weekday are restricted. Local times that a clock change
    skips are ignored.
    """
    zone = ZoneInfo(timezone)
    minutes, hours, days, months, weekdays = map(_cron_values, cron.split(" "), _FIELDS)
    either = "*" not in (cron.split(" ")[2], cron.split(" ")[4])
    local = now.astimezone(zone)
    for back in range(366 * 4):
        day = local.date() + timedelta(days=back)
        fits = (day.day in days, day.isoweekday() % 7 in {number % 7 for number in weekdays})
        if day.month not in months or not (any(fits) if either else all(fits)):
            continue
        for hour, minute in product(sorted(hours), sorted(minutes)):
            tick = datetime.combine(day, time(hour, minute), zone)
            if tick > local and tick.astimezone(UTC).astimezone(zone).hour == hour:
                return tick.astimezone(UTC)
    return None


def _cron_values(text: str, field: tuple[str, int, int, Mapping[str, int]]) -> set[int]:
    """Return the values that a checked cron field matches."""
    _, least, largest, names = field
    values: set[int] = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = least if first == "*" else _cron_number(first, names)
        end = largest if first == "*" or step else start
        values.update(range(start, (_cron_number(last, names) if last else end) + 1, int(step or 1)))
    return values


def _cron_number(text: str, names: Mapping[str, int]) -> int:
    return names[text] if text in names else int(text)


@cache
def _known_zones() -> set[str]:
    """Return the IANA time zones. Cached, because they are read from the disk and needed for each target."""
    return available_timezones()


class RetentionSettings(ClosedModel):
    """Retention of past data, in addition to releases that are live, held, pinned or have an intent."""

    keep: int = Field(default=7, ge=1, description="number of releases kept per target")
    grace_hours: float = Field(
        default=24,
        ge=0,
        le=MAX_HOURS,
        description="hours an unreferenced object stays in place, and then again in the trash",
    )
    raw_days: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DAYS,
        description="age in days at which `collect` deletes typed raw parts; unset: kept",
    )
    quarantine_days: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DAYS,
        description="age in days at which `collect` deletes bad lines, for all targets; unset: kept",
    )
    staging_days: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DAYS,
        description="age in days at which `collect` deletes staged references and their reports; unset: kept",
    )
    canonical_days: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DAYS,
        description="age in days at which `collect` deletes canonical events that no kept release or window needs",
    )
    collect: Literal["off", "report", "apply"] = Field(
        default="report",
        description="action of the collection schedule in Dagster: none, a dry run with a report, or a collection",
    )
    collect_cron: str = Field(default="0 4 * * 0", description="schedule in UTC: minute hour day month weekday")

    @field_validator("collect_cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        return check_cron(value)


class MetricsSettings(ClosedModel):
    """Export of build metrics to Prometheus."""

    folder: str | None = Field(
        default=None, description="folder for one .prom file per target, read by node_exporter's textfile collector"
    )
    push: SecretStr | None = Field(
        default=None,
        description="Pushgateway URL, such as http://push.example:9091 or https://user:password@host; never printed",
    )
    max_targets: int = Field(
        default=500,
        ge=1,
        description="number of targets with metrics, the first of the file; each costs about 40 time series",
    )


class RollbackSettings(ClosedModel):
    """Automatic rollback of a live release with a far higher rate of empty answers than its predecessor."""

    automatic: Literal["off", "advise", "act"] = Field(
        default="off", description="`advise` reports and alerts; `act` rolls back once, holds and alerts"
    )
    watch_hours: float = Field(
        default=24, gt=0, le=MAX_HOURS, description="hours for which a release is watched after it became live"
    )


class OutcomeSettings(ClosedModel):
    """Outcome reports, clicks and purchases by release: event names and the confidence of decisions."""

    enabled: bool = Field(default=False, description="create and store a report for each day, shown in the console")
    exposure: str = Field(
        default="impression", description="`event` value of an item shown; events without a value also count"
    )
    click: str = Field(default="click", description="`event` value of a click")
    purchase: str = Field(default="purchase", description="`event` value of a purchase")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="confidence level of the intervals")
    margin: Share = Field(
        default=0.02, description="allowed loss of click rate in a rollout, as a share of the live rate"
    )
    min_keys: int = Field(default=100, ge=2, description="minimum users or sessions on each side for a decision")
    history_days: int = Field(
        default=7,
        ge=0,
        le=100,
        description="days before the report; users seen in them, or earlier in the report, count as returning",
    )


class RolloutSettings(ClosedModel):
    """Gradual rollout: a release serves a growing share of requests before it becomes live."""

    enabled: bool = Field(default=False, description="roll out a release in steps before it becomes live")
    steps: tuple[int, ...] = Field(
        default=(5, 25, 100), description="percentages of request keys, ascending; at 100 the release becomes live"
    )
    bake_minutes: float = Field(default=60, ge=0, le=MAX_MINUTES, description="minimum minutes of each step")
    min_requests: int = Field(
        default=1000, ge=0, le=10**9, description="minimum requests that the candidate must answer in a step"
    )
    advance_unasked: bool = Field(
        default=False, description="advance after bake_minutes even with fewer requests; otherwise the step waits"
    )

    @field_validator("steps")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)) or value[0] < 1 or value[-1] != 100:  # noqa: PLR2004
            raise ValueError("expected ascending percentages of at least 1 that end with 100, such as [5, 25, 100]")
        return value
