"""Delivery of webhooks by commands: behind each change, and by `deliver` where no daemon of Dagster runs."""

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import CommandContext, clock, json_option, open_context, target_options
from recsys_assets.cli.output import echo, print_json
from recsys_assets.settings.webhooks import receivers

_SECONDS = 5.0  # for a receiver, before a command ends without it


def deliver_after(context: CommandContext) -> None:
    """Send what a command has just done; what is not taken now is sent by the sensor, `deliver` or the next change."""
    if not receivers(context.settings.webhooks):
        return
    from recsys_assets.observability.webhooks import deliver  # noqa: PLC0415 - loads what builds days

    rows = [row for row in context.settings.targets if row.target in context.targets]
    faults = deliver(context.store, context.settings, rows, now=clock, look_at_freshness=False, seconds=_SECONDS)
    for fault in faults:
        echo(f"warning: {fault}", err=True)


@click.command("deliver")
@target_options
@json_option
def run_deliver(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Send to [[webhooks]] what they have not taken yet, and which targets turned stale or fresh again.

    The sensor `webhooks` does the same every 30 seconds where Dagster's daemon runs. It ends with 1 if a receiver did
    not take something; that is kept, and sent again later.
    """
    from recsys_assets.observability.webhooks import deliver  # noqa: PLC0415 - loads what builds days

    context = open_context(config=config, tenant=tenant, surface=surface)
    rows = [row for row in context.settings.targets if row.target in context.targets]
    faults = deliver(context.store, context.settings, rows, now=clock)
    print_json({"faults": faults}) if as_json else echo("\n".join(faults) or "all is sent", err=bool(faults))
    return EXIT_REFUSED if faults else 0
