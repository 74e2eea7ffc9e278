"""`recsys-assets backtest` and `tune`: scores of staged artifacts and of neighbour options on unseen events."""

import hashlib
from collections.abc import Sequence
from datetime import date
from difflib import unified_diff
from html import escape
from pathlib import Path

import click

from recsys_assets.cli.main import EXIT_REFUSED
from recsys_assets.cli.options import choose_targets, config_option, day_type, json_option, open_context, target_options
from recsys_assets.cli.output import echo, print_json, print_table
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import utc_now
from recsys_assets.messages import plural
from recsys_assets.pipeline.arrivals import choose_days
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.run_backtest import BacktestResult, DayTested, backtest_days
from recsys_assets.pipeline.tune import Tuned, Tuning, tune
from recsys_assets.quality.comparison import ComparedScores, ComparisonVerdict
from recsys_assets.settings.reading import load_settings, parse_settings, path_of_settings
from recsys_assets.settings.settings import TargetSettings

_LINE, _LEFT, _WIDTH, _MARGIN = 20, 260, 900, 60
_COLORS = {
    ComparisonVerdict.NOT_WORSE: "#2a7f3e",
    ComparisonVerdict.WORSE: "#b3261e",
    ComparisonVerdict.INCONCLUSIVE: "#8a6d00",
}
_COLUMNS = ("what", "hit rate", "MRR", "nDCG", "its", "difference", "from", "to", "coverage", "")
MOST_DAYS = 60
_NUMBERS = ("ndcg", "difference", "low", "high", "hit_rate", "unanswered", "coverage", "size", "seconds", "too_large")
_TUNING_COLUMNS = (
    "option",
    "nDCG",
    "difference",
    "from",
    "to",
    "hit rate",
    "unanswered",
    "coverage",
    "bytes",
    "seconds",
    "",
)


def draw_backtest(tested: Sequence[DayTested], *, title: str) -> str:
    """Return an SVG of differences: right of the middle line a day's artifacts are better than the baseline.

    A bar is the confidence interval, a dot the difference, and a thin mark the allowed loss. Days without a comparison
    are omitted.
    """
    lines = [
        (f"{tested_day.day}  {each.name}  ({tested_day.against})", each)
        for tested_day in tested
        if isinstance(tested_day.found, BacktestResult)
        for each in tested_day.found.compared
    ]
    reach = (
        max(
            (abs(value) for _, tested_day in lines for value in (tested_day.low, tested_day.high, tested_day.allowed)),
            default=0,
        )
        or 1.0
    )
    height = _MARGIN + _LINE * len(lines) + _LINE
    rows = [
        _row(label, tested_day, _MARGIN + _LINE * number, reach) for number, (label, tested_day) in enumerate(lines)
    ]
    middle, low, high = _at(0, reach), _at(-reach, reach), _at(reach, reach)
    scale = "".join(
        f'<text x="{x:.1f}" y="46" text-anchor="middle">{value:+.3f}</text>'
        for x, value in ((low, -reach), (middle, 0), (high, reach))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/><text x="10" y="22" font-size="14">'
        f"{escape(title)}: difference in nDCG with its confidence interval</text>{scale}"
        f'<line x1="{middle:.1f}" y1="52" x2="{middle:.1f}" y2="{height - 10}" stroke="#999"/>{"".join(rows)}</svg>\n'
    )


def _row(label: str, scores: ComparedScores, y: int, reach: float) -> str:
    color, middle = _COLORS[scores.verdict], y + 8
    low, high, at, allowed = (
        _at(value, reach) for value in (scores.low, scores.high, scores.difference, scores.allowed)
    )
    return (
        f'<text x="10" y="{y + 12}">{escape(label)}</text>'
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="{color}" stroke-width="4"/>'
        f'<circle cx="{at:.1f}" cy="{middle}" r="4" fill="{color}"><title>{scores.verdict.value}</title></circle>'
        f'<line x1="{allowed:.1f}" y1="{y + 1}" x2="{allowed:.1f}" y2="{y + 15}" stroke="#444"/>'
    )


