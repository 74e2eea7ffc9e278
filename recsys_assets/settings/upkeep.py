"""Settings of operations after a build: retention, metrics, rollback, outcomes and rollout."""

from typing import Literal

from pydantic import Field, SecretStr, field_validator

from recsys_assets.settings.model import MAX_DAYS, MAX_HOURS, MAX_MINUTES, ClosedModel, Share
from recsys_assets.settings.schedule import check_cron


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
