"""Codes between Arrow, Polars and numpy: the same numbers, and `ABSENT` where there is none."""

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.events.events import arrow_column, codes_in, codes_of
from recsys_assets.ingest.part_merge import ABSENT
from recsys_assets_tests.thoroughness import examples

codes = st.lists(st.none() | st.integers(0, 60_000), max_size=40)


@examples(50)
@given(codes=codes, kind=st.sampled_from([pa.uint16(), pa.uint32(), pa.int32()]), cut=st.integers(0, 20))
def test_codes_of_arrow_are_those_of_any_width_and_slice(codes, kind, cut):
    found = codes_in(pa.array(codes, kind).slice(cut))

    assert (found.tolist(), found.dtype) == ([ABSENT if code is None else code for code in codes[cut:]], "uint32")
    assert not found.flags.writeable


@examples(50)
@given(codes=codes)
def test_codes_go_to_a_series_and_back(codes):
    series = pl.Series("user_id", codes, dtype=pl.UInt32)

    assert pl.Series("user_id", arrow_column("user_id", codes_of(series))).to_list() == codes


@pytest.mark.parametrize("length", [0, 1, 9])
def test_codes_that_are_all_absent_are_so(length):
    assert codes_of(pl.Series([None] * length, dtype=pl.UInt32)).tolist() == [ABSENT] * length
