"""Held-out sessions become questions: bounded, the same for the same seed, and never with their answer in them."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.events.events import Events
from recsys_assets.quality.tasks import MAX_ITEMS, before, cut_day, next_item_tasks
from recsys_assets_tests.thoroughness import examples

START = datetime(2026, 1, 1, tzinfo=UTC)
rows = st.lists(
    st.tuples(st.sampled_from("stuv"), st.sampled_from("abcdef"), st.sampled_from([None, "ann", "bob"])), max_size=30
)


def events_of(found):
    """Return events a second apart: (session, item, user)."""
    columns = {name: [row[place] for row in found] for place, name in enumerate(("session_id", "item_id", "user_id"))}
    ids = {
        name: pl.Series(sorted({v for v in values if v is not None}), dtype=pl.String)
        for name, values in columns.items()
    }
    codes = {
        name: pl.Series([None if v is None else ids[name].to_list().index(v) for v in values], dtype=pl.UInt32)
        for name, values in columns.items()
    }
    instants = pl.Series([START + timedelta(seconds=n) for n in range(len(found))], dtype=pl.Datetime("ns", "UTC"))
    return Events(pl.DataFrame({"ts": instants, **codes}), ids)


def sessions_of(found):
    """Return, by session, its distinct items in the order of their first appearance."""
    sessions: dict[str, list[str]] = {}
    for session, item, _ in found:
        if item not in sessions.setdefault(session, []):
            sessions[session].append(item)
    return sessions


@examples(50)
@given(rows, st.integers(1, 5), st.integers(0, 3))
def test_each_task_is_a_beginning_of_a_session_and_what_came_next(found, limit, seed):
    asked = next_item_tasks(events_of(found), limit=limit, seed=seed)
    sessions = [items for items in sessions_of(found).values() if len(items) > 1]
    assert len(asked.tasks) == min(limit, len(sessions))
    for task in asked.tasks:
        whole = [item for step in (*task.context, task.targets) for item in step]
        assert task.context
        assert len(task.targets) == 1
        assert any(items[: len(whole)] == whole for items in sessions)
    assert asked.items == {item for _, item, _ in found}


def at_instants(instants, found):
    """Return events at instants: (session, item, user) each."""
    events = events_of(found)
    stamps = pl.Series("ts", [START + timedelta(seconds=n) for n in instants], dtype=pl.Datetime("ns", "UTC"))
    return Events(events.codes.with_columns(stamps), events.ids)


def test_items_of_one_instant_are_one_step():
    events = at_instants([0, 0, 5, 5, 5], [("s", item, "ann") for item in "abcad"])
    (task,) = next_item_tasks(events, limit=9, seed=1).tasks
    assert (sorted(task.context[0]), sorted(task.targets), task.user) == (["a", "b"], ["c", "d"], "ann")


def test_a_session_in_one_instant_asks_for_each_item_by_the_others():
    (task,) = next_item_tasks(at_instants([0, 0, 0], [("s", item, "ann") for item in "abc"]), limit=9, seed=1).tasks
    assert (task.context, sorted(task.targets), task.user) == ((), ["a", "b", "c"], "ann")


def test_a_robot_with_hundreds_of_items_asks_nothing():
    found = [("s", f"i{n}", None) for n in range(MAX_ITEMS + 1)]
    assert not next_item_tasks(events_of(found), limit=9, seed=1).tasks
    assert len(next_item_tasks(events_of(found[1:]), limit=9, seed=1).tasks) == 1


@examples(50)
@given(rows, st.integers(0, 3))
def test_the_same_seed_asks_the_same(found, seed):
    assert next_item_tasks(events_of(found), limit=3, seed=seed) == next_item_tasks(
        events_of(found), limit=3, seed=seed
    )


def test_only_events_from_the_instant_on_are_asked_about_and_given():
    found = [("s", "a", "ann"), ("s", "b", "ann"), ("s", "c", "ann"), ("s", "d", "ann")]
    (task,) = next_item_tasks(events_of(found), limit=9, seed=1, since=START + timedelta(seconds=2)).tasks
    assert (task.context, task.targets, task.user) == ((("c",),), ("d",), "ann")


def test_an_anonymous_session_has_no_user():
    (task,) = next_item_tasks(events_of([("s", "a", None), ("s", "b", None)]), limit=9, seed=1).tasks
    assert task.user is None


@pytest.mark.parametrize("held_out", [0.01, 0.2, 0.5, 0.99])
def test_a_day_is_cut_where_the_share_says(held_out):
    found = [("s", "a", None)] * 100
    instant = cut_day(events_of(found), held_out=held_out)
    assert (instant - START).seconds == min(round(100 * (1 - held_out)), 99)


def test_a_cut_never_leaves_a_day_without_a_beginning():
    found = [("s", item, None) for item in "abcd"]
    assert cut_day(at_instants([0, 0, 0, 7], found), held_out=0.9) == START + timedelta(seconds=7)
    assert cut_day(at_instants([3, 3, 3, 3], found), held_out=0.2) is None


@examples(50)
@given(rows, st.integers(0, 30))
def test_what_is_before_an_instant_is_as_if_the_rest_had_never_been(found, seconds):
    early = before(events_of(found), START + timedelta(seconds=seconds))
    expected = events_of(found[:seconds])
    names = ["session_id", "item_id", "user_id"]
    assert early.codes.select(names).equals(expected.codes.select(names))
    assert {name: early.ids[name].to_list() for name in names} == {name: expected.ids[name].to_list() for name in names}
