"""Artifact trees over HTTP: the suite's own sequence of requests, conditions, formats, and what is refused."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from recsys_assets.api.application import make_application
from recsys_assets.api.context import ApiContext
from recsys_assets.settings.reading import load_settings
from recsys_assets_tests.api.conftest import CONFIG, Client
from recsys_assets_tests.browsing import serving

ROOT = "/api/v1/artifacts"
SECRET = "writer"
TREES = f"""
[hierarchies.ml_pipeline]
levels = ["experiment", "model", "predictions"]
[[api.tokens]]
name = "anna"
sha256 = "{hashlib.sha256(SECRET.encode()).hexdigest()}"
scopes = ["read", "write"]
[[api.tokens]]
name = "reader"
sha256 = "{hashlib.sha256(b"reader").hexdigest()}"
[[targets]]
tenant = "shop"
surface = "home"
"""
NOWHERE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


class Api:
    """A client with a token, and short words for its verbs."""

    def __init__(self, application, secret=SECRET):
        self._client, self._secret = Client(application), secret

    def __call__(self, method, path="", *, headers=None, **more):
        sent = {"Authorization": f"Bearer {self._secret}", **(headers or {})}
        return self._client.request(method, f"{ROOT}{path}", headers=sent, **more)

    def create(self, data, **more):
        answer = self("POST", json={"data": data, **more})
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture
def application(tmp_path, store):
    (tmp_path / "recsys.toml").write_text(CONFIG + TREES)
    return make_application(ApiContext(store, load_settings(str(tmp_path / "recsys.toml"))))


@pytest.fixture
def api(application):
    return Api(application)


def test_the_sequence_of_the_suites_document(api):
    experiment = api.create({"experiment": "weather_prediction", "version": "1.0.0"})
    assert (experiment["level"], experiment["parent_id"]) == (0, None)
    training = {
        "type": "ml_training",
        "metadata": {
            "status": "success",
            "config_id": "01ABC123",
            "started_at": "2025-10-18T10:00:00Z",
            "completed_at": "2025-10-18T10:05:00Z",
            "duration_seconds": 300.0,
        },
    }
    model = api.create(training, parent_id=experiment["id"])
    rows = [{"rainfall": 110.0, "prediction": 13.2}, {"rainfall": 90.0, "prediction": 8.5}]
    predictions = api.create(
        {
            "type": "ml_prediction",
            "metadata": {"status": "success"},
            "content": {"columns": ["rainfall", "prediction"], "data": [[110.0, 13.2], [90.0, 8.5]]},
            "content_type": "application/vnd.chapkit.dataframe+json",
        },
        parent_id=model["id"],
    )
    tree = api("POST", "/$tree", json={"root_id": experiment["id"], "max_depth": 3}).json()
    assert tree["children"][0]["id"] == model["id"]
    assert tree["children"][0]["children"][0]["id"] == predictions["id"]
    shallow = api("POST", "/$tree", json={"root_id": experiment["id"], "max_depth": 1}).json()["children"][0]
    assert (shallow["children"], shallow["children_total"]) == ([], 1)
    assert api("GET", f"/{experiment['id']}/$tree", params={"max_depth": 0}).json()["children"] == []
    assert api("GET", f"/{experiment['id']}/$tree").json() == tree
    expanded = api("GET", f"/{experiment['id']}/$expand").json()
    assert (expanded["level_label"], expanded["hierarchy"]) == ("experiment", "ml_pipeline")
    assert "children" not in expanded
    download = api("GET", f"/{predictions['id']}/$download")
    assert download.json() == rows
    assert download.headers["content-disposition"] == f'attachment; filename="artifact_{predictions["id"]}.json"'
    assert api("GET", f"/{model['id']}/$metadata").json() == training["metadata"]
    refused = api("DELETE", f"/{experiment['id']}")
    assert (refused.status_code, model["id"] in refused.json()["detail"]) == (409, True)
    for node in (predictions, model, experiment):
        assert api("DELETE", f"/{node['id']}").status_code == 204
        assert api("GET", f"/{node['id']}").status_code == 404
    listed = api("GET").json()
    assert listed == {"items": [], "total": 0, "page": 1, "size": 50, "pages": 0}


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("jq"), reason="the page's commands need curl and jq")
def test_the_commands_of_the_page_run_as_they_are_written(application, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "keep-an-artifact-tree.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```bash\n(API=.*?)^```$", page, re.MULTILINE | re.DOTALL)
    pl.DataFrame({"item": ["a"], "score": [0.5]}).write_parquet(tmp_path / "rows.parquet")
    with serving(application) as url:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace("http://127.0.0.1:8080", url)],
            env={**os.environ, "TOKEN": SECRET, "NO_PROXY": "*", "no_proxy": "*"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert '"model": "trained"' in done.stdout, "the tree"
    assert '"content_size"' in done.stdout, "the revision with the table"
    assert done.stdout.endswith("item,score\na,0.5\n"), "the table as CSV"


def test_lists_come_in_pages_and_by_filters(api):
    roots = [api.create({"name": f"e{n}"}) for n in range(3)]
    child = api.create({"name": "m"}, parent_id=roots[0]["id"])

    def listed(**params):
        answer = api("GET", params=params).json()
        return [item["id"] for item in answer["items"]], answer["total"], answer["pages"]

    ids = [node["id"] for node in roots]
    assert listed(page=2, size=3) == ([child["id"]], 4, 2)
    assert listed(level=1) == ([child["id"]], 1, 1)
    assert listed(parent_id="root") == (ids, 3, 1)
    assert listed(parent_id=ids[0]) == ([child["id"]], 1, 1)
    assert listed(metadata="name:e1") == ([ids[1]], 1, 1)
    assert listed(q="E1") == ([ids[1]], 1, 1)
    assert listed(hierarchy="ml_pipeline")[1] == 4
    assert listed(created_from="2100-01-01T00:00:00Z") == ([], 0, 0)
    assert listed(created_before="2100-01-01T00:00:00Z")[1] == 4
    api("DELETE", f"/{child['id']}")
    assert listed(deleted="true") == ([child["id"]], 1, 1)
    assert api("POST", f"/{child['id']}/$restore").json()["id"] == child["id"]
    newest = api("PUT", f"/{child['id']}", json={"data": {"name": "m2"}}).json()["revision"]
    assert api("GET", f"/{child['id']}/$metadata", params={"revision": newest - 1}).json() == {"name": "m"}
    assert api("GET", f"/{child['id']}/$expand", params={"revision": newest - 1}).json()["data"] == {"name": "m"}
    assert api("GET", f"/{child['id']}/$download", params={"revision": newest - 1}).json() == {"name": "m"}
    changes = api("GET", "/$log", params={"limit": 4}).json()[1:]
    assert [(one["change"], one["actor"]) for one in changes[:3]] == [
        ("restore", "anna"),
        ("delete", "anna"),
        ("create", "anna"),
    ]


def test_updates_are_revisions_under_conditions(api):
    node = api.create({"n": 1})
    path, tag = f"/{node['id']}", f'"{node["etag"]}"'
    assert api("GET", path, headers={"If-None-Match": tag}).status_code == 304
    second = api("PUT", path, json={"data": {"n": 2}}, headers={"If-Match": tag, "X-Reason": "better"})
    assert (second.status_code, second.json()["revision"]) == (200, 2)
    stale = api("PUT", path, json={"data": {"n": 3}}, headers={"If-Match": tag})
    assert (stale.status_code, "has revision 2" in stale.json()["detail"]) == (412, True)
    assert api("DELETE", path, headers={"If-Match": tag}).status_code == 412
    assert api(
        "PUT", path, json={"data": {"n": 3}}, headers={"If-Match": f'{tag}, "{second.json()["etag"]}"'}
    ).is_success
    assert [api("GET", path, params={"revision": n}).json()["data"]["n"] for n in (1, 2, 3)] == [1, 2, 3]
    assert [one["revision"] for one in api("GET", f"{path}/$revisions").json()] == [1, 2, 3]
    assert api("GET", "/$log").json()[1]["reason"] == "better"
    chosen = f"/{NOWHERE}"
    assert api("PUT", chosen, json={"data": {}}).status_code == 404
    made = api("PUT", chosen, json={"data": {}, "parent_id": node["id"]}, headers={"If-None-Match": "*"})
    assert (made.status_code, made.json()["level"], made.headers["location"]) == (201, 1, f"{ROOT}{chosen}")
    again = api("PUT", chosen, json={"data": {}}, headers={"If-None-Match": "*"})
    assert again.status_code == 412


@pytest.mark.parametrize(
    ("asked", "accept", "media"),
    [
        (None, "*/*", "application/json"),
        (None, "text/csv", "text/csv; charset=utf-8"),
        (None, "application/json;q=0.1, text/csv;q=0.5", "text/csv; charset=utf-8"),
        ("csv", "application/json", "text/csv; charset=utf-8"),
        ("parquet", "*/*", "application/vnd.apache.parquet"),
        (None, "application/vnd.apache.parquet", "application/vnd.apache.parquet"),
    ],
)
def test_a_table_is_sent_as_it_is_asked_for(api, asked, accept, media):
    frame = pl.DataFrame({"item": ["a,b", "c"], "near": [["x", "y"], []], "score": [0.5, None]})
    stream = io.BytesIO()
    frame.write_parquet(stream)
    node = api.create({"n": 1})
    put = api(
        "PUT",
        f"/{node['id']}/$content",
        content=stream.getvalue(),
        headers={"Content-Type": "application/vnd.apache.parquet"},
    )
    assert put.json()["content"]["content_size"] == len(stream.getvalue())
    params = {"format": asked} if asked else {}
    sent = api("GET", f"/{node['id']}/$download", params=params, headers={"Accept": accept})
    assert sent.headers["content-type"] == media
    if media == "application/json":
        assert sent.json() == frame.to_dicts()
    elif media.startswith("text/csv"):
        assert sent.text == 'item,near,score\r\n"a,b","[""x"",""y""]",0.5\r\nc,[],\r\n'
    else:
        assert pl.read_parquet(io.BytesIO(sent.content)).equals(frame)


def test_bytes_and_documents_are_sent_as_they_were_given(api):
    data = {
        "type": "generic",
        "metadata": {},
        "content_type": "image/png",
        "content": base64.b64encode(b"png").decode(),
    }
    image = api.create(data)
    sent = api("GET", f"/{image['id']}/$download")
    assert (sent.content, sent.headers["content-type"]) == (b"png", "image/png")
    assert sent.headers["content-disposition"].endswith('.png"')
    assert api("GET", f"/{image['id']}/$download", params={"format": "csv"}).status_code == 422
    records = api.create({"type": "generic", "metadata": {}, "content": [{"a": 1}, {"b": True}]})
    assert api("GET", f"/{records['id']}/$download", params={"format": "csv"}).text == "a,b\r\n1,\r\n,true\r\n"
    plain = api.create({"a": [1, {"b": None}]})
    assert api("GET", f"/{plain['id']}/$download").json() == {"a": [1, {"b": None}]}
    document = api.create({"type": "generic", "metadata": {"k": 1}, "content": {"deep": [1]}})
    assert api("GET", f"/{document['id']}/$download").json() == {"deep": [1]}
    assert document["data"] == {"type": "generic", "metadata": {"k": 1}}


PICKLED = {"type": "ml_training", "metadata": {"status": "ok"}, "content": "x", "content_type": "application/x-pickle"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"data": PICKLED}, "pickles are not stored", id="a pickle"),
        pytest.param({"data": {}, "parent_id": NOWHERE}, "not in any tree", id="no such parent"),
        pytest.param({"data": []}, "not a valid document of this endpoint", id="data that is no object"),
        pytest.param({"data": {}, "id": "x"}, "not a valid document of this endpoint", id="not a ULID"),
        pytest.param({"data": {"type": "ml_training", "metadata": {"status": 1}}}, "status", id="metadata"),
        pytest.param(
            {"data": {**PICKLED, "content_type": "image/png", "content": "%"}}, "base64", id="bytes that are no base64"
        ),
        pytest.param(
            {"data": {**PICKLED, "content_type": "text/csv", "content": {"columns": ["a"], "data": [[1, 2]]}}},
            "needs 1 values",
            id="rows that do not fit",
        ),
    ],
)
def test_what_is_no_node_is_422_and_says_why(api, body, message):
    answer = api("POST", json=body)
    assert (answer.status_code, message in answer.json()["detail"]) == (422, True), answer.text


def test_a_file_declared_as_rows_must_have_them(api):
    node = api.create({})
    for kind in ("application/vnd.apache.parquet", "application/vnd.apache.arrow.file", "application/x-ndjson"):
        answer = api("PUT", f"/{node['id']}/$content", content=b"nonsense", headers={"Content-Type": kind})
        assert (answer.status_code, "cannot be read as rows" in answer.json()["detail"]) == (422, True)


def test_writing_needs_the_scope_and_reading_does_not(application, api):
    reader = Api(application, secret="reader")
    node = api.create({})
    for method, path, more in [
        ("POST", "", {"json": {"data": {}}}),
        ("PUT", f"/{node['id']}", {"json": {"data": {}}}),
        ("PUT", f"/{node['id']}/$content", {"content": b"x"}),
        ("DELETE", f"/{node['id']}", {}),
        ("POST", f"/{node['id']}/$restore", {}),
    ]:
        assert reader(method, path, **more).status_code == 403
    assert reader("POST", "/$tree", json={"root_id": node["id"]}).status_code == 200
    assert reader("GET", f"/{node['id']}").status_code == 200
    assert Api(application, secret="eve")("GET").status_code == 401


def test_without_hierarchies_there_is_nothing_to_write_to(store, tmp_path):
    (tmp_path / "recsys.toml").write_text(CONFIG + TREES.replace("[hierarchies.ml_pipeline]\nlevels", "#"))
    api = Api(make_application(ApiContext(store, load_settings(str(tmp_path / "recsys.toml")))))
    answer = api("POST", json={"data": {}})
    assert (answer.status_code, "[hierarchies.<name>]" in answer.json()["detail"]) == (404, True)


def test_several_hierarchies_are_listed_one_after_the_other(store, tmp_path):
    second = '[hierarchies.documents]\nlevels = ["project", "document"]\n'
    (tmp_path / "recsys.toml").write_text(CONFIG + second + TREES)
    api = Api(make_application(ApiContext(store, load_settings(str(tmp_path / "recsys.toml")))))
    for named in ({}, {"hierarchy": "document"}):
        answer = api("POST", json={"data": {}, **named})
        assert (answer.status_code, "documents" in answer.json()["detail"]) == (404, True)
    made = [api.create({"n": n}, hierarchy=name)["id"] for n, name in enumerate(("documents", "ml_pipeline") * 2)]
    pages = [api("GET", params={"page": page, "size": 3}).json() for page in (1, 2)]
    listed = [item["id"] for page in pages for item in page["items"]]
    assert listed == [made[0], made[2], made[1], made[3]]
    assert pages[0]["pages"] == 2
    child = api.create({}, parent_id=made[0])
    assert child["level_label"] == "document"
    assert api("POST", json={"data": {}, "parent_id": made[0], "hierarchy": "ml_pipeline"}).status_code == 422


def test_the_description_has_every_address(api):
    paths = api._client.get("/openapi.json", headers={"Authorization": f"Bearer {SECRET}"}).json()["paths"]
    assert set(paths[ROOT]) == {"get", "post"}
    assert {"get", "put", "delete"} == set(paths[f"{ROOT}/{{id}}"])
    assert json.dumps(paths).count('"operationId"') > 30
