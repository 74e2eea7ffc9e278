"""Typed rows of each kind of artifact, and the layout of the rows in its bytes."""

from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final, TypeAlias

import msgspec

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
from recsys_assets.serving.row_index import RowForm

Count = Annotated[int, msgspec.Meta(ge=0)]


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
