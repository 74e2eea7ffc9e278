"""The contract of every kind's rows, judged on codes and dictionaries, so that millions of rows take a second."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from recsys_assets.artifacts.content_sim import lower
from recsys_assets.artifacts.contract_scan import answered, first_in_list
from recsys_assets.artifacts.params import KindParams, Promise
from recsys_assets.artifacts.rows import Codes, Rows
from recsys_assets.canonical.rules import Rule, broken_rules
from recsys_assets.evidence import Finding, Scalar
from recsys_assets.raw.white_space import WHITE_SPACE

_MARKS = frozenset({"distinct", "other", "answered", "place", "lower"})  # columns that rules need and people do not


def check_rows(rows: Rows, params: KindParams) -> tuple[Finding, ...]:
    """Return what breaks the contract of a kind built with these parameters, nothing if all holds.

    Ids: not empty, trimmed; tags lower-case. Lists: keys ascend and stand once, no more lists than promised, none
    longer than promised, none empty unless its shape says so. Members: distinct in their list, none its own neighbour,
    values at least as promised, best first, ties by id (tags in any order), pairs told the same from both sides
    where no cut took one. Each finding has the exact count of offenders and a few of them with their ids.
    """
    promise = params.promise
    findings = (*_check_ids(rows, promise), *_check_lists(rows, promise), *_check_members(rows, promise))
    return tuple(_with_ids(finding, rows) for finding in findings)


def check_ids(ids: pl.Series, *, role: str, lower_case: bool = False) -> tuple[Finding, ...]:
    """Return what is wrong with a dictionary of ids: not empty, trimmed, ascending, and lower-case if they must be."""
    rules = [
        Rule(f"{role}_ids_not_empty", pl.col("id") != "", "ids are not empty"),
        Rule(f"{role}_ids_trimmed", pl.col("id").str.strip_chars(WHITE_SPACE) == pl.col("id"), "ids are trimmed"),
        Rule(f"{role}_ids_ascend", _ascend("id"), "ids ascend, each once"),
    ]
    frame, types = pl.DataFrame({"id": ids}), {"id": pl.String()}
    if lower_case:
        frame = frame.with_columns(lower=pl.Series([lower(text) for text in ids], dtype=pl.String))
        types |= {"lower": pl.String()}
        rules.append(Rule("tags_lower_case", pl.col("lower") == pl.col("id"), "tags are lower-case"))
    return broken_rules(frame, types, rules)


def _check_ids(rows: Rows, promise: Promise) -> tuple[Finding, ...]:
    keys = check_ids(rows.key_ids, role="key")
    return keys + check_ids(rows.member_ids, role="member", lower_case=promise.lower_case)


def _check_lists(rows: Rows, promise: Promise) -> tuple[Finding, ...]:
    """Judge each list as a whole."""
    lengths = np.diff(rows.offsets)
    keys = rows.keys if rows.shape.key else np.zeros(len(lengths), np.uint32)
    frame = pl.DataFrame({"place": np.arange(1, len(keys) + 1), "key": keys, "length": lengths})
    rules = [Rule("keys_ascend", _ascend("key"), "keys ascend, each once")]
    if promise.max_lists is not None:
        at_most = pl.col("place") <= promise.max_lists
        rules.append(Rule("lists", at_most, f"there are at most {promise.max_lists} lists"))
    if promise.max_members is not None:
        at_most = pl.col("length") <= promise.max_members
        rules.append(Rule("list_length", at_most, f"lists have at most {promise.max_members} members"))
    if rows.shape.key and not rows.shape.may_be_empty:
        rules.append(Rule("list_not_empty", pl.col("length") > 0, "lists have a member"))
    return broken_rules(frame, {"place": pl.Int64(), "key": pl.UInt32(), "length": pl.Int64()}, rules)


def _check_members(rows: Rows, promise: Promise) -> tuple[Finding, ...]:
    lists = np.repeat(np.arange(len(rows.offsets) - 1, dtype=np.uint32), np.diff(rows.offsets))
    frame = pl.DataFrame({"list": lists, "member": rows.members, "value": rows.values, "distinct": first_in_list(rows)})
    types: Mapping[str, pl.DataType] = {"list": pl.UInt32(), "member": pl.UInt32(), "value": pl.Int64()}
    rules = [Rule("members_distinct", pl.col("distinct"), "a member stands once in its list")]
    if rows.shape.value:
        least = promise.least / rows.shape.scale
        rules.append(Rule("values", pl.col("value") >= promise.least, f"values are at least {least:g}"))
        rules.append(Rule("best_first", _best_first(), "members stand best first, ties by id"))
    found = broken_rules(frame, {**types, "distinct": pl.Boolean()}, rules)
    return found or (_check_pairs(rows, promise, frame.drop("distinct"), types) if promise.others else ())


def _check_pairs(
    rows: Rows, promise: Promise, frame: pl.DataFrame, types: Mapping[str, pl.DataType]
) -> tuple[Finding, ...]:
    """Judge members that are of the same sort as keys; lists must be in order."""
    keys, members = _common_codes(rows)
    frame = frame.with_columns(other=pl.Series(keys[frame["list"].to_numpy()] != members))
    types = {**types, "other": pl.Boolean()}
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
        rules.append(Rule("mirrored", mirrored, "a pair is told the same from both sides"))
    return broken_rules(frame, types, rules)


def _common_codes(rows: Rows) -> tuple[Codes, Codes]:
    """Return keys and members as codes of one dictionary, in the order of the ids."""
    ids = pl.concat([rows.key_ids.rename("id"), rows.member_ids.rename("id")]).unique().sort()
    known = pl.DataFrame({"id": ids}).with_row_index("code")
    keys, members = (
        pl.DataFrame({"id": own}).join(known, on="id", how="left", maintain_order="left")["code"].to_numpy()
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
    """Show ids instead of codes in the sample."""
    return replace(finding, sample=tuple(_told(row, rows) for row in finding.sample))


def _told(row: Mapping[str, Scalar], rows: Rows) -> dict[str, Scalar]:
    told = {name: value for name, value in row.items() if name not in _MARKS}
    if rows.shape.key and "list" in row:
        told["list"] = rows.key_ids[int(rows.keys[int(row["list"] or 0)])]
    if rows.shape.key and "key" in row:
        told["key"] = rows.key_ids[int(row["key"] or 0)]
    if "member" in row:
        told["member"] = rows.member_ids[int(row["member"] or 0)]
    return told
