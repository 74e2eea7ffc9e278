"""`recsys-assets outcomes`: clicks and purchases by release, and the verdicts on rollouts: ship, hold or fail."""

from datetime import date
from pathlib import Path
from typing import Final

import click

from recsys_assets.cli.options import day_type, json_option, open_context, target_options
from recsys_assets.cli.output import echo, print_json, print_table
from recsys_assets.identity import utc_now
from recsys_assets.pipeline.arrivals import choose_days
from recsys_assets.pipeline.outcome_reports import message_of, report_outcomes
from recsys_assets.quality.outcome_report import OutcomeReport, OutcomeVerdict, Share
from recsys_assets.release.document_encoding import encode

EXIT_CODES: Final = {OutcomeVerdict.SHIP: 0, OutcomeVerdict.FAIL: 1, OutcomeVerdict.HOLD: 3}
_COLUMNS = ("release", "kind", "visitors", "keys", "exposures", "clicked", "bought")


@click.command("outcomes")
@target_options
@click.option("--start", type=day_type, required=True, help="first day, such as 2026-01-31")
@click.option("--end", type=day_type, help="last day, inclusive; default: the first day")
@click.option(
    "--decision", type=click.Path(dir_okay=False, path_type=Path), help="also write the report to this .json file"
)
@json_option
def run_outcomes(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    start: date,
    end: date | None,
    decision: Path | None,
    as_json: bool,
) -> int:
    """Report clicks and purchases of exposures by release, kind and visitors, with the verdict on the newest rollout.

    Exits with code 0 for ship or without a rollout in these days, 1 for fail, 3 for hold, which means undecided.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    target, last = context.target, end or start
    choose_days(context.settings, start=start, end=last, today=utc_now().date())
    report = report_outcomes(context.store, target, context.settings.outcomes, start=start, end=last)
    if decision is not None:
        decision.write_bytes(encode(report))
    print_json(report) if as_json else _print(report)
    return EXIT_CODES[report.rollouts[0].verdict] if report.rollouts else 0


def _print(report: OutcomeReport) -> None:
    rows = [
        (
            row.release[:12],
            row.kind or "all",
            row.visitor,
            f"{row.keys:,}",
            f"{row.click.of:,}",
            _interval(row.click),
            _interval(row.purchase),
        )
        for row in report.rows
    ]
    print_table(f"{report.tenant}/{report.surface}, {report.start} to {report.end}", _COLUMNS, rows)
    for rollout in report.rollouts:
        echo(f"rollout of {rollout.release[:12]} beside {rollout.against[:12]}: {rollout.verdict.value}, {rollout.why}")
        for each in rollout.differences:
            moved = f"{each.difference:+.2%} ({each.low:+.2%} to {each.high:+.2%})"
            echo(f"    {each.metric}: {each.candidate:.2%}, live {each.live:.2%}, difference {moved}")
        for step in rollout.steps:
            keys = f"{step.candidate:,} of {step.keys:,} keys, probability {step.probability:.3f}"
            echo(f"    {step.share} % since {step.since}: {keys}, {step.mixed:,} on both sides")
    echo(message_of(report))


def _interval(share: Share) -> str:
    return f"{share.rate:.2%} ({share.low:.2%} to {share.high:.2%})"
