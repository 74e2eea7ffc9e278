"""Descriptions of the kinds of artifacts: names, shapes of rows and texts, without dataframe libraries.

Each `kinds.kind.Kind` has its description. Serving, diff and reports, which do not import kernels, call `describe`. A
package that adds a kind may also add its description, as an entry point of `DESCRIPTIONS_GROUP` named like the kind.
Without one, only the structure of the stored rows is known.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Final

import msgspec

BLEND: Final = "blend"  # name of the combined ranking of all recommending kinds of a release
DESCRIPTIONS_GROUP: Final = "recsys_assets.kind_descriptions"
SCALE: Final = 1_000_000  # scores other than counts are stored as integer millionths


class Shape(msgspec.Struct, frozen=True):
    """Field names and layout of the rows of a kind.

    The body is `{body: [{key: id, entries: [entry, ...]}, ...]}`, or without `key` the entries of its only list. An
    entry is `{member: id, value: number}`, or without `value` the member's bare string. `column` names the members in
    frames. Values are stored as integers and mean `value / scale`.
    """

    body: str
    member: str
    column: str
    value: str | None = None
    scale: int = 1
    key: str | None = None
    entries: str | None = None
    may_be_empty: bool = False  # whether a key's list may be empty

    @property
    def row_id(self) -> str:
        """Name of the id field, the first field of each row."""
        return self.key or self.member


class VectorShape(msgspec.Struct, frozen=True):
    """Embedding tables of a kind: by id column, the name of the array with one vector per id.

    The file contains for each table the array (float32, one row per id), and the ids in the layout of Arrow strings:
    `<column>.text` (uint8), all ids concatenated in UTF-8, and `<column>.ends` (int64), the end offset of each id.
    """

    tables: Mapping[str, str]


class Signals(msgspec.Struct, frozen=True):
    """Database table of a kind's rows, per day or only of the live release, with extra catalog columns."""

    table: str
    daily: bool = True
    of_catalog: tuple[str, ...] = ()


class KindDescription(msgspec.Struct, frozen=True):
    """Name, summary and row shape of a kind, with the texts of reports about it."""

    name: str
    summary: str
    shape: Shape | VectorShape
    place: str = "the artifact"  # name of the lists that rows enter and leave, in a report
    signals: Signals | None = None  # its database table

    @property
    def is_ranking(self) -> bool:
        """Whether the artifact is one list, best first, whose rows move by rank instead of by content."""
        return isinstance(self.shape, Shape) and self.shape.key is None and self.shape.value is not None

    @property
    def orders_items(self) -> bool:
        """Whether its lists are items, best first, so that a back-test can query next items."""
        return isinstance(self.shape, Shape) and self.shape.value is not None and self.shape.member == "item_id"

    @property
    def names_items(self) -> bool:
        """Whether its rows, their members or its vectors refer to items."""
        if isinstance(self.shape, VectorShape):
            return "item_id" in self.shape.tables
        return "item_id" in {self.shape.key, self.shape.column}

    @property
    def nouns(self) -> tuple[str, str]:
        """The words for one row and for several."""
        nouns = {"item_id": ("item", "items"), "user_id": ("user", "users")}
        return nouns.get(self.shape.row_id, ("row", "rows")) if isinstance(self.shape, Shape) else ("vector", "vectors")


def _neighbors(column: str) -> Shape:
    return Shape(body="neighbors", key="item_id", entries="items", member="item_id", column=column, value="count")


def _user_lists(*, scale: int, may_be_empty: bool = False) -> Shape:
    return Shape(
        body="users",
        key="user_id",
        entries="items",
        member="item_id",
        column="item_id",
        value="score",
        scale=scale,
        may_be_empty=may_be_empty,
    )


