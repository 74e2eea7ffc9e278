"""Rows of each kind of artifact as typed values, and the form in which its bytes hold them."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec

from recsys_assets.serving.row_index import Form

Count = Annotated[int, msgspec.Meta(ge=0)]


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Frozen, strict, and not tracked by the collector of cycles: rows are made by the thousand and hold none."""


class CountedItem(_Row, frozen=True):
    """An item and how often it was counted."""

    item_id: str
    count: Count


class ScoredItem(_Row, frozen=True):
    """An item and its score; a higher one comes first."""

    item_id: str
    score: float


class Neighbors(_Row, frozen=True):
    """An item and the items seen beside or right after it, most often first."""

    item_id: str
    items: tuple[CountedItem, ...]


class UserItems(_Row, frozen=True):
    """A user and their items, the highest score first."""

    user_id: str
    items: tuple[ScoredItem, ...]


class TaggedItem(_Row, frozen=True):
    """An item and its tags, in the catalog's order."""

    item_id: str
    tags: tuple[str, ...]


_item_id = attrgetter("item_id")
_user_id = attrgetter("user_id")


def _of_users() -> Form[UserItems]:
    return Form("users", "user_id", b"]}", msgspec.json.Decoder(UserItems), _user_id)


POPULARITY: Final = Form("items", "item_id", b"}", msgspec.json.Decoder(CountedItem), _item_id)
COOC: Final = Form("neighbors", "item_id", b"]}", msgspec.json.Decoder(Neighbors), _item_id)
IMPLICIT: Final = _of_users()
SESSION_SEQ: Final = _of_users()
ITEM_SEQ: Final = COOC
CONTENT_SIM: Final = Form("items", "item_id", b"]}", msgspec.json.Decoder(TaggedItem), _item_id)

# What the rows of a kind that is not known here can be: such a kind is looked up in without a line of its own.
SHAPES: Final[tuple[Form[Any], ...]] = (POPULARITY, COOC, IMPLICIT, CONTENT_SIM)

FORMS: Final[Mapping[str, Form[Any]]] = {
    "popularity": POPULARITY,
    "cooc": COOC,
    "implicit": IMPLICIT,
    "session_seq": SESSION_SEQ,
    "content_sim": CONTENT_SIM,
    "item_seq": ITEM_SEQ,
}
