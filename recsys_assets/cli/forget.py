"""Command that erases a user from the store."""

from collections.abc import Sequence
from dataclasses import replace

import click

from recsys_assets.cli.change_commands import Call, changes_targets
from recsys_assets.cli.options import clock
from recsys_assets.privacy.forget import Forgetting, Forgot, forget_user


def _message(forgot: Forgot) -> str:
    went = (
        f"{forgot.events:,} event(s) of {len(forgot.days)} day(s), {forgot.raw_events:,} in parts, "
        f"{forgot.quarantined:,} line(s) in quarantine"
    )
    left = ", ".join(release[:12] for release in forgot.still_in) or "none"
    message = f"{forgot.target}: {went}; {forgot.message}; releases that still hold the user until collected: {left}"
    if forgot.other_key:
        days = ", ".join(forgot.other_key)
        message += f"; hashed by another key, so not looked through: {days}: build these days again, then repeat this"
    if forgot.other_key_in:
        releases = ", ".join(release[:12] for release in forgot.other_key_in)
        message += f"; built under another key, so they may hold the user until collected: {releases}"
    return message


@changes_targets("forget", line=_message)
@click.option("--user", required=True, help="the user's id, as events carry it; hashed here where raw.user_key is set")
def run_forget(call: Call, *, user: str) -> Sequence[Forgot]:
    """Drop a user's events from every day, rebuild what is live, and say which releases still hold the user.

    Raw files stay as they are: delete them yourself; what is built from them again leaves the user out.
    """
    store, settings = call.context.store, call.context.settings
    rows = [settings.find(target.tenant, target.surface) for target in call.context.targets]
    tasks = [Forgetting(store, settings, row, user, call.by, clock) for row in rows]
    done = [forget_user(task, dry_run=call.dry_run) for task in tasks]
    if not call.dry_run:
        return done
    # Quarantine is of all targets, and the first of them would have blanked its lines.
    return [forgot if n == 0 else replace(forgot, quarantined=0) for n, forgot in enumerate(done)]
