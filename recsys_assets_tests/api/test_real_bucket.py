"""The command over a real S3 server: each address answers what it answers over a store in memory."""

import httpx
import pytest

from recsys_assets.api.artifacts import MEDIA
from recsys_assets.api.routes import CONTENT_PATH, ROUTES
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.api.serving_api import served
from recsys_assets_tests.serving.releases import Shop

pytestmark = pytest.mark.slow
QUESTIONS = {
    "/v1/targets/{tenant}/{surface}/diff": {"before": "live", "after": "live"},
    "/v1/targets/{tenant}/{surface}/at": {"time": "2026-03-01T00:00:59Z"},
}


@pytest.fixture
def bucket(s3_server, monkeypatch):
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)  # for the process that serves
    return S3Store(s3_server.client(), bucket=s3_server.bucket, prefix=s3_server.new_prefix())


@pytest.fixture
def config(tmp_path, bucket):
    folder = tmp_path / "over-a-bucket"
    folder.mkdir()
    settings_in(folder)
    path = folder / "recsys.toml"
    path.write_text(path.read_text().replace('root = "store"', f'root = "{bucket.root_uri}"'))
    return path


@pytest.fixture
def release(bucket):
    """The last of three releases in the bucket."""
    shop = Shop(bucket)
    return [shop.ship(n) for n in range(3)][-1]


def in_memory(store):
    """The same objects, whose URIs name the memory."""
    copy = MemoryStore()
    for item in store.list(""):
        data = store.get(item.key, max_bytes=10_000_000).data
        copy.objects[item.key] = data.replace(store.root_uri.encode(), copy.root_uri.encode()), item.modified
    return copy


def test_every_address_answers_over_a_bucket_as_over_memory(bucket, release, config, open_client):
    version = release.refs["cooc"].version
    names = {"tenant": "shop", "surface": "home", "release": "live", "version": version, "day": "2026-03-03"}
    expected = open_client(in_memory(bucket))
    with served(config) as (url, _), httpx.Client(base_url=url) as client:
        for route in ROUTES:
            query = {"params": QUESTIONS.get(route.path)}
            found = client.get(route.path.format_map(names), **query)
            assert found.status_code == 200, (route.path, found.text)
            if not route.path.startswith("/health"):
                assert found.json() == expected.get(route.path.format_map(names), **query).json(), route.path
        content = CONTENT_PATH.format_map(names)
        whole, part = client.get(content), client.get(content, headers={"Range": "bytes=2-9"})
        assert (whole.headers["etag"], whole.headers["content-type"]) == (f'"{version}"', MEDIA)
        assert (whole.content, part.content) == (expected.get(content).content, whole.content[2:10])
        assert client.get(content, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
        assert "shop/home" in client.get("/").text
        assert 'recsys_target_live{surface="home",tenant="shop"} 1.0' in client.get("/metrics").text.splitlines()


def test_a_bucket_that_cannot_be_reached_is_503_and_its_address_stays_inside(s3_server, config, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with served(config) as (url, _):
        for path in ("/v1/targets", "/v1/targets/shop/home/releases/live", "/"):
            answer = httpx.get(f"{url}{path}", timeout=60)
            assert (answer.status_code, "retry-after" in answer.headers) == (503, True), path
            assert not any(word in answer.text for word in ("127.0.0.1", "s3://", s3_server.bucket + "/", "botocore"))
