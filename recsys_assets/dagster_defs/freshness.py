"""Freshness: live data as a separate asset, with a badge and a check that turn red without any run.

Dagster's freshness policy counts from the last materialization of an asset, so any build of an old day would look
fresh. Therefore live data is an external asset: only the sensor reports it, only when it changed, with the end of its
last day as the timestamp. From then on, badge and check both allow `freshness.max_age_hours`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta

import dagster as dg
import msgspec

from recsys_assets.dagster_defs.arrivals import RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.lineage import Metadata, numbers
from recsys_assets.dagster_defs.naming import asset_key, asset_tags, group_name, live_key, owner, slug
from recsys_assets.dagster_defs.private_api import report_of
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.identity import utc_now
from recsys_assets.messages import plural
from recsys_assets.pipeline.freshness import freshness
from recsys_assets.pipeline.steps import MANIFEST
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.upkeep.staleness import Freshness

CHECK = "fresh"
SENSOR = "freshness"
SECONDS = 30
_LEAST_WINDOW = timedelta(minutes=1)  # minimum of Dagster's freshness policies
REPEAT_AFTER = timedelta(hours=1)  # interval of unchanged verdicts, to limit the event log


class RecordedFreshness(msgspec.Struct, frozen=True):
    """Last recorded verdict on one target."""

    cause: str
    day: str
    at: datetime


class FreshnessCursor(RotatingCursor, frozen=True):
    """Next target, and the last recorded verdict and live data of each."""

    recorded: Mapping[str, RecordedFreshness] = msgspec.field(default_factory=dict)
    live: Mapping[str, str] = msgspec.field(default_factory=dict)  # last report of the asset of live data


def live_asset(settings: Settings, row: TargetSettings) -> dg.AssetSpec:
    """Return the external asset of a target's live data, with a freshness badge. Only the sensor reports it."""
    window = max(timedelta(hours=settings.freshness_for(row).max_age_hours), _LEAST_WINDOW)
    return dg.AssetSpec(
        live_key(row),
        deps=[asset_key(row, MANIFEST)],
        group_name=group_name(row),
        owners=list(settings.owners),
        kinds={"json"},
        tags=asset_tags(row),
        metadata=owner(row),
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=window),
        description=f"Data that services of {row.target} read now, dated at the end of its last day.",
    )


def freshness_check(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetChecksDefinition:
    """Return the non-blocking check on the age of live data, determined from the store."""

    @dg.asset_check(
        asset=live_key(row),
        name=CHECK,
        description=f"Live data of {row.target} is at most {settings.freshness_for(row).max_age_hours:g} hours old.",
    )
    def fresh() -> dg.AssetCheckResult:
        fresh_state = freshness(store.store, settings, row, now=utc_now())
        return dg.AssetCheckResult(
            passed=fresh_state.fresh,
            severity=dg.AssetCheckSeverity.ERROR,
            description=fresh_state.why,
            metadata=freshness_metadata(fresh_state),
        )

    return fresh


def freshness_sensor(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> dg.SensorDefinition:
    """Return the sensor that evaluates the freshness checks of all targets. It is on by default."""

    @dg.sensor(
        name=f"{prefix}{SENSOR}",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Evaluate the age of live data of every target, even if nothing runs; the "
        "check `fresh` shows why one is stale. Starts no run. On by default.",
    )
    def watch_freshness(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick, now = begin_tick(context, rows, FreshnessCursor), utc_now()
        states = {slug(row): (row, freshness(store.store, settings, row, now=now)) for row in tick.chosen}
        before = tick.cursor.recorded
        news = {name: pair for name, pair in states.items() if _is_news(before.get(name), pair[1], now=now)}
        recorded = {**before, **{name: _verdict(state, now) for name, (_, state) in news.items()}}
        for name, (row, state) in states.items():
            _report_live(context.instance, row, state, before=tick.cursor.live.get(name), now=now)
        live = {**tick.cursor.live, **{name: _live_state(state) for name, (_, state) in states.items()}}
        stale = sorted(name for name, (_, state) in states.items() if not state.fresh)
        return dg.SensorResult(
            asset_events=[_evaluation(row, state) for row, state in news.values()],
            skip_reason=f"{len(stale)} of {plural(len(states), 'target')} stale {', '.join(stale[:10])}".strip(),
            cursor=write_cursor(FreshnessCursor(tick.next, recorded, live)),
        )

    return watch_freshness


def _live_state(fresh: Freshness) -> str:
    """Return a text that changes if live data changes, or becomes unusable while it is fresh enough."""
    return f"{fresh.data_through} {_counts_from_its_data(fresh)}"


def _counts_from_its_data(fresh: Freshness) -> bool:
    """Return whether the age explains the verdict. Otherwise fresh data is not what services can or do read."""
    is_young = fresh.age_hours is not None and fresh.age_hours < fresh.max_age_hours
    return fresh.data_through is not None and fresh.fresh is is_young


def _report_live(
    instance: dg.DagsterInstance, row: TargetSettings, fresh: Freshness, *, before: str | None, now: datetime
) -> None:
    """Report the asset of live data if it changed, dated at the end of its last day, or as too old if unusable."""
    if _live_state(fresh) == before or (fresh.data_through is None and before is None):
        return
    at = now - timedelta(hours=fresh.max_age_hours)
    if fresh.data_through is not None and _counts_from_its_data(fresh):
        at = datetime.combine(fresh.data_through, time(), UTC) + timedelta(days=1)
    event = dg.AssetMaterialization(
        live_key(row),
        description=fresh.why,
        metadata=freshness_metadata(fresh),
        tags={"dagster/data_version": str(fresh.data_through)},
    )
    report_of(instance, event, at=at)


def freshness_metadata(fresh: Freshness) -> Metadata:
    """Return the facts of a verdict as metadata."""
    return numbers(
        {
            "cause": fresh.cause.value,
            "why": fresh.why,
            "data_through": fresh.data_through.isoformat() if fresh.data_through else None,
            "wanted_through": fresh.wanted_through.isoformat() if fresh.wanted_through else None,
            "age_hours": fresh.age_hours,
            "max_age_hours": fresh.max_age_hours,
        }
    )


def _evaluation(row: TargetSettings, fresh: Freshness) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=live_key(row),
        check_name=CHECK,
        passed=fresh.fresh,
        severity=dg.AssetCheckSeverity.ERROR,
        description=fresh.why,
        metadata=freshness_metadata(fresh),
    )


def _is_news(recorded: RecordedFreshness | None, fresh: Freshness, *, now: datetime) -> bool:
    if recorded is None or now - recorded.at >= REPEAT_AFTER:
        return True
    return (recorded.cause, recorded.day) != (fresh.cause.value, str(fresh.data_through))


def _verdict(fresh: Freshness, now: datetime) -> RecordedFreshness:
    return RecordedFreshness(fresh.cause.value, str(fresh.data_through), now)
