"""Types of operations: one job of the UI, its configuration as the launchpad asks for it, one run, and its outcome."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from recsys_assets.dagster_defs.metadata import Metadata
from recsys_assets.dagster_defs.raw import RAW
from recsys_assets.errors import ConfigurationError
from recsys_assets.pipeline.context import DayContext
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import Actor
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore


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

    file: str = Field(description="a path, or s3://, gs:// or az://bucket/key, that the code location can read")
    kind: str = Field(description="which [imports.<kind>] it is")


class ImportConfig(TestConfig):
    """Register a file of another team for a day."""

    day: str = Field(description="the UTC day that it is built for, like 2026-01-31")
    parent: str = Field(default="", description="id of the node below which its artifact tree shows it; empty: as set")


class TuneConfig(OperationConfig):
    """Try ways to score neighbours on a target's last days; nothing is changed, so nobody has to say why."""

    actor: str = Field(default="-", description="not kept")
    reason: str = Field(default="-", description="not kept")
    days: int = Field(default=7, ge=1, le=60, description="days that are held out, the last ones with events")


class BackfillConfig(OperationConfig):
    """Build many days of one target in one run."""

    first_day: str = Field(description="a UTC day, like 2026-01-31")
    last_day: str = Field(description="a UTC day that has ended, included")
    resume: bool = Field(default=True, description="pass over days that are done; the last day is always built")


class ForgetConfig(OperationConfig):
    """Remove a user from stored days and live artifacts, and from every later build."""

    user: str = Field(description="the user's id, as events carry it; it shows in the configuration of this run")


@dataclass(frozen=True, slots=True)
class OperationRun:
    """One run of an operation: its run, the settings and the store, the target, who acts, and the configuration."""

    context: dg.OpExecutionContext
    settings: Settings
    store: ObjectStore
    row: TargetSettings
    config: Any
    by: Actor
    raw: dg.AssetKey = RAW

    @property
    def day_context(self) -> DayContext:
        """The day that the configuration names."""
        day = read_day(self.config.day)
        return DayContext(self.store, self.settings, self.row, day, run_id=self.context.run.run_id)


@dataclass(frozen=True, slots=True)
class OperationResult:
    """What became of it, in words, and the journal's entry; a failure where somebody still has to look."""

    message: str
    entry: JournalEntry | None = None
    failed: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    lines: str = ""  # of the configuration, that the operation found best
    shown: Metadata = field(default_factory=dict[str, Any])  # on the operation's output


@dataclass(frozen=True, slots=True)
class Operation:
    """One job: its name, its configuration, what it does for a target, and whether it may wait behind builds."""

    name: str
    config: type[OperationConfig]
    act: Callable[[OperationRun], OperationResult]
    description: str
    waits: bool = False  # long ones have priority in the queue; short ones start at once, whatever runs


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def read_day(text: str) -> date:
    """Return the day that a field of a launchpad names; `ConfigurationError` for what is none."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is no day: write it like 2026-01-31") from None
