"""`recsys-assets tune`: back-tests of neighbour-scoring options on the last days, and the settings of the best."""

import hashlib
from datetime import date
from difflib import unified_diff
from pathlib import Path

import click

from recsys_assets.cli.options import choose_targets, config_option, day_type, json_option
from recsys_assets.cli.output import echo, print_json, print_table
from recsys_assets.errors import ConfigurationError
from recsys_assets.messages import plural
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.pipeline.tune import Tuned, Tuning, tune
from recsys_assets.settings.reading import load_settings, parse_settings, path_of_settings
from recsys_assets.settings.target import TargetSettings

MOST_DAYS = 60
_NUMBERS = ("ndcg", "difference", "low", "high", "hit_rate", "unanswered", "coverage", "size", "seconds", "too_large")
_COLUMNS = ("option", "nDCG", "difference", "from", "to", "hit rate", "unanswered", "coverage", "bytes", "seconds", "")


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
        print_json(_document(tuning, diff))
    else:
        _print(tuning, row, diff)
    if write and diff:
        _replace(file.resolve(), edited)
        echo(f"wrote {file}: the next build uses it", err=True)


def _replace(file: Path, text: str) -> None:
    """Replace a file atomically: a concurrent reader sees the old text or the new one."""
    new_file = file.with_name(f"{file.name}.new")
    new_file.write_text(text, encoding="utf-8", newline="")
    new_file.chmod(file.stat().st_mode)
    new_file.replace(file)


def _print(tuning: Tuning, row: TargetSettings, diff: str) -> None:
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
    print_table(f"{title}; differences to the configured option, 95 % intervals", _COLUMNS, rows)
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


def _document(tuning: Tuning, diff: str) -> dict[str, object]:
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
