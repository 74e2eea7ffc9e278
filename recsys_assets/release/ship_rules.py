"""The rules by which a release may replace what is live, on values alone."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from recsys_assets.identity import parse_rfc3339
from recsys_assets.release.documents import Hold, Label, Release


class Ruling(StrEnum):
    """How a candidate stands against what is live."""

    SHIP = "done"
    UNCHANGED = "unchanged"
    OLDER = "older"
    HELD = "held"
    BAD = "refused"
    ROLLOUT = "rollout"  # shown to a share of requests first


@dataclass(frozen=True, slots=True)
class LiveBaseline:
    """What a candidate is held against: the live release (None: the pointer is gone) and the last day of its data."""

    release_id: str | None
    data_through: str
    note: str = ""  # what is wrong with the record of the live release


@dataclass(frozen=True, slots=True)
class Judgement:
    """A ruling, and the sentence that explains it."""

    ruling: Ruling
    message: str


def judge(
    release: Release,
    *,
    live: LiveBaseline | None,
    hold: Hold | None,
    bad: Label | None,
    now: datetime,
    allow_older: bool,
) -> Judgement:
    """Judge a release: the same as live, marked bad, held, fenced off as older, or free to ship, in this order."""
    short = release.id[:12]
    if live is not None and live.release_id == release.id:
        return Judgement(Ruling.UNCHANGED, f"release {short} is live already")
    if bad is not None:
        return Judgement(
            Ruling.BAD,
            f"release {short} was marked bad at {bad.at} by {bad.actor} ({bad.reason}): fix its input and build the "
            f"day again, or say that it is good by `recsys-assets rollback --to {short}`",
        )
    newest = max(release.data_through, live.data_through) if live else release.data_through
    if hold is not None and is_in_force(hold, data_through=newest, now=now):
        return Judgement(
            Ruling.HELD,
            f"release {short} is recorded and not shipped: held since {hold.at} by {hold.actor} ({hold.reason}), "
            f"until {ending(hold)}; to ship it now, end the hold by `recsys-assets release-hold`, then ship it again",
        )
    if live is not None and release.data_through < live.data_through and not allow_older:
        return Judgement(
            Ruling.OLDER,
            f"release {short} is recorded and not shipped: its data ends {release.data_through}, live data ends "
            f"{live.data_through}; ship it on purpose by --allow-older",
        )
    return Judgement(Ruling.SHIP, f"release {short} with data through {release.data_through}")


def is_in_force(hold: Hold, *, data_through: str, now: datetime) -> bool:
    """Return whether a hold keeps data that ends on this day from shipping."""
    if hold.lifted is not None:
        return False
    over = []
    if hold.until is not None:
        over.append(now >= parse_rfc3339(hold.until))
    if hold.after_data is not None:
        over.append(date.fromisoformat(data_through) > date.fromisoformat(hold.after_data))
    return not over or not all(over)


def ending(hold: Hold) -> str:
    """Say what ends a hold."""
    ends = []
    if hold.until is not None:
        ends.append(hold.until)
    if hold.after_data is not None:
        ends.append(f"there is good data newer than {hold.after_data}")
    return " and ".join(ends) or "it is lifted by `recsys-assets release-hold`"


def stricter(stored: Hold | None, placed: Hold) -> Hold:
    """Return the hold that ends only when both would: an older promise to hold is never cut short by a newer one."""
    if stored is None or stored.lifted is not None:
        return placed
    if not (stored.until or stored.after_data):
        return stored
    if not (placed.until or placed.after_data):
        return placed
    return Hold(
        at=placed.at,
        actor=placed.actor,
        reason=placed.reason,
        until=_later(stored.until, placed.until),
        after_data=max((d for d in (stored.after_data, placed.after_data) if d is not None), default=None),
    )


def _later(one: str | None, other: str | None) -> str | None:
    return max((t for t in (one, other) if t is not None), key=parse_rfc3339, default=None)
