"""Answer guard: rolls a live release back, once, if far more of its answers are empty than those of the one before."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from math import log
from typing import Final

import msgspec
from msgspec.structs import replace

from recsys_assets.identity import Target
from recsys_assets.release.documents import JournalEntry
from recsys_assets.release.forgotten_users import forgotten_since
from recsys_assets.release.hold import read_hold
from recsys_assets.release.journal import Actor, Clock, changes
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import effective, find_release
from recsys_assets.release.rollback import RollbackOutcome, roll_back
from recsys_assets.release.ship_rules import ending, is_in_force
from recsys_assets.storage.store import ObjectStore
from recsys_assets.upkeep.heartbeats import Heartbeat, KindAnswers, is_live, read_heartbeats
from recsys_assets.upkeep.rollout_guard import log_evidence

GUARD: Final = "answer guard"  # prefix of the actor in its holds, labels and journal entries
FALSE_ROLLBACKS: Final = 0.001  # probability over all checks of a release that is not worse
_ALIKE: Final = 10  # lookups counted as one observation: one user makes many correlated ones
MIN_ASKED: Final = 1000  # minimum lookups for a meaningful rate
_TIMES_WORSE: Final = 2.0
_LEAST_WORSE: Final = 0.01
_SHIPS: Final = frozenset({"ship", "promote"})


class GuardMode(StrEnum):
    """Action of the guard if the live release is far worse than the one before."""

    OFF = "off"
    ADVISE = "advise"
    ACT = "act"


class GuardSettings(msgspec.Struct, frozen=True):
    """Mode of the answer guard, and the hours after a ship during which it applies."""

    mode: GuardMode = GuardMode.OFF
    hours: float = 24


class LiveVerdict(StrEnum):
    """Verdict on the live release."""

    NOTHING = "nothing"  # outside the guarded hours, or nothing to compare with
    WAIT = "wait"  # no problem so far
    ADVISE = "advise"  # Far worse. A person has to decide.
    ROLL_BACK = "roll_back"


class ComparedAnswers(msgspec.Struct, frozen=True):
    """Lookups without items and all lookups of one kind, for the release before and the live one, with the evidence."""

    kind: str
    before: tuple[float, float]
    live: tuple[float, float]
    evidence: float  # log e-value against "the live rate is not higher"

    @property
    def is_far_worse(self) -> bool:
        """Whether the live rate is more than double and more than one percentage point higher."""
        return is_far_more(self.live[0] / self.live[1], self.before[0] / self.before[1])

    @property
    def message(self) -> str:
        """Both rates, with the numbers of lookups."""
        live, before = (f"{bad / lookups:.1%} of {lookups:,.0f}" for bad, lookups in (self.live, self.before))
        return f"{self.kind}: {live} lookups without items, before {before}"


class LiveDecision(msgspec.Struct, frozen=True):
    """Decision on the live release, with its reason and comparisons. `to` is the release before it."""

    verdict: LiveVerdict
    why: str
    live: str | None = None
    to: str | None = None
    compared: tuple[ComparedAnswers, ...] = ()

    @property
    def message(self) -> str:
        """Decision as one sentence."""
        return f"{self.verdict.value}: {self.why}"

    @property
    def exit_code(self) -> int:
        """Exit code 1 if a person has to decide."""
        return int(self.verdict is LiveVerdict.ADVISE)


def look_at_live(store: ObjectStore, target: Target, settings: GuardSettings, *, now: datetime) -> LiveDecision:
    """Decide on the live release by the answers of consumers from it and from the release before. Writes nothing.

    Only current heartbeats count, and each consumer is compared with itself. A consumer that is silent, or lost its
    counts in a restart, is not evidence either way.
    """
    current = read_current(store, target)
    if current is None:
        return LiveDecision(LiveVerdict.NOTHING, "nothing is live")
    live, shipped = current.release_id, _became_live(store, target, current.release_id)
    if shipped is None or shipped.action not in _SHIPS:
        return LiveDecision(LiveVerdict.NOTHING, f"release {live[:12]} did not become live by a ship", live)
    since = effective(shipped)
    if shipped.before is None:
        return LiveDecision(LiveVerdict.NOTHING, f"release {live[:12]} is the first one", live)
    if since is None or now - since > timedelta(hours=settings.hours):
        return LiveDecision(LiveVerdict.NOTHING, f"release {live[:12]} was guarded for {settings.hours:g} hours", live)
    beats = [beat for beat in read_heartbeats(store, target).beats if is_live(beat, now=now)]
    compared = compare_live(beats, live=live, before=shipped.before)
    limit = log(max(len(compared), 1) / FALSE_ROLLBACKS)
    worse = [kind for kind in compared if kind.evidence >= limit and kind.is_far_worse]
    if not worse:
        reason = f"{len(compared)} kinds of release {live[:12]} compared, none far worse than before"
        return LiveDecision(LiveVerdict.WAIT, reason, live, shipped.before, compared)
    reason = "; ".join(kind.message for kind in sorted(worse, key=lambda kind: -kind.evidence)[:3])
    return _decided(
        store, target, settings, LiveDecision(LiveVerdict.ADVISE, reason, live, shipped.before, compared), now
    )


def _decided(
    store: ObjectStore, target: Target, settings: GuardSettings, decision: LiveDecision, now: datetime
) -> LiveDecision:
    """Return the decision on a far worse live release, by the guard's mode and by obstacles to a rollback."""
    obstacle = obstacle_to_rollback(store, target, decision, now=now)
    if settings.mode is GuardMode.ACT and not obstacle:
        return LiveDecision(LiveVerdict.ROLL_BACK, decision.why, decision.live, decision.to, decision.compared)
    obstacle = obstacle or f"rollback.automatic is {settings.mode.value}"
    return LiveDecision(
        LiveVerdict.ADVISE, f"{decision.why} ({obstacle})", decision.live, decision.to, decision.compared
    )


