"""Answers of consumers, summed over their heartbeats: the empty rate of each release and kind, from the store alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from recsys_assets.upkeep.heartbeats import Heartbeat, KindAnswers

MIN_ASKED = 1000  # with fewer answers a rate is chance
_TIMES_WORSE = 2.0
_LEAST_WORSE = 0.01


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
    return tuple((one, other) for one, other in pairs if _is_worse(one, other))


def message_of(now: Answers, before: Answers) -> str:
    """Say how much worse a kind answers than before."""
    share, before_share = now.without_items_share, before.without_items_share
    return (
        f"{now.kind} of release {now.release[:12]} answers {share:.1%} of {now.asked} questions without items, "
        f"{before.release[:12]} answered {before_share:.1%}: see the runbook empty-recommendations"
    )


def _is_worse(now: Answers, before: Answers) -> bool:
    share, least = now.without_items_share, before.without_items_share
    return share > _TIMES_WORSE * least and share > least + _LEAST_WORSE


def _plus(sums: Answers, counts: KindAnswers) -> Answers:
    return replace(
        sums,
        asked=sums.asked + counts.asked,
        empty=sums.empty + counts.empty,
        short=sums.short + counts.short,
        unknown=sums.unknown + counts.unknown,
        failed=sums.failed + counts.failed,
    )
