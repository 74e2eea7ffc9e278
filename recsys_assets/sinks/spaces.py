"""Spaces of a sink: its pointer to those that are served, kept, being written or removed, and the rows in them.

Rows are in buckets by the hash of their key. Each bucket is written and read back.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from recsys_assets.artifact_format import SHARDS_FORM, index_kind, is_index_kind, shard_of, sharded_kind
from recsys_assets.errors import ConfigurationError, StoreUnavailableError
from recsys_assets.identity import ArtifactRef, Target, form_of, parse_rfc3339, rfc3339
from recsys_assets.release.documents import FORMAT, Member, Record
from recsys_assets.release.fault_points import reach
from recsys_assets.release.shards import read_blob
from recsys_assets.serving.row_index import RowIndex
from recsys_assets.serving.served import prove
from recsys_assets.sinks.sink import Sink, bucket_name, space_name
from recsys_assets.storage.store import AT_ONCE, ObjectStore, fan_out

ABANDONED: Final = timedelta(days=1)  # no sync writes one version for longer: an older unfinished space is abandoned
_BYTES_OF_A_BUCKET: Final = 1 << 15  # About a hundred rows. Far below the 1 MB of one DynamoDB response.
BUCKETS_AT_ONCE: Final = 4 * AT_ONCE
ENTRIES_OF_A_PAGE: Final = 1000
_BYTES_OF_A_PAGE: Final = 200_000


class Space(Record, frozen=True):
    """Rows of one version of a kind: the name of the space, the number of buckets, and `at`, the time of its state."""

    kind: str
    version: str
    name: str
    buckets: int
    at: str
    rows: int = 0  # 0 until all are written
    key: str | None = None  # The field that identifies a row. None: rows are pages of one list.

    @property
    def artifact_kind(self) -> str:
        """The kind under which the store holds the version."""
        return index_kind(self.kind) if form_of(self.version) == SHARDS_FORM else self.kind


class SinkPointer(Record, frozen=True):
    """Spaces that a sink serves of a target, and all others that it stores. Services read `kinds` and `blocked`.

    `updated_at` is the time of the store's pointer that it follows. Spaces in `kept` were served and wait for their
    removal. Those in `writing` are not served yet. Those in `removing` are being deleted and never served again.
    """

    tenant: str
    surface: str
    release: str | None = None
    updated_at: str | None = None
    switched_at: str | None = None
    kinds: Mapping[str, Space] = msgspec.field(default_factory=dict[str, Space])
    blocked: tuple[str, ...] = ()
    kept: tuple[Space, ...] = ()
    writing: tuple[Space, ...] = ()
    removing: tuple[Space, ...] = ()
    revision: int = 0
    v: int = FORMAT

    def find(self, kind: str, version: str) -> Space | None:
        """Return the space of a version that is served, kept or being written."""
        spaces = (*self.kinds.values(), *self.kept, *self.writing)
        return next((space for space in spaces if (space.kind, space.version) == (kind, version)), None)

    @property
    def written(self) -> frozenset[str]:
        """Names of the spaces whose rows were all read back."""
        return frozenset(space.name for space in (*self.kinds.values(), *self.kept))


def new_space(
    pointer: SinkPointer, prefix: str, target: Target, ref: ArtifactRef, refs: Sequence[ArtifactRef], *, now: datetime
) -> Space:
    """Return a space for a version that has none, under a name that no other space has or had.

    `refs` are the objects that hold its rows. The number of buckets is a multiple of theirs, so that the rows of each
    bucket are in one object.
    """
    kind = sharded_kind(ref.kind)
    return Space(
        kind=kind,
        version=ref.version,
        name=space_name(prefix, target, kind, ref.version, pointer.revision + 1),
        buckets=len(refs) * -(-sum(ref.size for ref in refs) // (_BYTES_OF_A_BUCKET * len(refs))),
        at=rfc3339(now),
    )


def announce(pointer: SinkPointer, spaces: tuple[Space, ...]) -> SinkPointer:
    """Return the pointer that lists spaces about to be written, so that no other sync removes them as abandoned."""
    return _next(pointer, writing=(*pointer.writing, *spaces))


def switch(
    pointer: SinkPointer,
    *,
    release: str | None,
    updated_at: str | None,
    kinds: Mapping[str, Space],
    blocked: tuple[str, ...],
    now: datetime,
) -> SinkPointer:
    """Return the pointer that serves other spaces. The spaces served before move to `kept`, from `now` on."""
    at = rfc3339(now)
    served = {space.name for space in kinds.values()}
    replaced = tuple(msgspec.structs.replace(old, at=at) for old in pointer.kinds.values() if old.name not in served)
    return _next(
        pointer,
        release=release,
        updated_at=updated_at,
        switched_at=at if release != pointer.release else pointer.switched_at,
        kinds=dict(sorted(kinds.items())),
        blocked=blocked,
        kept=(*(space for space in pointer.kept if space.name not in served), *replaced),
        writing=tuple(space for space in pointer.writing if space.name not in served),
    )


def expire(
    pointer: SinkPointer, *, keep: int, grace: timedelta, is_gone: Callable[[Space], bool], now: datetime
) -> SinkPointer:
    """Return the pointer with all spaces that are no longer needed moved to `removing`.

    These are versions older than the last `keep` of their kind that were replaced longer ago than `grace`, versions
    that the store itself has deleted (`is_gone`: after a user was forgotten, for instance), and spaces that were
    announced and never served.
    """
    expired = {
        space.name
        for newer, space in _by_age(pointer)
        if is_gone(space) or (newer >= keep and now - parse_rfc3339(space.at) > grace)
    }
    expired |= {space.name for space in pointer.writing if now - parse_rfc3339(space.at) > ABANDONED}
    if not expired:
        return pointer
    removed = tuple(space for space in (*pointer.kept, *pointer.writing) if space.name in expired)
    return _next(
        pointer,
        kept=tuple(space for space in pointer.kept if space.name not in expired),
        writing=tuple(space for space in pointer.writing if space.name not in expired),
        removing=(*pointer.removing, *removed),
    )


def forget_removed(pointer: SinkPointer, spaces: tuple[Space, ...]) -> SinkPointer:
    """Return the pointer without spaces whose rows are deleted."""
    names = {space.name for space in spaces}
    return _next(pointer, removing=tuple(space for space in pointer.removing if space.name not in names))


def _by_age(pointer: SinkPointer) -> list[tuple[int, Space]]:
    """Return each kept space with the number of versions of its kind that were served after it, newest first."""
    counts = dict.fromkeys(pointer.kinds, 1)
    numbered: list[tuple[int, Space]] = []
    for space in sorted(pointer.kept, key=lambda space: parse_rfc3339(space.at), reverse=True):
        newer = counts.get(space.kind, 0)
        numbered.append((newer, space))
        counts[space.kind] = newer + 1
    return numbered


def _next(pointer: SinkPointer, **changes: object) -> SinkPointer:
    return msgspec.structs.replace(pointer, revision=pointer.revision + 1, **changes)


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
