"""Commands that change what one target serves: ship, rollback, hold, release-hold, restore-pointer."""

from datetime import date, datetime

import click

from recsys_assets.cli.acting import Call, Told, changes_one_target
from recsys_assets.cli.awaiting import Awaited, await_consumers, wait_option
from recsys_assets.cli.options import clock, day_type, instant_type
from recsys_assets.manifest.hold import HoldOutcome, place_hold, release_hold
from recsys_assets.manifest.restore import Restored, restore_pointer
from recsys_assets.manifest.rollback import RolledBack, roll_back


@changes_one_target("ship")
@click.option("--day", type=day_type, required=True, help="the UTC day whose staged artifacts are to ship")
@click.option("--allow-older", is_flag=True, help="even if what is live holds newer data")
@click.option("--override", multiple=True, metavar="GATE", help="a gate of quality whose refusal does not count")
def run_ship(call: Call, *, day: date, allow_older: bool, override: tuple[str, ...]) -> Told:
    """Ship what is staged for a day, proven against every gate; an older day than what is live only if allowed."""
    from recsys_assets.stages.ship import ship_day  # noqa: PLC0415 - loads the kernels

    settings, target = call.place.settings, call.place.target
    row = settings.find(target.tenant, target.surface)
    shipped = ship_day(
        call.place.store,
        settings,
        row,
        day,
        by=call.by,
        now=clock,
        allow_older=allow_older,
        dry_run=call.dry_run,
        override=override,
    )
    return shipped.outcome


@changes_one_target("rollback")
@click.option(
    "--to", required=True, help="previous | a release id (8 digits or more) | a time like 2026-01-31T04:00:00Z"
)
@click.option("--no-hold", is_flag=True, help="let the next night ship at once")
@click.option("--hold-until", type=instant_type, help="hold until this time instead of until newer good data")
@wait_option
def run_rollback(
    call: Call, *, to: str, no_hold: bool, hold_until: datetime | None, wait: float | None
) -> RolledBack | Awaited:
    """Move one target back to an earlier release; verified first, held afterwards, nothing recomputed."""
    if no_hold and hold_until is not None:
        raise click.UsageError("--no-hold and --hold-until exclude each other")
    done = roll_back(
        call.place.store,
        call.place.target,
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
    return place_hold(call.place.store, call.place.target, by=call.by, now=clock, until=until, dry_run=call.dry_run)


@changes_one_target("release-hold")
def run_release_hold(call: Call) -> HoldOutcome:
    """Let automation ship to one target again."""
    return release_hold(call.place.store, call.place.target, by=call.by, now=clock, dry_run=call.dry_run)


@changes_one_target("restore-pointer")
def run_restore_pointer(call: Call) -> Restored:
    """Put a lost or damaged pointer back to what the journal last told was live."""
    return restore_pointer(call.place.store, call.place.target, by=call.by, now=clock, dry_run=call.dry_run)
