"""Definitions that Dagster loads: the graph of the targets, and those that `dg scaffold defs` added in `defs/`."""

from pathlib import Path

import dagster as dg

from recsys_assets.dagster_defs.assemble import build_definitions

_FOLDER = Path(__file__).parent / "defs"
_OURS = {"__init__.py", "queue.py", "slices.py", "__pycache__"}


def _load() -> dg.Definitions:
    """Return the definitions. `defs/` is read only if files were added, because only `dg` projects can read it."""
    ours = build_definitions()
    if all(entry.name in _OURS for entry in _FOLDER.iterdir()):
        return ours
    return dg.Definitions.merge(ours, dg.load_from_defs_folder(path_within_project=_FOLDER))


defs: dg.Definitions = _load()
