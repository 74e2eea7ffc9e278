"""Distance between the rows of an artifact and the live one: measures without limits."""

import msgspec
import numpy as np
import polars as pl

from recsys_assets.compiled.arrays import Codes, Numbers
from recsys_assets.compiled.runtime import compiled
from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Vectors

_STATES = 2  # states of a member of a list: in the first side, and in the second side too
ITEM = "item_id"
_STRENGTHS = {ITEM: pl.String, "strength": pl.Float64}
FEWEST_RANKED = 3  # the correlation of two shared items is always 1 or -1


def count_pairs(
    first: tuple[Numbers, Codes], second: tuple[Numbers, Codes], shared: tuple[Numbers, Numbers]
) -> Numbers:
    """Return two numbers (int64): the distinct (list, member) pairs that both sides have, and those of either side.

    Each side is a pair of offsets (int64) and members (uint32), as codes of one dictionary. Only shared lists count:
    `shared[0][n]` is a list of the first side and `shared[1][n]` the list of the second side with the same key.
    """
    size = int(max(first[1].max(initial=0), second[1].max(initial=0))) + 1
    counts = np.zeros(2, np.int64)
    _count(first, second, shared, np.zeros(size, np.int64), counts)
    return counts


@compiled
def _count(
    first: tuple[Numbers, Codes],
    second: tuple[Numbers, Codes],
    shared: tuple[Numbers, Numbers],
    marks: Numbers,
    counts: Numbers,
) -> None:
    offsets, members = first
    other_offsets, other_members = second
    common = distinct = 0
    for n in range(len(shared[0])):
        met = _STATES * n + 1  # higher than every mark of earlier lists
        here, there = shared[0][n], shared[1][n]
        for position in range(offsets[here], offsets[here + 1]):
            if marks[members[position]] < met:
                marks[members[position]] = met
                distinct += 1
        for position in range(other_offsets[there], other_offsets[there + 1]):
            mark = marks[other_members[position]]
            distinct += 1 if mark < met else 0
            common += 1 if mark == met else 0
            marks[other_members[position]] = met + 1
    counts[0] = common
    counts[1] = distinct


class Baseline(msgspec.Struct, frozen=True, eq=False):
    """The live release, its rows of the same kind, and its items: those of its catalog, or else those of the rows."""

    release: str
    rows: Rows | Vectors
    catalog: pl.Series  # distinct item ids


class Sides(msgspec.Struct, frozen=True):
    """One measure of the candidate and of the live artifact."""

    candidate: float
    live: float

    @property
    def factor(self) -> float:
        """The larger value divided by the smaller one: 1 if both are 0, infinite if only one is."""
        low, high = sorted((self.candidate, self.live))
        return 1.0 if high == low else high / low if low else float("inf")


class Drift(msgspec.Struct, frozen=True):
    """All measures of one comparison, None where there is nothing to compare."""

    release: str
    rows: Sides
    items: Sides
    overlap: float | None  # share of the strongest live items among the candidate's strongest
    rank_correlation: float | None  # Spearman's, over the items that both have
    churn: float | None  # Jaccard distance of (key, member) pairs, over the keys that both have
    coverage: Sides  # share of the catalog's items that appear in the rows
    gini: Sides
    unknown_share: float | None  # share of the candidate's items that are not in the catalog


def measure_drift(rows: Rows | Vectors, live: Baseline, *, top_items: int) -> Drift:
    """Measure the distance of `rows` from the live rows of the same shape.

    The strength of an item is the sum of its values. Where members have no value it is the number of lists that contain
    the item, and for vectors the length of the vector, which does not change if all vectors are rotated together. Ties
    are broken by id. The Gini coefficient is 0 if all items are equally strong and approaches 1 if one item has all
    strength. Spearman's correlation gives equal strengths their mean rank.
    """
    new, old = item_strengths(rows), item_strengths(live.rows)
    both = new.join(old, on=ITEM, suffix="_live")
    catalog = live.catalog.implode()
    covered, covered_live = (int(side[ITEM].is_in(catalog).sum()) for side in (new, old))
    size = max(len(live.catalog), 1)
    return Drift(
        release=live.release,
        rows=Sides(len(rows), len(live.rows)),
        items=Sides(new.height, old.height),
        overlap=_overlap(new, old, top_items),
        rank_correlation=_spearman(both),
        churn=_churn(rows, live.rows),
        coverage=Sides(covered / size, covered_live / size),
        gini=Sides(_gini(new), _gini(old)),
        unknown_share=1 - covered / new.height if new.height else None,
    )