def obstacle_to_rollback(store: ObjectStore, target: Target, decision: LiveDecision, *, now: datetime) -> str:
    """Return the reason why only a person may roll back, or "" if the guard may.

    The guard's own hold is a reason until it is lifted, regardless of newer data: the guard rolls back only once. If
    the live release is marked bad, the hold belongs to an interrupted rollback of the guard, which continues.
    """
    hold = read_hold(store, target)
    release = find_release(store, target, decision.live or "")
    through = release.data_through if release else "0001-01-01"
    if hold is not None and hold.actor.startswith(GUARD):
        if find_label(store, target, Labelled.BAD, decision.live or "") is None:
            return f"the guard rolled back at {hold.at}: run `release-hold` once a person has checked"
    elif hold is not None and is_in_force(hold, data_through=through, now=now):
        return f"held by {hold.actor} until {ending(hold)}"
    before = find_release(store, target, decision.to or "")
    if before is None:
        return "the release before has no record"
    if find_label(store, target, Labelled.BAD, before.id) is not None:
        return f"the release before, {before.id[:12]}, is marked bad"
    if forgotten_since(store, target, before.recorded_at):
        return f"the release before, {before.id[:12]}, may contain users forgotten since"
    return ""


def carry_out_on_live(
    store: ObjectStore, target: Target, decision: LiveDecision, *, by: Actor, now: Clock
) -> RollbackOutcome | None:
    """Roll back if that was decided: to the compared release only, with a bad mark and a hold. Otherwise return None.

    Raises `RefusedError` if the situation changed in the meantime, or if that release cannot be served.
    """
    if decision.verdict is not LiveVerdict.ROLL_BACK or decision.to is None:
        return None
    guard = Actor(f"{GUARD} ({by.name})", f"{by.reason}: {decision.why}", by.run_id)

    def unless() -> str:
        return obstacle_to_rollback(store, target, decision, now=now()) or _moved(store, target, decision)

    return roll_back(store, target, to=decision.to, by=guard, now=now, unless=unless)


def _moved(store: ObjectStore, target: Target, decision: LiveDecision) -> str:
    current = read_current(store, target)
    is_same = current is not None and current.release_id == decision.live
    return "" if is_same else "another release became live in the meantime"


def _became_live(store: ObjectStore, target: Target, live: str) -> JournalEntry | None:
    """Return the journal entry with which a release last became live.

    Swaps of the pointer to itself, and restores of a lost pointer, are skipped.
    """
    newest: JournalEntry | None = None
    for entry in changes(store, target):
        if entry.after != live:
            return newest
        if entry.before not in {None, live}:
            return entry
        newest = entry if entry.before is None else newest
    return newest


def compare_live(beats: Iterable[Heartbeat], *, live: str, before: str) -> tuple[ComparedAnswers, ...]:
    """Return per kind the rates of lookups without items (empty, or an unknown id) of the live and the former release.

    Each consumer is compared with itself: its former rate is weighted by its current lookups, so that a consumer with
    unusual users shifts nothing when its traffic changes. Kinds with fewer than `MIN_ASKED` lookups are excluded.
    Failures are not counted, because an unavailable store is not a fault of the release.
    """
    pairs: dict[str, list[tuple[KindAnswers, KindAnswers]]] = {}
    for beat in beats:
        by_release = {answers.release: answers.kinds for answers in beat.answers or ()}
        old, new = by_release.get(before, {}), by_release.get(live, {})
        for kind in sorted(old.keys() & new.keys()):
            if old[kind].asked and new[kind].asked:
                pairs.setdefault(kind, []).append((old[kind], new[kind]))
    compared = [_compare(kind, of_kind) for kind, of_kind in sorted(pairs.items())]
    return tuple(kind for kind in compared if min(kind.before[1], kind.live[1]) >= MIN_ASKED)


