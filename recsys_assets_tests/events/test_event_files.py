"""Parquet: what was written comes back, other readers see plain strings, and nothing foreign is trusted."""

import io

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import CorruptObjectError
from recsys_assets.events.event_files import decode_events, encode_events
from recsys_assets.events.events import ID_COLUMNS, SCHEMA
from recsys_assets_tests.events.rows import ROWS, events, row
from recsys_assets_tests.thoroughness import examples


def same(left, right):
    return left.codes.equals(right.codes) and all(left.ids[name].equals(right.ids[name]) for name in left.ids)


@given(st.lists(ROWS, max_size=30))
@examples(60)
def test_events_come_back_with_the_same_codes(rows):
    written = events(rows)
    data = encode_events(written)
    assert same(decode_events(data), written)
    assert encode_events(decode_events(data)) == data


def test_any_reader_sees_strings_and_instants():
    rows = [row(1, user=None, item="b"), row(2, item="a")]
    frame = pl.read_parquet(io.BytesIO(encode_events(events(rows))))
    assert frame.schema == {name: pl.String if name in ID_COLUMNS else kind for name, kind in SCHEMA.items()}
    assert frame.select("user_id", "item_id", "rank").rows() == [(None, "b", 0), ("u", "a", 0)]


def test_some_columns_can_be_read_alone():
    written = events([row(1), row(2, item="j")])
    found = decode_events(encode_events(written), ["item_id", "ts"])
    assert found.codes.columns == ["ts", "item_id"]
    assert list(found.ids) == ["item_id"]
    assert found.ids["item_id"].to_list() == ["i", "j"]


def foreign(rows, **options):
    """Return rows as Parquet as another writer would write it: plain strings in several row groups."""
    sink = io.BytesIO()
    pq.write_table(events(rows).decoded().to_arrow(), sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="dictionaries in order of appearance"),
        pytest.param({"row_group_size": 2}, id="a dictionary for each row group"),
        pytest.param({"use_dictionary": False}, id="no dictionary"),
        pytest.param({"use_dictionary": False, "row_group_size": 1, "compression": "none"}, id="a group for each row"),
    ],
)
def test_files_of_other_writers_are_coded_again(options):
    rows = [row(1, user="z", item="c"), row(2, user=None, item="b"), row(3, user="y", item="c"), row(4, item="a")]
    assert same(decode_events(foreign(rows, **options)), events(rows))


GOOD = encode_events(events([row(1), row(2)]))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not Parquet", id="nothing"),
        pytest.param(b"PAR1 and more PAR1", "not Parquet", id="no Parquet"),
        pytest.param(GOOD[:-20], "not Parquet", id="truncated"),
        pytest.param(GOOD[:40] + bytes(60) + GOOD[100:], "Parquet|expected", id="overwritten"),
    ],
)
def test_damaged_bytes_are_refused(data, message):
    with pytest.raises(CorruptObjectError, match=message):
        decode_events(data)


def table(**columns):
    good = pq.read_table(io.BytesIO(GOOD))
    sink = io.BytesIO()
    arrays = {name: columns.get(name, good.column(name)) for name in good.column_names}
    pq.write_table(pa.table({name: array for name, array in arrays.items() if array is not None}), sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(table(rank=None), "expected the column rank", id="a column is missing"),
        pytest.param(table(rank=pa.array([1, None])), "rank: expected int64 without nulls", id="a null"),
        pytest.param(table(rank=pa.array([1.0, 2.0])), "rank: expected int64", id="another number"),
        pytest.param(table(ts=pa.array([1, 2])), "ts: expected timestamp", id="no instant"),
        pytest.param(
            table(ts=pa.array([1, 2], pa.timestamp("us", "UTC"))), "ts: expected timestamp", id="microseconds"
        ),
        pytest.param(table(item_id=pa.array([1, 2])), "item_id: expected strings", id="numbers for ids"),
    ],
)
def test_tables_of_another_shape_are_refused(data, message):
    with pytest.raises(CorruptObjectError, match=message):
        decode_events(data)
