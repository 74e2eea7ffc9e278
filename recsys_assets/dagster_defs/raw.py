"""Raw asset: one daily partition for all targets, so that a shared file is parsed once.

Each code location has its own raw asset under its own key, because asset keys in Dagster are global.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from recsys_assets.dagster_defs.asset_factory import Timer, day_asset
from recsys_assets.dagster_defs.attempts import attempt, skipped
from recsys_assets.dagster_defs.lineage import Metadata, about_asset, markdown_table, observe, stored
from recsys_assets.dagster_defs.naming import day_of
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.errors import NoInputError
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.part_merge import merge_parts
from recsys_assets.pipeline.code_version import code_version
from recsys_assets.pipeline.raw import RawDay, build_raw
from recsys_assets.release.documents import Input
from recsys_assets.release.layout import raw_record_key
from recsys_assets.settings.inputs import RawSettings
from recsys_assets.settings.settings import Settings, TargetSettings

RAW = dg.AssetKey("raw")
"""Key of the raw asset if one code location has all targets."""


def raw_asset(
    settings: Settings,
    store: RunStore,
    rows: Sequence[TargetSettings],
    *,
    exposures: dg.AssetKey,
    key: dg.AssetKey = RAW,
) -> dg.AssetsDefinition:
    """Return the raw asset. A day without a file is skipped with an observation and blocks nothing else.

    It reads the events of every configured target, even those not in this graph. A failure is journaled for `rows`.
    """

    @day_asset(
        settings,
        key,
        group="raw",
        kinds={_format(settings.raw)},
        deps=[exposures],
        code_version=code_version(parse_day, merge_parts, params=_parameters(settings.raw)),
        metadata=about_asset(settings, parse_day, key="raw"),
        output_required=False,
        description="Raw exposure events of every target: read once, checked by line, bad lines quarantined.",
    )
    def raw(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
        timer = Timer()
        with attempt(context, store.store, rows, step=RAW.to_user_string()):
            try:
                day = build_raw(store.reads(context), settings, day_of(context))
            except NoInputError as error:
                skipped(context, key, error)
                return
        files = [Input(name=file.name, digest=file.digest, size=file.size) for file in day.record.files]
        lines = sum(file.lines for file in day.record.files)
        observe(context, exposures, files, digest=day.digest, numbers={"rows": lines})
        yield dg.MaterializeResult(
            data_version=dg.DataVersion(day.digest),
            metadata={
                **_metadata(day, timer),
                **stored(store.store, raw_record_key(day_of(context)), rows=_events(day)),
            },
        )

    return raw


def _parameters(raw: RawSettings) -> dict[str, Any]:
    """Return the settings that define events, without limits, timeouts, warehouse connections and the catalog."""
    others = ("max_", "adbc", "catalog", "statement_timeout", "rebuild_")
    return {name: value for name, value in raw.model_dump(mode="json").items() if not name.startswith(others)}


def _events(day: RawDay) -> int:
    return sum(target.events for target in day.record.targets)


def _format(raw: RawSettings) -> str:
    """Return the format of raw events as a Dagster kind."""
    form = {"postgresql": "postgres", None: "parquet" if ".parquet" in raw.exposures else "json"}
    return form.get(raw.table_form, str(raw.table_form))


def _metadata(day: RawDay, timer: Timer) -> Metadata:
    return {
        **timer.numbers({"reused": day.reused, **day.numbers}),
        "targets": markdown_table(("target", "files", "events", "bad", "late"), day.target_rows),
        "files": markdown_table(("file", "bytes", "lines", "digest", "fault"), day.file_rows),
        "rejects": markdown_table(("target", "reason", "lines"), day.reject_rows),
    }
