"""The command that erases a user from what stands in the store."""

from dataclasses import replace

import click

from recsys_assets.cli.options import (
    acting,
    actor_options,
    choose_targets,
    clock,
    dry_run_option,
    json_option,
    open_place,
    target_options,
)
from recsys_assets.cli.output import print_json
from recsys_assets.stages.forgetting import Forgetting, Forgot, forget_user


@click.command("forget")
@click.option("--user", required=True, help="the user's id, as events carry it; hashed here where raw.user_key is set")
@target_options
@actor_options
@dry_run_option
@json_option
def run_forget(
    *,
    user: str,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    reason: str,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Drop a user's events from every day, build what is live anew, and say which releases still hold the user.

    Raw files stay as they are: delete them yourself; what is built from them again leaves the user out.
    """
    place = open_place(config=config, tenant=tenant, surface=surface)
    by = acting(actor, reason)
    rows = choose_targets(place.settings, tenant=tenant, surface=surface)
    done = [forget_user(Forgetting(place.store, place.settings, row, user, by, clock), dry_run=dry_run) for row in rows]
    if dry_run:  # quarantine is of all targets, and the first of them would have blanked its lines
        done = [one if n == 0 else replace(one, quarantined=0) for n, one in enumerate(done)]
    print_json({"targets": done}) if as_json else click.echo("\n".join(map(_told, done)))
    return max(forgot.exit_code for forgot in done)


def _told(forgot: Forgot) -> str:
    went = (
        f"{forgot.events:,} event(s) of {len(forgot.days)} day(s), {forgot.raw_events:,} in parts, "
        f"{forgot.quarantined:,} line(s) in quarantine"
    )
    left = ", ".join(release[:12] for release in forgot.still_in) or "none"
    told = f"{forgot.target}: {went}; {forgot.told}; releases that still hold the user until collected: {left}"
    if forgot.other_key:
        days = ", ".join(forgot.other_key)
        told += f"; hashed by another key, so not looked through: {days}: build these days again, then repeat this"
    return told
