"""Configuration of each operation job, as its launchpad asks for it."""

import dagster as dg
from pydantic import Field


class OperationConfig(dg.Config):
    """Who does it, why, and whether it is only to say what would happen; the target is a menu, added for each graph."""

    dry_run: bool = Field(default=False, description="say what would happen, and change nothing")
    actor: str = Field(description="your name; kept in the journal, as the daemon starts runs for all")
    reason: str = Field(description="why; kept in the journal and on the manifest asset")


class RollbackConfig(OperationConfig):
    """Move one target back to an earlier release."""

    to: str = Field(
        default="previous", description="previous | a release id or name | a time like 2026-01-31T04:00:00Z"
    )
    hold: bool = Field(default=True, description="keep automation from shipping until newer good data is there")
    hold_until: str | None = Field(default=None, description="hold until this time instead")


class HoldConfig(OperationConfig):
    """Keep automation from shipping to one target."""

    until: str | None = Field(default=None, description="the hold ends by itself at this time")


class UnblockConfig(OperationConfig):
    """Let readers show a blocked item again."""

    item: str = Field(description="the item's id, as events and catalog name it")


class BlockConfig(UnblockConfig):
    """Keep readers from showing one item of one target."""

    until: str | None = Field(default=None, description="the block ends by itself at this time")


class ShipConfig(OperationConfig):
    """Ship what is staged for a day, proven against every gate."""

    day: str = Field(description="the UTC day, like 2026-01-31")
    override: list[str] = Field(default=[], description="gates of quality whose refusal does not count")
    allow_older: bool = Field(default=False, description="even if what is live holds newer data")


class MarkConfig(OperationConfig):
    """Put a mark on a release, or take it off."""

    release: str = Field(description="live | a release id (8 digits or more) or name")
    on: bool = Field(default=True, description="false takes the mark off")


class PinConfig(MarkConfig):
    """Keep a release from garbage collection."""

    until: str | None = Field(default=None, description="the pin ends by itself at this time")


class TagConfig(OperationConfig):
    """Give a release a name, or take it off."""

    name: str = Field(description="like champion: small letters, digits, _ and -")
    release: str | None = Field(
        default=None, description="live | a release id (8 digits or more); none: takes the name off"
    )


class TestConfig(OperationConfig):
    """Test a file of another team; nothing but the journal is written."""

    __test__ = False  # no test of this project

    file: str = Field(description="a path, or s3://bucket/key, that the code location can read")
    kind: str = Field(description="which [imports.<kind>] it is")


class ImportConfig(TestConfig):
    """Register a file of another team for a day."""

    day: str = Field(description="the UTC day that it is built for, like 2026-01-31")


class TuneConfig(OperationConfig):
    """Try ways to score neighbours on a target's last days; nothing is changed, so nobody has to say why."""

    actor: str = Field(default="-", description="not kept")
    reason: str = Field(default="-", description="not kept")
    days: int = Field(default=7, ge=1, le=60, description="days that are held out, the last ones with events")


class ForgetConfig(OperationConfig):
    """Remove a user from stored days and live artifacts, and from every later build."""

    user: str = Field(description="the user's id, as events carry it; it shows in the configuration of this run")
