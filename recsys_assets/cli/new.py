"""`recsys-assets new` and `workspace`: a starter project, and a workspace file that divides targets among locations."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import combinations
from math import ceil
from pathlib import Path
from typing import Final

import click

from recsys_assets.cli.options import config_option
from recsys_assets.cli.output import echo
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import utc_now
from recsys_assets.messages import plural
from recsys_assets.settings.reading import load_settings

_DAYS: Final = 3  # days of made-up events, up to yesterday
_ITEMS: Final = ("tea", "mug", "jam", "toast", "honey")

_FILES: Final[Mapping[str, str]] = {
    "pyproject.toml": """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11,<3.13"
dependencies = ["recsys-assets"]

[dependency-groups]
dev = ["dagster-dg-cli", "pytest"]

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "{module}"

[tool.dg.cli]
suppress_warnings = ["project_and_activated_venv_mismatch"]
""",
    "recsys.toml": """\
# Inputs of recommendations, and their targets. Paths are relative to this file.
[storage]
root = "data/store"  # or s3://, gs:// or az://bucket/prefix

[raw]
exposures = "data/raw/{{day}}*.jsonl*"  # JSON lines, plain, .gz or .zst

[partitions]
start = {first}

[artifacts]
kinds = ["popularity", "cooc"]

[artifacts.cooc]
min_support = 1  # the made-up days are small: use 2 or more for real ones

[[targets]]
tenant = "{module}"
surface = "home"
""",
    "workspace.yaml": """\
load_from:
  - python_module: {module}.definitions
""",
    "{module}/__init__.py": "",
    "{module}/definitions.py": '''\
"""Definitions that Dagster loads: everything below defs/."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
''',
    "{module}/defs/recommendations/defs.yaml": """\
type: recsys_assets.RecsysTargets
attributes:
  config: ../../../recsys.toml
""",
    "tests/test_definitions.py": '''\
"""Test that the definitions load and contain the asset that ships the target."""

from {module}.definitions import defs


def test_definitions_load():
    keys = defs().resolve_asset_graph().get_all_asset_keys()
    assert ("{module}", "home", "manifest") in {{tuple(key.path) for key in keys}}
''',
    ".dagster/dagster.yaml": """\
# Dagster's instance: SQLite files in this folder, and a queue that runs one run per target at a time.
telemetry:
  enabled: false
event_log_storage:
  module: recsys_assets.dagster_defs.event_log
  class: OpenSqliteEventLog
  config: {{}}
run_launcher:
  module: recsys_assets.dagster_defs.run_launcher
  class: ForkServerLauncher
run_coordinator:
  module: recsys_assets.dagster_defs.queue
  class: TargetQueue
  config:
    dequeue_interval_seconds: 1
concurrency:
  runs:
    max_concurrent_runs: 2
    tag_concurrency_limits:
      - key: recsys/target
        value: {{applyLimitPerUniqueValue: true}}
        limit: 1
run_monitoring:
  enabled: true
""",
    ".gitignore": "data/store/\n.dagster/*\n!.dagster/dagster.yaml\n.venv/\n__pycache__/\n",
    "README.md": """\
# {name}

Recommendations by recsys-assets: `recsys.toml` configures the inputs, `{module}/defs/` the definitions of Dagster.

    uv sync
    export DAGSTER_HOME=$PWD/.dagster
    uv run recsys-assets run --start {first} --end {last}
    uv run recsys-assets status
    uv run dg dev
    uv run pytest

Without uv: `python -m venv .venv && .venv/bin/pip install -e . dagster-dg-cli pytest`, and `.venv/bin/` in place
of `uv run`. Dagster keeps its history in `DAGSTER_HOME` and shows it at http://127.0.0.1:3000. `run` builds,
gates and ships the made-up days; put your own events into `data/raw/`, one or more files per day, and set
`[[targets]]` to your tenants and surfaces.
""",
}
TARGETS_PER_LOCATION = 100  # a code location of this size loads in about four seconds

_WORKSPACE_HEAD = """\
# Written by `recsys-assets workspace`: {targets} in {locations}.
load_from:
"""
_LOCATION = """\
  - python_module:
      module_name: recsys_assets.dagster_defs.slices
      attribute: part_{part}_of_{parts}
      location_name: recsys_assets_{part}_of_{parts}
"""


@click.command("new")
@click.argument("folder", type=click.Path(path_type=Path))
def new_project(*, folder: Path) -> int:
    """Write a starter project into FOLDER: configuration, definitions, made-up days, instructions and a test."""
    module = re.sub(r"\W+", "_", folder.name).lower()
    if not re.fullmatch(r"[a-z]\w*", module):
        raise ConfigurationError(
            f"{folder.name!r} is not a project name: expected a name that starts with a letter, such as my-shop"
        )
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} exists and is not empty: choose a new folder")
    today = utc_now().date()
    days = [today - timedelta(days=back) for back in range(_DAYS, 0, -1)]
    names = {"name": folder.name, "module": module, "first": days[0].isoformat(), "last": days[-1].isoformat()}
    files = {path.format(**names): text.format(**names) for path, text in _FILES.items()}
    files |= {f"data/raw/{day}.jsonl": "".join(_events(day, tenant=module)) for day in days}
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    click.echo(f"{folder} is a project: see {folder / 'README.md'} for its first commands")
    return 0


def _events(day: date, *, tenant: str) -> Iterator[str]:
    """Yield the lines of a day: one session per pair of items, and three for the first pairs."""
    for number, pair in enumerate(combinations(_ITEMS, 2)):
        for again in range(3 if number < len(_ITEMS) else 1):
            for rank, item in enumerate(pair):
                event = {
                    "v": 1,
                    "ts": f"{day}T{8 + number:02}:{again:02}:{rank:02}Z",
                    "tenant": tenant,
                    "surface": "home",
                    "session_id": f"{day}-{number}-{again}",
                    "user_id": f"user-{number}",
                    "item_id": item,
                    "event": "click",
                }
                yield json.dumps(event, separators=(",", ":")) + "\n"


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
    text = _WORKSPACE_HEAD.format(targets=plural(targets, "target"), locations=plural(parts, "code location"))
    text += "".join(_LOCATION.format(part=part, parts=parts) for part in range(1, parts + 1))
    if output is None:
        echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
    return 0
