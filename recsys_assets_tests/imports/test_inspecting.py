"""Files of every format are described, or refused by name, whatever bytes they are and within bounds."""

import io
import json
import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.errors import InputError, LimitExceededError
from recsys_assets.imports.contract import FileContent, breaking_changes, contract_faults
from recsys_assets.imports.inspecting import inspect, read_arrays, read_table
from recsys_assets.settings.artifacts import ImportFormat

BOUND = 1_000_000


def npz(**arrays):
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def parquet(columns):
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def safetensors(header, body=b""):
    return len(header).to_bytes(8, "little") + header + body


def look(data, form):
    return inspect(data, form, name="file", max_unpacked_bytes=BOUND)


VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)
TENSORS = safetensors(b'{"v":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]}}', VECTORS.tobytes())


@pytest.mark.parametrize(
    ("data", "form", "content"),
    [
        pytest.param(
            b'{"a":1,"b":[1,2.5],"c":null}\n{"a":2.5,"b":[],"d":"x"}\n',
            ImportFormat.JSONL,
            FileContent({"a": "float64", "b": "list[float64?]", "c": "null?", "d": "string?"}, 2),
            id="json lines: the narrowest type that holds all; absent is null",
        ),
        pytest.param(
            b'{"a":1}\n{"a":"x"}', ImportFormat.JSONL, FileContent({"a": "mixed"}, 2), id="json lines that mix"
        ),
        pytest.param(
            parquet({"i": ["a", None], "v": pa.array([[1.0], [2.0]], pa.list_(pa.float32()))}),
            ImportFormat.PARQUET,
            FileContent({"i": "string?", "v": "list[float32]"}, 2),
            id="parquet",
        ),
        pytest.param(
            npz(v=VECTORS, ids=np.array(["a", "bb", "c"])),
            ImportFormat.NPZ,
            FileContent({"v": "float32[3,2]", "ids": "string[3]"}, 3),
            id="npz",
        ),
        pytest.param(TENSORS, ImportFormat.SAFETENSORS, FileContent({"v": "float32[3,2]"}, 3), id="safetensors"),
        pytest.param(b"\x80anything", ImportFormat.BYTES, FileContent({}, None), id="bytes that nobody looks into"),
    ],
)
def test_a_file_says_its_fields_and_its_rows(data, form, content):
    assert look(data, form) == content


def bomb():
    return npz(zeros=np.zeros(BOUND))


def lying_bomb():
    """An array whose header promises more than the archive holds."""
    stream = io.BytesIO()
    np.save(stream, np.zeros(4))
    content = stream.getvalue().replace(b"'shape': (4,)", b"'shape': (9,)")
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("a.npy", content)
    return whole.getvalue()


class Trap:
    """What a pickle could do to who unpickles it."""

    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def with_objects():
    stream = io.BytesIO()
    np.savez(stream, v=np.array([Trap()], dtype=object))
    return stream.getvalue()


