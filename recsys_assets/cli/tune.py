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
    found = tune(store, settings, row, days=days, end=end, report=lambda message: echo(message, err=True))
    file = path_of_settings(config)
    text = file.read_text(encoding="utf-8")
    if hashlib.sha256(text.encode()).hexdigest() != settings.digest:
        raise ConfigurationError(f"{file} changed during the back-tests: repeat the command")
    edited = found.winner.option.edit(text, settings, row)
    parse_settings(edited.encode(), name=f"{file}, edited", base=file.absolute().parent)
    names = str(file), f"{file} with the best option"
    diff = "".join(unified_diff(text.splitlines(keepends=True), edited.splitlines(keepends=True), *names))
    if as_json:
        print_json(_document(found, diff))
    else:
        _print(found, row, diff)
    if write and diff:
        _replace(file.resolve(), edited)
        echo(f"wrote {file}: the next build uses it", err=True)


def _replace(file: Path, text: str) -> None:
    """Replace a file atomically: a concurrent reader sees the old text or the new one."""
    new_file = file.with_name(f"{file.name}.new")
    new_file.write_text(text, encoding="utf-8", newline="")
    new_file.chmod(file.stat().st_mode)
    new_file.replace(file)


def _print(found: Tuning, row: TargetSettings, diff: str) -> None:
    rows = [
        (
            one.option,
            f"{one.ndcg:.4f}",
            f"{one.difference:+.4f}",
            f"{one.low:+.4f}",
            f"{one.high:+.4f}",
            f"{one.hit_rate:.3f}",
            f"{one.unanswered:.1%}",
            f"{one.coverage:.2f}",
            f"{one.size:,}",
            f"{one.seconds:.2f}",
            _note(one, found),
        )
        for one in found.options
    ]
    days = f"{found.days[0]} to {found.days[-1]}"
    title = (
        f"{row.target}: next items of {plural(found.sessions, 'session')} of {plural(len(found.days), 'day')}, {days}"
    )
    print_table(f"{title}; differences to the configured option, 95 % intervals", _COLUMNS, rows)
    echo(_verdict(found))
    echo(diff or "nothing to change in the file", nl=not diff)


def _note(one: Tuned, found: Tuning) -> str:
    notes = (
        ("configured", one.option.key == found.configured.key),
        ("best", one is found.winner),
        ("over max_bytes", one.too_large),
    )
    return ", ".join(note for note, holds in notes if holds)


def _verdict(found: Tuning) -> str:
    winner = found.winner
    if winner.option.key == found.configured.key:
        return "the configured option is the best"
    if winner.is_surely_better:
        return f"best: {winner.option}, significantly better than the configured option"
    return f"best: {winner.option}, not significantly better than the configured option: try more days"


def _document(found: Tuning, diff: str) -> dict[str, object]:
    return {
        "days": found.days,
        "sessions": found.sessions,
        "message": _verdict(found),
        "diff": diff,
        "options": [
            {
                "kind": one.option.kind,
                **one.option.varied,
                **{name: getattr(one, name) for name in _NUMBERS},
                "configured": one.option.key == found.configured.key,
                "best": one is found.winner,
            }
            for one in found.options
        ],
    }
