"""Commands that change what one target serves: ship, rollback, hold, release-hold, restore-pointer, retire."""

from datetime import date, datetime

import click
import msgspec

from recsys_assets import retry
from recsys_assets.cli.change_commands import ChangeResult, CommandCall, changes_one_target, follow_after
from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    CommandContext,
    acting,
    actor_options,
    config_option,
    day_type,
    dry_run_option,
    instant_type,
    json_option,
)
from recsys_assets.cli.output import echo, print_json
from recsys_assets.errors import RefusedError
from recsys_assets.identity import Target, utc_now
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.release.hold import HoldOutcome, place_hold, release_hold
from recsys_assets.release.rollback import RollbackOutcome, roll_back
from recsys_assets.settings.reading import load_settings
from recsys_assets.upkeep.heartbeats import Convergence, wait_until_converged
from recsys_assets.upkeep.repair import RestoreOutcome, restore_pointer
from recsys_assets.upkeep.retire import retire

_WAIT_SECONDS = 180  # three polls of a consumer that polls every minute

wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=_WAIT_SECONDS,
    metavar="[SECONDS]",
    help=f"wait until every consumer with a heartbeat serves it; exit 1 after SECONDS (default {_WAIT_SECONDS})",
)


class Awaited(msgspec.Struct, frozen=True):
    """Outcome of a rollback, with the consumers that serve the restored release."""

    rolled_back: RollbackOutcome
    consumers: Convergence

    @property
    def message(self) -> str:
        """Message of the rollback, followed by that of the consumers."""
        return f"{self.rolled_back.message}; {self.consumers.message}"

    @property
    def exit_code(self) -> int:
        """1 if a live consumer still serves another release, else 0."""
        return EXIT_REFUSED if self.consumers.behind else 0


def await_consumers(call: CommandCall, done: RollbackOutcome, *, seconds: float) -> Awaited:
    """Wait until every live consumer serves the restored release, for `seconds` at most.

    The rollback is complete either way. A consumer that is behind follows at its next poll, if it reaches the store.
    """
    context = call.context
    converged = wait_until_converged(
        context.store, context.target, done.live, seconds=seconds, now=utc_now, pause=retry.wait
    )
    return Awaited(done, converged)


@changes_one_target("ship")
@click.option("--day", type=day_type, required=True, help="UTC day whose staged artifacts ship")
@click.option("--allow-older", is_flag=True, help="allow a day older than the live data")
@click.option("--at-once", is_flag=True, help="ship to all requests at once, skipping the steps of [rollout]")
@click.option("--override", multiple=True, metavar="GATE", help="quality gate whose refusal is overridden; repeatable")
def run_ship(
    call: CommandCall, *, day: date, allow_older: bool, at_once: bool, override: tuple[str, ...]
) -> ChangeResult:
    """Ship what is staged for a day, checked against every gate.

    A day older than the live one ships only if allowed.
    """
    from recsys_assets.pipeline.context import DayContext  # noqa: PLC0415
    from recsys_assets.pipeline.ship import ship_day  # noqa: PLC0415 - loads the kernels

    settings, target = call.context.settings, call.context.target
    row = settings.find(target.tenant, target.surface)
    shipped = ship_day(
        DayContext(call.context.store, settings, row, day, now=utc_now),
        by=call.by,
        allow_older=allow_older,
        dry_run=call.dry_run,
        override=override,
        at_once=at_once,
    )
    return shipped.outcome


@changes_one_target("rollback")
@click.option(
    "--to", required=True, help="previous | a release id (8 digits or more) or name | a time like 2026-01-31T04:00:00Z"
)
@click.option("--no-hold", is_flag=True, help="do not hold: the next build may ship")
@click.option("--hold-until", type=instant_type, help="hold until this time instead of until newer data ships")
@wait_option
def run_rollback(
    call: CommandCall, *, to: str, no_hold: bool, hold_until: datetime | None, wait: float | None
) -> RollbackOutcome | Awaited:
    """Move one target back to an earlier release. It is verified first and held afterwards. Nothing is recomputed."""
    if no_hold and hold_until is not None:
        raise click.UsageError("--no-hold and --hold-until are mutually exclusive")
    done = roll_back(
        call.context.store,
        call.context.target,
        to=to,
        by=call.by,
        now=utc_now,
        hold=not no_hold,
        until=hold_until,
        dry_run=call.dry_run,
    )
    return done if wait is None or call.dry_run else await_consumers(call, done, seconds=wait)


@changes_one_target("hold")
@click.option("--until", type=instant_type, help="time at which the hold expires")
def run_hold(call: CommandCall, *, until: datetime | None) -> HoldOutcome:
    """Keep automation from shipping to one target. Builds are recorded and not shipped."""
    return place_hold(
        call.context.store, call.context.target, by=call.by, now=utc_now, until=until, dry_run=call.dry_run
    )


@changes_one_target("release-hold")
def run_release_hold(call: CommandCall) -> HoldOutcome:
    """Allow automation to ship to one target again."""
    return release_hold(call.context.store, call.context.target, by=call.by, now=utc_now, dry_run=call.dry_run)


@changes_one_target("restore-pointer")
def run_restore_pointer(call: CommandCall) -> RestoreOutcome:
    """Restore a lost or damaged pointer to the release that the journal last recorded as live, at the current root."""
    return restore_pointer(call.context.store, call.context.target, by=call.by, now=utc_now, dry_run=call.dry_run)


@click.command("retire")
@config_option
@click.option("--tenant", required=True)
@click.option("--surface", required=True)
@actor_options
@dry_run_option
@json_option
def run_retire(
    *,
    config: str | None,
    tenant: str,
    surface: str,
    reason: str,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Stop serving a target that is no longer in the configuration. Until then its last release stays live."""
    settings, target = load_settings(config), Target(tenant, surface)
    if (tenant, surface) in {(row.tenant, row.surface) for row in settings.targets}:
        raise RefusedError(f"{target} is still configured: remove its [[targets]] table first, then retire it")
    store = open_configured_store(settings)
    done = retire(store, target, by=acting(actor, reason), now=utc_now, dry_run=dry_run)
    print_json(done) if as_json else echo(f"{target}: {done.message}")
    return 0 if dry_run else follow_after(CommandContext(settings, store, (target,)))
