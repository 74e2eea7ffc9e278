"""Command that ends a target: it must be out of the configuration before, so that nothing builds it again."""

import click

from recsys_assets.cli.options import acting, actor_options, clock, config_option, dry_run_option, json_option
from recsys_assets.cli.output import echo, print_json
from recsys_assets.errors import RefusedError
from recsys_assets.identity import Target
from recsys_assets.pipeline.open_store import open_configured_store
from recsys_assets.settings.reading import load_settings
from recsys_assets.upkeep.retire import retire


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
    return 0
