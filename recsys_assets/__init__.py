"""Raw exposure events in; gated, versioned artifacts out; shipped by moving one small pointer.

    sources -> raw -> canonical -> artifacts             frames: Polars and numpy, no store
                          |            |                 (or `engines`: DuckDB, Spark; or `imports`: made elsewhere)
                        gates judge the stored bytes     a report each, kept with the release
                                       |
                        evaluation asks all of them      held-out events, beside what is live
                                       |
    storage <- manifest: release, pointer, journal       bytes: keys and versions, no frames
       |
    serving: poll, verify, switch, keep the last good one

`defs` wires this up for Dagster, `cli` for people and cron. Nothing is imported here: every name has one path.
"""
