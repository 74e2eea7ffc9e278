"""Ship rules: pure functions that decide whether a release may replace the live one."""

from datetime import date, datetime
from enum import StrEnum

import msgspec

from recsys_assets.identity import parse_rfc3339
from recsys_assets.release.documents import Hold, Label, Release


class Ruling(StrEnum):
    """Ruling of the ship rules on a candidate."""

    SHIP = "done"
    UNCHANGED = "unchanged"
    OLDER = "older"
    HELD = "held"
    BAD = "refused"
    ROLLOUT = "rollout"  # served to a share of requests first


class LiveBaseline(msgspec.Struct, frozen=True):
    """The live release (id None: the pointer is missing) and the last day of its data, to compare a candidate with."""

    release_id: str | None
    data_through: str
    note: str = ""  # fault of the record of the live release


class Judgement(msgspec.Struct, frozen=True):
    """A ruling and its explanation."""

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
    """Apply the ship rules.

    The first match wins: already live, marked bad, held, older than live data, free to ship.
    """
    short = release.id[:12]
    if live is not None and live.release_id == release.id:
        return Judgement(Ruling.UNCHANGED, f"release {short} is already live")
    if bad is not None:
        return Judgement(
            Ruling.BAD,
            f"release {short} was marked bad at {bad.at} by {bad.actor} ({bad.reason}): fix its input and build the "
            f"day again, or confirm that it is good by `recsys-assets rollback --to {short}`",
        )
    newest = max(release.data_through, live.data_through) if live else release.data_through
    if hold is not None and is_in_force(hold, data_through=newest, now=now):
        return Judgement(
            Ruling.HELD,
            f"release {short} is recorded but not shipped: held since {hold.at} by {hold.actor} ({hold.reason}), "
            f"until {ending(hold)}; to ship it now, end the hold by `recsys-assets release-hold`, then ship it again",
        )
    if live is not None and release.data_through < live.data_through and not allow_older:
        return Judgement(
            Ruling.OLDER,
            f"release {short} is recorded but not shipped: its data ends {release.data_through}, live data ends "
            f"{live.data_through}; to ship it anyway, use --allow-older",
        )
    return Judgement(Ruling.SHIP, f"release {short} with data through {release.data_through}")


def is_in_force(hold: Hold, *, data_through: str, now: datetime) -> bool:
    """Return whether a hold blocks a ship of data that ends on `data_through`."""
    if hold.lifted is not None:
        return False
    conditions = []
    if hold.until is not None:
        conditions.append(now >= parse_rfc3339(hold.until))
    if hold.after_data is not None:
        conditions.append(date.fromisoformat(data_through) > date.fromisoformat(hold.after_data))
    return not conditions or not all(conditions)


def ending(hold: Hold) -> str:
    """Return text on what ends a hold."""
    ends = []
    if hold.until is not None:
        ends.append(hold.until)
    if hold.after_data is not None:
        ends.append(f"good data newer than {hold.after_data} exists")
    return " and ".join(ends) or "it is lifted by `recsys-assets release-hold`"


def stricter(stored: Hold | None, placed: Hold) -> Hold:
    """Return the hold that ends only when both end, so that a newer hold never shortens an older one."""
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


def _later(first: str | None, second: str | None) -> str | None:
    return max((t for t in (first, second) if t is not None), key=parse_rfc3339, default=None)
