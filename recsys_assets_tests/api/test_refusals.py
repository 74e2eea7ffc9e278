"""Refusals: each with its status, a sentence, and nothing of folders, buckets or code."""

import pytest

from recsys_assets.api.context import ConcurrencyLimit
from recsys_assets.errors import ConfigurationError, StoreUnavailableError
from recsys_assets.release.layout import pointer_key, release_key
from recsys_assets_tests.serving.releases import TARGET

HOME = "/v1/targets/shop/home"
NOWHERE = "0" * 64
SECRET = "/srv/secret-folder/store"
INSIDE = ("secret", "/srv", "s3://", "Traceback", "site-packages", ".json'", "registry/", "releases/shop")
PATHS = (
    "/v1/targets",
    HOME,
    f"{HOME}/stats",
    f"{HOME}/releases",
    f"{HOME}/releases/live",
    f"{HOME}/tree",
    f"{HOME}/diff?before=live",
    f"{HOME}/at?time=2026-03-01T00:00:00Z",
    f"{HOME}/journal",
    f"{HOME}/days/2026-01-01/usedby",
    f"/v1/artifacts/{NOWHERE}/metadata",
    f"/v1/artifacts/{NOWHERE}/content",
    f"/v1/artifacts/{NOWHERE}/rows",
    "/",
    "/targets/shop/home",
    f"/artifacts/{NOWHERE}",
)


class DownStore:
    """A store that answers nothing; its errors name what nobody outside shall read."""

    root_uri = f"file://{SECRET}"
    uri_roots = (root_uri,)

    def __init__(self, error=StoreUnavailableError):
        self._error = error

    def __getattr__(self, name):
        def fails(*_, **__):
            raise self._error(f"s3://secret-bucket/key: [Errno 5] I/O error: '{SECRET}/registry/x' http://secret:9000")

        return fails


def reveals_nothing_of_the_inside(answer):
    return not any(word in answer.text for word in INSIDE)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("error", [StoreUnavailableError, ConfigurationError])
def test_f11_a_store_that_is_down_is_503_with_a_time_to_come_back(open_client, path, error):
    answer = open_client(DownStore(error)).get(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert reveals_nothing_of_the_inside(answer)


def test_freshness_of_a_store_that_is_down_says_so(open_client):
    answer = open_client(DownStore()).get(f"{HOME}/freshness")
    assert (answer.status_code, answer.json()["cause"]) == (200, "store_down")
    assert reveals_nothing_of_the_inside(answer)


def test_a_process_lives_while_its_store_is_down_but_is_not_ready(open_client):
    down = open_client(DownStore())
    assert down.get("/health/live").status_code == 200
    assert (down.get("/health").status_code, down.get("/health").json()["ready"]) == (503, False)
    assert reveals_nothing_of_the_inside(down.get("/health"))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/targets/nobody/home",
        f"{HOME}/releases/{NOWHERE}",
        f"{HOME}/releases/00000000",
        f"{HOME}/tree?release={NOWHERE}",
        f"{HOME}/diff?before={NOWHERE}",
        "/v1/targets/shop/cart/releases/live",
        f"/v1/artifacts/{NOWHERE}/content",
        f"/v1/artifacts/{NOWHERE}/metadata?kind=nothing",
        "/v1/nothing",
        "/nothing",
        "/v1/targets/../../etc/passwd",
    ],
)
def test_what_is_not_there_is_404(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert reveals_nothing_of_the_inside(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/targets?limit=0",
        "/v1/targets?limit=101",
        "/v1/targets?limit=x",
        "/v1/targets?limit=1&limit=2",
        "/v1/targets?cursor=x",
        "/v1/targets?unknown=1",
        f"{HOME}/releases?cursor=12",
        f"{HOME}/releases/not-a-release",
        f"{HOME}/releases/{'0' * 65}",
        f"{HOME}/tree?depth=5",
        f"{HOME}/tree?depth=-1",
        f"{HOME}/at",
        f"{HOME}/at?time=yesterday",
        f"{HOME}/at?time=2026-03-01T00:00:00",
        f"{HOME}/at?time=0.5",
        "/api/v1/artifacts?level=null",
        "/api/v1/artifacts?size=0",
        "/api/v1/artifacts?metadata=status",
        "/api/v1/artifacts/01/$expand",
        f"{HOME}/diff",
        f"{HOME}/days/someday/usedby",
        "/v1/artifacts/short/content",
        f"/v1/artifacts/{'g' * 64}/metadata",
        f"/v1/artifacts/{NOWHERE}%0A/content",
        f"/v1/artifacts/{NOWHERE}/rows?limit=201",
        f"/v1/artifacts/{NOWHERE}/rows?id=%00",
        "/openapi.json?x=1",
        "/metrics?x=1",
    ],
)
def test_what_cannot_be_understood_is_422_and_names_the_parameter(client, path):
    answer = client.get(path)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) > 10
    assert reveals_nothing_of_the_inside(answer)


