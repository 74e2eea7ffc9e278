"""Guard of what is live: rolled back, once, where it answers without items far more often than what was live before."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import log
from typing import Final

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

GUARD: Final = "answer guard"  # how its actor's name begins: of its holds, its marks and its entries
FALSE_ROLLBACKS: Final = 0.001  # of releases that are no worse, however often they are looked at
_ALIKE: Final = 10  # so many questions count as one: one person asks many, and most kinds of a page at once
MIN_ASKED: Final = 1000  # with fewer answers a rate is chance
_TIMES_WORSE: Final = 2.0
_LEAST_WORSE: Final = 0.01
_SHIPS: Final = frozenset({"ship", "promote"})


class GuardMode(StrEnum):
    """What happens when live answers far worse than the release before it."""

    OFF = "off"
    ADVISE = "advise"
    ACT = "act"


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """What is to happen, and how long after a release became live."""

    mode: GuardMode = GuardMode.OFF
    hours: float = 24


class LiveVerdict(StrEnum):
    """What is to become of what is live."""

    NOTHING = "nothing"  # nobody watches it, or there is nothing to compare it with
    WAIT = "wait"  # nothing is wrong so far
    ADVISE = "advise"  # it is far worse, and a person is to decide
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, slots=True)
class ComparedAnswers:
    """Questions of one kind without items, of how many, of the release before and of live, and the evidence."""

    kind: str
    before: tuple[float, float]
    live: tuple[float, float]
    evidence: float  # log of an e-value against "live has no more of them"

    @property
    def is_far_worse(self) -> bool:
        """Whether twice as many questions bring nothing, and one in a hundred more."""
        return is_far_more(self.live[0] / self.live[1], self.before[0] / self.before[1])

    @property
    def message(self) -> str:
        """Both shares, with how many questions there were."""
        live, before = (f"{bad / asked:.1%} of {asked:,.0f}" for bad, asked in (self.live, self.before))
        return f"{self.kind}: {live} questions without items, before {before}"


@dataclass(frozen=True, slots=True)
class LiveDecision:
    """What is to become of the live release, why, and what was compared; `to` is the release before it."""

    verdict: LiveVerdict
    why: str
    live: str | None = None
    to: str | None = None
    compared: tuple[ComparedAnswers, ...] = ()

    @property
    def message(self) -> str:
        """The decision in one sentence."""
        return f"{self.verdict.value}: {self.why}"

    @property
    def exit_code(self) -> int:
        """1 if a person is to decide."""
        return int(self.verdict is LiveVerdict.ADVISE)


def look_at_live(store: ObjectStore, target: Target, watch: GuardSettings, *, now: datetime) -> LiveDecision:
    """Return what is to become of what is live, by what consumers answered from it and from the release before.

    Nothing is written. Only what consumers say now counts, each beside itself: one that fell silent, or lost its counts
    in a restart, says nothing for or against.
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
    if since is None or now - since > timedelta(hours=watch.hours):
        return LiveDecision(LiveVerdict.NOTHING, f"release {live[:12]} was watched for {watch.hours:g} hours", live)
    beats = [beat for beat in read_heartbeats(store, target).beats if is_live(beat, now=now)]
    compared = compare_live(beats, live=live, before=shipped.before)
    limit = log(max(len(compared), 1) / FALSE_ROLLBACKS)
    worse = [one for one in compared if one.evidence >= limit and one.is_far_worse]
    if not worse:
        why = f"{len(compared)} kinds of release {live[:12]} compared, none far worse than before"
        return LiveDecision(LiveVerdict.WAIT, why, live, shipped.before, compared)
    why = "; ".join(one.message for one in sorted(worse, key=lambda one: -one.evidence)[:3])
    return _decided(store, target, watch, LiveDecision(LiveVerdict.ADVISE, why, live, shipped.before, compared), now)


def _decided(
    store: ObjectStore, target: Target, watch: GuardSettings, found: LiveDecision, now: datetime
) -> LiveDecision:
    """Return the decision on a live release that is far worse: by the setting, and by what stands in the way."""
    stop = why_not(store, target, found, now=now)
    if watch.mode is GuardMode.ACT and not stop:
        return LiveDecision(LiveVerdict.ROLL_BACK, found.why, found.live, found.to, found.compared)
    stop = stop or f"rollback.automatic is {watch.mode.value}"
    return LiveDecision(LiveVerdict.ADVISE, f"{found.why} ({stop})", found.live, found.to, found.compared)


def why_not(store: ObjectStore, target: Target, found: LiveDecision, *, now: datetime) -> str:
    """Return what keeps anybody but a person from rolling back; empty if nothing does.

    Its own hold does, as long as nobody lifted it, newer data or not: it goes back once. A hold of its own on a release
    that is marked bad is one of a rollback that was interrupted, which goes on.
    """
    hold = read_hold(store, target)
    release = find_release(store, target, found.live or "")
    through = release.data_through if release else "0001-01-01"
    if hold is not None and hold.actor.startswith(GUARD):
        if find_label(store, target, Labelled.BAD, found.live or "") is None:
            return f"it was rolled back by itself at {hold.at}: `release-hold` says that a person has looked"
    elif hold is not None and is_in_force(hold, data_through=through, now=now):
        return f"held by {hold.actor} until {ending(hold)}"
    before = find_release(store, target, found.to or "")
    if before is None:
        return "the release before has no record"
    if find_label(store, target, Labelled.BAD, before.id) is not None:
        return f"the release before, {before.id[:12]}, is marked bad"
    if forgotten_since(store, target, before.recorded_at):
        return f"the release before, {before.id[:12]}, may hold users forgotten since"
    return ""


