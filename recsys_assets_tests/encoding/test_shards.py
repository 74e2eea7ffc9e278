"""Shards hold exactly the rows that their number stands for, whatever pieces rows come in, and join to the whole."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.artifact_format import MAX_SHARDS, index_kind, is_index_kind, shard_of, sharded_kind
from recsys_assets.encoding.codec import check_shard_of_rows, count_for, encode, encode_shards, join_shards, whole_size
from recsys_assets.encoding.decoder import decode
from recsys_assets.encoding.rows import Rows
from recsys_assets.errors import ConfigurationError, CorruptObjectError, LimitExceededError
from recsys_assets.kinds.registry import read_params
from recsys_assets.settings.reading import parse_settings
from recsys_assets_tests.encoding.test_codec import TARGET, WINDOW, bodies, rows_of
from recsys_assets_tests.kinds.row_kinds import ROW_KINDS
from recsys_assets_tests.thoroughness import examples

KEYED = [pytest.param(kind.shape, id=kind.name) for kind in ROW_KINDS.values() if kind.shape.key]
NAMED = {"kind": "implicit", "target": TARGET, "window": WINDOW}


def cut(rows, places):
    """The same rows in pieces, each with whole lists, as engines hand them over."""
    ends = [0, *sorted(place % (len(rows) + 1) for place in places), len(rows)]
    for first, last in itertools.pairwise(ends):
        begin, end = rows.offsets[first], rows.offsets[last]
        yield Rows(
            rows.shape,
            rows.keys[first:last],
            rows.offsets[first : last + 1] - begin,
            rows.members[begin:end],
            rows.values[begin:end],
            rows.key_ids,
            rows.member_ids,
        )


def sharded(pieces, shape, count, max_bytes=10**9):
    return list(encode_shards(pieces, shape, **NAMED, count=count, max_bytes=max_bytes))


@pytest.mark.parametrize("shape", KEYED)
@examples(15)
@given(data=st.data())
def test_each_shard_is_the_artifact_of_its_own_rows_and_all_join_to_the_whole(shape, data):
    body = data.draw(bodies(shape))
    rows, count = rows_of(shape, body), data.draw(st.integers(1, 9))
    pieces = list(cut(rows, data.draw(st.lists(st.integers(0, 20), max_size=3))))
    shards = sharded(pieces, shape, count)
    for number, shard in enumerate(shards):
        own = [(key, found) for key, found in body if shard_of(key, count) == number]
        assert shard.blob == encode(rows_of(shape, own), **NAMED, max_bytes=10**9)
        assert shard.rows == len(own)
        check_shard_of_rows(decode(shard.blob.data, shape)[1], number, count, name="shard")
    joined = join_shards([decode(shard.blob.data, shape)[1] for shard in shards])
    assert joined.frame().equals(rows.frame())
    assert encode(joined, **NAMED, max_bytes=10**9) == encode(rows, **NAMED, max_bytes=10**9)
    assert whole_size(pieces, shape, **NAMED) == encode(rows, **NAMED, max_bytes=10**9).ref.size


@pytest.mark.parametrize(
    ("key", "of_16", "of_10"),
    [
        pytest.param("u1", 10, 2, id="ASCII"),
        pytest.param("ann", 14, 0, id="a name"),
        pytest.param("ünï", 7, 7, id="two bytes a letter"),
        pytest.param("\U0001f600", 7, 7, id="four bytes a letter"),
        pytest.param("", 4, 2, id="nothing"),
    ],
)
def test_the_hash_is_the_one_that_is_written_down(key, of_16, of_10):
    """Services in other languages compute it: it never changes."""
    assert (shard_of(key, 16), shard_of(key, 10)) == (of_16, of_10)


def one_user_each(count):
    shape = ROW_KINDS["implicit"].shape
    return shape, rows_of(shape, [(f"u{n:04d}", [("item", 10**6)]) for n in range(count)])


def test_rows_spread_evenly_and_every_number_is_used():
    shape, rows = one_user_each(2000)
    counts = [shard.rows for shard in sharded([rows], shape, 8)]
    assert sum(counts) == 2000
    assert min(counts) > 200


def test_a_shard_over_the_limit_is_refused_with_the_settings_before_it_is_built():
    shape, rows = one_user_each(100)
    with pytest.raises(LimitExceededError, match=r"shard 0 of 2 .*max_bytes allows 500.*artifacts.implicit.shards"):
        sharded([rows], shape, 2, max_bytes=500)


@pytest.mark.parametrize(
    ("size", "count"), [(1, 1), (500, 1), (501, 2), (1000, 2), (1001, 4), (500 * MAX_SHARDS, MAX_SHARDS)]
)
def test_the_number_of_shards_leaves_each_half_full(size, count):
    assert count_for(size, max_bytes=1000, kind="implicit", target=TARGET) == count


def test_more_shards_than_a_release_lists_are_refused():
    with pytest.raises(LimitExceededError, match="max_bytes"):
        count_for(500 * MAX_SHARDS + 1, max_bytes=1000, kind="implicit", target=TARGET)


def test_a_row_in_the_wrong_shard_is_refused_for_nobody_would_find_it():
    rows = one_user_each(20)[1]
    with pytest.raises(CorruptObjectError, match="is in shard 0"):
        check_shard_of_rows(rows, 0, 4, name="the shard")


def test_no_rows_are_as_many_empty_shards():
    shape = ROW_KINDS["implicit"].shape
    empty = rows_of(shape, [])
    shards = sharded([empty], shape, 3)
    assert [shard.rows for shard in shards] == [0, 0, 0]
    assert len({shard.blob.ref for shard in shards}) == 1
    assert len(join_shards([decode(shard.blob.data, shape)[1] for shard in shards])) == 0
    assert np.array_equal(empty.offsets, [0])


def test_the_kind_of_an_index_differs_from_every_other():
    assert not any(is_index_kind(kind) for kind in ROW_KINDS)
    assert sharded_kind(index_kind("implicit")) == sharded_kind("implicit") == "implicit"


def params_of(table, tmp_path):
    text = f'[raw]\nexposures = "x"\n{table}\n[[targets]]\ntenant = "shop"\nsurface = "home"\n'
    settings = parse_settings(text.encode(), name="recsys.toml", base=tmp_path)
    kind = table.partition(".")[2].partition("]")[0]
    return read_params(settings, settings.targets[0], kind)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        pytest.param("[artifacts.popularity]\nshards = 4", "no rows with a key", id="a ranking"),
        pytest.param("[artifacts.implicit]\nshards = 0", "greater than or equal to 1", id="none"),
        pytest.param("[artifacts.implicit]\nshards = 5000", "4096", id="too many"),
        pytest.param('[artifacts.implicit]\nshards = "always"', "over_max_bytes", id="another word"),
    ],
)
def test_settings_that_mean_nothing_are_refused_by_name(table, match, tmp_path):
    with pytest.raises(ConfigurationError, match=match) as refused:
        params_of(table, tmp_path)
    assert "shards" in str(refused.value)


def test_shards_are_no_limit_that_gates_judge_by(tmp_path):
    plain, split = (
        params_of(f"[artifacts.implicit]{more}", tmp_path) for more in ("\n", "\nshards = 8\nsingle_blob = false")
    )
    assert plain.model_dump() == split.model_dump()
