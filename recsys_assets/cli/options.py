"""Options that mean the same in every command, and what they stand for."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias, TypeVar

import click

from recsys_assets.errors import ConfigurationError, UnsafeNameError
from recsys_assets.identity import Target, parse_rfc3339
from recsys_assets.messages import name_known
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.upkeep_settings import age_limits, retention
from recsys_assets.release.journal import Actor, this_account
from recsys_assets.release.layout import journal_key
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.age_limits import AgeLimits
from recsys_assets.upkeep.roots import Retention

F = TypeVar("F", bound=Callable[..., Any])
OpenStore: TypeAlias = Callable[[Settings], ObjectStore]


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command works on: the store, and the targets that were named."""

    settings: Settings
    store: ObjectStore
    targets: tuple[Target, ...]

    @property
    def target(self) -> Target:
        """The one target; `ConfigurationError` if none was named."""
        if len(self.targets) != 1:
            known = name_known("", map(str, self.targets))
            raise ConfigurationError(f"name one target by --tenant and --surface: {known}")
        return self.targets[0]

    def retention(self, target: Target) -> Retention:
        """Return how much of the past of a target is kept; of one that is not configured, as of all."""
        return retention(self.settings, self._row(target))

    def age_limits(self, target: Target) -> AgeLimits:
        """Return the age limits of a target; none of one that is not configured."""
        return age_limits(self.settings, self._row(target))

    def _row(self, target: Target) -> TargetSettings | None:
        rows = self.settings.targets
        return next((r for r in rows if (r.tenant, r.surface) == (target.tenant, target.surface)), None)


class _Day(click.ParamType[date]):
    """A UTC day, written as in file names."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day; a usage error names the form."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day: write it like 2026-01-31", param, ctx)


class _Instant(click.ParamType[datetime]):
    """An instant with a zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the instant in UTC; a usage error names the form."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_rfc3339(value)
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


class _Said(click.ParamType[str]):
    """A text that says something: a reason or a name that the journal can be read by."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text without white space around it; a usage error if nothing is left."""
        text = str(value).strip()
        return text or self.fail("it is blank: the journal keeps who changed what is live, and why", param, ctx)


day_type = _Day()
said_type = _Said()
instant_type = _Instant()

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False),
    help="configuration file; else $RECSYS_CONFIG, else ./recsys.toml",
)
_tenant = click.option("--tenant", help="with --surface: this target alone")
_surface = click.option("--surface", help="with --tenant: this target alone")
json_option = click.option("--json", "as_json", is_flag=True, help="one JSON document on standard output")
wide_option = click.option("--wide", is_flag=True, help="hashes with all their digits")
dry_run_option = click.option("--dry-run", is_flag=True, help="say what would happen; the store stays as it is")
_reason = click.option("--reason", type=said_type, required=True, help="why; it stands in the journal")
actor_option = click.option("--actor", type=said_type, default=None, help="who; else this account and host")


def target_options(command: F) -> F:
    """Add --config, --tenant and --surface."""
    return config_option(_tenant(_surface(command)))


def actor_options(command: F) -> F:
    """Add --reason and --actor."""
    return _reason(actor_option(command))


def open_context(*, config: str | None, tenant: str | None, surface: str | None) -> CommandContext:
    """Open the configured store, for the named target, or for every one when none is named.

    A target that was taken out of the configuration can still be named: the store knows it by its journal.
    """
    settings = load_settings(config)
    store = open_command_store(settings)
    try:
        rows = choose_targets(settings, tenant=tenant, surface=surface)
    except ConfigurationError:
        former = _find_former(store, tenant, surface)
        if former is None:
            raise
        return CommandContext(settings, store, (former,))
    return CommandContext(settings, store, tuple(row.target for row in rows))


def open_command_store(settings: Settings, *, default: OpenStore = open_configured_store) -> ObjectStore:
    """Return the store that a command works on: what its context's `obj` opens if it has one, else as configured."""
    context = click.get_current_context(silent=True)
    given: OpenStore | None = context.obj if context is not None else None
    return (given or default)(settings)


def choose_targets(settings: Settings, *, tenant: str | None, surface: str | None) -> tuple[TargetSettings, ...]:
    """Return the named target's row, or every row when none is named; `ConfigurationError` when half is named."""
    if tenant is None and surface is None:
        return settings.targets
    if tenant is None or surface is None:
        raise ConfigurationError("name both --tenant and --surface, or neither for every target")
    return (settings.find(tenant, surface),)


def _find_former(store: ObjectStore, tenant: str | None, surface: str | None) -> Target | None:
    """Return the named target if the store has its journal."""
    with suppress(UnsafeNameError):
        target = Target(tenant or "", surface or "")
        return target if store.stat(journal_key(target, 1)) else None
    return None


def acting(actor: str | None, reason: str) -> Actor:
    """Return who acts and why."""
    return Actor(name=actor or this_account(), reason=reason)


def clock() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)
