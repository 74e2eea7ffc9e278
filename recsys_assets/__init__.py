"""From raw exposure events to gated, versioned recommendation artifacts, shipped by moving one small pointer.

    ingest -> events -> kinds -> encoding              frames: Polars and numpy, no store
                 |         |                           (or `engines`: DuckDB, Spark; or `imports`: built elsewhere)
                gates evaluate the stored bytes        one report each, stored with the release
                         |
                quality scores live and candidate      on held-out events
                         |
    storage <- release: record, pointer, journal       bytes: keys and versions, no frames
       |          |
       |       upkeep: collect, verify, repair, status
       |
    serving: poll, verify, switch, keep the last known good

`pipeline` runs the stages of a day over the store. `dagster_defs` wires them up for Dagster, `cli` for people and cron,
and `api` shows stored data and accepts actions. `observability` exports metrics and sends webhooks, `privacy` erases
users, `trees` stores artifact trees alongside the releases. Nothing is imported here: every name has one path, except
the component that `dg` lists.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Return the component for `dg`. It is imported on demand, because most of the package does not need Dagster."""
    if name != "RecsysTargets":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recsys_assets.dagster_defs.component import RecsysTargets  # noqa: PLC0415

    return RecsysTargets


def __dir__() -> list[str]:
    """Return the names of the module, including the component."""
    return sorted({*globals(), "RecsysTargets"})
