"""Nodes of artifact trees by command: saved, found, shown, revised, downloaded, deleted and restored."""

import json

import polars as pl
import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError, InvalidNodeError, NodeInUseError, NoSuchNodeError
from recsys_assets_tests.api.conftest import TREES, settings_in

DOCUMENT = ("save", "--hierarchy", "documents")
WHY = ("--reason", "a mistake", "--actor", "ann")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """A function that runs `tree` with its words, raises what it raises, and returns what it printed."""
    settings_in(tmp_path, more=TREES)
    monkeypatch.chdir(tmp_path)

    def call(name, *words, text=None):
        runner = CliRunner(env={"COLUMNS": "80"})
        words = ["tree", name, "--config", "recsys.toml", *words]
        done = runner.invoke(recsys_assets, words, input=text, standalone_mode=False)
        if done.exception is not None:
            raise done.exception
        is_for_people = name in {"list", "show", "subtree", "log"} and "--json" not in words
        assert not is_for_people or max(map(len, done.output.splitlines())) <= 80
        return done.output

    return call


@pytest.fixture
def saved(call):
    """The ids of an experiment, and of a model with a table below it."""
    data = '{"name": "nightly", "note": "%s"}' % ("words " * 30)
    experiment = json.loads(call("save", "--hierarchy", "ml_pipeline", "--data", "-", "--json", text=data))
    pl.DataFrame({"item": ["a", "b"], "score": [0.5, 1.0]}).write_parquet("rows.parquet")
    words = ("--parent", experiment["id"], "--metadata", "status=failed", "--content", "rows.parquet")
    return experiment["id"], json.loads(call("save", *words, "--json"))["id"]


def test_nodes_are_listed_and_shown_at_80_columns_and_as_the_api_answers_them(call, saved):
    experiment, model = saved
    assert [call("list", *words).count(one) for words, one in (((), experiment), ((), model))] == [1, 1]
    page = json.loads(call("list", "--search", "NIGHT", "--json"))
    assert ([one["id"] for one in page["items"]], page["total"], page["pages"]) == ([experiment], 1, 1)
    for words in (
        ("--level", "1"),
        ("--parent", experiment),
        ("--metadata", "status=failed"),
        ("--page", "2", "--size", "1"),
    ):
        assert [one["id"] for one in json.loads(call("list", *words, "--json"))["items"]] == [model]
    assert "1 node" in call("list", "--parent", "root", "--created-before", "2100-01-01T00:00:00Z")
    assert "(none)" in call("list", "--created-from", "2100-01-01T00:00:00Z")
    shown = call("show", model)
    assert f"parent {experiment}" in shown
    assert "application/vnd.apache.parquet" in shown
    document = json.loads(call("show", model, "--json"))
    assert (document["level_label"], len(document["revisions"])) == ("model", 1)
    assert f"\n  {model}" in call("subtree", experiment)
    assert "0 of 1 children" in call("subtree", experiment, "--depth", "0")
    assert json.loads(call("subtree", experiment, "--json"))["children"][0]["id"] == model


def test_a_revision_keeps_what_is_not_given_and_can_demand_which_one_it_follows(call, saved):
    _, model = saved
    etag = json.loads(call("show", model, "--json"))["etag"]
    assert "revision 2" in call("revise", model, "--metadata", "config=c1", "--expected", etag)
    newest = json.loads(call("show", model, "--json"))
    assert newest["content"]["content_type"] == "application/vnd.apache.parquet"
    assert newest["data"] == {"status": "failed", "config": "c1"}
    assert json.loads(call("show", model, "--revision", "1", "--json"))["data"] == {"status": "failed"}
    with pytest.raises(Exception, match="has revision 2"):
        call("revise", model, "--metadata", "status=lost", "--expected", etag)
    call("revise", model, "--data", "-", text='{"type": "ml_training", "metadata": {"status": "success"}}')
    call("revise", model, "--metadata", "config_id=c1")
    assert json.loads(call("show", model, "--json"))["data"]["metadata"] == {"status": "success", "config_id": "c1"}


def test_a_table_is_written_as_it_is_or_in_another_format_and_over_no_file(call, saved, tmp_path):
    experiment, model = saved
    call("download", model)
    assert (tmp_path / f"artifact_{model}.parquet").read_bytes() == (tmp_path / "rows.parquet").read_bytes()
    assert call("download", model, "--format", "csv", "--output", "-") == "item,score\na,0.5\nb,1.0\n"
    assert json.loads(call("download", experiment, "--output", "-"))["name"] == "nightly"
    with pytest.raises(Exception, match="already exists"):
        call("download", model)


def test_a_delete_goes_through_the_trash_and_is_logged_with_who_and_why(call, saved):
    experiment, model = saved
    with pytest.raises(NodeInUseError, match=model):
        call("delete", experiment, *WHY, "--dry-run")
    assert "would be in the trash" in call("delete", model, *WHY, "--dry-run")
    assert model in call("list")
    call("delete", model, *WHY)
    assert model not in call("list")
    assert model in call("list", "--deleted")
    with pytest.raises(NoSuchNodeError, match="can be restored"):
        call("show", model)
    assert f"below {experiment}" in call("restore", model, *WHY)
    changes = json.loads(call("log", "--hierarchy", "ml_pipeline", "--json"))
    assert [(one["change"], one["reason"]) for one in changes[:3]] == [
        ("restore", "a mistake"),
        ("delete", "a mistake"),
        ("create", "recsys-assets tree save"),
    ]
    assert "by ann: a mistake" in call("log", "--hierarchy", "ml_pipeline")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("save",), ConfigurationError, "known are ml_pipeline, documents"),
        (("save", "--hierarchy", "document"), ConfigurationError, "did you mean documents"),
        ((*DOCUMENT, "--data", "-"), InvalidNodeError, "not a JSON object"),
        ((*DOCUMENT, "--content", "m.pkl", "--content-type", "a/pickle"), InvalidNodeError, "pickle"),
        ((*DOCUMENT, "--content", "m.parquet"), InvalidNodeError, "cannot be read as rows"),
        (("show", "nothing"), NoSuchNodeError, "not in any tree"),
    ],
)
def test_what_cannot_be_done_says_why(call, tmp_path, words, error, message):
    for name in ("m.pkl", "m.parquet"):
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(error, match=message):
        call(*words, text="[1]")
