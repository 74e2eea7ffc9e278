"""`recsys-assets backtest`: how well what days staged would have answered events that they had not seen."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import click

from recsys_assets.cli.backtest_plot import draw_backtest
from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import day_type, json_option, open_place, target_options
from recsys_assets.cli.output import print_json, print_table
from recsys_assets.cli.run import choose_days
from recsys_assets.evaluation.comparison import Compared, Standing
from recsys_assets.stages.backtest import Outcome
from recsys_assets.stages.backtest_days import DayTested, backtest_days

_COLUMNS = ("day", "against", "what", "hit rate", "MRR", "nDCG", "its", "difference", "from", "to", "coverage", "")


@click.command("backtest")
@target_options
@click.option("--start", type=day_type, required=True, help="first day, like 2026-01-31")
@click.option("--end", type=day_type, help="last day, included; the first day when left out")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="also draw the differences to this .svg")
@json_option
def run_backtest(
    *,
    config: str | None,
    tenant: str | None,
    surface: str | None,
    start: date,
    end: date | None,
    plot: Path | None,
    as_json: bool,
) -> int:
    """Score what each day staged on the day after it, or the last part of the day, beside what is live.

    Where live was made from those events, what the day before staged is the baseline. Nothing ships. Ends with 1 if
    anything is worse.
    """
    if plot is not None and plot.suffix.lower() != ".svg":
        raise click.UsageError(f"--plot {plot}: the picture is SVG, name a file that ends in .svg")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise click.UsageError(f"--plot {plot}: there is no folder {plot.absolute().parent}: make it first")
    place = open_place(config=config, tenant=tenant, surface=surface)
    row = place.settings.find(place.target.tenant, place.target.surface)
    days = choose_days(place.settings, start=start, end=end or start, today=datetime.now(UTC).date())
    tested = list(backtest_days(place.store, place.settings, row, days))
    if plot is not None:
        plot.write_text(draw_backtest(tested, title=str(place.target)), encoding="utf-8")
    if as_json:
        print_json([_document(one) for one in tested])
    else:
        _print(tested, k=place.settings.gates_for(row).backtest.k)
    return EXIT_REFUSED if any(each.standing is Standing.WORSE for one in tested for each in _compared(one)) else 0


def _compared(one: DayTested) -> Sequence[Compared]:
    return one.found.compared if isinstance(one.found, Outcome) else ()


def _print(tested: Sequence[DayTested], *, k: int) -> None:
    rows = [
        (
            one.day,
            one.against,
            each.name,
            f"{each.candidate.hit_rate:.3f}",
            f"{each.candidate.mrr:.3f}",
            f"{each.candidate.ndcg:.3f}",
            f"{each.live.ndcg:.3f}",
            f"{each.difference:+.3f}",
            f"{each.low:+.3f}",
            f"{each.high:+.3f}",
            f"{each.candidate.coverage:.2f}",
            each.standing.value,
        )
        for one in tested
        for each in _compared(one)
    ]
    print_table(f"next items at {k}; its: the baseline's nDCG", _COLUMNS, rows)
    for one in tested:
        if isinstance(one.found, Outcome):
            click.echo(f"{one.day}: {one.found.sessions:,} sessions of {one.found.held_out.told}")
        else:
            click.echo(f"{one.day}: nothing compared: {one.found.told}")


def _document(one: DayTested) -> dict[str, object]:
    if not isinstance(one.found, Outcome):
        return {"day": one.day, "against": one.against or None, "told": one.found.told, "compared": []}
    return {
        "day": one.day,
        "against": one.against,
        "baseline": one.found.baseline,
        "sessions": one.found.sessions,
        **one.found.held_out.facts,
        "compared": [_numbers(each) for each in one.found.compared],
    }


def _numbers(each: Compared) -> dict[str, object]:
    sides = {
        side: {"hit_rate": scores.hit_rate, "mrr": scores.mrr, "ndcg": scores.ndcg, "coverage": scores.coverage}
        for side, scores in (("candidate", each.candidate), ("baseline", each.live))
    }
    interval = {"difference": each.difference, "low": each.low, "high": each.high, "allowed": each.allowed}
    return {"name": each.name, **sides, **interval, "standing": each.standing.value}
