"""Commands that change what one target serves: ship, rollback, hold, release-hold, restore-pointer, retire."""

from dataclasses import dataclass
from datetime import date, datetime

import click

from recsys_assets import retry
from recsys_assets.cli.change_commands import Call, ChangeResult, changes_one_target
from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    CommandContext,
    acting,
    actor_options,
    clock,
    config_option,
    day_type,
    dry_run_option,
    instant_type,
    json_option,
)
from recsys_assets.cli.output import echo, print_json
from recsys_assets.cli.sinks import follow_after
from recsys_assets.errors import RefusedError
from recsys_assets.identity import Target
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.release.hold import HoldOutcome, place_hold, release_hold
from recsys_assets.release.rollback import RollbackOutcome, roll_back
from recsys_assets.settings.reading import load_settings
from recsys_assets.upkeep.heartbeats import Convergence, wait_until_converged
from recsys_assets.upkeep.repair import RestoreOutcome, restore_pointer
from recsys_assets.upkeep.retire import retire

_WAIT_SECONDS = 180  # three polls of a consumer that polls once a minute

wait_option = click.option(
    "--wait",
    type=click.FloatRange(min=0),
    is_flag=False,
    flag_value=_WAIT_SECONDS,
    metavar="[SECONDS]",
    help=f"return when every consumer with a heartbeat serves it; exit 1 after so long (default {_WAIT_SECONDS})",
)


@dataclass(frozen=True, slots=True)
class Awaited:
    """A rollback, and who serves what it went back to."""

    rolled_back: RollbackOutcome
    consumers: Convergence

    @property
    def message(self) -> str:
        """What happened, and who serves it."""
        return f"{self.rolled_back.message}; {self.consumers.message}"

    @property
    def exit_code(self) -> int:
        """1 if a live consumer is behind."""
        return EXIT_REFUSED if self.consumers.behind else 0


def await_consumers(call: Call, done: RollbackOutcome, *, seconds: float) -> Awaited:
    """Return when every live consumer serves what a rollback went back to, or after `seconds` with those that do not.

    The rollback is done either way; who is behind follows at its next poll of the store, unless it cannot reach it.
    """
    context = call.context
    found = wait_until_converged(context.store, context.target, done.live, seconds=seconds, now=clock, pause=retry.wait)
    return Awaited(done, found)


@changes_one_target("ship")
@click.option("--day", type=day_type, required=True, help="the UTC day whose staged artifacts are to ship")
@click.option("--allow-older", is_flag=True, help="even if what is live holds newer data")
@click.option("--at-once", is_flag=True, help="to all requests, also where [rollout] shows a release to a share first")
@click.option("--override", multiple=True, metavar="GATE", help="a gate of quality whose refusal does not count")
def run_ship(call: Call, *, day: date, allow_older: bool, at_once: bool, override: tuple[str, ...]) -> ChangeResult:
    """Ship what is staged for a day, proven against every gate; an older day than what is live only if allowed."""
    from recsys_assets.pipeline.context import DayContext  # noqa: PLC0415
    from recsys_assets.pipeline.ship import ship_day  # noqa: PLC0415 - loads the kernels

    settings, target = call.context.settings, call.context.target
    row = settings.find(target.tenant, target.surface)
    shipped = ship_day(
        DayContext(call.context.store, settings, row, day, now=clock),
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
@click.option("--no-hold", is_flag=True, help="let the next night ship at once")
@click.option("--hold-until", type=instant_type, help="hold until this time instead of until newer good data")
@wait_option
def run_rollback(
    call: Call, *, to: str, no_hold: bool, hold_until: datetime | None, wait: float | None
) -> RollbackOutcome | Awaited:
    """Move one target back to an earlier release; verified first, held afterwards, nothing recomputed."""
    if no_hold and hold_until is not None:
        raise click.UsageError("--no-hold and --hold-until exclude each other")
    done = roll_back(
        call.context.store,
        call.context.target,
        to=to,
        by=call.by,
        now=clock,
        hold=not no_hold,
        until=hold_until,
        dry_run=call.dry_run,
    )
    return done if wait is None or call.dry_run else await_consumers(call, done, seconds=wait)


@changes_one_target("hold")
@click.option("--until", type=instant_type, help="the hold ends by itself at this time")
def run_hold(call: Call, *, until: datetime | None) -> HoldOutcome:
    """Keep automation from shipping to one target; what is built meanwhile is recorded, not shipped."""
    return place_hold(call.context.store, call.context.target, by=call.by, now=clock, until=until, dry_run=call.dry_run)


@changes_one_target("release-hold")
def run_release_hold(call: Call) -> HoldOutcome:
    """Let automation ship to one target again."""
    return release_hold(call.context.store, call.context.target, by=call.by, now=clock, dry_run=call.dry_run)


@changes_one_target("restore-pointer")
def run_restore_pointer(call: Call) -> RestoreOutcome:
    """Put a lost or damaged pointer back to what the journal last recorded as live, below the root of now."""
    return restore_pointer(call.context.store, call.context.target, by=call.by, now=clock, dry_run=call.dry_run)


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
    """Stop serving a target that is in the configuration no more; until then it serves what it served."""
    settings, target = load_settings(config), Target(tenant, surface)
    if (tenant, surface) in {(row.tenant, row.surface) for row in settings.targets}:
        raise RefusedError(f"{target} is still configured: take its [[targets]] table out first, then retire it")
    store = open_configured_store(settings)
    done = retire(store, target, by=acting(actor, reason), now=clock, dry_run=dry_run)
    print_json(done) if as_json else echo(f"{target}: {done.message}")
    return 0 if dry_run else follow_after(CommandContext(settings, store, (target,)))
