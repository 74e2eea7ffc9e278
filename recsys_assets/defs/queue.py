"""Former module of the run queue, for a `dagster.yaml` that names `recsys_assets.defs.queue.TargetQueue`."""

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    """Return the class from its current module, with a warning that names that module."""
    if name != "TargetQueue":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"dagster.yaml: write recsys_assets.dagster_defs.queue for {__name__}", FutureWarning, stacklevel=2)
    from recsys_assets.dagster_defs.queue import TargetQueue  # noqa: PLC0415 - Dagster loads this folder with the graph

    return TargetQueue
