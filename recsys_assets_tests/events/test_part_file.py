"""Parts as files: what was written comes back, and nothing foreign is trusted."""

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pyarrow import ipc

from recsys_assets.compiled.arrays import Strings
from recsys_assets.errors import CorruptObjectError
from recsys_assets.events.canonicalize import canonicalize
from recsys_assets.events.event_files import decode_part, encode_part
from recsys_assets.events.events import ID_COLUMNS
from recsys_assets.ingest.part_merge import ABSENT, Part
from recsys_assets_tests.events.rows import ROWS, in_order, part, row, rows_of
from recsys_assets_tests.thoroughness import examples

GOOD = encode_part(part([row(1), row(2)]))


def with_columns(change):
    """Return a part's file whose table was changed."""
    sink = io.BytesIO()
    table = change(ipc.open_file(GOOD).read_all())
    with ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


@given(st.lists(ROWS, max_size=30))
@examples(60)
def test_parts_come_back_with_the_same_rows(rows):
    written = part(rows)
    found = decode_part(encode_part(written))
    assert [found.ids[name].texts() for name in ID_COLUMNS] == [written.ids[name].texts() for name in ID_COLUMNS]
    assert [found.codes[name].tolist() for name in ID_COLUMNS] == [written.codes[name].tolist() for name in ID_COLUMNS]
    assert (found.ts.tolist(), found.rank.tolist()) == (written.ts.tolist(), written.rank.tolist())
    assert rows_of(canonicalize([found])[0]) == in_order(rows)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"no arrow", id="something else"),
        pytest.param(GOOD[: len(GOOD) // 2], id="cut"),
        pytest.param(with_columns(lambda table: table.drop_columns("rank")), id="a column is missing"),
        pytest.param(with_columns(lambda table: table.append_column("more", table["rank"])), id="a column too many"),
        pytest.param(
            with_columns(lambda table: table.set_column(0, "ts", table["ts"].cast(pa.int64()))), id="another type"
        ),
    ],
)
def test_what_is_no_part_is_refused_with_the_next_step(data):
    """F13: a part that is damaged or foreign is never read as events."""
    with pytest.raises(CorruptObjectError, match="run raw of this day again"):
        decode_part(data)


def test_the_same_part_gives_the_same_bytes_whatever_lies_behind_its_strings():
    again = part([row(1), row(2)])
    ids = {name: Strings(with_rubbish(strings), strings.offsets) for name, strings in again.ids.items()}
    assert encode_part(replace(again, ids=ids)) == GOOD


def with_rubbish(strings):
    used = strings.data[: strings.offsets[-1]]
    return np.concatenate([used, np.full(1000, 255, np.uint8)])


@pytest.mark.parametrize("ids", [2**16 - 2, 2**16 - 1, 2**16], ids="{} ids".format)
def test_codes_that_do_not_fit_in_two_bytes_come_back_too(ids):
    codes = np.append(np.arange(ids, dtype=np.uint32), ABSENT).astype(np.uint32)
    numbers = np.arange(len(codes), dtype=np.int64)
    strings = Strings.of(map(str, range(ids)))
    many = Part(numbers, numbers, dict.fromkeys(ID_COLUMNS, codes), dict.fromkeys(ID_COLUMNS, strings))
    found = decode_part(encode_part(many))
    assert all(np.array_equal(found.codes[name], codes) for name in ID_COLUMNS)
    assert np.array_equal(found.rank, numbers)


def test_parts_of_an_earlier_version_are_read():
    """F51: parts were compressed once, with four bytes to a code and eight to a rank."""
    written = part([row(1, rank=3), row(2, user=None)])
    wide = {name: pa.dictionary(pa.uint32(), pa.large_string()) for name in ID_COLUMNS} | {"rank": pa.int64()}
    sink, table = io.BytesIO(), ipc.open_file(encode_part(written)).read_all()
    schema = pa.schema([pa.field(field.name, wide.get(field.name, field.type)) for field in table.schema])
    with ipc.new_file(sink, schema, options=ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table.cast(schema))
    assert rows_of(canonicalize([decode_part(sink.getvalue())])[0]) == rows_of(canonicalize([written])[0])
