"""Vectors and their bytes: a round trip, bytes that are refused by name, and a contract that counts offenders."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from safetensors.numpy import load, save

from recsys_assets.encoding.safetensors_codec import Table, Vectors, decode_vectors, encode_vectors
from recsys_assets.errors import CorruptObjectError, LimitExceededError
from recsys_assets.identity import Target, Window
from recsys_assets.imports.safetensors import read_metadata, read_safetensors
from recsys_assets.kind_descriptions import VectorShape
from recsys_assets.kinds.contracts import check_content
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.stored_artifact import parse_vectors
from recsys_assets_tests.thoroughness import examples

SHAPE = VectorShape({"item_id": "places"})
ids = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), unique=True, max_size=6)
PARAMS = KINDS["als_factors"].params(factors=2, max_items=2)


def vectors_of(names, values=None):
    table = Table(
        pl.Series(names, dtype=pl.String),
        np.array(values if values is not None else [[n, -n] for n in range(len(names))], np.float32).reshape(-1, 2),
    )
    return Vectors(SHAPE, {"item_id": table})


def encoded(vectors, **limits):
    window = Window(date(2026, 1, 1), date(2026, 1, 1))
    return encode_vectors(
        vectors, kind="taste", target=Target("shop", "home"), window=window, **{"max_bytes": 10**6, **limits}
    )


@examples(50)
@given(names=ids)
def test_what_is_written_is_what_is_read(names):
    before = vectors_of(sorted(names))
    blob = encoded(before)
    envelope, after = parse_vectors(blob.data, blob.ref.version, SHAPE, name="taste")
    assert (envelope.kind, envelope.tenant, envelope.surface, envelope.segment) == ("taste", "shop", "home", None)
    assert (envelope.window_start, envelope.window_end) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert after.tables["item_id"].ids.equals(before.tables["item_id"].ids, check_names=False)
    np.testing.assert_array_equal(after.tables["item_id"].values, before.tables["item_id"].values)
    assert encoded(after).data == blob.data


def test_every_array_lies_where_its_numbers_can_be_read_in_place():
    data = encoded(vectors_of(["a", "bcd"])).data
    for name, array in read_safetensors(data, name="taste").items():
        assert array.ctypes.data % array.dtype.itemsize == 0 or array.nbytes == 0, name
    assert len(data) - sum(array.nbytes for array in load(data).values()) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            {"places": None}, r"not vectors: the file contains \['item_id.ends', 'item_id.text'\]", id="missing"
        ),
        pytest.param({"more": np.zeros(1, np.float32)}, "not vectors: the file contains", id="one too many"),
        pytest.param({"places": np.zeros((3, 2), np.float32)}, "of 3 and 2 rows", id="more vectors than ids"),
        pytest.param({"places": np.zeros((2, 2), np.float64)}, "float64", id="another dtype"),
        pytest.param({"item_id.ends": np.array([2, 1])}, "does not match", id="ends go back"),
        pytest.param({"item_id.ends": np.array([1, 9])}, "does not match", id="ends leave the text"),
        pytest.param({"item_id.text": np.frombuffer(b"a\xff\xff\xff", np.uint8)}, "is not UTF-8", id="no text"),
    ],
)
def test_arrays_that_are_no_vectors_are_refused_by_name(change, message):
    arrays = load(encoded(vectors_of(["a", "bcd"])).data) | change
    with pytest.raises(CorruptObjectError, match=message):
        decode_vectors({name: array for name, array in arrays.items() if array is not None}, {}, SHAPE)


def test_a_file_without_an_envelope_or_of_another_form_is_refused():
    blob = encoded(vectors_of(["a"]))
    foreign = save(load(blob.data))
    assert read_metadata(foreign, name="foreign") == {}
    with pytest.raises(CorruptObjectError, match=r"invalid envelope in \{\}"):
        parse_vectors(foreign, blob.ref.version, SHAPE, name="foreign")
    with pytest.raises(CorruptObjectError, match="taste is npz, its kind is safetensors"):
        parse_vectors(blob.data, "0" * 64 + ".npz", SHAPE, name="taste")
    with pytest.raises(CorruptObjectError, match="is not a safetensors"):
        parse_vectors(blob.data[:20], blob.ref.version, SHAPE, name="taste")


def test_a_blob_over_its_limit_is_not_built():
    with pytest.raises(LimitExceededError, match=r"artifacts\.taste\.max_bytes allows 100:.*factors"):
        encoded(vectors_of(["a"]), max_bytes=100)


@pytest.mark.parametrize(
    ("vectors", "broken"),
    [
        pytest.param(vectors_of(["a", "b"]), {}, id="good"),
        pytest.param(vectors_of([]), {}, id="none at all"),
        pytest.param(vectors_of(["b", "a"]), {"item_id_ids_ascend": 1}, id="not ascending"),
        pytest.param(vectors_of(["a", "a"]), {"item_id_ids_ascend": 1}, id="an id twice"),
        pytest.param(vectors_of(["", " b"]), {"item_id_ids_not_empty": 1, "item_id_ids_trimmed": 1}, id="bad ids"),
        pytest.param(
            vectors_of(["a", "b"], [[np.nan, 1], [1, -np.inf]]), {"item_id_vectors_finite": 2}, id="no numbers"
        ),
        pytest.param(vectors_of(["a", "b", "c"]), {"item_id_vectors": 1}, id="more than promised"),
    ],
)
def test_the_contract_counts_what_breaks_it(vectors, broken):
    assert {finding.gate: finding.count for finding in check_content(vectors, PARAMS)} == broken


def test_the_contract_knows_how_long_vectors_are():
    (finding,) = check_content(vectors_of(["a", "b"]), PARAMS.model_copy(update={"factors": 3}))
    assert (finding.gate, finding.count) == ("item_id_vector_length", 2)
    assert finding.sample[0]["id"] == "a"


def test_people_see_the_length_of_the_first_vectors():
    table = replace(vectors_of(["a", "b"], [[3, 4], [0, 0]]).tables["item_id"])
    assert Vectors(SHAPE, {"item_id": table}).frame(1).rows() == [("item_id", "a", 5.0)]
