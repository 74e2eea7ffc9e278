"""Coded events of one target as ingest hands them on: columns of integers, and the strings that the codes stand for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recsys_assets.compiled.strings import Strings
from recsys_assets.ingest.reference import RawEvent

ABSENT = 0xFFFF_FFFF  # the code of no id
CODED_COLUMNS = ("user_id", "session_id", "item_id", "request_id", "event")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some events of one target and day, as they came: in no order, duplicates included.

    `ts` (int64, nanoseconds since 1970 in UTC) and `rank` (int64) hold one value per event. `codes[column]` (uint32),
    for each of `CODED_COLUMNS`, holds an index into `ids[column]`, or `ABSENT`. The strings of `ids[column]`
    are distinct, and in any order.
    """

    ts: NDArray[np.int64]
    rank: NDArray[np.int64]
    codes: Mapping[str, NDArray[np.uint32]]
    ids: Mapping[str, Strings]

    def __len__(self) -> int:
        return len(self.ts)


def part_of(events: Sequence[RawEvent]) -> Part:
    """Return events that were read one by one as a part."""
    codes: dict[str, NDArray[np.uint32]] = {}
    ids: dict[str, Strings] = {}
    for name in CODED_COLUMNS:
        known: dict[str, int] = {}
        values = (getattr(event, name) for event in events)
        column = [ABSENT if text is None else known.setdefault(text, len(known)) for text in values]
        codes[name], ids[name] = np.array(column, np.uint32), Strings.of(known)
    ts, rank = ([getattr(event, name) for event in events] for name in ("ts", "rank"))
    return Part(np.array(ts, np.int64), np.array(rank, np.int64), codes, ids)


def rename_users(part: Part, rename: Callable[[str], str]) -> Part:
    """Return the part with every user id replaced by `rename(user_id)`, which maps no two alike; rows are unchanged."""
    users = Strings.of(rename(user) for user in part.ids["user_id"].texts())
    return replace(part, ids={**part.ids, "user_id": users})
