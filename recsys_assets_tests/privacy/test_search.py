"""The search for a user decodes what it finds: no format and no spelling hides an id."""

import gzip
import io
import json
from datetime import date

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from safetensors.numpy import save

from recsys_assets.encoding.safetensors_codec import Table, Vectors, encode_vectors
from recsys_assets.identity import Window
from recsys_assets.ingest.quarantine import mentions
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import encode_tally, tally_day
from recsys_assets.privacy.search import contains_user, names_user, places_that_hold
from recsys_assets.release.layout import blob_key, tree_log_key, tree_segment_key
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.trees.content import table_content
from recsys_assets.trees.documents import Hierarchy
from recsys_assets.trees.tree import ArtifactTree
from recsys_assets_tests.kinds.event_rows import events_of, row
from recsys_assets_tests.small_shop import HOME

USER = "ren\u00e9"


def parquet(**columns):
    sink = io.BytesIO()
    pl.DataFrame(columns).write_parquet(sink, compression="zstd")
    return sink.getvalue()


def arrow(column):
    sink = io.BytesIO()
    table = pa.table({"text": column})
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue()


def npz(**arrays):
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    return sink.getvalue()


def safetensors(**arrays):
    return save(arrays)


def quarantined(text, detail="", size=None):
    return json.dumps({"text": text, "detail": detail, "size": size or len(text.encode())}).encode() + b"\n"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(parquet(user_id=["a", USER]), id="parquet"),
        pytest.param(parquet(who=[["a"], [USER]]), id="parquet-nested"),
        pytest.param(parquet(blob=[b"a", USER.encode()]), id="parquet-binary"),
        pytest.param(arrow(pa.array(["a", USER], pa.string_view())), id="arrow-view"),
        pytest.param(arrow(pa.array([b"users", USER.encode()], pa.binary(5))), id="arrow-fixed"),
        pytest.param(arrow(pa.array([USER], pa.json_())), id="arrow-extension"),
        pytest.param(json.dumps({"users": [{"user_id": USER}]}).encode(), id="json-escaped"),
        pytest.param(json.dumps({"users": {USER: 1}}, ensure_ascii=False).encode(), id="json-key"),
        pytest.param(b'{"a":1}\n' + json.dumps({"user_id": f" {USER} "}).encode(), id="json-lines-padded"),
        pytest.param(gzip.compress(json.dumps([USER]).encode()), id="gzip"),
        pytest.param(pa.compress(json.dumps([USER]).encode(), codec="zstd", asbytes=True), id="zstd"),
        pytest.param(npz(users=np.array(["a", USER])), id="npz"),
        pytest.param(safetensors(names=np.frombuffer(USER.encode(), np.uint8)), id="safetensors-bytes"),
        pytest.param(b"\x00\x01" + USER.encode() + b"\x00", id="bytes"),
    ],
)
def test_a_user_is_found_whatever_holds_the_id(data):
    assert contains_user(data, {USER})
    assert not contains_user(data, {"nobody"})


def test_a_tally_is_decoded_though_its_digest_stands_behind_it():
    """Its bytes are compressed: they need not hold an id that it names, and may hold one that is part of another."""
    users = [f"{USER}-{n:03}" for n in range(2000)]
    tally = encode_tally(tally_day(events_of([row(n, user, "s", "i") for n, user in enumerate(users)]), ("user_id",)))
    assert all(contains_user(tally, {user}) for user in users[::500])
    assert not any(contains_user(tally, {part}) for part in (USER, f"{USER}-", f"{USER}-00"))


def test_an_item_or_a_count_that_reads_like_the_user_is_not_the_user():
    assert not contains_user(parquet(user_id=["a"], item_id=["4711"]), {"4711"})
    assert not contains_user(json.dumps({"rows": 4711, "item_id": "4711"}).encode(), {"4711"})
    assert contains_user(json.dumps({"user_id": 4711}).encode(), {"4711"})


