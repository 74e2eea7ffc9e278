"""Faults of real files: lines sent twice, lines of yesterday, and lines that are no events at all."""

import json
import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from traffic import Event

REPEATED_SHARE = 0.004
BROKEN_PER_DAY = 9
LATE_PER_DAY = 4


def spoil(day_events: Sequence[Event], rng: random.Random) -> list[str]:
    """Return the lines of a day, shuffled: every event, some of them twice, a few late ones and a few broken ones."""
    lines = [_line(event) for event in day_events]
    lines += rng.choices(lines, k=int(len(lines) * REPEATED_SHARE))
    lines += [_line(_yesterday(event)) for event in rng.choices(day_events, k=LATE_PER_DAY)]
    lines += [_break(event, n, rng) for n, event in enumerate(rng.choices(day_events, k=BROKEN_PER_DAY))]
    rng.shuffle(lines)
    return lines


def _yesterday(event: Event) -> Event:
    """Return the event as a phone sends it that was offline overnight."""
    at = datetime.fromisoformat(str(event["ts"])) - timedelta(days=1)
    return {**event, "ts": at.isoformat().replace("+00:00", "Z"), "session_id": f"{event['session_id']}-offline"}


def _break(event: Event, n: int, rng: random.Random) -> str:
    """Return a line that must go to quarantine, each in a way of its own."""
    whole = _line(event)
    ways = (
        whole[: rng.randint(20, len(whole) - 2)],
        "",
        "\ufeff" + whole,
        _line({**event, "v": 2}),
        _line({**event, "item_id": " \t"}),
        _line({**event, "rank": "third"}),
        _line({**event, "ts": str(event["ts"]).removesuffix("Z")}),
        _line({key: value for key, value in event.items() if key != "session_id"}),
        whole + whole,
    )
    return ways[n % len(ways)]


def _line(event: Event) -> str:
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False)
