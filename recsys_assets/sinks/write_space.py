"""Rows of an artifact in a sink: in buckets by the hash of their key, each bucket written and read back."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from recsys_assets.artifact_format import is_index_kind, shard_of
from recsys_assets.errors import ConfigurationError, StoreUnavailableError
from recsys_assets.identity import ArtifactRef, Target
from recsys_assets.release.documents import Member
from recsys_assets.release.fault_points import reach
from recsys_assets.release.shards import read_blob
from recsys_assets.serving.row_index import RowIndex
from recsys_assets.serving.served import prove
from recsys_assets.sinks.pointer import Space
from recsys_assets.sinks.sink import Sink, bucket_name
from recsys_assets.storage.store import AT_ONCE, ObjectStore, fan_out

BUCKETS_AT_ONCE: Final = 4 * AT_ONCE
ENTRIES_OF_A_PAGE: Final = 1000
_BYTES_OF_A_PAGE: Final = 200_000


class WrittenSpace(msgspec.Struct, frozen=True):
    """A space whose rows were all read back, with its `rows` and `key` filled in, and the number of rows written."""

    space: Space
    written: int


def objects_of(member: Member) -> tuple[ArtifactRef, ...]:
    """Return the objects that hold the rows of a kind: its shards by number, or its single object."""
    return member.shard_refs if is_index_kind(member.ref.kind) else (member.ref,)


def write_space(
    sink: Sink, store: ObjectStore, target: Target, space: Space, member: Member, *, what: str
) -> WrittenSpace:
    """Write the rows of an artifact into a sink, bucket after bucket. Buckets that already hold their rows are skipped.

    Shards and buckets are chosen by the same hash, and the number of buckets is a multiple of that of shards, so that
    each bucket has rows of one shard only. Therefore only one object of the store and a few buckets are in memory.
    `what` names the sink in messages. Raises `ConfigurationError` for an artifact without rows, `StoreUnavailableError`
    for rows that read back differently, and whatever store and sink raise.
    """
    refs = objects_of(member)
    count = written = 0
    key: str | None = None
    for number, ref in enumerate(refs):
        rows = _read_rows(store, target, ref, label=what)
        key = rows.form.key if rows.form.close != b"}" else None  # rows without a list are one ranking
        read_row, row_numbers = _by_bucket(rows, space, paged=key is None)
        count += sum(map(len, row_numbers.values()))
        write_bucket = _bucket_writer(sink, space, read_row, row_numbers, label=what)
        numbers = range(number, space.buckets, len(refs))
        for start in range(0, len(numbers), BUCKETS_AT_ONCE):
            written += sum(fan_out(write_bucket, numbers[start : start + BUCKETS_AT_ONCE]))
            reach("sink.after_buckets")
    return WrittenSpace(msgspec.structs.replace(space, rows=count, key=key), written)


def _read_rows(store: ObjectStore, target: Target, ref: ArtifactRef, *, label: str) -> RowIndex[object]:
    """Return the rows of one object after verifying its bytes."""
    name = f"{ref.kind} {ref.version[:12]}"
    rows = prove(target, ref.kind, ref.version, read_blob(store, target, ref), name=name).rows
    if isinstance(rows, RowIndex):
        return rows
    raise ConfigurationError(f"{name} of {target} has no rows to look up: list only kinds with rows in {label}.kinds")


def _by_bucket(
    rows: RowIndex[object], space: Space, *, paged: bool
) -> tuple[Callable[[int], tuple[str, bytes]], Mapping[int, list[int]]]:
    """Return a function that reads key and value of a row by its number, and the numbers of each bucket's rows."""
    row_numbers: dict[int, list[int]] = defaultdict(list)
    if paged:
        pages = list(_pages(rows))
        for number in range(len(pages)):
            row_numbers[shard_of(str(number), space.buckets)].append(number)
        return lambda number: (str(number), rows.array(*pages[number])), row_numbers
    for number in range(len(rows)):
        row_numbers[shard_of(rows.id(number), space.buckets)].append(number)
    return lambda number: (rows.id(number), rows.array(number, number + 1)[1:-1]), row_numbers


def _pages(rows: RowIndex[object]) -> Iterator[tuple[int, int]]:
    """Yield the first row and the end of each page of a ranking, limited by entries and bytes."""
    start = 0
    while start < len(rows):
        stop = start + 1
        while stop < min(len(rows), start + ENTRIES_OF_A_PAGE) and rows.size(start, stop + 1) <= _BYTES_OF_A_PAGE:
            stop += 1
        yield start, stop
        start = stop


def _bucket_writer(
    sink: Sink,
    space: Space,
    read_row: Callable[[int], tuple[str, bytes]],
    row_numbers: Mapping[int, list[int]],
    *,
    label: str,
) -> Callable[[int], int]:
    """Return a function that writes one bucket, reads it back, and returns the number of rows written."""

    def write(number: int) -> int:
        name = bucket_name(space.name, number)
        wanted = dict(map(read_row, row_numbers.get(number, ())))
        stored = sink.read_bucket(name)
        if stored == wanted:
            return 0
        put = {key: value for key, value in wanted.items() if stored.get(key) != value}
        sink.change_bucket(name, put=put, remove=sorted(stored.keys() - wanted.keys()))
        if sink.read_bucket(name) != wanted:
            raise StoreUnavailableError(
                f"{label}: bucket {name} does not hold what was just written to it; the sink serves the same rows "
                "as before. Check the server's memory and replication, then run `recsys-assets sync` again"
            )
        return len(put)

    return write