def _compare(kind: str, pairs: list[tuple[KindAnswers, KindAnswers]]) -> ComparedAnswers:
    lookups = sum(new.asked for _, new in pairs)
    bad = sum(new.without_items for _, new in pairs)
    weights = [new.asked / lookups for _, new in pairs]
    share = sum(weight * old.without_items / old.asked for weight, (old, _) in zip(weights, pairs, strict=True))
    # The number of lookups at which an unweighted share is as uncertain as this weighted one.
    size = 1 / sum(weight**2 / old.asked for weight, (old, _) in zip(weights, pairs, strict=True))
    scaled = [(round(part / _ALIKE), round(of / _ALIKE)) for part, of in ((share * size, size), (bad, lookups))]
    return ComparedAnswers(kind, (share * size, size), (float(bad), float(lookups)), log_evidence(*scaled))


class Answers(msgspec.Struct, frozen=True):
    """Lookups of a kind of a release and their results, summed over consumers since each loaded the release."""

    release: str
    kind: str
    live: bool  # whether the release is the live one
    asked: int = 0
    empty: int = 0
    short: int = 0
    unknown: int = 0
    failed: int = 0

    @property
    def without_items_share(self) -> float:
        """Share of lookups with no items to show: empty, unknown or failed, 0 without lookups."""
        return (self.empty + self.unknown + self.failed) / self.asked if self.asked else 0.0


def answers_of(beats: Iterable[Heartbeat], *, live: str | None) -> tuple[Answers, ...]:
    """Return the sums by kind and release, the live release first. Consumers that do not count lookups are skipped.

    Heartbeats of stopped consumers are included, because their answers were given.
    """
    sums: dict[tuple[str, str], Answers] = {}
    for beat in beats:
        for answers in beat.answers or ():
            release = answers.release
            for kind, counts in answers.kinds.items():
                before = sums.get((release, kind)) or Answers(release, kind, live=release == live)
                sums[release, kind] = _plus(before, counts)
    return tuple(sorted(sums.values(), key=lambda kind: (not kind.live, kind.release, kind.kind)))


def live_empty_share(answers: Iterable[Answers]) -> tuple[int, float | None]:
    """Return the number of lookups in the live release and the share without items (None: no lookups)."""
    live = [answer for answer in answers if answer.live]
    lookups = sum(answer.asked for answer in live)
    return lookups, sum(answer.without_items_share * answer.asked for answer in live) / lookups if lookups else None


def worse_kinds(answers: Iterable[Answers]) -> tuple[tuple[Answers, Answers], ...]:
    """Return (live, former) answers of each kind whose live answers lack items far more often than the former ones.

    Far more means above double and above one percentage point more, each of at least `MIN_ASKED` lookups.
    """
    counted = [answer for answer in answers if answer.asked >= MIN_ASKED]
    before: Mapping[str, Answers] = {
        answer.kind: answer for answer in sorted(counted, key=lambda answer: answer.asked) if not answer.live
    }  # of several former releases, the one with the most lookups
    pairs = ((answer, before[answer.kind]) for answer in counted if answer.live and answer.kind in before)
    return tuple(
        (answer, other) for answer, other in pairs if is_far_more(answer.without_items_share, other.without_items_share)
    )


def message_of(now: Answers, before: Answers) -> str:
    """Return the message about a kind that answers far worse than before."""
    share, before_share = now.without_items_share, before.without_items_share
    return (
        f"{now.kind} of release {now.release[:12]} answers {share:.1%} of {now.asked} lookups without items, "
        f"{before.release[:12]} answered {before_share:.1%}: see the runbook empty-recommendations"
    )


def is_far_more(share: float, before: float) -> bool:
    """Return whether a share of lookups without items is above double the former one, and above one point more."""
    return share > _TIMES_WORSE * before and share > before + _LEAST_WORSE


def _plus(sums: Answers, counts: KindAnswers) -> Answers:
    return replace(
        sums,
        asked=sums.asked + counts.asked,
        empty=sums.empty + counts.empty,
        short=sums.short + counts.short,
        unknown=sums.unknown + counts.unknown,
        failed=sums.failed + counts.failed,
    )
