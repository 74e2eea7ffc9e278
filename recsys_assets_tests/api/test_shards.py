"""The API looks up a row of a kind in shards by its one shard, pages through all, and reports its size as a whole."""

import io
from datetime import timedelta

import polars as pl
import pytest

from recsys_assets.artifact_format import shard_of
from recsys_assets.release.layout import blob_key
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets_tests.serving.releases import TARGET

USERS = {f"user {n}": {f"item {n}": 2} for n in range(30)}


@pytest.fixture
def release(store, releases):  # noqa: ARG001 - shipped after the others
    day = DAY + timedelta(days=9)
    return publish_fixture(store, "shop", "home", {"implicit": USERS}, shards={"implicit": 4}, day=day).release


@pytest.fixture
def index(release):
    return f"/v1/artifacts/{release.refs['implicit.shards'].version}"


def test_a_row_is_found_by_id_and_rows_are_paged(client, index):
    found = client.get(f"{index}/rows", params={"id": "user 7"}).json()
    assert (found["total"], found["kind"]) == (30, "implicit.shards")
    assert [row["items"][0]["item_id"] for row in found["rows"]] == ["item 7"]
    assert client.get(f"{index}/rows", params={"id": "nobody"}).json()["rows"] == []
    seen, start = [], 0
    while start is not None:
        page = client.get(f"{index}/rows", params={"start": start, "limit": 7}).json()
        seen += [row["user_id"] for row in page["rows"]]
        start = page["next"]
    assert sorted(seen) == sorted(USERS)


def test_rows_are_handed_out_as_csv_and_parquet(client, index):
    sent = client.get(f"{index}/rows", params={"format": "csv"})
    assert sent.headers["content-type"] == "text/csv; charset=utf-8"
    header, *rows = sent.text.splitlines()
    assert (header, len(rows)) == ("user_id,items", 30)
    assert 'user 0,"[{""item_id"":""item 0"",""score"":2.0}]"' in rows
    accepted = client.get(f"{index}/rows", headers={"Accept": "application/vnd.apache.parquet"})
    assert accepted.headers["content-disposition"].endswith('.parquet"')
    frame = pl.read_parquet(io.BytesIO(accepted.content))
    assert sorted(frame["user_id"]) == sorted(USERS)
    assert {user: items[0]["item_id"] for user, items in frame.iter_rows()}["user 7"] == "item 7"
    some = client.get(f"{index}/rows", params={"format": "parquet", "start": 28, "limit": 5})
    assert len(pl.read_parquet(io.BytesIO(some.content))) == 2
    assert client.get(f"{index}/rows", params={"format": "csv", "id": "user 7"}).text.count("\n") == 2


def test_the_index_is_reported_and_handed_out_and_a_release_reports_all_bytes(client, index, release):
    message = client.get(f"{index}/metadata").json()
    assert (message["kind"], message["rows"], message["media_type"]) == ("implicit.shards", 30, "application/json")
    assert message["window_start"] == "2026-01-10T00:00:00Z"
    listed = client.get(f"{index}/content").json()
    assert [shard["version"] for shard in listed["shards"]] == [ref.version for ref in release.members[0].shards]
    (shown,) = client.get("/v1/targets/shop/home/releases/live").json()["artifacts"]
    assert (shown["stored"], shown["bytes"]) == (True, sum(ref.size for ref in release.members[0].refs))
    shard = listed["shards"][0]["version"]
    assert client.get(f"/v1/artifacts/{shard}/rows").json()["kind"] == "implicit"
    (holder,) = client.get(f"/v1/artifacts/{shard}/usedby").json()["items"]
    assert (holder["release"], holder["kinds"]) == (release.id, ["implicit.shards"])


def test_f12_a_missing_shard_is_no_empty_answer(client, store, index, release):
    lost = release.members[0].shards[shard_of("user 7", 4)]
    store.delete(blob_key(TARGET, "implicit", lost.version))
    assert client.get(f"{index}/rows", params={"id": "user 7"}).status_code == 404
    (shown,) = client.get("/v1/targets/shop/home/releases/live").json()["artifacts"]
    assert shown["stored"] is False
