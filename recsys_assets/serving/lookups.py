"""Rows of each kind of artifact as typed values, and the form in which its bytes hold them."""

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
    """Frozen, strict, and not tracked by the collector of cycles: rows are made by the thousand and hold none."""


class CountedItem(_ListRow, frozen=True):
    """An item and how often it was counted."""

    item_id: str
    count: Count


class ScoredItem(_ListRow, frozen=True):
    """An item and its score; a higher one comes first."""

    item_id: str
    score: float


class Neighbors(_ListRow, frozen=True):
    """An item and the items seen beside or right after it, most often first."""

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


_Decoders: TypeAlias = tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[list[Any]]]  # of one row, and of many


def _decoders(row: type[_ListRow]) -> _Decoders:
    return msgspec.json.Decoder(row), msgspec.json.Decoder(list[row])


_DECODERS: Final[Mapping[tuple[str, str, str], _Decoders]] = {
    # by id of the row, field of the members, and field of their value
    ("item_id", "", "count"): _decoders(CountedItem),
    ("item_id", "items", "count"): _decoders(Neighbors),
    ("user_id", "items", "score"): _decoders(UserItems),
    ("item_id", "tags", ""): _decoders(TaggedItem),
}


def _form_of(shape: Shape) -> RowForm[Any] | None:
    """Return how rows of a shape are read, or None for a shape that has no typed row here."""
    decoders = _DECODERS.get((shape.row_id, shape.entries or "", shape.value or ""))
    close = b"]}" if shape.key else b"}"
    return decoders and RowForm(shape.body, shape.row_id, close, *decoders, attrgetter(shape.row_id))


@cache
def form_of_kind(kind: str) -> RowForm[Any] | None:
    """Return how the rows of a kind are read, from its description; None if nobody describes it."""
    description = describe(kind)
    return _form_of(description.shape) if description and isinstance(description.shape, Shape) else None


def _of(shape: Shape) -> RowForm[Any]:
    form = _form_of(shape)
    assert form is not None, shape  # noqa: S101 - our own shapes have rows
    return form


POPULARITY: Final[RowForm[CountedItem]] = _of(POPULARITY_SHAPE)
COOC: Final[RowForm[Neighbors]] = _of(COOC_SHAPE)
IMPLICIT: Final[RowForm[UserItems]] = _of(IMPLICIT_SHAPE)
SESSION_SEQ: Final[RowForm[UserItems]] = _of(SESSION_SEQ_SHAPE)
ITEM_SEQ: Final[RowForm[Neighbors]] = _of(ITEM_SEQ_SHAPE)
CONTENT_SIM: Final[RowForm[TaggedItem]] = _of(CONTENT_SIM_SHAPE)

# What the rows of a kind that nobody describes can be: such a kind is looked up in by the structure of its rows.
SHAPES: Final[tuple[RowForm[Any], ...]] = (POPULARITY, COOC, IMPLICIT, CONTENT_SIM)

# Forms of our own kinds, by name; `form_of_kind` knows those of installed packages too.
FORMS: Final[Mapping[str, RowForm[Any]]] = {
    kind: form for kind in DESCRIPTIONS if (form := form_of_kind(kind)) is not None
}
