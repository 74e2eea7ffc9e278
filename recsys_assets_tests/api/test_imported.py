"""Imported artifacts over the API: answered as what they are, and asked for by nothing but a version."""

import pytest

from recsys_assets.api.application import make_application
from recsys_assets.api.site import Site
from recsys_assets.ingest.sources.drop_folder import named_file
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.imported import receive, register
from recsys_assets.settings.reading import load_settings
from recsys_assets_tests.api.conftest import CONFIG, Client
from recsys_assets_tests.small_shop import FIRST

IMPORTS = """
[imports.model]
path = "drop/{day}.onnx"
format = "bytes"
extension = "onnx"
content_type = "application/onnx"
[imports.scores]
path = "drop/{day}.jsonl"
format = "jsonl"
[[targets]]
tenant = "shop"
surface = "home"
"""


@pytest.fixture
def imported(tmp_path, store):
    """An application, and a function that registers bytes and returns their version."""
    (tmp_path / "recsys.toml").write_text(CONFIG + IMPORTS)
    settings = load_settings(tmp_path / "recsys.toml")

    def bring(kind, data):
        (tmp_path / "file").write_bytes(data)
        received = receive(named_file(str(tmp_path / "file")), settings.imports[kind], kind=kind)
        row = settings.targets[0]
        register(DayContext(store, settings, row, FIRST, run_id="test"), received, dropped_on=FIRST)
        return received.blob.ref.version

    return Client(make_application(Site(store, settings))), bring


@pytest.mark.parametrize(
    ("kind", "data", "media"),
    [
        pytest.param("model", b"\x00\x01model", "application/onnx", id="declared"),
        pytest.param("scores", b'{"item_id":"i1"}\n', "application/jsonl", id="by its form"),
    ],
)
def test_an_imported_artifact_is_answered_as_what_it_is(imported, kind, data, media):
    client, bring = imported
    version = bring(kind, data)
    found = client.get(f"/v1/artifacts/{version}/content")
    assert (found.status_code, found.content) == (200, data)
    assert found.headers["content-type"] == media
    assert found.headers["etag"] == f'"{version}"'
    assert f'filename="{version}"' in found.headers["content-disposition"]
    message = client.get(f"/v1/artifacts/{version}/metadata").json()
    assert (message["kind"], message["media_type"], message["rows"]) == (kind, media, None)
    assert client.get(f"/v1/artifacts/{version}/rows").status_code == 422


@pytest.mark.parametrize(
    "version", ["0" * 64 + ".JSONL", "0" * 64 + ".", "0" * 64 + "." + "a" * 21, "0" * 64 + ".a.b", "0" * 64 + "%0A"]
)
def test_what_is_no_version_is_refused_before_the_store_is_asked(imported, version):  # F17
    client, _ = imported
    assert client.get(f"/v1/artifacts/{version}/metadata").status_code == 422
