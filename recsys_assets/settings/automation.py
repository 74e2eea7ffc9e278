"""Settings of what runs, what is kept, and what is undone by itself: `[automation]` to `[rollout]` of the file."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from functools import cache
from itertools import product
from typing import Literal, TypeAlias, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, SecretStr, field_validator

from recsys_assets.settings.model import MAX_DAYS, MAX_HOURS, MAX_MINUTES, MAX_SECONDS, ClosedModel, Share

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
    """When a target's days are built without anybody asking."""

    nightly: bool = Field(default=False, description="whether the target's schedule runs from the first load on")
    cron: str = Field(default="0 1 * * *", description="when the day before is built: minute hour day month weekday")
    timezone: str = Field(default="UTC", description="the zone of `cron`; days themselves are UTC days")
    watch: bool = Field(default=False, description="whether raw files that arrive or change start the day they hold")
    settled_minutes: float = Field(
        default=10,
        ge=0,
        le=MAX_MINUTES,
        description="raw files count as complete when they have not changed for so long",
    )
    look_back_days: int = Field(
        default=7, ge=1, le=100, description="how many past days are looked at for late or changed raw files"
    )
    priority: int = Field(
        default=0, ge=-1000, le=1000, description="of two waiting runs the one with the higher number starts first"
    )

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        return check_cron(value)

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _known_zones():
            raise ValueError('expected a zone of the IANA list, like "UTC" or "Europe/Berlin"')
        return value


def check_cron(value: str) -> str:
    """Return five fields that name a time which comes; `ValueError` says what is expected."""
    if _CRON.fullmatch(value) is None:
        raise ValueError('expected five fields, minute hour day month weekday, like "0 1 * * *" or "*/30 * * * 1-5"')
    for text, field in zip(value.split(" "), _FIELDS, strict=True):
        _check_cron_field(text, *field)
    if value.split(" ")[2] in {"30", "31"} and value.split(" ")[3].lower() in {"2", "feb"}:
        raise ValueError(f"expected a day that comes: day {value.split(' ')[2]} of month 2 never does")
    return value


