"""Overrides: gates that somebody may answer for, refusals answered for already, and the way out of a refusal."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import partial

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
from recsys_assets.settings.settings import Settings
from recsys_assets.settings.target import TargetSettings


def override(required: Mapping[str, Requirement], gates: Collection[str], *, reason: str) -> dict[str, Requirement]:
    """Return the requirements, of which refusals of these gates do not count, because of `reason`.

    Raises `ConfigurationError` for a gate that proves integrity, and for one that nothing here requires.
    """
    firm = sorted(gate for gate in gates if not is_quality_gate(gate))
    if firm:
        raise ConfigurationError(
            f"{', '.join(firm)} cannot be overridden: only {', '.join(QUALITY_GATES)}, backtest_<kind> and "
            "custom_<name> can; fix the input, or change the limit in the configuration"
        )
    known = {gate for one in required.values() for gate in one.gates}
    if unknown := sorted(set(gates) - known):
        asked = ", ".join(sorted(filter(is_quality_gate, known)))
        raise ConfigurationError(
            f"{', '.join(unknown)} judges nothing of this target: gates that may be named: {asked}"
        )
    answered = dict.fromkeys(gates, reason)
    return {subject: replace(one, overridden={**one.overridden, **answered}) for subject, one in required.items()}


def as_recorded(context: DayContext, required: Mapping[str, Requirement]) -> dict[str, Requirement]:
    """Return the requirements, of which refusals do not count that were overridden when this very release shipped.

    Same artifacts, same release, same reason: a day that is built again, or whose signals are written, needs no second
    override. A canonical day whose refusal was overridden in the live release counts as overridden, by its digest, in
    every later window that holds it.
    """
    try:
        release = _staged_release(context) if _is_anything_refused(context, required) else None
        days = _answered_days(_live_release(context))
    except CorruptObjectError:
        return dict(required)  # named where the day is proven
    answered = {} if release is None else _answered(release)
    return {
        subject: replace(
            one, overridden=answered.get(subject, {}), answered=days if subject == CANONICAL else one.answered
        )
        for subject, one in required.items()
    }


def is_refused_for(context: DayContext, gates: Collection[str]) -> bool:
    """Return whether the gates of the day's canonical events refused it, for nothing but these gates."""
    report = find_report_of_day(context.store, context.target, context.day)
    return report is not None and bool(report.refusals) and {one.gate for one in report.refusals} <= set(gates)


def unbuilt_kinds(context: DayContext) -> list[str]:
    """Return the kinds that are not staged for the day, or staged of other canonical events than it has now."""
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
    """Return what a person can do about a refused day, with the exact command; "" if no gate refused.

    `refused` names each gate behind its subject. Says too what a refused canonical day is to later days.
    """
    if not refused:
        return ""
    gates = list(dict.fromkeys(gate for _, gate in refused))
    bad = sorted({subject.removeprefix(CANONICAL).strip() for subject, _ in refused if subject.startswith(CANONICAL)})
    way = [_reach(settings, row, [date.fromisoformat(one) if one else day for one in bad])] if bad else []
    way.append("fix the input and build the day again, or change the limit")
    firm = [gate for gate in gates if not is_quality_gate(gate)]
    if firm:
        way.append(f"{', '.join(firm)} cannot be overridden")
    else:
        way.append(f"or override it: {_command(row, day, gates)}, or the job ship")
    return "; ".join(way)


def _reach(settings: Settings, row: TargetSettings, refused: Sequence[date]) -> str:
    """Say that later days ship without canonical days that a gate refused, and until when windows leave them out."""
    kinds = [kind for kind in settings.artifacts.kinds if not KINDS[kind].from_catalog]
    days = max((read_params(settings, row, kind).window_days for kind in kinds), default=1)
    if days == 1:
        return "later days ship without it"
    named = ", ".join(map(str, refused))
    return f"later days ship, and windows of {days} days leave {named} out until it passes or is overridden"


def _command(row: TargetSettings, day: date, gates: Iterable[str]) -> str:
    words = ["recsys-assets", "ship", "--tenant", row.tenant, "--surface", row.surface, "--day", str(day)]
    words += [word for gate in gates for word in ("--override", gate)]
    return f'{shlex.join(words)} --reason "..."'


def _is_anything_refused(context: DayContext, required: Mapping[str, Requirement]) -> bool:
    """Return whether a gate refused anything that the day ships: else nobody answered for anything."""
    return any(report.refusals for report in _reports(context, required) if report is not None)


def _reports(context: DayContext, required: Mapping[str, Requirement]) -> Iterator[GateReport | None]:
    """Yield the reports of what the day ships; one that is damaged is named where the day is proven."""
    store, target, day = context.store, context.target, context.day
    for subject, one in required.items():
        if one.whole:
            yield if_readable(partial(find_report_together, store, target, day, subject))
        elif subject != CANONICAL:
            yield if_readable(partial(find_report_of_kind, store, target, day, subject))
    for earlier in (*days_before(context), day):
        yield if_readable(partial(find_report_of_day, store, target, earlier))


def _staged_release(context: DayContext) -> Release | None:
    """Return the record of the release that the day's staged artifacts make, if it shipped before."""
    staged = staged_arm(context.store, context.target, context.day, kinds=context.settings.artifacts.kinds)
    return None if staged is None else find_release(context.store, context.target, staged.release)


def _live_release(context: DayContext) -> Release | None:
    """Return the live release, or None; a damaged record answers for nothing."""
    current = read_current(context.store, context.target)
    return find_readable_release(context.store, context.target, current.release_id if current else None)


def _answered_days(release: Release | None) -> dict[str, dict[str, str]]:
    """Return, by the digest of a canonical day, the gates whose refusal was overridden, and why."""
    found = {one.digest: one.gates.answered for one in (release.canonical if release else ())}
    return {digest: reasons for digest, reasons in found.items() if reasons}


def _answered(release: Release) -> dict[str, dict[str, str]]:
    """Return, by subject, the gates whose refusal was overridden, and why."""
    found = {report.subject: report.answered for report in (*(m.gates for m in release.members), *release.gates)}
    canonical = {gate: why for one in release.canonical for gate, why in one.gates.answered.items()}
    return {**found, CANONICAL: canonical}
