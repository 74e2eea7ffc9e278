"""Descriptions of the kinds of artifacts: names, shape of the rows and words for people, without any library of frames.

Each `kinds.kind.Kind` carries its description; serving, diff and reports, which load no kernel, ask `describe`. A
package that adds a kind may add its description beside it, as an entry point of `DESCRIPTIONS_GROUP` named as the kind;
without one, the structure of the stored rows says what can be said.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Final

BLEND: Final = "blend"  # all kinds of a release that recommend, as one ranking beside them
DESCRIPTIONS_GROUP: Final = "recsys_assets.kind_descriptions"
SCALE: Final = 1_000_000  # scores that are no counts are held as whole millionths


@dataclass(frozen=True, slots=True)
class Shape:
    """The names of the rows of a kind, in JSON and for people.

    The body is `{body: [{key: id, entries: [entry, ...]}, ...]}`, or without `key` the entries of its only list. An
    entry is `{member: id, value: number}`, or without `value` the member's bare string. `column` names the members in
    frames. Values are held as integers and stand for `value / scale`.
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
        """The first field of each row: its id."""
        return self.key or self.member


@dataclass(frozen=True, slots=True)
class VectorShape:
    """The tables of embeddings of a kind: for each column of ids, the name of the array with a vector per id.

    In the file stand, of each table, the array itself (float32, a row per id), and the ids as Arrow lays out strings:
    `<column>.text` (uint8), all ids in UTF-8 one behind the other, and `<column>.ends` (int64), where each one ends.
    """

    tables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Signals:
    """The database table of a kind's rows: of each day, or of what is live alone, with more columns of the catalog."""

    table: str
    daily: bool = True
    of_catalog: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KindDescription:
    """The name of a kind, one sentence about it, the shape of its content, and the words of reports about it."""

    name: str
    summary: str
    shape: Shape | VectorShape
    place: str = "the artifact"  # what its rows enter and leave, in a report
    signals: Signals | None = None  # where services that read a database find its rows

    @property
    def is_ranking(self) -> bool:
        """Whether the artifact is one list, best first: a row then moves by its place, else by its content."""
        return isinstance(self.shape, Shape) and self.shape.key is None and self.shape.value is not None

    @property
    def orders_items(self) -> bool:
        """Whether its lists are items, best first, so that a back-test can ask it what comes next."""
        return isinstance(self.shape, Shape) and self.shape.value is not None and self.shape.member == "item_id"

    @property
    def names_items(self) -> bool:
        """Whether its rows, their members or its vectors are of items."""
        if isinstance(self.shape, VectorShape):
            return "item_id" in self.shape.tables
        return "item_id" in {self.shape.key, self.shape.column}

    @property
    def nouns(self) -> tuple[str, str]:
        """The words for one row and for several."""
        known = {"item_id": ("item", "items"), "user_id": ("user", "users")}
        return known.get(self.shape.row_id, ("row", "rows")) if isinstance(self.shape, Shape) else ("vector", "vectors")


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
    """Return the description of one of our kinds, or of one that an installed package describes, else None."""
    return DESCRIPTIONS.get(kind) or installed_descriptions().get(kind)


@cache
def installed_descriptions() -> Mapping[str, KindDescription]:
    """Return, by kind, the descriptions that other packages add; looked for once in a process.

    One that cannot be loaded is passed over: a service goes on reading, and `kinds.registry` names the broken package.
    """
    found: dict[str, KindDescription] = {}
    for point in entry_points(group=DESCRIPTIONS_GROUP):
        try:
            loaded: object = point.load()
        except Exception:  # noqa: BLE001, S112 - the code of others: see above
            continue
        if isinstance(loaded, KindDescription):
            found[point.name] = loaded
    return found
