"""Contracts of the kinds' rows and vectors, checked on codes and dictionaries."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from recsys_assets.compiled.arrays import Codes, Numbers, offsets_of
from recsys_assets.compiled.kernel_steps import count_codes, deal
from recsys_assets.compiled.runtime import compiled
from recsys_assets.encoding.rows import Rows
from recsys_assets.encoding.safetensors_codec import Table, Vectors
from recsys_assets.events.rules import FrameContract, Rule, broken_rules
from recsys_assets.evidence import Finding, Scalar
from recsys_assets.ingest.part_merge import ABSENT
from recsys_assets.ingest.white_space import WHITE_SPACE
from recsys_assets.kinds.content_sim import lower
from recsys_assets.kinds.params import KindParams, Promise

Marks = NDArray[np.bool_]
NOWHERE = -1
_MARKS = frozenset({"distinct", "other", "answered", "place", "lower"})  # columns of rules, hidden in samples


def first_in_list(rows: Rows) -> Marks:
    """Return a mask (bool) of the members that occur for the first time in their list."""
    marks = np.empty(len(rows.members), np.bool_)
    _mark_first(rows.offsets, rows.members, np.full(len(rows.member_ids), NOWHERE), marks)
    return marks


def answered(rows: Rows, keys: Codes, members: Codes, *, lists_cut: bool, max_members: int) -> Marks:
    """Return a mask of the members whose own list has the mirrored pair with the same value, or may have lost it.

    `keys` and `members` are those of `rows` as codes of a common dictionary. `lists_cut` says whether the list of a
    member may have been dropped. A list of `max_members` may have lost entries that rank after its last one. Lists must
    be sorted best first, because their last entry is taken for the worst one, and members distinct in their list.

    The members are grouped by their own list, so that each list is written to a table once and looked up there.
    """
    size = int(max(keys.max(initial=0), members.max(initial=0))) + 1
    list_of = np.full(size, ABSENT, np.uint32)
    list_of[keys] = np.arange(len(keys), dtype=np.uint32)
    lists = list_of[members]
    starts = offsets_of(count_codes(lists, size=len(keys)))
    positions = np.arange(len(members), dtype=np.uint32)
    mirrors = Mirrors(deal(lists, positions, places=starts[:-1].copy(), size=int(starts[-1])), starts)
    list_keys = np.repeat(keys, np.diff(rows.offsets))
    marks = np.full(len(members), lists_cut)
    found = Found(np.full(size, NOWHERE), np.zeros(size, np.int64))
    _mark_answered(rows.offsets, list_keys, members, rows.values, mirrors, found, max_members, marks)
    return marks


class Mirrors(NamedTuple):
    """The members whose own list is `n`: `positions[starts[n] : starts[n + 1]]`."""

    positions: Codes
    starts: Numbers


class Found(NamedTuple):
    """The list in which an item was found last, by code, and its value there."""

    lists: Numbers
    values: Numbers


@compiled
def _mark_first(offsets: Numbers, members: Codes, seen_in: Numbers, marks: Marks) -> None:
    for n in range(len(offsets) - 1):
        for position in range(offsets[n], offsets[n + 1]):
            marks[position] = seen_in[members[position]] != n
            seen_in[members[position]] = n


@compiled
def _mark_answered(
    offsets: Numbers,
    list_keys: Codes,
    members: Codes,
    values: Numbers,
    mirrors: Mirrors,
    found: Found,
    max_members: int,
    marks: Marks,
) -> None:
    for n in range(len(mirrors.starts) - 1):
        last = offsets[n + 1] - 1
        for position in range(offsets[n], offsets[n + 1]):
            found.lists[members[position]] = n
            found.values[members[position]] = values[position]
        is_full = offsets[n + 1] - offsets[n] >= max_members
        for position in mirrors.positions[mirrors.starts[n] : mirrors.starts[n + 1]]:
            key, value = list_keys[position], values[position]
            is_answered = found.lists[key] == n and found.values[key] == value
            if is_full and not is_answered:
                is_answered = values[last] > value or (values[last] == value and members[last] < key)
            marks[position] = is_answered


def check_rows(rows: Rows, params: KindParams) -> tuple[Finding, ...]:
    """Return the violations of the contract of a kind with these parameters, empty if there are none.

    - Ids are not empty and trimmed. Tags are lower-case.
    - Keys ascend and are distinct. The number and the length of lists are within the promised bounds. Lists are not
      empty, unless the shape allows it.
    - Members are distinct in their list, and no item is its own neighbour. Values have the promised minimum and are
      sorted best first, with ties by id (tags in any order). Pairs have the same value from both sides, unless a
      cut removed one.

    Each finding has the exact count of offending rows and a sample with their ids.
    """
    promise = params.promise
    keys = ids_contract(rows.key_ids, role="key")
    ids = ids_contract(rows.member_ids, role="member", lower_case=promise.lower_case)
    members = _members_contract(rows, promise)
    *of_rest, of_members = broken_rules(keys, ids, _lists_contract(rows, promise), members)
    if promise.others and not of_members:  # otherwise lists may not be sorted
        of_members = broken_rules(_pairs_contract(rows, promise, members))[0]
    return tuple(_with_ids(finding, rows) for findings in (*of_rest, of_members) for finding in findings)


def ids_contract(ids: pl.Series, *, role: str, lower_case: bool = False) -> FrameContract:
    """Return the contract of a dictionary of ids: not empty, trimmed, ascending and, if required, lower-case."""
    rules = [
        Rule(f"{role}_ids_not_empty", pl.col("id") != "", "ids are not empty"),
        Rule(f"{role}_ids_trimmed", pl.col("id").str.strip_chars(WHITE_SPACE) == pl.col("id"), "ids are trimmed"),
        Rule(f"{role}_ids_ascend", _ascend("id"), "ids ascend and are distinct"),
    ]
    frame, types = pl.DataFrame({"id": ids}), {"id": pl.String()}
    if lower_case:
        frame = frame.with_columns(lower=pl.Series([lower(text) for text in ids], dtype=pl.String))
        types |= {"lower": pl.String()}
        rules.append(Rule("tags_lower_case", pl.col("lower") == pl.col("id"), "tags are lower-case"))
    return FrameContract(frame, types, rules)


def _lists_contract(rows: Rows, promise: Promise) -> FrameContract:
    """Return the contract of keys, number and lengths of lists."""
    lengths = np.diff(rows.offsets)
    keys = rows.keys if rows.shape.key else np.zeros(len(lengths), np.uint32)
    frame = pl.DataFrame({"place": np.arange(1, len(keys) + 1), "key": keys, "length": lengths})
    rules = [Rule("keys_ascend", _ascend("key"), "keys ascend and are distinct")]
    if promise.max_lists is not None:
        at_most = pl.col("place") <= promise.max_lists
        rules.append(Rule("lists", at_most, f"there are at most {promise.max_lists} lists"))
    if promise.max_members is not None:
        at_most = pl.col("length") <= promise.max_members
        rules.append(Rule("list_length", at_most, f"lists have at most {promise.max_members} members"))
    if rows.shape.key and not rows.shape.may_be_empty:
        rules.append(Rule("list_not_empty", pl.col("length") > 0, "lists have a member"))
    return FrameContract(frame, {"place": pl.Int64(), "key": pl.UInt32(), "length": pl.Int64()}, rules)


def _members_contract(rows: Rows, promise: Promise) -> FrameContract:
    lists = np.repeat(np.arange(len(rows.offsets) - 1, dtype=np.uint32), np.diff(rows.offsets))
    frame = pl.DataFrame({"list": lists, "member": rows.members, "value": rows.values, "distinct": first_in_list(rows)})
    types = {"list": pl.UInt32(), "member": pl.UInt32(), "value": pl.Int64(), "distinct": pl.Boolean()}
    rules = [Rule("members_distinct", pl.col("distinct"), "members are distinct in their list")]
    if rows.shape.value:
        least = promise.least / rows.shape.scale
        rules.append(Rule("values", pl.col("value") >= promise.least, f"values are at least {least:g}"))
        rules.append(Rule("best_first", _best_first(), "members are sorted best first, ties by id"))
    return FrameContract(frame, types, rules)


def _pairs_contract(rows: Rows, promise: Promise, of_members: FrameContract) -> FrameContract:
    """Return the contract of members that have the same type of id as keys. Lists must be sorted."""
    keys, members = _common_codes(rows)
    frame = of_members.frame.drop("distinct")
    frame = frame.with_columns(other=pl.Series(keys[frame["list"].to_numpy()] != members))
    types = {name: dtype for name, dtype in of_members.dtypes.items() if name != "distinct"} | {"other": pl.Boolean()}
    rules = [Rule("no_self", pl.col("other"), "an item is not its own neighbour")]
    if promise.pairs:
        marks = answered(
            rows,
            keys,
            members,
            lists_cut=promise.max_lists is not None and len(rows) >= promise.max_lists,
            max_members=promise.max_members or len(rows.member_ids) + 1,
        )
        frame, types = frame.with_columns(answered=pl.Series(marks)), {**types, "answered": pl.Boolean()}
        mirrored = pl.col("answered") | ~pl.col("other")
        rules.append(Rule("mirrored", mirrored, "a pair has the same value from both sides"))
    return FrameContract(frame, types, rules)


def _common_codes(rows: Rows) -> tuple[Codes, Codes]:
    """Return keys and members as codes of a common dictionary, in the order of the ids."""
    ids = pl.concat([rows.key_ids.rename("id"), rows.member_ids.rename("id")]).unique().sort()
    dictionary = pl.DataFrame({"id": ids}).with_row_index("code")
    keys, members = (
        pl.DataFrame({"id": own}).join(dictionary, on="id", how="left", maintain_order="left")["code"].to_numpy()
        for own in (rows.key_ids, rows.member_ids)
    )
    return keys[rows.keys], members[rows.members]


def _ascend(column: str) -> pl.Expr:
    return (pl.col(column) > pl.col(column).shift()).fill_null(value=True)


def _best_first() -> pl.Expr:
    before = {name: pl.col(name).shift() for name in ("list", "value", "member")}
    tied = (pl.col("value") == before["value"]) & (pl.col("member") > before["member"])
    better = (pl.col("value") < before["value"]) | tied
    return ((pl.col("list") != before["list"]) | better).fill_null(value=True)


def _with_ids(finding: Finding, rows: Rows) -> Finding:
    """Return the finding with ids instead of codes in its sample."""
    return replace(finding, sample=tuple(_row_with_ids(row, rows) for row in finding.sample))


def _row_with_ids(row: Mapping[str, Scalar], rows: Rows) -> dict[str, Scalar]:
    shown = {name: value for name, value in row.items() if name not in _MARKS}
    if rows.shape.key and "list" in row:
        shown["list"] = rows.key_ids[int(rows.keys[int(row["list"] or 0)])]
    if rows.shape.key and "key" in row:
        shown["key"] = rows.key_ids[int(row["key"] or 0)]
    if "member" in row:
        shown["member"] = rows.member_ids[int(row["member"] or 0)]
    return shown


def check_content(content: Rows | Vectors, params: KindParams) -> tuple[Finding, ...]:
    """Return the violations of the contract of a kind of rows or vectors with these parameters."""
    return check_rows(content, params) if isinstance(content, Rows) else check_vectors(content, params)


def check_vectors(vectors: Vectors, params: KindParams) -> tuple[Finding, ...]:
    """Return the violations of the contract of a kind of vectors with these parameters, empty if there are none.

    Ids are not empty, trimmed, ascending, distinct, and no more than promised. Vectors have the promised length, and
    all their numbers are finite. Each finding has the exact count of offending rows and a sample with their ids.
    """
    contracts = [
        contract
        for column, table in vectors.tables.items()
        for contract in (ids_contract(table.ids, role=column), _table_contract(column, table, params.promise))
    ]
    return tuple(finding for findings in broken_rules(*contracts) for finding in findings)


def _table_contract(column: str, table: Table, promise: Promise) -> FrameContract:
    places = np.arange(1, len(table.ids) + 1)
    frame = pl.DataFrame({"id": table.ids, "place": places, "finite": np.isfinite(table.values).all(axis=1)})
    frame = frame.with_columns(length=pl.lit(table.values.shape[1]))
    types = {"id": pl.String(), "place": pl.Int64(), "finite": pl.Boolean(), "length": pl.Int32()}
    rules = [Rule(f"{column}_vectors_finite", pl.col("finite"), "all numbers of a vector are finite")]
    if promise.dimensions is not None:
        as_long = pl.col("length") == promise.dimensions
        rules.append(Rule(f"{column}_vector_length", as_long, f"vectors have {promise.dimensions} numbers"))
    if column in promise.max_vectors:
        limit = promise.max_vectors[column]
        rules.append(Rule(f"{column}_vectors", pl.col("place") <= limit, f"there are at most {limit} vectors"))
    return FrameContract(frame, types, rules)
