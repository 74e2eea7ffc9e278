"""Joined columns: byte for byte the file that Arrow writes of all columns at once."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.events.events import ID_COLUMNS, SCHEMA
from recsys_assets.events.parquet import encode_events
from recsys_assets.events.parquet_join import join_columns
from recsys_assets.events.thrift import LIST, STRUCT, Value, read_struct, write_struct
from recsys_assets_tests.events.rows import ROWS, events, row


def written(table, **options):
    sink = io.BytesIO()
    pq.write_table(table, sink, store_schema=False, row_group_size=max(table.num_rows, 1), **options)
    return sink.getvalue()


def footer_of(data):
    return data[-8 - int.from_bytes(data[-8:-4], "little") : -8]


@given(st.lists(ROWS, max_size=30))
@settings(max_examples=40, deadline=None)
def test_canonical_events_are_the_file_that_arrow_writes_of_all_columns(rows):
    found = events(rows)
    ids = {name: found.ids[name].to_arrow().cast(pa.large_string()) for name in ID_COLUMNS}
    arrays = {name: found.codes[name].to_arrow() for name in SCHEMA}
    arrays |= {name: pa.DictionaryArray.from_arrays(arrays[name], ids[name]) for name in ID_COLUMNS}
    whole = written(
        pa.table(arrays),
        compression="zstd",
        compression_level=1,
        dictionary_pagesize_limit=1 << 30,
        write_statistics=["ts", "rank"],
        use_dictionary=list(ID_COLUMNS),
        column_encoding={"ts": "DELTA_BINARY_PACKED", "rank": "DELTA_BINARY_PACKED"},
    )
    assert encode_events(found) == whole


@pytest.mark.parametrize("columns", [1, 2, 14, 15, 200], ids="{} columns".format)
@pytest.mark.parametrize(
    "values",
    [
        pytest.param(pa.array([1, 2, None]), id="numbers"),
        pytest.param(pa.array([1.5, -0.0, None]), id="floats"),
        pytest.param(pa.array(["a", "é\x00", None]), id="strings"),
        pytest.param(pa.array([True, None, False]), id="truth values"),
        pytest.param(pa.array(range(300_000)), id="several pages"),
        pytest.param(pa.array([], pa.int64()), id="no row"),
    ],
)
def test_any_columns_are_joined_as_arrow_writes_them(values, columns):
    table = pa.table({f"c{n}": values for n in range(columns if len(values) < 1000 else min(columns, 3))})
    assert join_columns(written(table.select([name])) for name in table.column_names) == written(table)


def test_a_footer_cut_short_is_refused():
    footer = footer_of(encode_events(events([row(1), row(2)])))
    for end in range(len(footer) - 1):
        with pytest.raises(ValueError, match="ends before"):
            read_struct(footer[:end])


@pytest.mark.parametrize(
    "data",
    [pytest.param(b"\x1b\x00\x00", id="a map"), pytest.param(b"\x19\x21\x01\x02\x00", id="a list of truth values")],
)
def test_what_no_footer_holds_is_refused(data):
    with pytest.raises(ValueError, match="stands in no footer"):
        read_struct(data)


NUMBERS = st.builds(Value, st.just(6), st.integers(-(2**63), 2**63 - 1))
TEXTS = st.builds(Value, st.just(8), st.binary(max_size=200))
LISTS = st.builds(lambda held: Value(LIST, (8, held)), st.lists(st.binary(max_size=3), max_size=20))


@given(
    st.recursive(
        st.dictionaries(st.integers(1, 300), NUMBERS | TEXTS | LISTS, max_size=5),
        lambda inner: st.dictionaries(st.integers(1, 300), st.builds(Value, st.just(STRUCT), inner), max_size=3),
        max_leaves=8,
    )
)
def test_structs_come_back(struct):
    assert read_struct(write_struct(struct) + b"more") == struct
