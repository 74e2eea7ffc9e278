"""Faults of contract and compatibility are reported by field; fields beside the agreed ones break nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import ConfigurationError
from recsys_assets.imports.contract import breaking_changes, check_contract, contract_faults
from recsys_assets.settings.artifacts import ImportFormat

JSONL, PARQUET, NPZ = ImportFormat.JSONL, ImportFormat.PARQUET, ImportFormat.NPZ


@pytest.mark.parametrize(
    ("contract", "found", "form", "faults"),
    [
        pytest.param({"i": "string"}, {"i": "string", "new": "int64"}, PARQUET, (), id="more is welcome"),
        pytest.param({"i": "string"}, {}, PARQUET, ("i is missing, expected string",), id="missing"),
        pytest.param({"i": "string"}, {"i": "int64"}, PARQUET, ("i is int64, expected string",), id="another type"),
        pytest.param({"i": "string"}, {"i": "string?"}, PARQUET, ("i contains nulls, expected string",), id="nulls"),
        pytest.param({"i": "string?"}, {"i": "string"}, PARQUET, (), id="no nulls where some may be"),
        pytest.param({"i": "string?"}, {}, JSONL, (), id="a line need not name what it lacks"),
        pytest.param({"i": "string?"}, {}, PARQUET, ("i is missing, expected string?",), id="a column must be there"),
        pytest.param({"s": "float64"}, {"s": "int64"}, JSONL, (), id="whole numbers are numbers"),
        pytest.param({"s": "int64"}, {"s": "float64"}, JSONL, ("s is float64, expected int64",), id="not the reverse"),
        pytest.param({"v": "list[float64]"}, {"v": "list[int64]"}, JSONL, (), id="also in lists"),
        pytest.param({"v": "float32[n,4]"}, {"v": "float32[9,4]"}, NPZ, (), id="an axis of any length"),
        pytest.param(
            {"v": "float32[n,4]"}, {"v": "float32[9,5]"}, NPZ, ("v is float32[9,5], expected float32[n,4]",), id="axis"
        ),
        pytest.param(
            {"v": "float32[n,4]", "ids": "string[n]"},
            {"v": "float32[9,4]", "ids": "string[8]"},
            NPZ,
            ("ids is string[8], expected string[n], because v has n = 9",),
            id="axes of one name are of one length",
        ),
        pytest.param(
            {"v": "float32[n]"}, {"v": "float64[9]"}, NPZ, ("v is float64[9], expected float32[n]",), id="another dtype"
        ),
    ],
)
def test_what_breaks_a_contract_is_reported_by_field(contract, found, form, faults):
    assert contract_faults(contract, found, form=form) == faults


@pytest.mark.parametrize(
    ("before", "now", "contract", "form", "faults"),
    [
        pytest.param({"a": "int64"}, {"a": "int64", "b": "int64"}, {}, PARQUET, (), id="a column more breaks nobody"),
        pytest.param({"a": "int64"}, {"b": "int64"}, {}, PARQUET, ("a is missing, expected int64",), id="renamed"),
        pytest.param(
            {"a": "int64"}, {"a": "int64?"}, {}, PARQUET, ("a contains nulls, expected int64",), id="nulls now"
        ),
        pytest.param({"v": "float32[5,3]"}, {"v": "float32[7,3]"}, {}, NPZ, (), id="more rows break nobody"),
        pytest.param(
            {"v": "float32[5,3]"}, {"v": "float32[5,4]"}, {}, NPZ, ("v is float32[5,4], was float32[5,3]",), id="longer"
        ),
        pytest.param({"v": "float32[5,3]"}, {"v": "float32[5,4]"}, {"v": "float32[n,d]"}, NPZ, (), id="named axes may"),
        pytest.param({"v": "float32[5]"}, {}, {}, NPZ, ("v is missing, was float32[5]",), id="an array is gone"),
    ],
)
def test_what_readers_of_the_live_file_could_not_read_is_reported_by_field(before, now, contract, form, faults):
    assert breaking_changes(before, now, contract, form=form) == faults


FIELDS = st.dictionaries(
    st.sampled_from("abcd"), st.sampled_from(["int64", "float64", "string?", "list[int64]", "null?"]), max_size=4
)


@given(FIELDS, FIELDS, st.sampled_from([JSONL, PARQUET]))
def test_the_same_fields_and_fields_beside_them_break_nobody(fields, more, form):
    assert breaking_changes(fields, {**more, **fields}, {}, form=form) == ()


def test_a_contract_that_cannot_be_read_names_its_key():
    with pytest.raises(ConfigurationError, match=r"imports.x.contract.v is 'float32'.*shape"):
        check_contract({"v": "float32"}, form=NPZ, key="imports.x.contract")


@pytest.mark.parametrize(("kind", "meant"), [("float", "float64"), ("list[str?]?", "string"), ("Integer", "int64")])
def test_a_type_that_no_file_has_is_answered_with_the_one_that_was_meant(kind, meant):
    with pytest.raises(ConfigurationError, match=f"imports.x.contract.v is .*did you mean {meant}"):
        check_contract({"v": kind}, form=JSONL, key="imports.x.contract")
    check_contract({"v": "struct<text: string, long: int64>"}, form=PARQUET, key="imports.x.contract")
