"""Imported artifacts over the API: answered as what they are, and asked for by nothing but a version."""

import polars as pl
import pytest

from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.errors import InvalidNodeError
from recsys_assets.ingest.sources.discovery import named_file
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.imported import NodePlace, receive, register
from recsys_assets.release.layout import blob_key
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

    return Client(make_application(ApiContext(store, settings))), bring


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
    assert client.get(f"/v1/artifacts/{version}/rows").status_code == (200 if kind == "scores" else 422)


def test_rows_of_an_imported_table_come_in_pages_and_as_files(imported):
    client, bring = imported
    version = bring("scores", b"".join(b'{"item_id":"i%d","v":[%d]}\n' % (n, n) for n in range(3)))
    path = f"/v1/artifacts/{version}/rows"
    page = client.get(path, params={"start": 1, "limit": 1}).json()
    assert (page["rows"], page["total"], page["next"]) == ([{"item_id": "i1", "v": [1]}], 3, 2)
    whole = client.get(path, params={"format": "csv"})
    assert whole.text == "item_id,v\r\ni0,[0]\r\ni1,[1]\r\ni2,[2]\r\n"
    assert whole.headers["content-disposition"] == f'attachment; filename="scores_{version[:12]}.csv"'
    parquet = client.get(path, headers={"Accept": "application/vnd.apache.parquet"}, params={"start": 2})
    assert pl.read_parquet(parquet.content).to_dicts() == [{"item_id": "i2", "v": [2]}]
    asked = client.get(path, params={"id": "i1"})
    assert (asked.status_code, "not looked up by id" in asked.json()["detail"]) == (422, True)


def test_an_imported_artifact_has_a_page_with_its_rows_or_none(imported):
    client, bring = imported
    lines = (b'{"item_id":"<b>%d","v":[%d],"ok":true,"deep":{"a":null}}\n' % (n, n) for n in range(60))
    version = bring("scores", b"".join(lines))
    page = client.get(f"/artifacts/{version}")
    for shown in ("&lt;b&gt;7", "[7]", "{&#34;a&#34;:null}", "1 to 50 of 60", "60 rows"):
        assert shown in page.text, shown
    assert "51 to 60 of 60" in client.get(f"/artifacts/{version}?start=50").text
    assert "One id" not in page.text
    assert "stored unchanged" in client.get(f"/artifacts/{bring('model', b'x')}").text


def test_a_registered_file_is_a_node_of_its_tree_below_its_parent_with_its_metadata(tmp_path, store):
    tree = '[hierarchies.ml_pipeline]\nlevels = ["experiment", "model"]\n'
    shown = 'hierarchy = "ml_pipeline"\nmetadata = { team = "ranking" }\n'
    config = IMPORTS.replace('format = "jsonl"\n', f'format = "jsonl"\n{shown}')
    (tmp_path / "recsys.toml").write_text(CONFIG + tree + config)
    settings = load_settings(tmp_path / "recsys.toml")
    api_context = ApiContext(store, settings)
    parent = api_context.trees["ml_pipeline"].save({"name": "nightly"}).id
    (tmp_path / "file").write_bytes(b'{"item_id":"i1"}\n')
    received = receive(named_file(str(tmp_path / "file")), settings.imports["scores"], kind="scores")
    context = DayContext(store, settings, settings.targets[0], FIRST, run_id="test")
    for _ in range(2):  # a rerun makes no second node
        register(context, received, dropped_on=FIRST, node=NodePlace(parent, {"model": "v3"}))
    client = Client(make_application(api_context))
    for search in ("model:v3", "team:ranking", "kind:scores", f"version:{received.blob.ref.version}"):
        (node,) = client.get("/api/v1/artifacts", params={"metadata": search}).json()["items"]
        assert (node["parent_id"], node["level_label"]) == (parent, "model")
    assert client.get(f"/api/v1/artifacts/{node['id']}/$download").json() == [{"item_id": "i1"}]
    api_context.trees["ml_pipeline"].delete(node["id"])
    with pytest.raises(InvalidNodeError, match="parent: node"):
        register(context, received, dropped_on=FIRST, node=NodePlace("0" * 26))
    store.delete(blob_key(settings.targets[0].target, "scores", received.blob.ref.version))
    api_context.trees["ml_pipeline"].restore(node["id"])
    gone = client.get(f"/api/v1/artifacts/{node['id']}/$download")
    assert (gone.status_code, "was collected" in gone.json()["detail"]) == (404, True)


@pytest.mark.parametrize(
    "version", ["0" * 64 + ".JSONL", "0" * 64 + ".", "0" * 64 + "." + "a" * 21, "0" * 64 + ".a.b", "0" * 64 + "%0A"]
)
def test_what_is_no_version_is_refused_before_the_store_is_asked(imported, version):  # F17
    client, _ = imported
    assert client.get(f"/v1/artifacts/{version}/metadata").status_code == 422
