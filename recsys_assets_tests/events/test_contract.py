"""The contract of a day: whatever breaks it is found, counted exactly, and shown with ids."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.events.contract import check_events
from recsys_assets.events.events import Events
from recsys_assets.evidence import Verdict
from recsys_assets_tests.events.rows import ROWS, events, row
from recsys_assets_tests.thoroughness import examples

DAY = date(2026, 1, 1)
GOOD = events([row(n, user=f"u{n}", item=f"i{n % 3}") for n in range(5)])
NOON = pl.col("ts").dt.offset_by("1d")


@given(
    st.lists(
        ROWS.filter(lambda values: all(v is None or v == str(v).strip(" ") for v in values[1:3] + values[4:])),
        min_size=1,
    )
)
@examples(40)
def test_every_canonicalized_day_keeps_the_contract(rows):
    (finding,) = check_events(events(rows), day=DAY)
    assert (finding.verdict, finding.count) == (Verdict.PASSED, 0)


def codes(**columns):
    return Events(GOOD.codes.with_columns(**columns), GOOD.ids)


def ids(**columns):
    return Events(GOOD.codes, {**GOOD.ids, **{name: pl.Series(name, texts) for name, texts in columns.items()}})


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        pytest.param(codes(ts=NOON), {"inside_the_day": 5}, id="the day after"),
        pytest.param(codes(rank=pl.col("rank") - 1), {"rank_not_negative": 5}, id="negative rank"),
        pytest.param(Events(GOOD.codes.reverse(), GOOD.ids), {"in_order": 4}, id="order"),
        pytest.param(Events(GOOD.codes[[0, 1, 1, 2]], GOOD.ids), {"in_order": 1}, id="a row twice"),
        pytest.param(codes(user_id=pl.lit(5, pl.UInt32)), {"user_id_known": 5}, id="code without an id"),
        pytest.param(codes(item_id=pl.lit(None, pl.UInt32)), {"item_id_present": 5}, id="required code absent"),
        pytest.param(codes(rank=pl.lit(None, pl.Int64)), {"rank_present": 5}, id="required number absent"),
        pytest.param(ids(item_id=["i0", "i2", "i1"]), {"item_ids_ascending": 1}, id="dictionary order"),
        pytest.param(ids(item_id=["i0", "i1", "i1"]), {"item_ids_ascending": 1}, id="id twice"),
        pytest.param(ids(item_id=["", "i1", "i2"]), {"item_ids_not_blank": 1}, id="blank id"),
        pytest.param(
            ids(item_id=["\u2003i0", "i1\x85", "i2"]), {"item_ids_trimmed": 2, "item_ids_ascending": 1}, id="untrimmed"
        ),
        pytest.param(Events(GOOD.codes.head(0), GOOD.ids), {"any_rows": 1}, id="no rows"),
        pytest.param(
            codes(ts=NOON, rank=pl.col("rank") - 1), {"inside_the_day": 5, "rank_not_negative": 5}, id="two at once"
        ),
    ],
)
def test_each_broken_rule_is_found_and_counted(broken, expected):
    findings = check_events(broken, day=DAY)
    assert {finding.gate: finding.count for finding in findings} == expected
    assert {finding.verdict for finding in findings} == {Verdict.REFUSED}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        pytest.param(GOOD.codes.drop("rank"), "rank", id="a column is missing"),
        pytest.param(GOOD.codes.with_columns(more=1), "more", id="a column too many"),
        pytest.param(GOOD.codes.cast({"rank": pl.Int32}), "Int32", id="another dtype"),
    ],
)
def test_a_frame_of_another_shape_is_refused(frame, message):
    findings = check_events(Events(frame, GOOD.ids), day=DAY)
    assert all(finding.verdict is Verdict.REFUSED for finding in findings)
    assert any(message in finding.message for finding in findings)


def test_samples_are_few_and_show_ids_for_codes():
    many = events([row(n, user=None if n % 2 else f"u{n:03d}") for n in range(100)])
    (finding,) = check_events(many, day=date(2026, 1, 2))
    assert (finding.count, len(finding.sample) <= 20) == (100, True)
    assert [sample["user_id"] for sample in finding.sample[:2]] == ["u000", None]
    assert "in_order" not in finding.sample[0]
