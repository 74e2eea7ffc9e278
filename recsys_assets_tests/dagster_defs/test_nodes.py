"""Nodes of artifact trees from assets: saved once a run, below the node of another asset, shown as metadata."""

import dagster as dg
import pytest

from recsys_assets.dagster_defs.nodes import NODE, save_node
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.trees.content import json_content
from recsys_assets.trees.tree import open_trees

CONFIG = """
[storage]
root = "store"
[raw]
exposures = "raw/{day}*.jsonl"
[partitions]
start = 2026-01-01
[artifacts]
kinds = ["popularity"]
[api]
url = "https://recsys.example/"
[hierarchies.ml_pipeline]
levels = ["experiment", "model"]
[[targets]]
tenant = "shop"
surface = "home"
"""


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "recsys.toml").write_text(CONFIG)
    return load_settings(str(tmp_path / "recsys.toml"))


def test_assets_save_nodes_below_each_others_and_a_retry_saves_no_second_one(settings, tmp_path):
    tries = []

    @dg.asset
    def experiment(context: dg.AssetExecutionContext):
        return save_node(context, {"name": "nightly"}, hierarchy="ml_pipeline", settings=settings)

    @dg.asset(deps=[experiment], retry_policy=dg.RetryPolicy(max_retries=1))
    def model(context: dg.AssetExecutionContext):
        result = save_node(
            context,
            {"rmse": 0.25},
            hierarchy="ml_pipeline",
            parent=dg.AssetKey("experiment"),
            content=json_content([1]),
            settings=settings,
        )
        tries.append(result)
        if len(tries) == 1:
            raise RuntimeError("killed after the save")
        return result

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([experiment, model], instance=instance)
        event = instance.get_latest_materialization_event(dg.AssetKey("model"))
    tree = open_trees(FilesystemStore(tmp_path / "store"), settings)["ml_pipeline"]
    (root,) = tree.children()
    (child,) = tree.children(root.id)
    assert (len(tries), tree.page()[1], tree.read_content(child)) == (2, 2, b"[1]")
    shown = {key: value.value for key, value in event.asset_materialization.metadata.items()}
    assert shown[NODE] == child.id
    assert (shown["recsys/level"], shown["recsys/bytes"]) == ("model", 3)
    assert shown["recsys/page"] == f"https://recsys.example/trees/{child.id}"
    assert {entry.run_id for entry in tree.history()} == {result.run_id}


def test_a_hierarchy_that_is_none_fails_without_a_retry(settings):
    @dg.asset
    def model(context: dg.AssetExecutionContext):
        return save_node(context, {}, hierarchy="ml_pipelin", settings=settings)

    result = dg.materialize([model], raise_on_error=False)
    (failure,) = result.get_step_failure_events()
    assert "did you mean ml_pipeline" in failure.step_failure_data.error.to_string()
