"""Coded events of one target as ingest hands them on: columns of integers, and the strings that the codes stand for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recsys_assets.raw.reference import RawEvent

ABSENT = 0xFFFF_FFFF  # the code of no id
CODED_COLUMNS = ("user_id", "session_id", "item_id", "request_id", "event")
PADDING = 32  # bytes behind the last string, so that compiled code may load whole words and vectors


@dataclass(frozen=True, slots=True, eq=False)
class Strings:
    """Strings as one run of UTF-8: string `n` is `data[offsets[n] : offsets[n + 1]]`.

    `data`: uint8, with at least `PADDING` bytes behind the last string; `offsets`: int64, one more than strings.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Strings":
        """Return `texts` in their order."""
        encoded = [text.encode() for text in texts]
        data = np.frombuffer(b"".join(encoded) + bytes(PADDING), np.uint8)
        return cls(data, offsets_of(np.fromiter(map(len, encoded), np.int64, len(encoded))))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def texts(self) -> list[str]:
        """Return the strings as Python has them."""
        return [self.data[start:end].tobytes().decode() for start, end in pairwise(self.offsets.tolist())]


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where strings of these lengths start when they lie one behind the other, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


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
