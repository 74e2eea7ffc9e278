"""One artifact as it is served: bytes with verified version and target, and typed rows ready for lookups."""

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from mmap import mmap
from operator import attrgetter
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from recsys_assets.artifact_format import Document, parse, version_of
from recsys_assets.errors import CorruptObjectError
from recsys_assets.identity import JSON_FORM, Target, form_of
from recsys_assets.kind_descriptions import (
    CONTENT_SIM_SHAPE,
    COOC_SHAPE,
    DESCRIPTIONS,
    IMPLICIT_SHAPE,
    ITEM_SEQ_SHAPE,
    POPULARITY_SHAPE,
    SESSION_SEQ_SHAPE,
    Shape,
    describe,
)
from recsys_assets.release.shards import check_digits
from recsys_assets.serving.row_index import Lookup, RowForm, RowIndex, index_rows

Count = Annotated[int, msgspec.Meta(ge=0)]
ReadIndex: TypeAlias = Callable[[RowForm[Any], bytes | mmap, int, int], RowIndex[Any] | None]


class _ListRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Frozen and strict. Not tracked by the garbage collector, because rows are many and contain no cycles."""


class CountedItem(_ListRow, frozen=True):
    """An item and its count."""

    item_id: str
    count: Count


class ScoredItem(_ListRow, frozen=True):
    """An item and its score. Higher is better."""

    item_id: str
    score: float


class Neighbors(_ListRow, frozen=True):
    """An item and the items seen with it or right after it, the highest count first."""

    item_id: str
    items: tuple[CountedItem, ...]


class UserItems(_ListRow, frozen=True):
    """A user and their items, the highest score first."""

    user_id: str
    items: tuple[ScoredItem, ...]


class TaggedItem(_ListRow, frozen=True):
    """An item and its tags, in the catalog's order."""

    item_id: str
    tags: tuple[str, ...]


# Decoders of one row, and of many rows.
_Decoders: TypeAlias = tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[list[Any]]]


def _decoders(row: type[_ListRow]) -> _Decoders:
    return msgspec.json.Decoder(row), msgspec.json.Decoder(list[row])


_DECODERS: Final[Mapping[tuple[str, str, str], _Decoders]] = {
    # keys: id field of the row, field of its list, and field of the value of each entry
    ("item_id", "", "count"): _decoders(CountedItem),
    ("item_id", "items", "count"): _decoders(Neighbors),
    ("user_id", "items", "score"): _decoders(UserItems),
    ("item_id", "tags", ""): _decoders(TaggedItem),
}


def _form_of(shape: Shape) -> RowForm[Any] | None:
    """Return the layout of the rows of a shape, or None if this module has no typed row for it."""
    decoders = _DECODERS.get((shape.row_id, shape.entries or "", shape.value or ""))
    close = b"]}" if shape.key else b"}"
    return decoders and RowForm(shape.body, shape.row_id, close, *decoders, attrgetter(shape.row_id))


@cache
def form_of_kind(kind: str) -> RowForm[Any] | None:
    """Return the layout of the rows of a kind from its description, or None if it has no description."""
    description = describe(kind)
    return _form_of(description.shape) if description and isinstance(description.shape, Shape) else None


def _of(shape: Shape) -> RowForm[Any]:
    form = _form_of(shape)
    assert form is not None, shape  # noqa: S101 - all shapes of this package have rows
    return form


POPULARITY: Final[RowForm[CountedItem]] = _of(POPULARITY_SHAPE)
COOC: Final[RowForm[Neighbors]] = _of(COOC_SHAPE)
IMPLICIT: Final[RowForm[UserItems]] = _of(IMPLICIT_SHAPE)
SESSION_SEQ: Final[RowForm[UserItems]] = _of(SESSION_SEQ_SHAPE)
ITEM_SEQ: Final[RowForm[Neighbors]] = _of(ITEM_SEQ_SHAPE)
CONTENT_SIM: Final[RowForm[TaggedItem]] = _of(CONTENT_SIM_SHAPE)

# Layouts that are tried for a kind without a description.
SHAPES: Final[tuple[RowForm[Any], ...]] = (POPULARITY, COOC, IMPLICIT, CONTENT_SIM)

# Layouts of the kinds of this package, by name. `form_of_kind` also finds those of installed packages.
FORMS: Final[Mapping[str, RowForm[Any]]] = {
    kind: form for kind in DESCRIPTIONS if (form := form_of_kind(kind)) is not None
}


class ServedArtifact(msgspec.Struct, frozen=True, eq=False):
    """The verified bytes of one version, the window they were built from, and their rows (None: unknown shape).

    Bytes in another format than the JSON of the kinds have no window: both strings are empty.
    """

    kind: str
    version: str
    data: bytes | mmap
    window_start: str
    window_end: str
    rows: Lookup[Any] | None


def prove(
    target: Target,
    kind: str,
    version: str,
    data: bytes | mmap,
    *,
    name: str,
    read_index: ReadIndex | None = None,
) -> ServedArtifact:
    """Return the artifact after verifying its bytes against version, target and kind.

    The version is the hash of all bytes except the time of the build, which must be the end of the window. After the
    verification `read_index` is called for a stored index of the rows. Raises `CorruptObjectError` if anything
    differs: restore the object from a backup or build it again.
    """
    if form_of(version) != JSON_FORM:
        check_digits(version, hashlib.sha256(data).hexdigest(), name=name)
        return ServedArtifact(kind, version, data, "", "", rows=None)
    actual = version_of(data, name=name)
    if actual != version:
        raise CorruptObjectError(
            f"{name} is version {actual[:12]}, expected {version[:12]}: restore it or build it again"
        )
    document = parse(data, name=name)
    envelope = document.envelope
    owner = (envelope.kind, envelope.tenant, envelope.surface)
    if owner != (kind, target.tenant, target.surface):
        raise CorruptObjectError(f"{name} contains {owner}, expected {kind} of {target}: remove it, it is not ours")
    rows = _rows(kind, document, data, name, read_index)
    return ServedArtifact(kind, version, data, envelope.window_start, envelope.window_end, rows)


def _rows(
    kind: str, document: Document, data: bytes | mmap, name: str, read_index: ReadIndex | None
) -> RowIndex[Any] | None:
    form, body, start, stop = form_of_kind(kind), document.body, document.start + 1, document.stop - 1
    if data[start - 1 : start] != b"[" or data[stop : stop + 1] != b"]" or stop < start:
        raise CorruptObjectError(f"{name} has no array {body!r}: build it again")
    if form is None:
        return _rows_by_shape(body, data, start, stop, name)
    if body != form.body:
        raise CorruptObjectError(f"{name}: {kind} has {body!r}, expected {form.body!r}: build it again")
    stored = read_index(form, data, start, stop) if read_index is not None else None
    return stored or index_rows(form, data, start=start, stop=stop, name=name)


def _rows_by_shape(body: str, data: bytes | mmap, start: int, stop: int, name: str) -> RowIndex[Any] | None:
    """Return the rows of an unknown kind if they have one of the known shapes, else None."""
    for shape in SHAPES:
        try:
            return index_rows(replace(shape, body=body), data, start=start, stop=stop, name=name)
        except CorruptObjectError:
            continue  # of another shape, as its first row shows
    return None
