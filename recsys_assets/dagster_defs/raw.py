"""The raw asset: one partition a day for all targets, so that a file is parsed once however many share it.

Each code location has one under a key of its own: Dagster knows an asset by its key, whatever location it is in.
"""

from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.metadata import Metadata, markdown_table, numbers
from recsys_assets.dagster_defs.outcomes import skipped
from recsys_assets.dagster_defs.partitions import daily_partitions, day_of
from recsys_assets.dagster_defs.resources import StoreResource
from recsys_assets.errors import NoInputError
from recsys_assets.pipeline.raw import RawDay, build_raw
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings

RAW = dg.AssetKey("raw")
"""The key where all targets stand in one code location."""


def raw_asset(settings: Settings, rows: Sequence[TargetSettings], *, key: dg.AssetKey = RAW) -> dg.AssetsDefinition:
    """Return the raw asset; a day without a file is skipped, seen as an observation, and stops nothing else.

    It reads for every configured target, whichever of them stand in this graph; a failure is told to these `rows`.
    """

    @dg.asset(
        key=key,
        group_name="raw",
        partitions_def=daily_partitions(settings.partitions),
        output_required=False,
        kinds={"json", "parquet"},
        owners=list(settings.owners),
        description="Raw exposure events of every target: read once, checked by line, bad lines put in quarantine.",
    )
    def raw(context: dg.AssetExecutionContext, store: StoreResource) -> Iterator[dg.MaterializeResult[Any]]:
        started = perf_counter()
        with attempt(context, store.store, rows, step=RAW.to_user_string()):
            try:
                day = build_raw(store.store, settings, day_of(context))
            except NoInputError as error:
                skipped(context, key, error)
                return
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(day.digest),
            metadata=_metadata(day, seconds=perf_counter() - started),
        )

    return raw


def _metadata(day: RawDay, *, seconds: float) -> Metadata:
    return {
        **numbers({"seconds": seconds, "reused": day.reused, **day.numbers}),
        "targets": markdown_table(("target", "files", "events", "bad", "late"), day.target_rows),
        "files": markdown_table(("file", "bytes", "lines", "digest", "fault"), day.file_rows),
        "rejects": markdown_table(("target", "reason", "lines"), day.reject_rows),
    }