HOSTILE = [
    "..%5Cx",
    "%20",
    "a%0Ab",
    "%00",
    "a%7Fb",
    "a%25b",
    "x" * 201,
    "%E2%80%AEx",
    "a%5Cb",
    "a.",
    " a",
    "%3F",
    "%23",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_f17_a_hostile_name_is_refused_before_the_store_is_asked(open_client, name):
    down = open_client(DownStore())  # query, it would be 503
    for path in (f"/v1/targets/{name}/home", f"/v1/targets/shop/{name}/releases", f"/targets/{name}/home"):
        answer = down.get(path)
        assert answer.status_code == 422, path
        assert reveals_nothing_of_the_inside(answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/v1/targets", HOME, f"/v1/artifacts/{NOWHERE}/content", "/metrics"])
def test_nothing_but_get_and_head_is_known(client, method, path):
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert {name.strip() for name in answer.headers["allow"].split(",")} == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "change", [lambda d: d[:-1], lambda d: d + b" ", lambda d: d.replace(b"7", b"8", 1), lambda _: b""]
)
def test_f13_corrupt_bytes_are_410_and_never_handed_out(client, store, shop, releases, change):
    key = shop.blob(releases[2], "popularity")
    store.put(key, change(store.get(key, max_bytes=10_000).data))
    version = releases[2].refs["popularity"].version
    for what in ("content", "metadata", "rows", "expand"):
        answer = client.get(f"/v1/artifacts/{version}/{what}")
        assert answer.status_code == 410, what
        assert reveals_nothing_of_the_inside(answer)
    assert client.get(f"{HOME}/diff", params={"before": releases[0].id}).status_code == 410


def test_f12_a_blob_that_is_gone_is_404_and_its_release_says_so(client, store, shop, releases):
    store.delete(shop.blob(releases[2], "popularity"))
    version = releases[2].refs["popularity"].version
    assert client.get(f"/v1/artifacts/{version}/content").status_code == 404
    shown = client.get(f"{HOME}/releases/live").json()
    assert {one["kind"] for one in shown["artifacts"] if not one["stored"]} == {"popularity"}
    target = client.get(HOME)
    assert "popularity" in " ".join(target.json()["problems"])
    assert reveals_nothing_of_the_inside(target)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, b'{"v":2}'])
def test_f14_corrupt_documents_are_410_or_a_problem_beside_the_rest(client, store, releases, data):
    store.put(release_key(TARGET, releases[2].id), data)
    assert client.get(f"{HOME}/releases/live").status_code == 410
    rows = {row["id"]: row["problem"] for row in client.get(f"{HOME}/releases").json()["items"]}
    assert [identifier for identifier, problem in rows.items() if problem] == [releases[2].id]
    store.put(pointer_key(TARGET), data)
    assert client.get(f"{HOME}/tree").status_code == 410
    target = client.get(HOME)
    assert (target.status_code, target.json()["release"]) == (200, None)
    assert target.json()["problems"]
    assert reveals_nothing_of_the_inside(target)
    assert client.get("/").status_code == 200


def test_a_pointer_that_leads_elsewhere_shows_no_address(client, store):
    pointer = store.get(pointer_key(TARGET), max_bytes=10_000).data
    store.put(pointer_key(TARGET), pointer.replace(store.root_uri.encode(), b"file:///srv/secret"))
    answer = client.get(HOME)
    assert answer.json()["problems"]
    assert reveals_nothing_of_the_inside(answer)


def test_a_bug_is_500_without_a_word_about_the_code(open_client):
    class Broken:
        root_uri = "memory://x"
        uri_roots = (root_uri,)

    answer = open_client(Broken()).get(HOME)
    assert (answer.status_code, answer.json()["title"]) == (500, "Internal Server Error")
    assert "Broken" not in answer.text


def test_heavy_work_waits_for_a_free_place_and_is_then_asked_to_come_back(store, releases, open_client):
    gate = ConcurrencyLimit(patience_seconds=0.01)
    version = releases[0].refs["cooc"].version
    client = open_client(store, heavy=gate)
    with gate.pass_through(), gate.pass_through():
        assert client.get(f"/v1/artifacts/{version}/content").status_code == 503
    assert client.get(f"/v1/artifacts/{version}/content").status_code == 200
