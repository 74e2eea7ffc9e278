"""Maintenance commands: init, probe, relocate, sign, reindex, prune-runs."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import (
    HOME_VARIABLE,
    acting,
    actor_option,
    config_option,
    dry_run_option,
    json_option,
    open_command_store,
    open_context,
    opened_instance,
    target_options,
    text_type,
)
from recsys_assets.cli.output import echo, print_json, print_table, short
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import utc_now
from recsys_assets.messages import plural
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.open import open_store
from recsys_assets.storage.proof import check_format, ensure_proven, probe
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.repair import RelocateOutcome, relocate, repair_journal
from recsys_assets.upkeep.status import served_targets

if TYPE_CHECKING:
    from dagster import DagsterInstance

_PAGE = 500


@click.command("probe")
@config_option
@json_option
def run_probe(*, config: str | None, as_json: bool) -> int:
    """Check that the store honours the conditional writes that keep concurrent publishers safe."""
    context = open_context(config=config, tenant=None, surface=None)
    trials = probe(context.store)
    if as_json:
        print_json({"root": context.store.root_uri, "trials": trials})
    else:
        print_table(context.store.root_uri, ("trial", "held"), [(t.name, "yes" if t.held else "NO") for t in trials])
    return 0 if all(trial.held for trial in trials) else EXIT_REFUSED


@click.command("init")
@config_option
@dry_run_option
@json_option
def run_init(*, config: str | None, dry_run: bool, as_json: bool) -> int:
    """Initialize a store: check its conditional writes, and mark it. Needed once if storage.must_exist is true."""
    settings = load_settings(config)
    store = open_command_store(settings, default=_open_new)
    is_new = not check_format(store)
    if not dry_run:
        ensure_proven(store)
    message = ("would be initialized" if dry_run else "is initialized") if is_new else "was already initialized"
    document = {"root": store.root_uri, "began": is_new, "dry_run": dry_run}
    print_json(document) if as_json else echo(f"{store.root_uri} {message}")
    return 0


def _open_new(settings: Settings) -> ObjectStore:
    """Open the configured root, even if no store was initialized there."""
    return open_store(settings.resolve(settings.storage.root), public_root=settings.storage.public_root)


@click.command("relocate")
@target_options
@click.option(
    "--reason", type=text_type, default="the store is seen from elsewhere", help="reason, recorded in the journal"
)
@actor_option
@click.option("--apply", is_flag=True, help="rewrite the pointers; without it, only report which would change")
@json_option
def run_relocate(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    reason: str,
    actor: str | None,
    apply: bool,
    as_json: bool,
) -> int:
    """Rewrite the pointers of a moved or copied store to its current root. The same releases stay live.

    Without a selected target it covers every pointer in the store, configured or not.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    targets = context.targets if tenant else served_targets(context.store)
    outcomes = relocate(context.store, targets, by=acting(actor, reason), now=utc_now, dry_run=not apply)
    if as_json:
        print_json(
            [
                {"tenant": outcome.target.tenant, "surface": outcome.target.surface, **_relocation(outcome)}
                for outcome in outcomes
            ]
        )
        return 0
    rows = [
        (str(outcome.target), short(outcome.release), outcome.before, outcome.after if outcome.moves else "-")
        for outcome in outcomes
    ]
    print_table("", ("target", "release", "root", "new root" if apply else "would be"), rows)
    moving = sum(outcome.moves for outcome in outcomes)
    if moving and not apply:
        click.echo(f"{plural(moving, 'pointer')} would change: repeat the command with --apply")
    return 0


def _relocation(outcome: RelocateOutcome) -> dict[str, object]:
    return {"release": outcome.release, "before": outcome.before, "after": outcome.after, "entry": outcome.entry}


@click.command("sign")
@target_options
@click.option(
    "--unsigned", is_flag=True, help="also sign pointers without a signature by a key of [signing]; inspect them first"
)
@json_option
def run_sign(*, config: str | None, tenant: str | None, surface: str | None, unsigned: bool, as_json: bool) -> int:
    """Sign the live pointers again, so that their signatures do not expire. Run it daily if nothing ships for days."""
    from recsys_assets.release.signatures import read_signer  # noqa: PLC0415 - an extra
    from recsys_assets.release.signed_stores import renew  # noqa: PLC0415

    context = open_context(config=config, tenant=tenant, surface=surface)
    settings = context.settings
    if not settings.signing_keys:
        raise ConfigurationError("signing.key is not set: set it to a private key, as env:NAME or file:PATH")
    signer = read_signer(settings.signing_keys, valid_days=settings.signing.valid_days)
    statements = {target: renew(context.store, signer, target, unsigned=unsigned) for target in context.targets}
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "signed": signed} for t, signed in statements.items()])
        return 0
    rows = [
        (str(t), short(statement.release) if statement else None, statement.expires if statement else "nothing is live")
        for t, statement in statements.items()
    ]
    print_table(f"signed by {', '.join(signer.keys)}", ("target", "release", "valid until"), rows)
    return 0


@click.command("reindex")
@target_options
@actor_option
@dry_run_option
@json_option
def run_reindex(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    actor: str | None,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Fill gaps in the journal, and report shipped releases to Dagster if $DAGSTER_HOME is set."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    by = acting(actor, "reindex")
    repairs = {t: repair_journal(context.store, t, by=by, now=utc_now, dry_run=dry_run) for t in context.targets}
    reported = 0
    if os.environ.get(HOME_VARIABLE):
        with opened_instance() as instance:
            from recsys_assets.dagster_defs.reindex import report_to_dagster  # noqa: PLC0415 - only this command needs Dagster

            reported = report_to_dagster(
                instance, context.store, context.settings, targets=context.targets, dry_run=dry_run
            )
    if as_json:
        journals = [{"tenant": t.tenant, "surface": t.surface, "journal": repaired} for t, repaired in repairs.items()]
        print_json({"journals": journals, "dagster_events": reported})
        return 0
    rows = [(str(t), len(r.filled), "yes" if r.recovered else "no") for t, r in repairs.items()]
    print_table("", ("target", "entries filled", "swap recovered"), rows)
    echo(
        f"events reported to Dagster: {reported}"
        if os.environ.get(HOME_VARIABLE)
        else f"{HOME_VARIABLE} is not set: nothing was reported to Dagster"
    )
    return 0


@click.command("prune-runs")
@click.option(
    "--older-than-days",
    type=click.IntRange(0),
    default=180,
    show_default=True,
    help="minimum age of removed runs, by creation",
)
@click.option("--apply", is_flag=True, help="remove the runs; without it, only report their number")
def prune_runs(*, older_than_days: int, apply: bool) -> int:
    """Remove old finished runs with their events from the instance of $DAGSTER_HOME.

    Days that only those runs built then look missing in the UI. `reindex` reports what they shipped to Dagster again.
    """
    with opened_instance() as instance:
        old_runs = list(_old_runs(instance, utc_now() - timedelta(days=older_than_days)))
        for run_id in old_runs if apply else ():
            instance.delete_run(run_id)
    echo(f"{'removed' if apply else 'would remove'} {plural(len(old_runs), 'run')}")
    return 0


def _old_runs(instance: "DagsterInstance", before: datetime) -> Iterator[str]:
    """Yield the ids of finished runs created before a time, newest first."""
    from dagster import DagsterRunStatus, RunsFilter  # noqa: PLC0415

    ended = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
    chosen, cursor = RunsFilter(statuses=ended, created_before=before), None
    while True:
        page = instance.get_run_ids(chosen, cursor=cursor, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return
        cursor = page[-1]
