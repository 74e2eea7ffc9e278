"""The reader on real stores: what an idle poll costs, and what it refuses there."""

import os

import pytest

from recsys_assets.errors import NotFoundError
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Problem, RefreshOutcome, State
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets_tests.serving.releases import POINTER, Shop, answers


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def folder(root):
    return FilesystemStore(root)


def open_on(store, **options):
    return Reader(store, "shop", "home", **options)


def test_an_idle_poll_of_a_folder_reads_no_byte(folder, monkeypatch):
    Shop(folder).ship(0)
    reader = open_on(folder)
    reader.refresh()
    read = []
    monkeypatch.setattr(os, "read", lambda *arguments: read.append(arguments))
    assert reader.refresh().outcome is RefreshOutcome.UNCHANGED
    assert read == []


@pytest.mark.parametrize("which", ["pointer", "blob", "folder of the tenant"])
def test_a_link_in_the_store_is_not_followed(folder, root, tmp_path, which):
    """F19."""
    shop = Shop(folder)
    shop.ship(0)
    reader = open_on(folder)
    reader.refresh()
    release = shop.ship(1)
    path = {
        "pointer": root / POINTER,
        "blob": root / shop.blob(release, "cooc"),
        "folder of the tenant": root / "artifacts" / "shop",
    }[which]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert reader.refresh().problem is Problem.DENIED
    assert "symbolic link" in reader.status().why
    assert answers(reader.snapshot()) == {0}


def test_another_folder_in_the_place_of_ours_is_noticed(folder, root, tmp_path):
    shop = Shop(folder)
    shop.ship(0)
    shop.ship(1)
    reader = open_on(folder)
    reader.refresh()
    root.rename(tmp_path / "ours")
    Shop(FilesystemStore(root)).ship(0)
    assert reader.refresh().problem is Problem.OLDER_POINTER
    assert answers(reader.snapshot()) == {1}


def test_a_folder_that_is_gone_is_not_an_empty_answer(folder, root, tmp_path):
    Shop(folder).ship(0)
    reader = open_on(folder)
    reader.refresh()
    root.rename(tmp_path / "gone")
    assert reader.refresh().problem is Problem.NO_POINTER
    assert answers(reader.snapshot()) == {0}
    fresh = open_on(folder)
    fresh.refresh()
    with pytest.raises(NotFoundError, match="is not in the store"):
        fresh.snapshot()


@pytest.mark.slow
def test_a_bucket_is_followed_and_an_idle_poll_is_one_304(s3_server):
    client = s3_server.client()
    store = S3Store(client, bucket=s3_server.bucket, prefix=s3_server.new_prefix())
    shop = Shop(store)
    shop.ship(0)
    reader = open_on(store)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    statuses = []
    client.meta.events.register("response-received.s3", lambda **seen: statuses.append(_status(seen)))
    assert reader.refresh().outcome is RefreshOutcome.UNCHANGED
    assert statuses == [404, 304]  # no list of blocked items, and the pointer as it was
    shop.ship(1)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {1}


@pytest.mark.slow
def test_a_bucket_reports_denied_and_missing_and_silent_apart(s3_server):
    at = {"bucket": s3_server.bucket, "prefix": s3_server.new_prefix()}
    store = S3Store(s3_server.client(), **at)
    shop = Shop(store)
    shop.ship(0)
    denied = S3Store(type(s3_server)(s3_server.endpoint, "test-key", "wrong").client(), **at)
    elsewhere = S3Store(s3_server.client(), bucket="no-such-bucket")
    client = type(s3_server)("http://127.0.0.1:9", "test-key", "none").client(retries={"max_attempts": 1})
    silent = S3Store(client, **at)
    problems = [open_on(one).refresh().problem for one in (denied, elsewhere, silent)]
    assert problems == [Problem.DENIED, Problem.DENIED, Problem.OUTAGE]
    store.delete(shop.blob(shop.ship(1), "cooc"))
    reader = open_on(store)
    assert reader.refresh().problem is Problem.BROKEN_RELEASE
    assert reader.status().state is State.BROKEN_RELEASE


def _status(seen):
    return seen["response_dict"]["status_code"]
