"""Freshness: a check on data time per manifest, evaluated without a run: it turns red when none runs, and is told."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from logging import Logger

import dagster as dg
import msgspec

from recsys_assets.dagster_defs.metadata import Metadata, numbers
from recsys_assets.dagster_defs.naming import MANIFEST, asset_key, slug
from recsys_assets.dagster_defs.resources import StoreResource
from recsys_assets.dagster_defs.turns import in_turn
from recsys_assets.dagster_defs.webhook import MAX_TOLD, is_wanted, post
from recsys_assets.decoders import decoder_of
from recsys_assets.pipeline.freshness import freshness
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings
from recsys_assets.upkeep.staleness import Freshness

CHECK = "fresh"
SENSOR = "freshness"
SECONDS = 30
TOLD_AGAIN = timedelta(hours=1)  # an unchanged verdict is recorded so often: the event log must not grow by the minute


class Verdict(msgspec.Struct, frozen=True):
    """What was recorded last of one target, and when."""

    cause: str
    day: str
    at: datetime


class Cursor(msgspec.Struct, frozen=True):
    """Which target comes next, what was recorded last of each, and what the webhook took last."""

    next: int = 0
    message: Mapping[str, Verdict] = msgspec.field(default_factory=dict)
    alerted: Mapping[str, str | None] = msgspec.field(default_factory=dict)  # the cause; None: that it is fresh


def freshness_policy(settings: Settings, row: TargetSettings) -> dg.FreshnessPolicy:
    """Return the badge of a manifest asset: it sees whether anything was built lately, never how old the data is."""
    return dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=settings.freshness_for(row).max_silence_hours))


def freshness_check(settings: Settings, row: TargetSettings) -> dg.AssetChecksDefinition:
    """Return the check on the age of live data, as the store has it; it stops nothing."""

    @dg.asset_check(
        asset=asset_key(row, MANIFEST),
        name=CHECK,
        description=f"Live data of {row.target} is at most {settings.freshness_for(row).max_age_hours:g} hours old.",
    )
    def fresh(store: StoreResource) -> dg.AssetCheckResult:
        found = freshness(store.store, settings, row, now=datetime.now(UTC))
        return dg.AssetCheckResult(
            passed=found.fresh,
            severity=dg.AssetCheckSeverity.ERROR,
            description=found.why,
            metadata=freshness_metadata(found),
        )

    return fresh


def freshness_sensor(settings: Settings, rows: Sequence[TargetSettings]) -> dg.SensorDefinition:
    """Return the sensor that evaluates the checks of all targets; it runs from the first load on.

    Where there is a webhook it is told by the same look: of a target that turns stale, and that is fresh again.
    """

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Look at the age of live data of every target, whether or not anything runs.",
    )
    def watch_freshness(context: dg.SensorEvaluationContext, store: StoreResource) -> dg.SensorResult:
        cursor = decoder_of(Cursor).decode(context.cursor) if context.cursor else Cursor()
        chosen, following = in_turn(rows, start=cursor.next)
        now = datetime.now(UTC)
        found = {slug(row): (row, freshness(store.store, settings, row, now=now)) for row in chosen}
        alerted, fault = _alert(found, cursor.alerted, context.log)
        news = {name: one for name, one in found.items() if _is_news(cursor.message.get(name), one[1], now=now)}
        message = {**cursor.message, **{name: _verdict(one, now) for name, (_, one) in news.items()}}
        stale = sorted(name for name, (_, one) in found.items() if not one.fresh)
        return dg.SensorResult(
            asset_events=[_evaluation(row, one) for row, one in news.values()],
            skip_reason=f"{len(stale)} of {len(found)} target(s) stale {', '.join(stale[:10])} {fault}".strip(),
            cursor=msgspec.json.encode(Cursor(following, message, alerted)).decode(),
        )

    return watch_freshness


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


def _alert(
    found: Mapping[str, tuple[TargetSettings, Freshness]], alerted: Mapping[str, str | None], log: Logger
) -> tuple[dict[str, str | None], str]:
    """Tell the webhook what changed, and return what it has taken by now, and why it did not take the rest.

    It fails no tick: the cursor would be lost, and what was told would be told again.
    """
    taken = dict(alerted)
    for name, (row, one) in found.items() if is_wanted() else ():
        cause = None if one.fresh else one.cause.value
        if cause == taken.get(name):
            continue
        try:
            post(_alert_of(row, cause, one.why))
        except dg.Failure as error:
            log.exception("the webhook does not answer")
            return taken, str(error.description)
        taken[name] = cause
    return taken, ""


def _alert_of(row: TargetSettings, cause: str | None, why: str) -> dict[str, object]:
    word = "is stale" if cause else "is fresh again"
    event = "target_stale" if cause else "target_fresh"
    text = f"{row.target} {word}: {why}"[:MAX_TOLD]
    return {"event": event, "text": text, "target": str(row.target), "cause": cause, "why": why[:MAX_TOLD]}


def _evaluation(row: TargetSettings, found: Freshness) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=asset_key(row, MANIFEST),
        check_name=CHECK,
        passed=found.fresh,
        severity=dg.AssetCheckSeverity.ERROR,
        description=found.why,
        metadata=freshness_metadata(found),
    )


def _is_news(message: Verdict | None, found: Freshness, *, now: datetime) -> bool:
    if message is None or now - message.at >= TOLD_AGAIN:
        return True
    return (message.cause, message.day) != (found.cause.value, str(found.data_through))


def _verdict(found: Freshness, now: datetime) -> Verdict:
    return Verdict(found.cause.value, str(found.data_through), now)
