"""The contract of every kind's rows, judged on codes and dictionaries, so that millions of rows take a second."""

from dataclasses import replace

import numpy as np
import polars as pl

from recsys_assets.artifacts.content_sim import lower
from recsys_assets.artifacts.counting import pack
from recsys_assets.artifacts.params import KindParams
from recsys_assets.artifacts.rows import Rows
from recsys_assets.canonical.rules import Rule, broken_rules
from recsys_assets.evidence import Finding
from recsys_assets.raw.white_space import trim

_LIST_LIMITS = ("max_neighbors", "max_items_per_user")


def check_rows(rows: Rows, params: KindParams) -> tuple[Finding, ...]:
    """Return what breaks the contract of a kind, nothing if all holds.

    Ids: not empty, trimmed; tags lower-case. Lists: keys ascend and stand once, no more lists than `max_items`, none
    longer than its cut, none empty but those of users without a second event. Members: distinct in their list, none
    its own neighbour, values positive (pairs at least `min_support`), best first, ties by id; tags in any order.
    """
    findings = (*_ids(rows), *_lists(rows, params), *_members(rows, params))
    return tuple(_with_ids(finding, rows) for finding in findings)


def _ids(rows: Rows) -> tuple[Finding, ...]:
    texts = pl.concat([rows.key_ids.rename("id"), rows.member_ids.rename("id")]) if rows.shape.key else rows.member_ids
    trimmed = [trim(text) == text for text in texts]
    lowered = [lower(text) == text for text in rows.member_ids] if rows.shape.value is None else []
    frame = pl.DataFrame({"id": texts.rename("id"), "trimmed": pl.Series(trimmed, dtype=pl.Boolean)})
    rules = [
        Rule("ids_not_empty", pl.col("id") != "", "ids are not empty"),
        Rule("ids_trimmed", pl.col("trimmed"), "ids have no white space at their ends"),
    ]
    tags = (
        pl.DataFrame({"tag": rows.member_ids.rename("tag"), "lower": pl.Series(lowered, dtype=pl.Boolean)})
        if lowered
        else None
    )
    found = broken_rules(frame, {"id": pl.String(), "trimmed": pl.Boolean()}, rules)
    if tags is None:
        return found
    rule = Rule("tags_lower_case", pl.col("lower"), "tags are lower-case")
    return (*found, *broken_rules(tags, {"tag": pl.String(), "lower": pl.Boolean()}, [rule]))


def _lists(rows: Rows, params: KindParams) -> tuple[Finding, ...]:
    """Judge each list as a whole; a kind without keys is one list, whose length is bounded by `max_items`."""
    lengths = np.diff(rows.offsets)
    keys = rows.keys if rows.shape.key else np.zeros(len(lengths), np.uint32)
    frame = pl.DataFrame({"key": pl.Series(keys, dtype=pl.UInt32), "length": pl.Series(lengths, dtype=pl.Int64)})
    frame = frame.with_columns(place=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    limits = [limit for name in _LIST_LIMITS if (limit := getattr(params, name, None)) is not None]
    max_items = getattr(params, "max_items", None)
    rules = [
        Rule("keys_ascend", (pl.col("key") > pl.col("key").shift()).fill_null(value=True), "keys ascend, each once")
    ]
    if not rows.shape.key:
        limits.append(max_items)
    elif max_items is not None:
        rules.append(Rule("max_items", pl.col("place") <= max_items, f"there are at most {max_items} rows"))
    rules += [Rule("list_length", pl.col("length") <= limit, f"lists have at most {limit} members") for limit in limits]
    if rows.shape.key and not rows.shape.may_be_empty:
        rules.append(Rule("list_not_empty", pl.col("length") > 0, "lists have a member"))
    return broken_rules(frame, {"key": pl.UInt32(), "length": pl.Int64(), "place": pl.Int64()}, rules)


def _members(rows: Rows, params: KindParams) -> tuple[Finding, ...]:
    lists = np.repeat(np.arange(len(rows.offsets) - 1, dtype=np.uint32), np.diff(rows.offsets))
    columns = {
        "list": pl.Series(lists, dtype=pl.UInt32),
        "member": pl.Series(rows.members, dtype=pl.UInt32),
        "value": pl.Series(rows.values, dtype=pl.Int64),
        "distinct": pl.Series(_distinct(lists, rows.members), dtype=pl.Boolean),
        "other": pl.Series(_other_than_key(rows, lists), dtype=pl.Boolean),
    }
    frame = pl.DataFrame(columns)
    rules = [Rule("members_distinct", pl.col("distinct"), "a member stands once in its list")]
    if rows.shape.value:
        least = getattr(params, "min_support", 1)
        same_list = pl.col("list") == pl.col("list").shift()
        better = pl.col("value") < pl.col("value").shift()
        tied = (pl.col("value") == pl.col("value").shift()) & (pl.col("member") > pl.col("member").shift())
        rules += [
            Rule("values", pl.col("value") >= least, f"values are at least {least / rows.shape.scale:g}"),
            Rule(
                "best_first", (~same_list | better | tied).fill_null(value=True), "members stand best first, ties by id"
            ),
        ]
    if rows.shape.key == rows.shape.member:
        rules.append(Rule("no_self", pl.col("other"), "an item is not its own neighbour"))
    return broken_rules(frame, {name: series.dtype for name, series in columns.items()}, rules)


def _distinct(lists: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Tell for each member whether it stands in its list for the first time in code order."""
    packed = pack(lists, members)
    order = np.argsort(packed, kind="stable")
    repeated = np.zeros(len(packed), np.bool_)
    repeated[order[1:]] = packed[order][1:] == packed[order][:-1]
    return ~repeated


def _other_than_key(rows: Rows, lists: np.ndarray) -> np.ndarray:
    """Tell for each member whether it is another id than its list's key."""
    if rows.shape.key != rows.shape.member or not len(rows.members):
        return np.ones(len(rows.members), np.bool_)
    known = {text: code for code, text in enumerate(rows.member_ids)}
    own = np.array([known.get(text, -1) for text in rows.key_ids], np.int64)[rows.keys]
    return own[lists] != rows.members


def _with_ids(finding: Finding, rows: Rows) -> Finding:
    """Show ids instead of codes in the sample."""
    shown = []
    for row in finding.sample:
        told = {
            name: value for name, value in row.items() if name not in {"distinct", "other", "place", "trimmed", "lower"}
        }
        if rows.shape.key and "list" in told:
            told["list"] = rows.key_ids[int(rows.keys[int(told["list"] or 0)])]
        if "member" in told:
            told["member"] = rows.member_ids[int(told["member"] or 0)]
        if rows.shape.key and "key" in told:
            told["key"] = rows.key_ids[int(told["key"] or 0)]
        shown.append(told)
    return replace(finding, sample=tuple(shown))
