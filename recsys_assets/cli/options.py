"""Options that mean the same in every command."""

from datetime import date
from typing import Any

import click


class _Day(click.ParamType):
    """A UTC day, written as in file names."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no day: write it like 2026-01-31", param, ctx)


day_type = _Day()

config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False),
    help="configuration file; else $RECSYS_CONFIG, else ./recsys.toml",
)
