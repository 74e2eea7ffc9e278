"""Memory that a switch and a hostile store cost, measured from outside on a process of its own."""

import gzip
import hashlib
import os
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from recsys_assets.artifact_format import ZEROED_BUILD
from recsys_assets.identity import Window
from recsys_assets.release.layout import blob_key
from recsys_assets.serving.testing import DAY
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets_tests.release.staging import artifact
from recsys_assets_tests.serving.looking import reader_process
from recsys_assets_tests.serving.releases import POINTER, TARGET, Shop

pytestmark = pytest.mark.slow
MB = 1_000_000
ROUGHLY = 3 * MB  # what an interpreter takes and gives back by itself
LITTLE = 30 * MB  # more than the limits of a pointer and of small blobs can cost, far less than what is offered


@cache
def zip_bomb():
    return gzip.compress(bytes(200 * MB), 1)


@pytest.fixture
def store(tmp_path):
    return FilesystemStore(tmp_path / "store")


@pytest.fixture
def shop(store):
    return Shop(store)


def users(n, rows, length):
    items = {f"item-{n}-{i:04d}": 1 + i for i in range(length)}
    return {"implicit": {f"u{row:08d}": items for row in range(rows)}}


@pytest.mark.parametrize(
    ("rows", "length"), [pytest.param(30_000, 1, id="short rows"), pytest.param(2_000, 50, id="rows of 50")]
)
def test_f45_a_switch_takes_no_more_than_twice_the_new_release_beside_the_old_one_and_gives_it_back(
    store, shop, rows, length
):
    with reader_process(store.root_uri) as look:
        empty = look()["after"]
        looks = []
        for n in range(5):
            size = sum(ref.size for ref in shop.ship(n, **users(n, rows, length)).refs.values())
            looks.append(look())
            assert looks[-1]["outcome"] == "changed"
    for found in looks:
        assert found["peak"] - found["before"] < 2 * size + ROUGHLY
        assert found["peak"] - empty < 4 * size + ROUGHLY  # with the release that is served meanwhile, and its index
    assert looks[-1]["before"] - looks[0]["after"] < size + ROUGHLY, (
        "what was replaced is freed, however many switches there are"
    )


def sparse(store, key, size):
    """Make a file that says it holds so much, and takes no room."""
    path = Path(urlsplit(store.root_uri).path, key)
    os.truncate(path, size)


def pointer_of(store, **change):
    return msgspec.json.encode(msgspec.json.decode(store.get(POINTER, max_bytes=MB).data) | change)


def deep_blob(store, depth=8 * MB):
    """Ship a release whose blob proves itself, and nests as deep as it is long."""
    return proven(store, b'{"item_id":"a","tags":' + b"[" * depth + b"]" * depth + b"}")


def wide_blob(store, keys=1_000_000):
    return proven(store, b'{"item_id":"a","tags":["x"]' + b"".join(b',"k%d":1' % n for n in range(keys)) + b"}")


def proven(store, row):
    head, _ = artifact(TARGET, "content_sim", Window.ending(DAY, days=1), [])
    head = head[: head.index(b"[]")] + b"[" + row + b"]"
    version = hashlib.sha256(head + ZEROED_BUILD).hexdigest()
    build = {"built_at": "2026-03-02T00:00:00Z", "version": version, "source_hash": version}
    key = blob_key(TARGET, "content_sim", version)
    store.create(key, head + b',"build":' + msgspec.json.encode(build) + b"}")
    current = {"content_sim": f"{store.root_uri}/{key}"}
    store.put(POINTER, pointer_of(store, current=current, updated_at="2026-04-01T00:00:00Z"))


HOSTILE = [
    pytest.param(lambda store, _: sparse(store, POINTER, 50_000 * MB), "bad_pointer", id="F22 50 GB of pointer"),
    pytest.param(
        lambda store, release: sparse(store, blob_key(TARGET, "cooc", release.refs["cooc"].version), 50_000 * MB),
        "broken_release",
        id="F22 50 GB of blob",
    ),
    pytest.param(lambda store, _: store.put(POINTER, b"[" * 900_000), "bad_pointer", id="F22 a deep pointer"),
    pytest.param(
        lambda store, _: store.put(POINTER, pointer_of(store, current={f"k{n}": "file:///x" for n in range(45_000)})),
        "bad_pointer",
        id="F22 a pointer to 45,000 kinds",
    ),
    pytest.param(
        lambda store, _: store.put(POINTER, pointer_of(store, current={f"k{n}": "x" for n in range(1_000_000)})),
        "bad_pointer",
        id="F22 a million keys",
    ),
    pytest.param(lambda store, _: store.put(POINTER, zip_bomb()), "bad_pointer", id="F22 a zip bomb"),
]


@pytest.mark.parametrize(("offer", "problem"), HOSTILE)
def test_what_a_hostile_store_offers_is_refused_in_little_memory_and_the_old_one_serves(store, shop, offer, problem):
    shop.ship(0)
    with reader_process(store.root_uri) as look:
        assert look()["outcome"] == "changed"
        offer(store, shop.ship(1))
        found = look()
    assert (found["outcome"], found["problem"]) == ("failed", problem), found["why"]
    assert found["peak"] - found["before"] < LITTLE


@pytest.mark.parametrize(
    "offer", [pytest.param(deep_blob, id="F22 a deep row"), pytest.param(wide_blob, id="F22 a row of a million keys")]
)
def test_a_row_of_no_bounds_in_a_blob_that_proves_itself_costs_no_more_than_its_bytes(store, shop, offer):
    shop.ship(0)
    with reader_process(store.root_uri) as look:
        assert look()["outcome"] == "changed"
        offer(store)
        found = look()
    assert (found["outcome"], found["problem"]) == ("failed", "broken_release"), found["why"]
    assert found["peak"] - found["before"] < LITTLE + 2 * 16 * MB


@pytest.mark.parametrize(("which", "problem"), [("pointer", "bad_pointer"), ("blob", "broken_release")])
def test_f22_a_zip_bomb_that_a_server_calls_compressed_is_not_unpacked(s3_server, which, problem):
    client = s3_server.client()
    store = S3Store(client, bucket=s3_server.bucket, prefix=s3_server.new_prefix())
    shop = Shop(store)
    shop.ship(0)
    with reader_process(store.root_uri, **s3_server.environment()) as look:
        assert look()["outcome"] == "changed"
        key = shop.blob(shop.ship(1), "cooc") if which == "blob" else POINTER
        client.put_object(
            Bucket=s3_server.bucket,
            Key=f"{store.root_uri.removeprefix(f's3://{s3_server.bucket}/')}/{key}",
            Body=zip_bomb(),
            ContentEncoding="gzip",
        )
        found = look()
    assert (found["outcome"], found["problem"]) == ("failed", problem), found["why"]
    assert found["peak"] - found["before"] < LITTLE
