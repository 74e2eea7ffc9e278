"""Comparison of two releases: changed kinds, row counts, and samples of rows that enter, leave and move."""

from collections.abc import Mapping
from operator import itemgetter

import msgspec

from recsys_assets.artifact_format import ENVELOPE_FIELDS, SHARDS_FORM
from recsys_assets.decoders import decoder_of
from recsys_assets.errors import CorruptObjectError, NotFoundError
from recsys_assets.identity import JSON_FORM, ArtifactRef, Target, form_of
from recsys_assets.kind_descriptions import describe
from recsys_assets.release.documents import Release
from recsys_assets.release.labels import LIVE
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release, resolve_id
from recsys_assets.release.shards import read_blob, read_index
from recsys_assets.storage.store import ObjectStore

MAX_BYTES = 100_000_000  # per artifact: larger ones are compared only by version
SHOWN = 20


class KindDiff(msgspec.Struct, frozen=True):
    """Difference of one kind. A row is an item, a list of neighbours, or a user.

    A row of a ranking moved if its rank changed. A row of any other kind moved if its content changed, because its
    position follows from the ids. `moved` contains (id, rank before, rank after), from 1, in the order of the later
    release.
    """

    kind: str
    before: str | None  # versions
    after: str | None
    rows_before: int | None = None
    rows_after: int | None = None
    entered: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    moved: tuple[tuple[str, int, int], ...] = ()
    counts: Mapping[str, int] | None = None  # Exact numbers of entered, left and moved rows. The tuples are samples.
    message: str = ""
    is_ranking: bool = False  # Whether ranks matter. Rows of other kinds are ordered by id.


class ReleaseDiff(msgspec.Struct, frozen=True):
    """Two releases and the difference of each of their kinds."""

    before: Release
    after: Release
    kinds: tuple[KindDiff, ...]


def diff(store: ObjectStore, target: Target, before: str, after: str, *, shown: int = SHOWN) -> ReleaseDiff:
    """Return the difference of release `after` from `before`. Each is an id, at least 8 digits of one, or `live`.

    Raises `NotFoundError` if a release or one of its blobs is missing (if collected, restore it from the trash).
    """
    old, new = read_named(store, target, before), read_named(store, target, after)
    refs_old, refs_new = old.artifacts, new.artifacts
    kinds = sorted(refs_old.keys() | refs_new.keys())
    kind_diffs = [
        _diff_kind(store, target, kind, refs_old.get(kind), refs_new.get(kind), shown=shown) for kind in kinds
    ]
    return ReleaseDiff(old, new, tuple(kind_diffs))


def read_named(store: ObjectStore, target: Target, named: str) -> Release:
    """Return the record of a release by id, at least 8 digits of it, or `live`. Raises `NotFoundError` if missing."""
    if named == LIVE:
        current = read_current(store, target)
        release_id = current.release_id if current else None
    else:
        release_id = resolve_id(store, target, named)
    if release_id is None:
        raise NotFoundError(f"{target}: release {named} does not exist: see `recsys-assets log`")
    return read_release(store, target, release_id)


def _diff_kind(
    store: ObjectStore, target: Target, kind: str, old: ArtifactRef | None, new: ArtifactRef | None, *, shown: int
) -> KindDiff:
    versions = (old.version if old else None, new.version if new else None)
    if old == new:
        return KindDiff(kind, *versions, message="the same")
    if any(form_of(version) not in {JSON_FORM, SHARDS_FORM} for version in versions if version is not None):
        return KindDiff(kind, *versions, message="differs; its format is not JSON, so rows are not compared")
    largest = max(_size(store, target, ref) for ref in (old, new))
    if largest > MAX_BYTES:
        return KindDiff(
            kind, *versions, message=f"differs; rows are not compared: {largest} bytes are over {MAX_BYTES}"
        )
    before, after = _rows(store, target, old), _rows(store, target, new)
    entered = [row for row in after if row not in before]
    left = [row for row in before if row not in after]
    is_ranking = _is_ranking(kind, after or before)
    moved = _moved(before, after, is_ranking=is_ranking)
    return KindDiff(
        kind,
        *versions,
        rows_before=len(before) if old else None,
        rows_after=len(after) if new else None,
        entered=tuple(entered[:shown]),
        left=tuple(left[:shown]),
        moved=tuple(moved[:shown]),
        counts={"entered": len(entered), "left": len(left), "moved": len(moved)},
        message=f"{len(entered)} entered, {len(left)} left, {len(moved)} moved",
        is_ranking=is_ranking,
    )


def _rows(store: ObjectStore, target: Target, ref: ArtifactRef | None) -> dict[str, bytes]:
    if ref is None:
        return {}
    if form_of(ref.version) == SHARDS_FORM:
        shards = (_rows(store, target, shard) for shard in read_index(store, target, ref).refs)
        return dict(sorted((row for rows in shards for row in rows.items()), key=itemgetter(0)))
    return read_rows(read_blob(store, target, ref), name=f"{ref.kind} {ref.version[:12]}")


def _size(store: ObjectStore, target: Target, ref: ArtifactRef | None) -> int:
    """Return the size in bytes of the rows of an artifact."""
    if ref is None or form_of(ref.version) != SHARDS_FORM:
        return ref.size if ref else 0
    return sum(shard.size for shard in read_index(store, target, ref).shards)


def _is_ranking(kind: str, rows: Mapping[str, bytes]) -> bool:
    """Return whether a kind is a ranking, by its description or, without one, by rows that contain no lists."""
    description = describe(kind)
    return description.is_ranking if description else not any(row.endswith(b"]}") for row in rows.values())


def _moved(before: Mapping[str, bytes], after: Mapping[str, bytes], *, is_ranking: bool) -> list[tuple[str, int, int]]:
    ranks = {row: rank for rank, row in enumerate(before, start=1)}
    return [
        (row, ranks[row], rank)
        for rank, (row, content) in enumerate(after.items(), start=1)
        if row in ranks and (ranks[row] != rank if is_ranking else before[row] != content)
    ]


class _KeyOfRow(msgspec.Struct):
    """Id of a row: an item or a user."""

    item_id: str | None = None
    user_id: str | None = None


def read_rows(data: bytes, *, name: str) -> dict[str, bytes]:
    """Return the bytes of each row by id, in the artifact's order. The first of several rows with one id counts.

    Raises `CorruptObjectError` unless there is exactly one list of rows with ids.
    """
    try:
        document = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        (body,) = [key for key in document if key not in ENVELOPE_FIELDS]
        raw_rows = msgspec.json.decode(document[body], type=list[msgspec.Raw])
        rows: dict[str, bytes] = {}
        for raw in raw_rows:
            row = decoder_of(_KeyOfRow).decode(raw)
            rows.setdefault(row.item_id if row.item_id is not None else row.user_id or "", bytes(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise CorruptObjectError(f"{name} has no readable rows: {error}; build it again") from error
    return rows