def _at(value: float, reach: float) -> float:
    """Return the horizontal position of a difference."""
    width = _WIDTH - _LEFT - _MARGIN
    return _LEFT + width * (value + reach) / (2 * reach)


@click.command("backtest")
@target_options
@click.option("--start", type=day_type, required=True, help="first day, such as 2026-01-31")
@click.option("--end", type=day_type, help="last day, inclusive; default: the first day")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="also plot the differences to this .svg file"
)
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
    """Score what each day staged on the following day, or the last part of the day, against the live release.

    If the live release was built from those events, the baseline is what the previous day staged. Nothing ships. Exits
    with code 1 if anything is worse.
    """
    if plot is not None and plot.suffix.lower() != ".svg":
        raise click.UsageError(f"--plot {plot}: expected a file name that ends in .svg")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise click.UsageError(f"--plot {plot}: the folder {plot.absolute().parent} does not exist: create it first")
    context = open_context(config=config, tenant=tenant, surface=surface)
    row = context.settings.find(context.target.tenant, context.target.surface)
    days = choose_days(context.settings, start=start, end=end or start, today=utc_now().date())
    tested = list(backtest_days(context.store, context.settings, row, days))
    if plot is not None:
        plot.write_text(draw_backtest(tested, title=str(context.target)), encoding="utf-8")
    if as_json:
        print_json([_document(tested_day) for tested_day in tested])
    else:
        _print(tested, k=context.settings.gates_for(row).backtest.k)
    return (
        EXIT_REFUSED
        if any(each.verdict is ComparisonVerdict.WORSE for tested_day in tested for each in _compared(tested_day))
        else 0
    )


def _compared(tested_day: DayTested) -> Sequence[ComparedScores]:
    return tested_day.found.compared if isinstance(tested_day.found, BacktestResult) else ()


def _print(tested: Sequence[DayTested], *, k: int) -> None:
    rows = [
        (
            each.name,
            f"{each.candidate.hit_rate:.3f}",
            f"{each.candidate.mrr:.3f}",
            f"{each.candidate.ndcg:.3f}",
            f"{each.live.ndcg:.3f}",
            f"{each.difference:+.3f}",
            f"{each.low:+.3f}",
            f"{each.high:+.3f}",
            f"{each.candidate.coverage:.2f}",
            each.verdict.value,
        )
        for tested_day in tested
        for each in _compared(tested_day)
    ]
    print_table(f"next items at {k}; `its` is the baseline's nDCG", _COLUMNS, rows)
    for tested_day in tested:
        if isinstance(tested_day.found, BacktestResult):
            echo(f"{tested_day.day}: {tested_day.found.sessions:,} sessions of {tested_day.found.held_out.message}")
        else:
            echo(f"{tested_day.day}: not compared: {tested_day.found.message}")


def _document(tested_day: DayTested) -> dict[str, object]:
    if not isinstance(tested_day.found, BacktestResult):
        return {
            "day": tested_day.day,
            "against": tested_day.against or None,
            "message": tested_day.found.message,
            "compared": [],
        }
    return {
        "day": tested_day.day,
        "against": tested_day.against,
        "baseline": tested_day.found.baseline,
        "sessions": tested_day.found.sessions,
        **tested_day.found.held_out.facts,
        "compared": [_numbers(each) for each in tested_day.found.compared],
    }


def _numbers(each: ComparedScores) -> dict[str, object]:
    arms = {
        arm: {"hit_rate": scores.hit_rate, "mrr": scores.mrr, "ndcg": scores.ndcg, "coverage": scores.coverage}
        for arm, scores in (("candidate", each.candidate), ("baseline", each.live))
    }
    interval = {"difference": each.difference, "low": each.low, "high": each.high, "allowed": each.allowed}
    verdict = each.verdict.value
    return {
        "name": each.name,
        **arms,
        **interval,
        "verdict": verdict,
        "standing": verdict,
    }  # `standing` is the former name of `verdict`.


