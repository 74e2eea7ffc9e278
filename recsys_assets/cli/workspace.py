"""`recsys-assets workspace`: workspace.yaml with the targets divided among code locations."""

from math import ceil
from pathlib import Path

import click

from recsys_assets.cli.options import config_option
from recsys_assets.cli.output import echo
from recsys_assets.messages import plural
from recsys_assets.settings.reading import load_settings

TARGETS_PER_LOCATION = 100  # a code location of this size loads in about four seconds

_HEAD = """\
# Written by `recsys-assets workspace`: {targets} in {locations}.
load_from:
"""
_LOCATION = """\
  - python_module:
      module_name: recsys_assets.dagster_defs.slices
      attribute: part_{part}_of_{parts}
      location_name: recsys_assets_{part}_of_{parts}
"""


@click.command("workspace")
@config_option
@click.option(
    "--locations",
    type=click.IntRange(1, 1000),
    help=f"number of code locations; default: one per {TARGETS_PER_LOCATION} targets",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="output file; default: standard output")
def write_workspace(*, config: str | None, locations: int | None, output: Path | None) -> int:
    """Write the workspace file that divides the configured targets among code locations."""
    targets = len(load_settings(config).targets)
    parts = locations or ceil(targets / TARGETS_PER_LOCATION)
    text = _HEAD.format(targets=plural(targets, "target"), locations=plural(parts, "code location"))
    text += "".join(_LOCATION.format(part=part, parts=parts) for part in range(1, parts + 1))
    if output is None:
        echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    return 0
