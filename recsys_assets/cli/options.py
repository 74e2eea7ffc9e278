"""Options shared by commands, the values they are converted to, and the Dagster instance of $DAGSTER_HOME."""

import os
from collections.abc import Callable
from contextlib import contextmanager, suppress
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import click
import msgspec

from recsys_assets.errors import ConfigurationError, UnsafeNameError
from recsys_assets.identity import Target, parse_rfc3339
from recsys_assets.messages import name_known
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.upkeep_settings import age_limits, retention
from recsys_assets.release.journal import Actor, this_account
from recsys_assets.release.layout import journal_key
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.age_limits import AgeLimits
from recsys_assets.upkeep.roots import Retention

if TYPE_CHECKING:
    from collections.abc import Generator

    from dagster import DagsterInstance

F = TypeVar("F", bound=Callable[..., Any])
OpenStore: TypeAlias = Callable[[Settings], ObjectStore]
HOME_VARIABLE = "DAGSTER_HOME"


class CommandContext(msgspec.Struct, frozen=True):
    """Settings, store and selected targets of a command."""

    settings: Settings
    store: ObjectStore
    targets: tuple[Target, ...]

    @property
    def target(self) -> Target:
        """The only target. Raises `ConfigurationError` if none or several are selected."""
        if len(self.targets) != 1:
            choices = name_known("", map(str, self.targets))
            raise ConfigurationError(f"select one target with --tenant and --surface: {choices}")
        return self.targets[0]

    def retention(self, target: Target) -> Retention:
        """Return the retention of a target, or the file's own retention if the target is not configured."""
        return retention(self.settings, self._row(target))

    def age_limits(self, target: Target) -> AgeLimits:
        """Return the age limits of a target, or none if the target is not configured."""
        return age_limits(self.settings, self._row(target))

    def _row(self, target: Target) -> TargetSettings | None:
        rows = self.settings.targets
        return next((r for r in rows if (r.tenant, r.surface) == (target.tenant, target.surface)), None)


class _Day(click.ParamType[date]):
    """Click type of a UTC day in ISO format."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day. A usage error names the expected format."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day: expected YYYY-MM-DD, such as 2026-01-31", param, ctx)


class _Instant(click.ParamType[datetime]):
    """Click type of a timestamp with a time zone."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return the timestamp in UTC. A usage error names the expected format."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_rfc3339(value)
        except ConfigurationError as error:
            self.fail(str(error), param, ctx)


class _NonBlankText(click.ParamType[str]):
    """Click type of text that is not blank, such as a reason or a name in the journal."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text without surrounding white space. A blank text is a usage error."""
        text = str(value).strip()
        return text or self.fail("it is blank: the journal records the actor and the reason of each change", param, ctx)


day_type = _Day()
text_type = _NonBlankText()
instant_type = _Instant()

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False),
    help="configuration file; default: $RECSYS_CONFIG, then ./recsys.toml",
)
_tenant = click.option("--tenant", help="with --surface: only this target")
_surface = click.option("--surface", help="with --tenant: only this target")
json_option = click.option("--json", "as_json", is_flag=True, help="print one JSON document")
wide_option = click.option("--wide", is_flag=True, help="print hashes in full")
dry_run_option = click.option("--dry-run", is_flag=True, help="report what would happen; the store is not changed")
_reason = click.option("--reason", type=text_type, required=True, help="reason, recorded in the journal")
actor_option = click.option(
    "--actor", type=text_type, default=None, help="actor, recorded in the journal; default: this account and host"
)


def target_options(command: F) -> F:
    """Add --config, --tenant and --surface."""
    return config_option(_tenant(_surface(command)))


def actor_options(command: F) -> F:
    """Add --reason and --actor."""
    return _reason(actor_option(command))


def open_context(*, config: str | None, tenant: str | None, surface: str | None) -> CommandContext:
    """Open the configured store with the selected target, or with every target if none is selected.

    A target that was removed from the configuration can still be selected if the store has its journal. Raises
    `ConfigurationError` for an unknown target, or if only tenant or only surface is given.
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
    """Return the store of a command, opened by the `obj` of click's context if set, else by `default`."""
    context = click.get_current_context(silent=True)
    given: OpenStore | None = context.obj if context is not None else None
    return (given or default)(settings)


def choose_targets(settings: Settings, *, tenant: str | None, surface: str | None) -> tuple[TargetSettings, ...]:
    """Return the settings of the selected target, or of all targets if none is selected.

    Raises `ConfigurationError` for an unknown target, or if only tenant or only surface is given.
    """
    if tenant is None and surface is None:
        return settings.targets
    if tenant is None or surface is None:
        raise ConfigurationError("set both --tenant and --surface, or neither for every target")
    return (settings.find(tenant, surface),)


def _find_former(store: ObjectStore, tenant: str | None, surface: str | None) -> Target | None:
    """Return the selected target if the store has its journal, else None."""
    with suppress(UnsafeNameError):
        target = Target(tenant or "", surface or "")
        return target if store.stat(journal_key(target, 1)) else None
    return None


def acting(actor: str | None, reason: str) -> Actor:
    """Return the actor with a reason. The default actor is this account and host."""
    return Actor(name=actor or this_account(), reason=reason)


@contextmanager
def opened_instance() -> "Generator[DagsterInstance]":
    """Yield the instance of $DAGSTER_HOME. Raises `ConfigurationError` if it is not set or cannot be opened.

    Only commands that report to Dagster use it. Changes of the live release do not need Dagster.
    """
    home = os.environ.get(HOME_VARIABLE)
    if not home:
        raise ConfigurationError(f"{HOME_VARIABLE} is not set: set it to the folder that contains dagster.yaml")
    from alembic.util import CommandError  # noqa: PLC0415 - the other commands need no Dagster
    from dagster import DagsterError, DagsterInstance  # noqa: PLC0415
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415
    from yaml import YAMLError  # noqa: PLC0415

    try:
        instance = DagsterInstance.get()
    except (DagsterError, SQLAlchemyError, CommandError, YAMLError, OSError) as error:
        cause = " ".join(str(error).split())
        raise ConfigurationError(
            f"{HOME_VARIABLE}={home}: Dagster's instance cannot be opened ({cause}): repair it, move its damaged "
            "database out of the way, or unset the variable; status, rollback, hold and collect work without it"
        ) from error
    with instance:
        yield instance
