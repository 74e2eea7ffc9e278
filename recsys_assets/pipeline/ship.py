"""Ship: makes a day's staged artifacts of one target the live release, after checking the configured gates."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Any

import msgspec
from msgspec.structs import replace

from recsys_assets.errors import RefusedError
from recsys_assets.evidence import LEFT_OUT, Scalar
from recsys_assets.gates.gate import Policy
from recsys_assets.gates.imported import import_policy
from recsys_assets.gates.policy import artifact_policy, canonical_policy
from recsys_assets.kinds.registry import read_params
from recsys_assets.pipeline.artifact import build_artifact, build_info, judge_artifact
from recsys_assets.pipeline.candidate_gates import judge_whole, whole_policies
from recsys_assets.pipeline.canonical import erase_forgotten, judge_earlier_days_again
from recsys_assets.pipeline.context import COMMAND, DayContext
from recsys_assets.pipeline.day_profile import accept_day
from recsys_assets.pipeline.overrides import as_recorded, is_refused_for, unbuilt_kinds, way_out
from recsys_assets.pipeline.overrides import override as overridden
from recsys_assets.release.candidate import Requirement, kinds_left_out
from recsys_assets.release.journal import Actor
from recsys_assets.release.publish import PublishOutcome, publish
from recsys_assets.release.releases import release_numbers
from recsys_assets.release.rollout import Plan
from recsys_assets.release.signed_stores import keep_signed
from recsys_assets.settings.settings import Settings, TargetSettings


class ShippedDay(msgspec.Struct, frozen=True):
    """Outcome of publishing a day, as the manifest asset shows it."""

    outcome: PublishOutcome

    @property
    def release_id(self) -> str:
        """Id of the day's release, live or not."""
        return self.outcome.release.id

    @property
    def numbers(self) -> Mapping[str, Scalar]:
        """Numbers that are shown and plotted over days."""
        release = self.outcome.release
        left_out = kinds_left_out(release.gates)
        return {
            "outcome": self.outcome.how.value,
            "message": self.outcome.message,
            "release": release.id,
            "live": self.outcome.live,
            "journal": self.outcome.entry.sequence if self.outcome.entry else None,
            "data_through": release.data_through,
            **({LEFT_OUT: "; ".join(f"{kind}: {reason}" for kind, reason in left_out.items())} if left_out else {}),
            **release_numbers(release),
        }

    @property
    def artifact_rows(self) -> list[tuple[Scalar, ...]]:
        """Kind, version and bytes of each artifact."""
        return [(m.ref.kind, m.ref.version, m.size) for m in self.outcome.release.members]


def ship_day(
    context: DayContext,
    *,
    by: Actor,
    allow_older: bool = False,
    dry_run: bool = False,
    override: Collection[str] = (),
    at_once: bool = False,
) -> ShippedDay:
    """Publish the staged artifacts of the day. Older days, held targets and unchanged content do not move the pointer.

    With `allow_older`, a day older than the live data ships too. With `dry_run`, nothing is written.

    Refusals of the gates in `override` do not count. The release's record and the journal report them with the reason.
    Refusals that were overridden when this same release shipped before do not count either. Kinds that were not built
    because of a canonical gate in `override` are built and judged first. A day whose refusal was overridden counts as
    an ordinary day from then on, even if it is older than the live release and does not ship.

    If `[rollout]` is on, the release is first shown to a share of requests, except with `at_once` or `allow_older`.

    Raises `ConfigurationError` for a gate that cannot be overridden, and `RefusedError` with gate and subject if any
    required gate has not passed on the stored bytes.
    """
    settings, row = context.settings, context.row
    overridden(requirements(settings, row), override, reason=by.reason)  # raises for a gate that cannot be overridden
    _build_unbuilt(context, override, dry_run=dry_run)
    if not dry_run:
        erase_forgotten(context)
        judge_earlier_days_again(context)
        judge_whole(context, only_missing=True)
    required = as_recorded(context, requirements(settings, row))
    try:
        outcome = publish(
            context.origin,
            row.target,
            context.day,
            kinds=settings.kinds_for(row),
            requirements=overridden(required, override, reason=by.reason),
            build=build_info(settings, by.run_id or COMMAND),
            by=by,
            now=context.now,
            allow_older=allow_older,
            plan=None if at_once or allow_older else _plan(settings, row),
            dry_run=dry_run,
            evidence=context.staged_evidence(),
        )
    except RefusedError as error:
        way = way_out(settings, row, context.day, error.refused)
        raise RefusedError("; ".join(filter(None, (str(error), way))), refused=error.refused) from error
    if not dry_run:  # also for an older or held release: it was verified and journaled too
        keep_signed(context.origin, row.target)
        for used in outcome.release.canonical:
            if used.gates.answered:
                accept_day(context.store, row.target, date.fromisoformat(used.day), used.gates, pause=context.pause)
    return ShippedDay(outcome)


def _build_unbuilt(context: DayContext, override: Collection[str], *, dry_run: bool) -> None:
    """Build and judge the kinds that were not built because canonical gates in `override` refused the day.

    Raises `RefusedError` in a dry run, which may not write: a kind that is not built cannot be judged.
    """
    missing = unbuilt_kinds(context) if override and is_refused_for(context, override) else []
    if missing and dry_run:
        raise RefusedError(
            f"{context.target} {context.day}: {', '.join(missing)} not built, as the gates of canonical refused the "
            "day: without --dry-run this override builds and judges them before it ships"
        )
    for kind in missing:
        build_artifact(context, kind)
        judge_artifact(context, kind)


def _plan(settings: Settings, row: TargetSettings) -> Plan | None:
    rollout = settings.rollout_for(row)
    return Plan(rollout.steps, rollout.bake_minutes) if rollout.enabled else None


def requirements(settings: Settings, row: TargetSettings) -> dict[str, Requirement]:
    """Return, by subject, the gates that must have passed, and the digest of their policy."""
    policies = [canonical_policy(settings, row)]
    whole = whole_policies(settings, row)
    policies += [
        artifact_policy(settings, row, kind, read_params(settings, row, kind)) for kind in settings.artifacts.kinds
    ]
    policies += [import_policy(settings, row, kind) for kind in settings.imports_for(row)]
    return {
        **{policy.subject: _requirement(policy) for policy in policies},
        **{policy.subject: replace(_requirement(policy), whole=True) for policy in whole},
    }


def _requirement(policy: Policy[Any]) -> Requirement:
    return Requirement(policy.digest, frozenset(policy.gates))
