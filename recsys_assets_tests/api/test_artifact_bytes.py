"""An artifact's bytes over HTTP: marks, conditions, ranges and caching, as RFC 9110 has them."""

import pytest


@pytest.fixture
def at(releases):
    return f"/v1/artifacts/{releases[2].refs['popularity'].version}/content"


@pytest.fixture
def data(store, shop, releases):
    return store.get(shop.blob(releases[2], "popularity"), max_bytes=10_000).data


def test_content_is_the_stored_bytes_marked_by_their_version_for_ever(client, at, data, releases):
    answer = client.get(at)
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["etag"] == f'"{releases[2].refs["popularity"].version}"'
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]


def test_head_reports_the_same_without_the_bytes(client, at, data):
    whole, head = client.get(at), client.head(at)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(data)
    assert head.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        pytest.param("{etag}", 304, id="the version"),
        pytest.param('"other", {etag}', 304, id="one of several"),
        pytest.param("W/{etag}", 304, id="weakly"),
        pytest.param("*", 304, id="anything"),
        pytest.param('"other"', 200, id="another"),
        pytest.param("nonsense", 200, id="nonsense"),
    ],
)
def test_a_client_that_has_the_version_gets_no_body(client, at, tags, status):
    etag = client.head(at).headers["etag"]
    answer = client.get(at, headers={"If-None-Match": tags.format(etag=etag)})
    assert (answer.status_code, bool(answer.content)) == (status, status == 200)
    assert answer.headers["etag"] == etag


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        pytest.param("bytes=0-9", slice(0, 10), id="first ten"),
        pytest.param("bytes=5-", slice(5, None), id="from five on"),
        pytest.param("bytes=-7", slice(-7, None), id="last seven"),
        pytest.param("bytes=3-3", slice(3, 4), id="one byte"),
        pytest.param("bytes=10-999999", slice(10, None), id="beyond the end"),
        pytest.param("bytes=-999999", slice(0, None), id="more than all"),
    ],
)
def test_a_range_is_cut_out(client, at, data, wanted, part):
    answer = client.get(at, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (206, data[part])
    first, last, _ = part.indices(len(data))
    assert answer.headers["content-range"] == f"bytes {first}-{last - 1}/{len(data)}"


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0"])
def test_a_range_beyond_the_end_is_416(client, at, data, wanted):
    answer = client.get(at, headers={"Range": wanted})
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{len(data)}")


@pytest.mark.parametrize(
    "wanted", ["bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=-", "bytes=a-b", "bytes=" + "9" * 99]
)
def test_what_is_no_single_range_is_answered_whole(client, at, data, wanted):
    answer = client.get(at, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (200, data)


@pytest.mark.parametrize(("tag", "status"), [("{etag}", 206), ('"other"', 200), ("W/{etag}", 200)])
def test_a_range_of_other_bytes_is_answered_whole(client, at, tag, status):
    etag = client.head(at).headers["etag"]
    assert client.get(at, headers={"Range": "bytes=0-1", "If-Range": tag.format(etag=etag)}).status_code == status
