"""Former module of the slices, for a `workspace.yaml` that names `recsys_assets.defs.slices`."""

import re
import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    """Return the slice from its current module, with a warning that says what writes the file."""
    if not re.fullmatch(r"part_\d+_of_\d+", name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(
        f"workspace.yaml names {__name__}: write it again by `recsys-assets workspace`", FutureWarning, stacklevel=2
    )
    from recsys_assets.dagster_defs import slices  # noqa: PLC0415 - Dagster loads this folder with the graph

    return getattr(slices, name)