POPULARITY_SHAPE: Final = Shape(body="items", member="item_id", column="item_id", value="count")
COOC_SHAPE: Final = _neighbors("neighbor_id")
IMPLICIT_SHAPE: Final = _user_lists(scale=SCALE)
SESSION_SEQ_SHAPE: Final = _user_lists(scale=1, may_be_empty=True)
CONTENT_SIM_SHAPE: Final = Shape(body="items", key="item_id", entries="tags", member="tag", column="tag")
ITEM_SEQ_SHAPE: Final = _neighbors("next_id")
SEQUENTIAL_RULES_SHAPE: Final = _neighbors("next_id")
ALS_FACTORS_SHAPE: Final = VectorShape({"user_id": "user_factors", "item_id": "item_factors"})

POPULARITY: Final = KindDescription(
    name="popularity",
    summary="How often each item was seen, most seen first.",
    shape=POPULARITY_SHAPE,
    place="the top list",
    signals=Signals("item_popularity_daily"),
)
COOC: Final = KindDescription(
    name="cooc",
    summary="Which items met in the same sessions, and in how many; the best neighbours of each item.",
    shape=COOC_SHAPE,
    place="the lists of what is seen together",
    signals=Signals("item_covisit_daily"),
)
IMPLICIT: Final = KindDescription(
    name="implicit",
    summary="How much each user had to do with each item, by weighted counts; the best items of each user.",
    shape=IMPLICIT_SHAPE,
    place="the lists of what each user looked at",
)
SESSION_SEQ: Final = KindDescription(
    name="session_seq",
    summary="What each user came back to after the first thing seen; the most followed items of each user.",
    shape=SESSION_SEQ_SHAPE,
    place="the lists of what comes next",
)
CONTENT_SIM: Final = KindDescription(
    name="content_sim",
    summary="The tags of each catalog item, by which services find items alike.",
    shape=CONTENT_SIM_SHAPE,
    place="the tagged catalog",
    signals=Signals("item_tags", daily=False, of_catalog=("price", "created_at")),
)
ITEM_SEQ: Final = KindDescription(
    name="item_seq",
    summary="Which item came new into a session right after another; the best next items of each item.",
    shape=ITEM_SEQ_SHAPE,
    place="the lists of what is seen next",
)
SEQUENTIAL_RULES: Final = KindDescription(
    name="sequential_rules",
    summary="Which items come soon after an item in sessions, the nearer the more; the best of each item.",
    shape=SEQUENTIAL_RULES_SHAPE,
    place="the lists of what follows",
)
ALS_FACTORS: Final = KindDescription(
    name="als_factors",
    summary="A vector per user and item, by matrix factorisation; products say who may like what.",
    shape=ALS_FACTORS_SHAPE,
    place="the tables of factors",
)

DESCRIPTIONS: Final[Mapping[str, KindDescription]] = {
    one.name: one
    for one in (POPULARITY, COOC, IMPLICIT, SESSION_SEQ, CONTENT_SIM, ITEM_SEQ, SEQUENTIAL_RULES, ALS_FACTORS)
}


def describe(kind: str) -> KindDescription | None:
    """Return the description of a built-in kind, or of one that an installed package describes, else None."""
    return DESCRIPTIONS.get(kind) or installed_descriptions().get(kind)


def installed_entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group. All installed packages are searched once per process, which takes 50 ms."""
    return _all_entry_points().select(group=group)


@cache
def _all_entry_points() -> Any:
    return entry_points()  # of another class in Python 3.12 than in 3.11


@cache
def installed_descriptions() -> Mapping[str, KindDescription]:
    """Return the descriptions that other packages add, by kind. The packages are searched once per process.

    A description that cannot be loaded is skipped, so that services keep reading. `kinds.registry` reports it.
    """
    descriptions: dict[str, KindDescription] = {}
    for point in installed_entry_points(DESCRIPTIONS_GROUP):
        try:
            loaded: object = point.load()
        except Exception:  # noqa: BLE001, S112 - third-party code: see above
            continue
        if isinstance(loaded, KindDescription):
            descriptions[point.name] = loaded
    return descriptions
