"""Pointer of a sink: the spaces that are served, kept, being written or removed, and its changes, without I/O."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from recsys_assets.artifact_format import SHARDS_FORM, index_kind, sharded_kind
from recsys_assets.identity import ArtifactRef, Target, form_of, parse_rfc3339, rfc3339
from recsys_assets.release.documents import FORMAT, Record
from recsys_assets.sinks.sink import space_name

ABANDONED: Final = timedelta(days=1)  # no sync writes one version for longer: an older unfinished space is abandoned
_BYTES_OF_A_BUCKET: Final = 1 << 15  # About a hundred rows. Far below the 1 MB of one DynamoDB response.


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
