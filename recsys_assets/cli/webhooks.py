"""Delivery of webhooks: after each change, and by `deliver` where Dagster's daemon does not run."""

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import CommandContext, clock, json_option, open_context, target_options
from recsys_assets.cli.output import echo, print_json
from recsys_assets.settings.outputs import receivers

_RECEIVER_TIMEOUT_SECONDS = 5.0  # after which a command leaves delivery to the sensor or `deliver`


def deliver_after(context: CommandContext) -> None:
    """Send the events of a command. The sensor, `deliver` or the next change sends what is not delivered now."""
    if not receivers(context.settings.webhooks):
        return
    from recsys_assets.observability.webhooks import deliver  # noqa: PLC0415 - imports the build pipeline

    rows = [row for row in context.settings.targets if row.target in context.targets]
    faults = deliver(
        context.store, context.settings, rows, now=clock, look_at_freshness=False, seconds=_RECEIVER_TIMEOUT_SECONDS
    )
    for fault in faults:
        echo(f"warning: {fault}", err=True)


@click.command("deliver")
@target_options
@json_option
def run_deliver(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Send undelivered events to [[webhooks]], including targets that turned stale or fresh.

    The sensor `webhooks` does the same every 30 seconds where Dagster's daemon runs. Exits with code 1 if a receiver
    did not accept an event, which is then retried later.
    """
    from recsys_assets.observability.webhooks import deliver  # noqa: PLC0415 - imports the build pipeline

    context = open_context(config=config, tenant=tenant, surface=surface)
    rows = [row for row in context.settings.targets if row.target in context.targets]
    faults = deliver(context.store, context.settings, rows, now=clock)
    print_json({"faults": faults}) if as_json else echo(
        "\n".join(faults) or "everything is delivered", err=bool(faults)
    )
    return EXIT_REFUSED if faults else 0
