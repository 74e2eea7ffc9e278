"""Types of operations: the job, its launchpad configuration, a run, and its result."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import dagster as dg
import msgspec
from pydantic import Field

from recsys_assets.dagster_defs.lineage import Metadata
from recsys_assets.dagster_defs.raw import RAW
from recsys_assets.errors import ConfigurationError
from recsys_assets.pipeline.context import DayContext
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.journal import Actor
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore


class OperationConfig(dg.Config):
    """Fields of every operation: actor, reason and dry run. The target menu is added per graph."""

    dry_run: bool = Field(default=False, description="show what would happen, without changing anything")
    actor: str = Field(description="your name, for the journal")
    reason: str = Field(description="reason, for the journal and the manifest asset")


class RollbackConfig(OperationConfig):
    """Move one target back to an earlier release."""

    to: str = Field(
        default="previous", description="`previous`, a release id or name, or a time, e.g. 2026-01-31T04:00:00Z"
    )
    hold: bool = Field(default=True, description="keep automation from shipping until newer good data exists")
    hold_until: str | None = Field(default=None, description="hold until this time instead")


class HoldConfig(OperationConfig):
    """Keep automation from shipping to one target."""

    until: str | None = Field(default=None, description="time at which the hold ends")


class UnblockConfig(OperationConfig):
    """Let readers show a blocked item again."""

    item: str = Field(description="id of the item, as in events and catalog")


class BlockConfig(UnblockConfig):
    """Keep readers from showing one item of one target."""

    until: str | None = Field(default=None, description="time at which the block ends")


class ShipConfig(OperationConfig):
    """Ship the staged artifacts of a day, checked against every gate."""

    day: str = Field(description="UTC day, e.g. 2026-01-31")
    override: list[str] = Field(default=[], description="quality gates to override")
    allow_older: bool = Field(default=False, description="ship even if the live data is newer")


class MarkConfig(OperationConfig):
    """Label a release, or remove the label."""

    release: str = Field(description="`live`, a release id (at least 8 digits), or a name")
    on: bool = Field(default=True, description="false removes the label")


class PinConfig(MarkConfig):
    """Keep a release from garbage collection."""

    until: str | None = Field(default=None, description="time at which the pin ends")


class TagConfig(OperationConfig):
    """Give a release a name, or remove the name."""

    name: str = Field(description="e.g. champion: lowercase letters, digits, _ and -")
    release: str | None = Field(
        default=None, description="`live` or a release id (at least 8 digits); none: remove the name"
    )


class TestConfig(OperationConfig):
    """Test a file of another team. Only the journal is written."""

    __test__ = False  # not a pytest class

    file: str = Field(description="path, or s3://, gs:// or az://bucket/key, readable by the code location")
    kind: str = Field(description="kind, as in [imports.<kind>]")


class ImportConfig(TestConfig):
    """Register a file of another team for a day."""

    day: str = Field(description="UTC day of the file, e.g. 2026-01-31")
    parent: str = Field(default="", description="id of the parent node in the artifact tree; empty: as configured")


class TuneConfig(OperationConfig):
    """Evaluate scoring options for neighbours on a target's last days. Changes nothing."""

    actor: str = Field(default="-", description="not stored")
    reason: str = Field(default="-", description="not stored")
    days: int = Field(default=7, ge=1, le=60, description="number of held-out days, the last ones with events")


class BackfillConfig(OperationConfig):
    """Build many days of one target in one run."""

    first_day: str = Field(description="first UTC day, e.g. 2026-01-31")
    last_day: str = Field(description="last UTC day, inclusive; must have ended")
    resume: bool = Field(default=True, description="skip days that are done; the last day is always built")


class ForgetConfig(OperationConfig):
    """Remove a user from stored days and live artifacts, and from every later build."""

    user: str = Field(description="user id, as in the events; it is visible in the configuration of this run")


class OperationRun(msgspec.Struct, frozen=True):
    """Run of an operation: Dagster context, settings, store, target, configuration and actor."""

    context: dg.OpExecutionContext
    settings: Settings
    store: ObjectStore
    row: TargetSettings
    config: Any
    by: Actor
    raw: dg.AssetKey = RAW

    @property
    def day_context(self) -> DayContext:
        """Day context of the configured day."""
        day = read_day(self.config.day)
        return DayContext(self.store, self.settings, self.row, day, run_id=self.context.run.run_id)


class OperationResult(msgspec.Struct, frozen=True):
    """Result of an operation: message and journal entry. `failed`: a person has to act."""

    message: str
    entry: JournalEntry | None = None
    failed: bool = False
    numbers: Mapping[str, float] = msgspec.field(default_factory=dict[str, float])
    lines: str = ""  # configuration lines that the operation recommends
    shown: Metadata = msgspec.field(default_factory=dict[str, Any])  # metadata of the op's output


class Operation(msgspec.Struct, frozen=True):
    """Operation job: name, configuration, action on a target, and whether it may wait in the run queue."""

    name: str
    config: type[OperationConfig]
    act: Callable[[OperationRun], OperationResult]
    description: str
    waits: bool = False  # True for long operations, which queue with priority. Short ones start at once.


def read_day(text: str) -> date:
    """Return the day in a launchpad field. Raises `ConfigurationError` if it is invalid."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(f"{text!r} is not a day: expected e.g. 2026-01-31") from None