@click.command()
@config_option
@click.option("--tenant", required=True, help="tenant of the target")
@click.option("--surface", required=True, help="surface of the target")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=7, show_default=True, help="number of held-out days")
@click.option("--end", type=day_type, help="last held-out day; default: the last day with events")
@click.option("--write", is_flag=True, help="write the settings of the best option to the configuration file")
@json_option
def run_tune(
    *, config: str | None, tenant: str, surface: str, days: int, end: date | None, write: bool, as_json: bool
) -> None:
    """Back-test options of neighbour scoring on the last days, and show the best one.

    For each held-out day, each option is built from the days before and queried for the next items of the day's
    sessions. The change of the configuration is shown as a diff. The file changes only with --write. An interrupted
    call continues.
    """
    settings = load_settings(config)
    (row,) = choose_targets(settings, tenant=tenant, surface=surface)
    store = open_configured_store(settings)
    tuning = tune(store, settings, row, days=days, end=end, report=lambda message: echo(message, err=True))
    file = path_of_settings(config)
    text = file.read_text(encoding="utf-8")
    if hashlib.sha256(text.encode()).hexdigest() != settings.digest:
        raise ConfigurationError(f"{file} changed during the back-tests: repeat the command")
    edited = tuning.winner.option.edit(text, settings, row)
    parse_settings(edited.encode(), name=f"{file}, edited", base=file.absolute().parent)
    names = str(file), f"{file} with the best option"
    diff = "".join(unified_diff(text.splitlines(keepends=True), edited.splitlines(keepends=True), *names))
    if as_json:
        print_json(_tuning_document(tuning, diff))
    else:
        _print_tuning(tuning, row, diff)
    if write and diff:
        _replace(file.resolve(), edited)
        echo(f"wrote {file}: the next build uses it", err=True)


def _replace(file: Path, text: str) -> None:
    """Replace a file atomically: a concurrent reader sees the old text or the new one."""
    new_file = file.with_name(f"{file.name}.new")
    new_file.write_text(text, encoding="utf-8", newline="")
    new_file.chmod(file.stat().st_mode)
    new_file.replace(file)


def _print_tuning(tuning: Tuning, row: TargetSettings, diff: str) -> None:
    rows = [
        (
            tuned.option,
            f"{tuned.ndcg:.4f}",
            f"{tuned.difference:+.4f}",
            f"{tuned.low:+.4f}",
            f"{tuned.high:+.4f}",
            f"{tuned.hit_rate:.3f}",
            f"{tuned.unanswered:.1%}",
            f"{tuned.coverage:.2f}",
            f"{tuned.size:,}",
            f"{tuned.seconds:.2f}",
            _note(tuned, tuning),
        )
        for tuned in tuning.options
    ]
    days = f"{tuning.days[0]} to {tuning.days[-1]}"
    title = (
        f"{row.target}: next items of {plural(tuning.sessions, 'session')} of {plural(len(tuning.days), 'day')}, {days}"
    )
    print_table(f"{title}; differences to the configured option, 95 % intervals", _TUNING_COLUMNS, rows)
    echo(_verdict(tuning))
    echo(diff or "nothing to change in the file", nl=not diff)


def _note(tuned: Tuned, tuning: Tuning) -> str:
    notes = (
        ("configured", tuned.option.key == tuning.configured.key),
        ("best", tuned is tuning.winner),
        ("over max_bytes", tuned.too_large),
    )
    return ", ".join(note for note, holds in notes if holds)


def _verdict(tuning: Tuning) -> str:
    winner = tuning.winner
    if winner.option.key == tuning.configured.key:
        return "the configured option is the best"
    if winner.is_surely_better:
        return f"best: {winner.option}, significantly better than the configured option"
    return f"best: {winner.option}, not significantly better than the configured option: try more days"


def _tuning_document(tuning: Tuning, diff: str) -> dict[str, object]:
    return {
        "days": tuning.days,
        "sessions": tuning.sessions,
        "message": _verdict(tuning),
        "diff": diff,
        "options": [
            {
                "kind": tuned.option.kind,
                **tuned.option.varied,
                **{name: getattr(tuned, name) for name in _NUMBERS},
                "configured": tuned.option.key == tuning.configured.key,
                "best": tuned is tuning.winner,
            }
            for tuned in tuning.options
        ],
    }
