"""The pointer of a sink: which spaces are served, kept, written and removed, and every change of it, without I/O."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from recsys_assets.identity import ArtifactRef, Target, form_of, parse_rfc3339, rfc3339
from recsys_assets.release.documents import FORMAT, Record
from recsys_assets.sharding import SHARDS_FORM, index_kind, sharded_kind
from recsys_assets.sinks.sink import space_name

ABANDONED: Final = timedelta(days=1)  # nobody writes one version for longer: what was begun earlier, nobody ends
_BYTES_OF_A_BUCKET: Final = 1 << 15  # a hundred rows or so; far below the 1 MB that DynamoDB answers at once


class Space(Record, frozen=True):
    """The rows of one version of a kind: where they are, in how many buckets, and since when it is in its state."""

    kind: str
    version: str
    name: str
    buckets: int
    at: str
    rows: int = 0  # none are known before all are written
    key: str | None = None  # the field by which rows are found; None: rows are pages of one list

    @property
    def artifact_kind(self) -> str:
        """The kind under which the store holds the version."""
        return index_kind(self.kind) if form_of(self.version) == SHARDS_FORM else self.kind


class SinkPointer(Record, frozen=True):
    """What a sink serves of a target, and what else it holds; services read `kinds` and `blocked`.

    `updated_at` is the time of the store's pointer that it follows. `kept` were served and wait for their end,
    `writing` are not served yet, `removing` are being deleted and never served again.
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
        known = (*self.kinds.values(), *self.kept, *self.writing)
        return next((one for one in known if (one.kind, one.version) == (kind, version)), None)

    @property
    def written(self) -> frozenset[str]:
        """Names of the spaces whose rows were all read back."""
        return frozenset(one.name for one in (*self.kinds.values(), *self.kept))


def new_space(
    pointer: SinkPointer, prefix: str, target: Target, ref: ArtifactRef, refs: Sequence[ArtifactRef], *, now: datetime
) -> Space:
    """Return a space for a version that has none, under a name that no other space has or had.

    `refs` are the objects that hold its rows; it has a multiple of them as buckets, so that each is inside one object.
    """
    kind = sharded_kind(ref.kind)
    return Space(
        kind=kind,
        version=ref.version,
        name=space_name(prefix, target, kind, ref.version, pointer.revision + 1),
        buckets=len(refs) * -(-sum(one.size for one in refs) // (_BYTES_OF_A_BUCKET * len(refs))),
        at=rfc3339(now),
    )


def announce(pointer: SinkPointer, spaces: tuple[Space, ...]) -> SinkPointer:
    """Return the pointer with spaces that are to be written: from then on nobody takes them for left over."""
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
    """Return the pointer that serves other spaces; those it served are kept from now on."""
    at = rfc3339(now)
    served = {one.name for one in kinds.values()}
    left = tuple(msgspec.structs.replace(one, at=at) for one in pointer.kinds.values() if one.name not in served)
    return _next(
        pointer,
        release=release,
        updated_at=updated_at,
        switched_at=at if release != pointer.release else pointer.switched_at,
        kinds=dict(sorted(kinds.items())),
        blocked=blocked,
        kept=(*(one for one in pointer.kept if one.name not in served), *left),
        writing=tuple(one for one in pointer.writing if one.name not in served),
    )


def expire(
    pointer: SinkPointer, *, keep: int, grace: timedelta, is_gone: Callable[[Space], bool], now: datetime
) -> SinkPointer:
    """Return the pointer whose `removing` has what nothing needs.

    That is what was served before the last `keep` versions of its kind and longer ago than the grace, what the store
    itself has no more (of a user who was forgotten, for instance), and what was announced and never served.
    """
    ended = {
        one.name
        for number, one in _by_age(pointer)
        if is_gone(one) or (number >= keep and now - parse_rfc3339(one.at) > grace)
    }
    ended |= {one.name for one in pointer.writing if now - parse_rfc3339(one.at) > ABANDONED}
    if not ended:
        return pointer
    found = tuple(one for one in (*pointer.kept, *pointer.writing) if one.name in ended)
    return _next(
        pointer,
        kept=tuple(one for one in pointer.kept if one.name not in ended),
        writing=tuple(one for one in pointer.writing if one.name not in ended),
        removing=(*pointer.removing, *found),
    )


def forget_removed(pointer: SinkPointer, spaces: tuple[Space, ...]) -> SinkPointer:
    """Return the pointer without spaces whose rows are deleted."""
    names = {one.name for one in spaces}
    return _next(pointer, removing=tuple(one for one in pointer.removing if one.name not in names))


def _by_age(pointer: SinkPointer) -> list[tuple[int, Space]]:
    """Return each kept space with how many versions of its kind were served after it."""
    counts = dict.fromkeys(pointer.kinds, 1)
    found: list[tuple[int, Space]] = []
    for one in sorted(pointer.kept, key=lambda one: parse_rfc3339(one.at), reverse=True):
        number = counts.get(one.kind, 0)
        found.append((number, one))
        counts[one.kind] = number + 1
    return found


def _next(pointer: SinkPointer, **changes: object) -> SinkPointer:
    return msgspec.structs.replace(pointer, revision=pointer.revision + 1, **changes)