def carry_out_on_live(
    store: ObjectStore, target: Target, found: LiveDecision, *, by: Actor, now: Clock
) -> RollbackOutcome | None:
    """Roll back, mark bad and hold if that was decided, to the release that was compared and no further; else None.

    Raises `RefusedError` if something came in between, or if that release cannot be served.
    """
    if found.verdict is not LiveVerdict.ROLL_BACK or found.to is None:
        return None
    guard = Actor(f"{GUARD} ({by.name})", f"{by.reason}: {found.why}", by.run_id)

    def unless() -> str:
        return why_not(store, target, found, now=now()) or _moved(store, target, found)

    return roll_back(store, target, to=found.to, by=guard, now=now, unless=unless)


def _moved(store: ObjectStore, target: Target, found: LiveDecision) -> str:
    current = read_current(store, target)
    is_same = current is not None and current.release_id == found.live
    return "" if is_same else "something else became live meanwhile"


def _became_live(store: ObjectStore, target: Target, live: str) -> JournalEntry | None:
    """Return the entry by which a release became live the last time.

    Swaps of the pointer to itself are passed over, and a pointer that was lost and put back.
    """
    found: JournalEntry | None = None
    for entry in changes(store, target):
        if entry.after != live:
            return found
        if entry.before not in {None, live}:
            return entry
        found = entry if entry.before is None else found
    return found


def compare_live(beats: Iterable[Heartbeat], *, live: str, before: str) -> tuple[ComparedAnswers, ...]:
    """Return, by kind, how often live and the release before answered without items: empty, or an unknown id.

    Each consumer is compared with itself: the rates before are weighted as consumers ask now, so that a consumer whose
    users are other than most shifts nothing when it asks more, or less. A kind of fewer than a thousand questions is
    left out. Failures are not counted: a store that is away is no fault of a release.
    """
    pairs: dict[str, list[tuple[KindAnswers, KindAnswers]]] = {}
    for beat in beats:
        by_release = {one.release: one.kinds for one in beat.answers or ()}
        old, new = by_release.get(before, {}), by_release.get(live, {})
        for kind in sorted(old.keys() & new.keys()):
            if old[kind].asked and new[kind].asked:
                pairs.setdefault(kind, []).append((old[kind], new[kind]))
    found = [_compare(kind, of) for kind, of in sorted(pairs.items())]
    return tuple(one for one in found if min(one.before[1], one.live[1]) >= MIN_ASKED)


def _compare(kind: str, pairs: list[tuple[KindAnswers, KindAnswers]]) -> ComparedAnswers:
    asked = sum(new.asked for _, new in pairs)
    bad = sum(new.without_items for _, new in pairs)
    weights = [new.asked / asked for _, new in pairs]
    share = sum(weight * old.without_items / old.asked for weight, (old, _) in zip(weights, pairs, strict=True))
    # So many questions would give a share that is as uncertain as this weighted one.
    size = 1 / sum(weight**2 / old.asked for weight, (old, _) in zip(weights, pairs, strict=True))
    scaled = [(round(part / _ALIKE), round(of / _ALIKE)) for part, of in ((share * size, size), (bad, asked))]
    return ComparedAnswers(kind, (share * size, size), (float(bad), float(asked)), log_evidence(*scaled))


@dataclass(frozen=True, slots=True)
class Answers:
    """How often consumers asked a kind of a release, and with which result; summed since each of them loaded it."""

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
        """Share of questions that brought nothing to show: empty, unknown or failed; 0 where nothing was asked."""
        return (self.empty + self.unknown + self.failed) / self.asked if self.asked else 0.0


def answers_of(beats: Iterable[Heartbeat], *, live: str | None) -> tuple[Answers, ...]:
    """Return the sums by kind and release, the live release first; consumers that do not count are passed over.

    Heartbeats of consumers that ended are summed as well: what they answered was answered.
    """
    found: dict[tuple[str, str], Answers] = {}
    for beat in beats:
        for one in beat.answers or ():
            for kind, counts in one.kinds.items():
                before = found.get((one.release, kind)) or Answers(one.release, kind, live=one.release == live)
                found[one.release, kind] = _plus(before, counts)
    return tuple(sorted(found.values(), key=lambda one: (not one.live, one.release, one.kind)))


def live_empty_share(answers: Iterable[Answers]) -> tuple[int, float | None]:
    """Return how many questions the live release was asked, and the share that brought nothing; None: not asked."""
    live = [one for one in answers if one.live]
    asked = sum(one.asked for one in live)
    return asked, sum(one.without_items_share * one.asked for one in live) / asked if asked else None


def worse_kinds(answers: Iterable[Answers]) -> tuple[tuple[Answers, Answers], ...]:
    """Return the kinds whose live release answers far more often without items than the release before, with both.

    Far more is twice the share and one in a hundred more, each of at least `MIN_ASKED` questions.
    """
    known = [one for one in answers if one.asked >= MIN_ASKED]
    before: Mapping[str, Answers] = {
        one.kind: one for one in sorted(known, key=lambda one: one.asked) if not one.live
    }  # of several earlier ones the most asked
    pairs = ((one, before[one.kind]) for one in known if one.live and one.kind in before)
    return tuple(
        (one, other) for one, other in pairs if is_far_more(one.without_items_share, other.without_items_share)
    )


def message_of(now: Answers, before: Answers) -> str:
    """Say how much worse a kind answers than before."""
    share, before_share = now.without_items_share, before.without_items_share
    return (
        f"{now.kind} of release {now.release[:12]} answers {share:.1%} of {now.asked} questions without items, "
        f"{before.release[:12]} answered {before_share:.1%}: see the runbook empty-recommendations"
    )


def is_far_more(share: float, before: float) -> bool:
    """Return whether a share of questions without items is twice the one before, and one in a hundred more."""
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
