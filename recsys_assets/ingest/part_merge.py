"""Parts: coded events of one target as ingest hands them on, and merged parts that hold each string once."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import PADDING, Strings, offsets_of, read_only
from recsys_assets.compiled.interning import Tables, grown, intern, new_tables
from recsys_assets.compiled.runtime import compiled
from recsys_assets.compiled.words import Bytes, copy_bytes
from recsys_assets.ingest.line_reader import RawEvent

ABSENT = 0xFFFF_FFFF  # the code of an absent id
CODED_COLUMNS = ("user_id", "session_id", "item_id", "request_id", "event")
_FIRST_CAPACITY = 1 << 12
_FIRST_TEXT = 1 << 16


class Part(msgspec.Struct, frozen=True, eq=False):
    """Some events of one target and day, unsorted and with duplicates.

    `ts` (int64, nanoseconds since 1970 in UTC) and `rank` (int64) hold one value per event. `codes[column]` (uint32),
    for each of `CODED_COLUMNS`, holds an index into `ids[column]`, or `ABSENT`. The strings of `ids[column]`
    are distinct, in any order.
    """

    ts: NDArray[np.int64]
    rank: NDArray[np.int64]
    codes: Mapping[str, NDArray[np.uint32]]
    ids: Mapping[str, Strings]

    def __len__(self) -> int:
        return len(self.ts)


def part_of(events: Sequence[RawEvent]) -> Part:
    """Return a part of events that were read one by one."""
    codes: dict[str, NDArray[np.uint32]] = {}
    ids: dict[str, Strings] = {}
    for name in CODED_COLUMNS:
        codes_by_id: dict[str, int] = {}
        values = (getattr(event, name) for event in events)
        column = [ABSENT if text is None else codes_by_id.setdefault(text, len(codes_by_id)) for text in values]
        codes[name], ids[name] = np.array(column, np.uint32), Strings.of(codes_by_id)
    ts, rank = ([getattr(event, name) for event in events] for name in ("ts", "rank"))
    return Part(np.array(ts, np.int64), np.array(rank, np.int64), codes, ids)


def rename_users(part: Part, rename: Callable[[str], str]) -> Part:
    """Return the part with every user id replaced by `rename(user_id)`, which must map distinct ids to distinct ids."""
    users = Strings.of(rename(user) for user in part.ids["user_id"].texts())
    return replace(part, ids={**part.ids, "user_id": users})


def merge_parts(parts: Sequence[Part]) -> Part:
    """Return one part with the rows of all parts, in their order."""
    if len(parts) == 1:
        return parts[0]
    ids: dict[str, Strings] = {}
    codes: dict[str, NDArray[np.uint32]] = {}
    for name in CODED_COLUMNS:
        ids[name], maps = unite([part.ids[name] for part in parts])
        codes[name] = translate([part.codes[name] for part in parts], maps)
    return Part(np.concatenate([p.ts for p in parts]), np.concatenate([p.rank for p in parts]), codes, ids)


def unite(many: Sequence[Strings]) -> tuple[Strings, list[NDArray[np.uint32]]]:
    """Return the distinct strings in order of appearance, and for each input the new code of each of its strings."""
    united = Union()
    maps = [united.add(strings) for strings in many]
    return united.strings(), maps


class Union:
    """Distinct strings, extended by one input after another. Memory grows with the distinct strings, not with all."""

    def __init__(self) -> None:
        self._tables = new_tables(1, capacity=_FIRST_CAPACITY, text_bytes=_FIRST_TEXT)

    def add(self, strings: Strings) -> NDArray[np.uint32]:
        """Return the code of each string (uint32). Strings that were not added before get new codes."""
        self._make_room(len(strings), int(strings.offsets[-1] - strings.offsets[0]))
        codes = np.empty(len(strings), np.uint32)
        _intern_all(self._tables, strings.data, strings.offsets, codes)
        return codes

    def strings(self) -> Strings:
        """Return the strings by code. They share memory with this object, to which nothing may be added afterwards."""
        # New strings are written one after another, so that their lengths give their positions.
        return Strings(self._tables.text, offsets_of(self._tables.spans[0, : int(self._tables.state[0, 0]), 1]))

    def _make_room(self, count: int, size: int) -> None:
        tables = self._tables
        codes, _, used = tables.state[0].tolist()
        capacity, text = tables.spans.shape[1], len(tables.text) - 2 * PADDING
        if codes + count > capacity or used + size > text:
            self._tables = grown(
                tables, capacity=max(2 * (codes + count), capacity), text_bytes=max(2 * (used + size), text)
            )


def translate(codes: Sequence[NDArray[np.uint32]], maps: Sequence[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    """Return all codes in one array (uint32), each replaced by its map: `maps[n]` for `codes[n]`. `ABSENT` stays."""
    result = np.empty(sum(map(len, codes)), np.uint32)
    end = 0
    for column, new in zip(codes, maps, strict=True):
        _translate(read_only(column), new, result[end : end + len(column)])
        end += len(column)
    return result


def take_rows(
    tables: Tables,
    codes: NDArray[np.uint32],
    values: tuple[NDArray[np.int64], NDArray[np.int64]],
    rows: NDArray[np.int64],
) -> Part:
    """Return the given rows of a scan as a part that holds only the strings that they use.

    Row n has the code `codes[t, n]` in table t. Tables are in the order of `CODED_COLUMNS`. `values` are ts and rank.
    """
    new_codes: dict[str, NDArray[np.uint32]] = {}
    ids: dict[str, Strings] = {}
    for table, name in enumerate(CODED_COLUMNS):
        used = np.empty(int(tables.state[table, 0]), np.int64)
        new_codes[name] = np.empty(len(rows), np.uint32)
        count = _renumber(codes[table], rows, used, np.full(len(used), ABSENT, np.uint32), new_codes[name])
        spans = tables.spans[table, used[:count]]
        ids[name] = _gather(tables.text, spans[:, 0].copy(), spans[:, 1])
    ts, rank = values
    return Part(ts[rows], rank[rows], new_codes, ids)


def gather(strings: Strings, positions: NDArray[np.int64]) -> Strings:
    """Return the strings at `positions`, in that order."""
    starts = strings.offsets[positions]
    return _gather(strings.data, starts, strings.offsets[positions + 1] - starts)


def _gather(data: Bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Strings:
    offsets = offsets_of(lengths)
    gathered = np.zeros(int(offsets[-1]) + 2 * PADDING, np.uint8)
    _copy_all(data, starts, gathered, offsets)
    return Strings(gathered, offsets)


@compiled
def _intern_all(tables: Tables, data: Bytes, offsets: NDArray[np.int64], codes: NDArray[np.uint32]) -> None:
    for index in range(len(codes)):
        codes[index] = intern(tables, 0, data, offsets[index], offsets[index + 1] - offsets[index])


@compiled
def _translate(codes: NDArray[np.uint32], new: NDArray[np.uint32], result: NDArray[np.uint32]) -> None:
    for index in range(len(codes)):
        code = codes[index]
        result[index] = code if code == ABSENT else new[code]


@compiled
def _renumber(
    codes: NDArray[np.uint32],
    rows: NDArray[np.int64],
    used: NDArray[np.int64],
    renumbered: NDArray[np.uint32],
    result: NDArray[np.uint32],
) -> int:
    """Renumber the codes that `rows` use, by appearance, into `result`. Returns how many there are.

    `used[n]` becomes the old code of the new code n.
    """
    count = 0
    for index in range(len(rows)):
        code = codes[rows[index]]
        if code == ABSENT:
            result[index] = ABSENT
            continue
        if renumbered[code] == ABSENT:
            renumbered[code] = count
            used[count] = code
            count += 1
        result[index] = renumbered[code]
    return count


@compiled
def _copy_all(source: Bytes, starts: NDArray[np.int64], target: Bytes, offsets: NDArray[np.int64]) -> None:
    for index in range(len(starts)):
        copy_bytes(source, starts[index], target, offsets[index], offsets[index + 1] - offsets[index])
