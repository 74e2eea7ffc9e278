"""What happens without anybody asking: `[automation]`, and how old is too old, `[freshness]`."""

import re
from functools import cache
from zoneinfo import available_timezones

from pydantic import Field, field_validator

from recsys_assets.config.model import ClosedModel

_CRON = re.compile(r"[\d*,/-]+( [\dA-Za-z*,/-]+){4}")


class AutomationSettings(ClosedModel):
    """When a target's days are built without anybody asking."""

    nightly: bool = Field(default=False, description="whether the target's schedule runs from the first load on")
    cron: str = Field(default="0 1 * * *", description="when the day before is built: minute hour day month weekday")
    timezone: str = Field(default="UTC", description="the zone of `cron`; days themselves are UTC days")
    watch: bool = Field(default=False, description="whether raw files that arrive or change start the day they hold")
    settled_minutes: float = Field(
        default=10, ge=0, description="raw files count as complete when they have not changed for so long"
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
        if _CRON.fullmatch(value) is None:
            raise ValueError(
                'expected five fields, minute hour day month weekday, like "0 1 * * *" or "*/30 * * * 1-5"'
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _known_zones():
            raise ValueError('expected a zone of the IANA list, like "UTC" or "Europe/Berlin"')
        return value


class FreshnessSettings(ClosedModel):
    """How old is too old."""

    max_age_hours: float = Field(
        default=30, gt=0, description="age, from the end of the last day in it, above which live data is stale"
    )
    max_silence_hours: float = Field(
        default=30, ge=1 / 60, description="time without a build after which the badge in the UI turns red"
    )


@cache
def _known_zones() -> set[str]:
    """Return the names of the IANA list, read from the disk once: it is asked for each target."""
    return available_timezones()
