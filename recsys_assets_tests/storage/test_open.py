"""Roots and the stores that they open; refusing one costs nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from recsys_assets.clouds.s3 import make_client
from recsys_assets.errors import ConfigurationError
from recsys_assets.storage.open import open_store
from recsys_assets.storage.s3 import S3Store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def credentials(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    "root",
    [
        pytest.param("", id="nothing"),
        pytest.param("/", id="the whole machine"),
        pytest.param("file:///", id="the whole machine, as URI"),
        pytest.param("file://host/x", id="F18 a folder elsewhere"),
        pytest.param("s3://", id="no bucket"),
        pytest.param("s3:///x", id="a prefix without bucket"),
        pytest.param("http://169.254.169.254/x", id="F18 other scheme"),
        pytest.param("S3://bucket", id="F18 scheme in capitals"),
        pytest.param("s3://bucket/../x", id="F17 up"),
        pytest.param("s3://bucket/a//b", id="F17 empty segment"),
        pytest.param("s3://bucket/a?b", id="F17 query"),
        pytest.param("s3://bucket/" + "x" * 121, id="F17 a prefix that leaves no room for keys"),
        pytest.param("with#hash", id="F17 fragment in a folder"),
        pytest.param("with%20escape", id="F17 escape in a folder"),
        pytest.param("new\nline", id="F17 newline in a folder"),
    ],
)
def test_a_root_that_is_none_is_refused_before_anything_is_made(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError):
        open_store(root, s3_client=lambda: pytest.fail("no client is needed to refuse"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "root", [pytest.param("{}", id="path"), pytest.param("file://{}", id="URI"), pytest.param("{}/", id="slash last")]
)
def test_a_folder_is_a_store_and_is_made_by_its_first_write(root, tmp_path):
    store = open_store(root.format(tmp_path / "store"))
    assert store.root_uri == f"file://{tmp_path}/store"
    assert list(store.list("")) == []
    assert list(tmp_path.iterdir()) == []
    store.create("a", b"1")
    assert (tmp_path / "store" / "a").read_bytes() == b"1"


def test_a_relative_folder_stays_where_it_was_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store("store")
    monkeypatch.chdir("/")
    store.create("a", b"1")
    assert (tmp_path / "store" / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("root", "uri"),
    [
        pytest.param("s3://bucket", "s3://bucket", id="bucket"),
        pytest.param("s3://bucket/", "s3://bucket", id="slash last"),
        pytest.param("s3://bucket/some/prefix/", "s3://bucket/some/prefix", id="prefix"),
    ],
)
@pytest.mark.usefixtures("credentials")
def test_a_bucket_is_a_store(root, uri):
    store = open_store(root, s3_client=make_client)
    assert isinstance(store, S3Store)
    assert store.root_uri == uri


@pytest.mark.usefixtures("credentials")
def test_without_a_client_handed_in_the_environment_shows_which_server(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = open_store("s3://bucket")
    assert store._client.meta.endpoint_url == "http://127.0.0.1:9"


def test_a_folder_is_opened_without_boto3():
    code = (
        "import sys; from recsys_assets.storage.open import open_store; open_store('/tmp/nowhere');"
        "print(*{m.split('.')[0] for m in sys.modules} & {'boto3', 'botocore', 'dagster', 'polars'})"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.split() == []