def item_strengths(rows: Rows | Vectors) -> pl.DataFrame:
    """Return `item_id` (String, distinct) and `strength` (Float64), strongest first, ties by id."""
    if isinstance(rows, Vectors):
        return _vector_lengths(rows)
    shape = rows.shape
    if shape.column == ITEM:
        codes, ids = rows.members, rows.member_ids
        weights = rows.values.astype(np.float64) if shape.value else None
    elif shape.key is None:
        return pl.DataFrame(schema=_STRENGTHS)
    else:
        codes = np.repeat(rows.keys, np.diff(rows.offsets))
        ids, weights = rows.key_ids, None
    strengths = np.bincount(codes, weights=weights, minlength=len(ids)).astype(np.float64)
    present = np.bincount(codes, minlength=len(ids)) > 0
    order = np.argsort(-strengths, kind="stable")  # ids ascend
    order = order[present[order]]
    return pl.DataFrame({ITEM: ids.gather(pl.Series(order)), "strength": strengths[order]})


def _vector_lengths(vectors: Vectors) -> pl.DataFrame:
    table = vectors.tables.get(ITEM)
    if table is None:
        return pl.DataFrame(schema=_STRENGTHS)
    return pl.DataFrame({ITEM: table.ids, "strength": table.norms}).sort("strength", ITEM, descending=[True, False])


def _overlap(new: pl.DataFrame, old: pl.DataFrame, top_items: int) -> float | None:
    best = old.head(top_items)
    return best.join(new.head(top_items), on=ITEM, how="semi").height / best.height if best.height else None


def _spearman(both: pl.DataFrame) -> float | None:
    if both.height < FEWEST_RANKED:
        return None
    ranks = both.select(pl.col("strength", "strength_live").rank("average")).to_numpy()
    if (ranks == ranks[0]).all(axis=0).any():
        return None  # all strengths of one side are equal
    return float(np.corrcoef(ranks, rowvar=False)[0, 1])


def _churn(rows: Rows | Vectors, live: Rows | Vectors) -> float | None:
    if isinstance(rows, Vectors) or isinstance(live, Vectors) or not rows.shape.key:
        return None  # kinds without keyed lists
    ids = pl.DataFrame({"id": rows.member_ids}).with_row_index("code")
    codes_of_live = pl.DataFrame({"id": live.member_ids}).join(ids, on="id", how="left", maintain_order="left")["code"]
    unknown = pl.Series(np.arange(len(ids), len(ids) + len(codes_of_live), dtype=np.uint32))
    codes = codes_of_live.zip_with(codes_of_live.is_not_null(), unknown).to_numpy()
    common, either = count_pairs((rows.offsets, rows.members), (live.offsets, codes[live.members]), _shared(rows, live))
    return float(1 - common / either) if either else None


def _shared(rows: Rows, live: Rows) -> tuple[Numbers, Numbers]:
    """Return the indices of the lists of both sides that have the same key, pair by pair."""
    sides = [
        pl.DataFrame({"key": lists.key_ids.gather(pl.Series(lists.keys)), side: np.arange(len(lists.keys))})
        for side, lists in (("new", rows), ("live", live))
    ]
    both = sides[0].join(sides[1], on="key")
    return both["new"].to_numpy(), both["live"].to_numpy()


def _gini(items: pl.DataFrame) -> float:
    values = np.sort(items["strength"].to_numpy())
    total = values.sum()
    if not total:
        return 0.0
    places = np.arange(1, len(values) + 1)
    return float((2 * places - len(values) - 1) @ values / (len(values) * total))