@pytest.mark.parametrize(
    ("user", "text"),
    [
        pytest.param(USER, '{"user_id":"ren\\u00e9"}', id="escaped"),
        pytest.param("a/b", '{"user_id":"a\\/b"}', id="solidus"),
        pytest.param(USER, '{"user_id":"\\u2003ren\u00e9 "}', id="padded"),
        pytest.param("4711", '{"user_id":4711}', id="number"),
        pytest.param("4711", '{"user_id":4711.0}', id="fraction"),
        pytest.param("4711", '{"user_id":4.711e3}', id="exponent"),
        pytest.param(USER, '{"payload":"{\\"user_id\\":\\"ren\\\\u00e9\\"}"}', id="json-in-json"),
        pytest.param(USER, "{'user_id': 'ren\u00e9'}", id="no-json"),
        pytest.param("u 1", "2026-01-01;u 1;x", id="csv"),
        pytest.param(USER, '{"user_id":"ren\u00e9', id="unterminated"),
        pytest.param(USER, '{"a":1,"user_id":"x","user_id":"ren\\u00e9"}', id="twice"),
    ],
)
def test_a_refused_line_names_the_user_however_it_spells_the_id(user, text):
    assert mentions(text, {user})
    assert contains_user(quarantined(text), {user}, is_quarantine=True)
    assert not mentions(text, {"ren", "471", "nobody"})


def test_a_line_that_was_cut_within_the_id_counts_as_naming_the_user():
    text = '{"user_id":"user-1234'
    assert contains_user(quarantined(text, size=9000), {"user-123456"}, is_quarantine=True)
    assert not contains_user(quarantined(text, size=9000), {"other"}, is_quarantine=True)
    assert not contains_user(quarantined(text), {"user-123456"}, is_quarantine=True), "whole, as its size says"


def test_objects_of_another_target_are_not_searched_and_strays_are():
    store = MemoryStore()
    for key in (f"artifacts/{HOME}/x/1", "artifacts/other/home/x/1", "notes.txt", f"trash/{HOME}/1/x/1"):
        store.put(key, b'{"user_id":"u1"}')
    store.put(f"raw/2026-01-01/{HOME}/0000-1.arrow", b"ARROW1 damaged, u1")
    assert list(places_that_hold(store, HOME, {"u1"})) == [
        f"artifacts/{HOME}/x/1",
        "notes.txt",
        f"raw/2026-01-01/{HOME}/0000-1.arrow",
        f"trash/{HOME}/1/x/1",
    ]


def test_artifact_trees_are_searched_through_revisions_contents_and_segments():
    store = MemoryStore()
    tree = ArtifactTree(store, Hierarchy("documents", ("project",)))
    node = tree.save({"made_for": {"user_id": "u1"}}, content=table_content(pl.DataFrame({"user_id": ["u1"]})))
    for n in range(15):
        tree.save({"name": "u1" if n == 3 else "x"})
    found = list(places_that_hold(store, HOME, {"u1"}))
    assert sum(key.startswith(f"trees/documents/nodes/{node.id}/") for key in found) == 2
    assert sum(key.startswith("trees/documents/nodes/") for key in found) == 3
    assert [key for key in found if "/log/" in key] == [
        tree_log_key("documents", 5),
        tree_segment_key("documents", 1, 0),
    ]


@pytest.mark.parametrize(
    ("document", "is_found"),
    [
        ({"users": 3, "top_user": 3, "hours": {"3": 7}}, False),
        ({"users": [3]}, True),
        ({"user_id": 3}, True),
        ({"users": {"3": 1}}, True),
    ],
)
def test_a_count_is_no_id_and_a_number_in_a_field_of_users_is(document, is_found):
    assert contains_user(json.dumps(document).encode(), {"3"}) is is_found


def test_a_user_who_has_a_vector_is_found_by_the_whole_id():
    shape, store = KINDS["als_factors"].shape, MemoryStore()
    tables = {column: Table(pl.Series(["u10", "u2"]), np.ones((2, 3), np.float32)) for column in shape.tables}
    window = Window(date(2026, 1, 1), date(2026, 1, 1))
    blob = encode_vectors(Vectors(shape, tables), kind="als_factors", target=HOME, window=window, max_bytes=10**6)
    store.put(blob_key(HOME, "als_factors", blob.ref.version), blob.data)
    assert names_user(store, HOME, {"u2"}, blob.ref)
    assert not names_user(store, HOME, {"u1", "u"}, blob.ref)
