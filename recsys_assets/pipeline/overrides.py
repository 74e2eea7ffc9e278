"""Overrides: gates that can be overridden, refusals that were overridden before, and the remedies of a refusal."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial

from msgspec.structs import replace

from recsys_assets.errors import ConfigurationError, CorruptObjectError
from recsys_assets.evidence import CANONICAL, GateReport
from recsys_assets.kinds.registry import KINDS, read_params
from recsys_assets.pipeline.backtest_arms import staged_arm
from recsys_assets.pipeline.canonical import days_before
from recsys_assets.pipeline.context import DayContext
from recsys_assets.release.candidate import Requirement
from recsys_assets.release.document_encoding import find_document, if_readable
from recsys_assets.release.documents import CanonicalRecord, Release
from recsys_assets.release.layout import (
    canonical_key,
    canonical_record_key,
)
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import find_readable_release, find_release
from recsys_assets.release.staged import (
    find_report_of_day,
    find_report_of_kind,
    find_report_together,
    find_staged_artifact,
)
from recsys_assets.settings.gates import QUALITY_GATES, is_quality_gate
from recsys_assets.settings.settings import Settings, TargetSettings


def override(required: Mapping[str, Requirement], gates: Collection[str], *, reason: str) -> dict[str, Requirement]:
    """Return the requirements, with the refusals of these gates overridden because of `reason`.

    Raises `ConfigurationError` for a gate that checks integrity, and for one that is not among the requirements.
    """
    integrity = sorted(gate for gate in gates if not is_quality_gate(gate))
    if integrity:
        raise ConfigurationError(
            f"{', '.join(integrity)} cannot be overridden: only {', '.join(QUALITY_GATES)}, backtest_<kind> and "
            "custom_<name> can; fix the input, or change the limit in the configuration"
        )
    existing = {gate for requirement in required.values() for gate in requirement.gates}
    if unknown := sorted(set(gates) - existing):
        available = ", ".join(sorted(filter(is_quality_gate, existing)))
        raise ConfigurationError(f"{', '.join(unknown)} is not a gate of this target: choose from {available}")
    answered = dict.fromkeys(gates, reason)
    return {
        subject: replace(requirement, overridden={**requirement.overridden, **answered})
        for subject, requirement in required.items()
    }


def as_recorded(context: DayContext, required: Mapping[str, Requirement]) -> dict[str, Requirement]:
    """Return the requirements with the overrides that were recorded when this same release shipped before.

    Equal artifacts make the same release, so a day that is rebuilt, or whose signals are written, needs no second
    override. A canonical day whose refusal was overridden in the live release counts as overridden, by its digest, in
    every later window that contains it.
    """
    try:
        release = _staged_release(context) if _is_anything_refused(context, required) else None
        days = _answered_days(_live_release(context))
    except CorruptObjectError:
        return dict(required)  # reported when the day is verified
    answered = {} if release is None else _answered(release)
    return {
        subject: replace(
            requirement,
            overridden=answered.get(subject, {}),
            answered=days if subject == CANONICAL else requirement.answered,
        )
        for subject, requirement in required.items()
    }


def is_refused_for(context: DayContext, gates: Collection[str]) -> bool:
    """Return whether canonical gates refused the day, and all gates that did are among these."""
    report = find_report_of_day(context.store, context.target, context.day)
    return report is not None and bool(report.refusals) and {finding.gate for finding in report.refusals} <= set(gates)


def unbuilt_kinds(context: DayContext) -> list[str]:
    """Return the kinds that are not staged for the day, or were built from other canonical events than it has now."""
    store, target, day = context.store, context.target, context.day
    record = find_document(store, canonical_record_key(target, day), CanonicalRecord)
    name = canonical_key(target, day)

    def is_built(kind: str) -> bool:
        staged = find_staged_artifact(store, target, day, kind)
        if staged is None or KINDS[kind].from_catalog:
            return staged is not None
        return record is not None and (name, record.digest) in {(used.name, used.digest) for used in staged.inputs}

    return [] if record is None else [kind for kind in context.settings.artifacts.kinds if not is_built(kind)]


def way_out(settings: Settings, row: TargetSettings, day: date, refused: Sequence[tuple[str, str]]) -> str:
    """Return the possible remedies for a refused day, with the exact command, or "" if no gate refused.

    `refused` has (subject, gate) pairs. If a canonical day was refused, its effect on later days is included.
    """
    if not refused:
        return ""
    gates = list(dict.fromkeys(gate for _, gate in refused))
    names = sorted({subject.removeprefix(CANONICAL).strip() for subject, _ in refused if subject.startswith(CANONICAL)})
    days = [date.fromisoformat(name) if name else day for name in names]
    remedies = [_effect_on_later_days(settings, row, days)] if days else []
    remedies.append("fix the input and build the day again, or change the limit")
    integrity = [gate for gate in gates if not is_quality_gate(gate)]
    if integrity:
        remedies.append(f"{', '.join(integrity)} cannot be overridden")
    else:
        remedies.append(f"or override it: {_command(row, day, gates)}, or the job ship")
    return "; ".join(remedies)


def _effect_on_later_days(settings: Settings, row: TargetSettings, refused: Sequence[date]) -> str:
    """Return a clause saying that later days ship without refused canonical days, and until when these are excluded."""
    kinds = [kind for kind in settings.artifacts.kinds if not KINDS[kind].from_catalog]
    days = max((read_params(settings, row, kind).window_days for kind in kinds), default=1)
    if days == 1:
        return "later days ship without it"
    excluded = ", ".join(map(str, refused))
    return f"later days ship, and windows of {days} days exclude {excluded} until it passes or is overridden"


def _command(row: TargetSettings, day: date, gates: Iterable[str]) -> str:
    words = ["recsys-assets", "ship", "--tenant", row.tenant, "--surface", row.surface, "--day", str(day)]
    words += [word for gate in gates for word in ("--override", gate)]
    return f'{shlex.join(words)} --reason "..."'


def _is_anything_refused(context: DayContext, required: Mapping[str, Requirement]) -> bool:
    """Return whether a gate refused anything that the day ships. Otherwise there is nothing to override."""
    return any(report.refusals for report in _reports(context, required) if report is not None)


def _reports(context: DayContext, required: Mapping[str, Requirement]) -> Iterator[GateReport | None]:
    """Yield the gate reports on what the day ships, or None for a damaged one, reported when the day is verified."""
    store, target, day = context.store, context.target, context.day
    for subject, requirement in required.items():
        if requirement.whole:
            yield if_readable(partial(find_report_together, store, target, day, subject))
        elif subject != CANONICAL:
            yield if_readable(partial(find_report_of_kind, store, target, day, subject))
    for earlier in (*days_before(context), day):
        yield if_readable(partial(find_report_of_day, store, target, earlier))


def _staged_release(context: DayContext) -> Release | None:
    """Return the record of the release of the day's staged artifacts, if it shipped before."""
    staged = staged_arm(context.store, context.target, context.day, kinds=context.settings.artifacts.kinds)
    return None if staged is None else find_release(context.store, context.target, staged.release)


def _live_release(context: DayContext) -> Release | None:
    """Return the record of the live release, or None if nothing is live or the record is damaged."""
    current = read_current(context.store, context.target)
    return find_readable_release(context.store, context.target, current.release_id if current else None)


def _answered_days(release: Release | None) -> dict[str, dict[str, str]]:
    """Return, by the digest of a canonical day, the overridden gates and their reasons."""
    answered = {day.digest: day.gates.answered for day in (release.canonical if release else ())}
    return {digest: reasons for digest, reasons in answered.items() if reasons}


def _answered(release: Release) -> dict[str, dict[str, str]]:
    """Return, by subject, the overridden gates and their reasons."""
    answered = {report.subject: report.answered for report in (*(m.gates for m in release.members), *release.gates)}
    canonical = {gate: reason for day in release.canonical for gate, reason in day.gates.answered.items()}
    return {**answered, CANONICAL: canonical}
