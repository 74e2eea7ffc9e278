"""Settings of what is kept, reported and undone: retention, metrics, rollback, outcomes, rollout."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from recsys_assets.settings.model import MAX_DAYS, MAX_HOURS, MAX_MINUTES, ClosedModel, Share
from recsys_assets.settings.schedule import check_cron


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
