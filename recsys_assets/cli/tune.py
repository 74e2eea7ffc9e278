"""`recsys-assets tune`: ways to score neighbours, back-tested on the last days, and the lines of the best one."""

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
@click.option("--tenant", required=True, help="the target's tenant")
@click.option("--surface", required=True, help="the target's surface")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=7, show_default=True, help="days that are held out")
@click.option("--end", type=day_type, help="the last of them; the last day with events when left out")
@click.option("--write", is_flag=True, help="write the best option's lines into the configuration file")
@json_option
def run_tune(
    *, config: str | None, tenant: str, surface: str, days: int, end: date | None, write: bool, as_json: bool
) -> None:
    """Try ways to score neighbours on the last days, and show the best one's lines.

    Each is built, for each of the last days with events, from the days before it, and asked for the next items of its
    sessions. The lines for the configuration are shown as a diff; the file stays as it is without --write. A call that
    was stopped goes on where it was.
    """
    settings = load_settings(config)
    (row,) = choose_targets(settings, tenant=tenant, surface=surface)
    store = open_configured_store(settings)
    found = tune(store, settings, row, days=days, end=end, report=lambda message: echo(message, err=True))
    file = path_of_settings(config)
    text = file.read_text(encoding="utf-8")
    if hashlib.sha256(text.encode()).hexdigest() != settings.digest:
        raise ConfigurationError(f"{file} changed while options were tried: run the same command again")
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
    """Write a file as a whole: one that is read meanwhile is the old one or the new one."""
    beside = file.with_name(f"{file.name}.new")
    beside.write_text(text, encoding="utf-8", newline="")
    beside.chmod(file.stat().st_mode)
    beside.replace(file)


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
    print_table(f"{title}; differences to what is configured, within 95 of 100", _COLUMNS, rows)
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
        return "what is configured is the best of them"
    if winner.is_surely_better:
        return f"best: {winner.option}, surely better than what is configured"
    return f"best: {winner.option}, not surely better than what is configured: try more days"


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
