"""Raw exposure events in; gated, versioned recommendation artifacts out; shipped by moving one small pointer.

    ingest -> events -> kinds -> encoding              frames: Polars and numpy, no store
                 |         |                           (or `engines`: DuckDB, Spark; or `imports`: built elsewhere)
                gates judge the stored bytes           a report each, kept with the release
                         |
                quality scores live and candidate      on held-out events
                         |
    storage <- release: record, pointer, journal       bytes: keys and versions, no frames
       |          |
       |       upkeep: collect, verify, repair, status
       |
    serving: poll, verify, switch, keep the last known good

`pipeline` runs the stages of a day over the store; `dagster_defs` wires them up for Dagster, `cli` for people and cron,
`api` shows what is stored and takes actions; `observability` exports metrics and sends webhooks, `privacy` forgets
users, `trees` keeps what a team has beside the releases. Nothing is imported here: every name has one path, but for the
component that `dg` lists.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Return the component when `dg` asks for it: it loads Dagster, which most of the package does without."""
    if name != "RecsysTargets":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from recsys_assets.dagster_defs.component import RecsysTargets  # noqa: PLC0415

    return RecsysTargets


def __dir__() -> list[str]:
    """Return the names of the module, the component's among them."""
    return sorted({*globals(), "RecsysTargets"})
