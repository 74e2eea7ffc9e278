"""Freshness: live data as an asset of its own, whose badge and check count from one instant and turn red by themselves.

Dagster's freshness policy counts from the last materialization of an asset, so any build of an old day would look
fresh. So live data is an external asset: nothing but the sensor reports it, only when it moved, and as of the end of
the last day in it. From there badge and check both allow `freshness.max_age_hours`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta

import dagster as dg
import msgspec

from recsys_assets.dagster_defs.arrivals import RotatingCursor, begin_tick, write_cursor
from recsys_assets.dagster_defs.metadata import Metadata, numbers
from recsys_assets.dagster_defs.naming import asset_key, asset_tags, group_name, live_key, owner, slug
from recsys_assets.dagster_defs.private_api import report_of
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.messages import plural
from recsys_assets.pipeline.freshness import freshness
from recsys_assets.pipeline.steps import MANIFEST
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.upkeep.staleness import Freshness

CHECK = "fresh"
SENSOR = "freshness"
SECONDS = 30
_LEAST_WINDOW = timedelta(minutes=1)  # of a freshness policy
REPEAT_AFTER = timedelta(hours=1)  # of an unchanged verdict: the event log must not grow by the minute


class RecordedFreshness(msgspec.Struct, frozen=True):
    """What was recorded last of one target, and when."""

    cause: str
    day: str
    at: datetime


class FreshnessCursor(RotatingCursor, frozen=True):
    """The next target, and what was recorded last of each."""

    recorded: Mapping[str, RecordedFreshness] = msgspec.field(default_factory=dict)
    live: Mapping[str, str] = msgspec.field(default_factory=dict)  # what was reported last of the asset of live data


def live_asset(settings: Settings, row: TargetSettings) -> dg.AssetSpec:
    """Return what is live of a target, with the badge of its age: reported by the sensor, built by nobody."""
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
        description=f"Data that services of {row.target} read now, as of the end of the last day in it.",
    )


def freshness_check(settings: Settings, store: RunStore, row: TargetSettings) -> dg.AssetChecksDefinition:
    """Return the check on the age of live data, as the store has it; it stops nothing."""

    @dg.asset_check(
        asset=live_key(row),
        name=CHECK,
        description=f"Live data of {row.target} is at most {settings.freshness_for(row).max_age_hours:g} hours old.",
    )
    def fresh() -> dg.AssetCheckResult:
        found = freshness(store.store, settings, row, now=datetime.now(UTC))
        return dg.AssetCheckResult(
            passed=found.fresh,
            severity=dg.AssetCheckSeverity.ERROR,
            description=found.why,
            metadata=freshness_metadata(found),
        )

    return fresh


def freshness_sensor(
    settings: Settings, store: RunStore, rows: Sequence[TargetSettings], *, prefix: str = ""
) -> dg.SensorDefinition:
    """Return the sensor that evaluates the checks of all targets; it runs from the first load on."""

    @dg.sensor(
        name=f"{prefix}{SENSOR}",
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Look at the age of live data of every target, whether or not anything runs; the "
        "check `fresh` says why one is stale. It starts no run. On from the first load.",
    )
    def watch_freshness(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        tick, now = begin_tick(context, rows, FreshnessCursor), datetime.now(UTC)
        found = {slug(row): (row, freshness(store.store, settings, row, now=now)) for row in tick.chosen}
        before = tick.cursor.recorded
        news = {name: one for name, one in found.items() if _is_news(before.get(name), one[1], now=now)}
        recorded = {**before, **{name: _verdict(one, now) for name, (_, one) in news.items()}}
        for name, (row, one) in found.items():
            _report_live(context.instance, row, one, before=tick.cursor.live.get(name), now=now)
        live = {**tick.cursor.live, **{name: _moved(one) for name, (_, one) in found.items()}}
        stale = sorted(name for name, (_, one) in found.items() if not one.fresh)
        return dg.SensorResult(
            asset_events=[_evaluation(row, one) for row, one in news.values()],
            skip_reason=f"{len(stale)} of {plural(len(found), 'target')} stale {', '.join(stale[:10])}".strip(),
            cursor=write_cursor(FreshnessCursor(tick.next, recorded, live)),
        )

    return watch_freshness


def _moved(found: Freshness) -> str:
    """Return what changes whenever live data moves, or turns unusable while it is young."""
    return f"{found.data_through} {_counts_from_its_data(found)}"


def _counts_from_its_data(found: Freshness) -> bool:
    """Return whether the age of the data says all: else it is young, and yet not what services can or do read."""
    is_young = found.age_hours is not None and found.age_hours < found.max_age_hours
    return found.data_through is not None and found.fresh is is_young


def _report_live(
    instance: dg.DagsterInstance, row: TargetSettings, found: Freshness, *, before: str | None, now: datetime
) -> None:
    """Report the asset of live data if it moved: as of the end of its last day, or as too old if nobody can read it."""
    if _moved(found) == before or (found.data_through is None and before is None):
        return
    at = now - timedelta(hours=found.max_age_hours)
    if found.data_through is not None and _counts_from_its_data(found):
        at = datetime.combine(found.data_through, time(), UTC) + timedelta(days=1)
    event = dg.AssetMaterialization(
        live_key(row),
        description=found.why,
        metadata=freshness_metadata(found),
        tags={"dagster/data_version": str(found.data_through)},
    )
    report_of(instance, event, at=at)


def freshness_metadata(found: Freshness) -> Metadata:
    """Return the facts of a verdict under the same names everywhere."""
    return numbers(
        {
            "cause": found.cause.value,
            "why": found.why,
            "data_through": found.data_through.isoformat() if found.data_through else None,
            "wanted_through": found.wanted_through.isoformat() if found.wanted_through else None,
            "age_hours": found.age_hours,
            "max_age_hours": found.max_age_hours,
        }
    )


def _evaluation(row: TargetSettings, found: Freshness) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=live_key(row),
        check_name=CHECK,
        passed=found.fresh,
        severity=dg.AssetCheckSeverity.ERROR,
        description=found.why,
        metadata=freshness_metadata(found),
    )


def _is_news(recorded: RecordedFreshness | None, found: Freshness, *, now: datetime) -> bool:
    if recorded is None or now - recorded.at >= REPEAT_AFTER:
        return True
    return (recorded.cause, recorded.day) != (found.cause.value, str(found.data_through))


def _verdict(found: Freshness, now: datetime) -> RecordedFreshness:
    return RecordedFreshness(found.cause.value, str(found.data_through), now)