class FreshnessSettings(ClosedModel):
    """How old is too old."""

    max_age_hours: float = Field(
        default=30,
        gt=0,
        le=MAX_HOURS,
        description="age, from the end of the last day in it, above which live data is stale",
    )
    max_silence_hours: float = Field(
        default=30,
        ge=1 / 60,
        le=MAX_HOURS,
        description="without effect since the badge in the UI shows the age of live data: max_age_hours is its limit",
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
    """Return when five checked fields come next after an instant, in their zone; None if not within four years.

    Where both days are named, either counts, as cron has it. A local time that a change of clocks leaves out is passed
    over.
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
    """Return the numbers that a checked field stands for."""
    _, least, largest, names = field
    found: set[int] = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        start = least if first == "*" else _cron_number(first, names)
        end = largest if first == "*" or step else start
        found.update(range(start, (_cron_number(last, names) if last else end) + 1, int(step or 1)))
    return found


def _cron_number(text: str, names: Mapping[str, int]) -> int:
    return names[text] if text in names else int(text)


@cache
def _known_zones() -> set[str]:
    """Return the names of the IANA list, read from the disk once: it is asked for each target."""
    return available_timezones()


class RetentionSettings(ClosedModel):
    """How much of the past is kept beside what is live, held, pinned or announced."""

    keep: int = Field(default=7, ge=1, description="releases kept of a target")
    grace_hours: float = Field(
        default=24,
        ge=0,
        le=MAX_HOURS,
        description="how long what nothing names is left alone, and then kept in the trash",
    )
    raw_days: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DAYS,
        description="age of a day at which `collect` deletes its typed raw parts; none: kept",
    )
    quarantine_days: int | None = Field(
        default=None, ge=1, le=MAX_DAYS, description="likewise its bad lines, of all targets"
    )
    staging_days: int | None = Field(
        default=None, ge=1, le=MAX_DAYS, description="likewise its staged references and their reports"
    )
    canonical_days: int | None = Field(
        default=None,
        ge=1,
        le=MAX_DAYS,
        description="likewise its canonical events; never of a day that a kept release or a window needs",
    )
    collect: Literal["off", "report", "apply"] = Field(
        default="report",
        description="what the weekly schedule in Dagster does: a dry run that reports, or a collection",
    )
    collect_cron: str = Field(default="0 4 * * 0", description="when, in UTC: minute hour day month weekday")

    @field_validator("collect_cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        return check_cron(value)


class MetricsSettings(ClosedModel):
    """Where Prometheus finds the numbers of the build side."""

    folder: str | None = Field(
        default=None, description="a folder for one .prom file per target, as node_exporter's textfile collector reads"
    )
    push: SecretStr | None = Field(
        default=None,
        description="a Pushgateway, like http://push.example:9091 or https://user:password@host; never printed",
    )
    max_targets: int = Field(
        default=500, ge=1, description="targets with numbers, the first of the file: each costs about 40 time series"
    )


class RollbackSettings(ClosedModel):
    """What happens when live answers without items far more often than the release before it did."""

    automatic: Literal["off", "advise", "act"] = Field(
        default="off", description="`advise` says so and alerts, `act` rolls back, holds and alerts, once"
    )
    watch_hours: float = Field(
        default=24, gt=0, le=MAX_HOURS, description="how long after a release became live it is watched"
    )


WebhookEvent: TypeAlias = Literal[
    "import",
    "test_passed",
    "test_failed",
    "ship",
    "refused",
    "roll_back",
    "hold",
    "release_hold",
    "pin",
    "unpin",
    "mark_bad",
    "unmark_bad",
    "tag",
    "untag",
    "start_rollout",
    "advance_rollout",
    "abort_rollout",
    "restore_pointer",
    "retire",
    "target_stale",
    "target_fresh",
]


class WebhookSettings(ClosedModel):
    """Who is sent an HTTP request about what happens to targets."""

    name: str = Field(pattern="^[a-z0-9_-]{1,50}$", description="what messages and the store call it")
    url: str = Field(
        pattern="^(env:.+|file:.+|https?://.+)$",
        description='where to, in "env:NAME" or "file:PATH" if that is a secret, or https://...',
    )
    secret: str | None = Field(
        default=None,
        pattern="^(env|file):.+$",
        description='what messages are signed with, in "env:NAME" or "file:PATH"; none: they are not signed',
    )
    events: tuple[WebhookEvent, ...] = Field(
        default=get_args(WebhookEvent), min_length=1, description="what it is sent; none named: everything"
    )
    targets: tuple[str, ...] = Field(default=(), description='like ["shop/home"]; none: every target')
    give_up_hours: float = Field(
        default=72, ge=0, le=MAX_HOURS, description="an event that is older and not taken keeps later ones back no more"
    )


class OutcomeSettings(ClosedModel):
    """What is reported of clicks and purchases, by release: what they are called, and how sure a decision is."""

    enabled: bool = Field(default=False, description="whether each day's report is made and kept for the console")
    exposure: str = Field(
        default="impression", description="the event of an item that was shown; one without `event` is, too"
    )
    click: str = Field(default="click", description="the event of an item that was clicked")
    purchase: str = Field(default="purchase", description="the event of an item that was bought")
    level: float = Field(default=0.95, gt=0.5, lt=1, description="how often an interval is to hold the truth")
    margin: Share = Field(default=0.02, description="loss of click rate, of the live one, that a rollout may bring")
    min_keys: int = Field(
        default=100, ge=2, description="users or sessions on each side, with fewer nothing is decided"
    )
    history_days: int = Field(
        default=7, ge=0, le=100, description="a user who was seen so many days before, or later, is a returning one"
    )


class SignalSettings(ClosedModel):
    """Whether the artifacts are also written to a database, and how its tenants are found."""

    write: bool = Field(default=False, description="whether each day is written to $RECSYS_SIGNALS_DATABASE_URL")
    tenants: str | None = Field(
        default="tenants",
        description="the table that resolves a tenant, by external_id or id; none: its name is the id",
    )
    create_tenants: bool = Field(default=False, description="whether a tenant that is not there is added")
    statement_timeout_seconds: float = Field(
        default=600, ge=1, le=MAX_SECONDS, description="how long one statement may take"
    )


class RolloutSettings(ClosedModel):
    """How a release is shown to a share of requests before it becomes live."""

    enabled: bool = Field(default=False, description="whether a release that is to ship is rolled out by steps first")
    steps: tuple[int, ...] = Field(
        default=(5, 25, 100), description="percent of the request keys, ascending; at 100 the release becomes live"
    )
    bake_minutes: float = Field(default=60, ge=0, le=MAX_MINUTES, description="how long each step lasts at least")
    min_requests: int = Field(
        default=1000, ge=0, le=10**9, description="requests that the candidate must have answered before a step is over"
    )
    advance_unasked: bool = Field(
        default=False, description="whether a step that is baked is over without so many requests; else it waits"
    )

    @field_validator("steps")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or list(value) != sorted(set(value)) or value[0] < 1 or value[-1] != 100:  # noqa: PLR2004
            raise ValueError("expected ascending percentages from 1 on that end with 100, like [5, 25, 100]")
        return value