def broken_header():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.npy", npy_magic() + b"{'descr': '<f4', (" + b"((((" * 10)
    return stream.getvalue()


def npy_magic():
    return b"\x93NUMPY\x01\x00" + (58).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("data", "form", "error", "message"),
    [
        pytest.param(broken_header(), ImportFormat.NPZ, InputError, "not an npz", id="F22 header that is no Python"),
        pytest.param(bomb(), ImportFormat.NPZ, LimitExceededError, "unpacks to 8,000,128", id="F22 zip bomb"),
        pytest.param(lying_bomb(), ImportFormat.NPZ, InputError, "its header declares 72", id="F22 header that lies"),
        pytest.param(with_objects(), ImportFormat.NPZ, InputError, "dtype object", id="objects would be unpickled"),
        pytest.param(pickle.dumps(Trap()), ImportFormat.NPZ, InputError, "not an npz", id="a pickle"),
        pytest.param(npz(v=VECTORS)[:-9], ImportFormat.NPZ, InputError, "not an npz", id="F13 npz cut short"),
        pytest.param(
            parquet({"a": [0] * (BOUND // 4)}),
            ImportFormat.PARQUET,
            LimitExceededError,
            "unpacks",
            id="F22 parquet bomb",
        ),
        pytest.param(
            parquet({"a": [1]})[:-9],
            ImportFormat.PARQUET,
            InputError,
            "not a readable Parquet",
            id="F13 parquet cut short",
        ),
        pytest.param(b'{"a":1}\n[1]\n', ImportFormat.JSONL, InputError, "line 2", id="F28 a line that is no object"),
        pytest.param(b'{"a":1}\n\n', ImportFormat.JSONL, InputError, "line 2", id="F28 a blank line"),
        pytest.param(b'{"a":' + b"[" * 10_000, ImportFormat.JSONL, InputError, "line 1", id="F22 deep JSON"),
        pytest.param(
            b"\n".join(b'{"k%d":1}' % n for n in range(1001)),
            ImportFormat.JSONL,
            InputError,
            "1000",
            id="F22 many keys",
        ),
        pytest.param(b"\xff" * 16, ImportFormat.SAFETENSORS, InputError, "too long", id="F22 header without end"),
        pytest.param(TENSORS[:-1], ImportFormat.SAFETENSORS, InputError, "overlap", id="F13 safetensors cut short"),
        pytest.param(TENSORS + b"x", ImportFormat.SAFETENSORS, InputError, "unused bytes", id="bytes behind the last"),
        pytest.param(
            safetensors(b'{"v":{"dtype":"F32","shape":[9,9],"data_offsets":[0,4]}}', bytes(4)),
            ImportFormat.SAFETENSORS,
            InputError,
            "not the size of its shape",
            id="shape that does not fit",
        ),
    ],
)
def test_what_is_not_of_its_format_or_too_large_is_refused(data, form, error, message):
    with pytest.raises(error, match=message):
        look(data, form)


@given(st.binary(max_size=200), st.sampled_from([f for f in ImportFormat if f is not ImportFormat.BYTES]))
def test_any_bytes_are_read_or_refused_by_name(data, form):
    try:
        message = str(look(data, form).rows)
    except (InputError, LimitExceededError) as error:
        message = str(error)
    assert message.startswith("file ") or message.isdigit()


@pytest.mark.parametrize(("data", "form"), [(npz(v=VECTORS), "npz"), (TENSORS, "safetensors")])
def test_arrays_come_back_as_they_were_saved(data, form):
    arrays = read_arrays(data, form, name="file", max_unpacked_bytes=BOUND)
    assert list(arrays) == ["v"]
    assert np.array_equal(arrays["v"], VECTORS)


def test_tables_come_back_as_arrow():
    lines = b'{"a":1}\n{"a":2.5,"b":"x"}\n'
    assert read_table(lines, "jsonl", name="file").to_pylist() == [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}]
    assert read_table(parquet({"a": [1]}), "parquet", name="file").to_pylist() == [{"a": 1}]
    with pytest.raises(InputError, match="not a table"):
        read_table(b"x", "npz", name="file")


def test_a_column_that_stands_twice_is_named():
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["sku", "sku"]), stream)
    with pytest.raises(InputError, match="several columns named 'sku'"):
        look(stream.getvalue(), ImportFormat.PARQUET)
    with pytest.raises(InputError, match="several columns named 'sku'"):
        read_table(stream.getvalue(), ImportFormat.PARQUET, name="f")


@pytest.mark.parametrize(
    "shape", [[1] * 65, [0, 2**63], [0, 2**64], [0, 2**62, 2**62]], ids=["65 axes", "2^63", "2^64", "product"]
)
def test_a_tensor_of_a_shape_that_numpy_cannot_hold_is_refused(shape):
    size = 4 * int(np.prod(shape, dtype=object))
    header = json.dumps({"v": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}})
    body = len(header).to_bytes(8, "little") + header.encode() + b"0" * size
    with pytest.raises(InputError, match="shape that numpy does not support"):
        look(body, ImportFormat.SAFETENSORS)


@pytest.mark.parametrize(
    "shape", [(1,) * 65, (0, 2**63), (0, 2**64), (-1,)], ids=["65 axes", "2^63", "2^64", "negative"]
)
def test_an_npz_of_a_shape_that_numpy_cannot_hold_is_refused(shape):
    text = str({"descr": "<f4", "fortran_order": False, "shape": shape}).encode() + b"\n"
    array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + (b"0000" if len(shape) > 2 else b"")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("v.npy", array)
    with pytest.raises(InputError, match="not an npz of plain arrays"):
        look(stream.getvalue(), ImportFormat.NPZ)


ENDLESS = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("number", ENDLESS)
@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_arrays_with_numbers_that_are_not_finite_break_the_contract(number, dtype):
    content = look(npz(v=np.array([[1, number]], dtype)), ImportFormat.NPZ)
    kind = f"{np.dtype(dtype).name}[n,2]"
    assert contract_faults({"v": kind}, content.fields, form=ImportFormat.NPZ) == (
        "v contains NaN or infinity, expected finite numbers",
    )
    assert contract_faults({}, content.fields, form=ImportFormat.NPZ) == ()
    assert breaking_changes(content.fields, {"v": kind.replace("n", "1")}, {}, form=ImportFormat.NPZ) == ()


@pytest.mark.parametrize("number", ENDLESS)
@pytest.mark.parametrize(
    ("wrap", "kind"),
    [
        pytest.param(lambda n: pa.array([1.0, None, n]), "float64?", id="number"),
        pytest.param(lambda n: pa.array([1.0, n], pa.float32()), "float32", id="float32"),
        pytest.param(lambda n: pa.array([[1.0], [2.0, n]]), "list[float64]", id="list"),
    ],
)
def test_columns_with_numbers_that_are_not_finite_break_the_contract(number, wrap, kind):
    content = look(parquet({"score": wrap(number)}), ImportFormat.PARQUET)
    assert contract_faults({"score": kind}, content.fields, form=ImportFormat.PARQUET) == (
        "score contains NaN or infinity, expected finite numbers",
    )
    assert look(parquet({"score": wrap(0.5)}), ImportFormat.PARQUET).fields == {"score": kind}
