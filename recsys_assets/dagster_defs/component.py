"""Component for `dg` projects: the targets of one configuration, next to the project's other assets."""

import re
from os.path import relpath
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.component_scaffolding import scaffold_component
from dagster.components.scaffold.scaffold import ScaffoldRequest
from pydantic import Field

from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.dagster_defs.raw import RAW
from recsys_assets.errors import ConfigurationError
from recsys_assets.messages import name_known
from recsys_assets.settings.reading import load_settings
from recsys_assets.settings.settings import Settings, TargetSettings

_STARTER = """\
# What recommendations are built from, and for whom. Paths count from this file.
[storage]
root = "{data}/store"  # or s3://, gs:// or az://bucket/prefix

[raw]
exposures = "{data}/raw/{{day}}*.jsonl*"  # JSON lines, plain, .gz or .zst; see docs/how-to/sources.md for others

[artifacts]
kinds = ["popularity", "cooc"]

[partitions]
start = 2026-01-01

[[targets]]
tenant = "{tenant}"
surface = "home"
"""


class TargetsScaffolder(dg.Scaffolder[Any]):
    """Scaffolder of the component's YAML and of a starter configuration."""

    def scaffold(self, request: ScaffoldRequest[Any]) -> None:
        """Write both files. An existing configuration is kept."""
        scaffold_component(request, {"config": "recsys.toml"})
        file = request.target_path / "recsys.toml"
        if not file.exists():
            below = request.project_root or request.target_path
            data = Path(relpath(below, request.target_path)) / "data" / request.target_path.name
            file.write_text(_STARTER.format(data=data.as_posix(), tenant=request.target_path.name), encoding="utf-8")


@dg.scaffold_with(TargetsScaffolder)
class RecsysTargets(dg.Component, dg.Model, dg.Resolvable):
    """Recommendation artifacts of the targets of one `recsys.toml`: assets, gates, schedules, sensors, operation jobs.

    A project may have several components, each with its own configuration and targets. `name` is the prefix of jobs and
    sensors over all targets, and part of the raw asset's key. Nothing is shared with the project: the component adds no
    resource keys and keeps the project's executor.
    """

    config: str = Field(
        default="recsys.toml", description="path of the configuration, relative to the folder of this YAML file"
    )
    name: str | None = Field(default=None, description="prefix of jobs and sensors; default: the folder's name")
    targets: list[str] | None = Field(
        default=None, description="targets to include, e.g. shop/home; default: every target of the configuration"
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the graph of the targets. Raises `ConfigurationError` if the component's settings are invalid."""
        folder = context.path if context.path.is_dir() else context.path.parent
        name = self.name or folder.name
        if not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise ConfigurationError(f"name {name!r}: expected letters, digits and underscores, set `name` in {folder}")
        settings = load_settings(folder / self.config)
        rows = [_find(settings, target) for target in self.targets] if self.targets else settings.targets
        return build_definitions(settings, rows=rows, raw=dg.AssetKey([*RAW.path, name]), name=name)


def _find(settings: Settings, target: str) -> TargetSettings:
    for row in settings.targets:
        if str(row.target) == target:
            return row
    choices = name_known(target, (str(row.target) for row in settings.targets))
    raise ConfigurationError(f"target {target} is not in the configuration: {choices}")
