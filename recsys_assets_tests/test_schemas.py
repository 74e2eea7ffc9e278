"""The published JSON Schemas are those of the types, take what is stored, and refuse what is not."""

import importlib.util
import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from recsys_assets.release.layout import pointer_key
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.trees.content import json_content
from recsys_assets.trees.documents import Hierarchy
from recsys_assets.trees.tree import ArtifactTree
from recsys_assets_tests.small_shop import FIRST, HOME, day_lines

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference" / "schemas"
ROWS = {
    "popularity": {"i1": 2},
    "cooc": {"i1": {"i2": 3}},
    "implicit": {"u1": {"i1": 1.5}},
    "session_seq": {"u1": {}},
    "content_sim": {"i1": ["red"]},
    "item_seq": {"i1": {"i2": 1}},
}


def problems(name, document):
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return [error.message for error in Draft202012Validator(schema).iter_errors(document)]


@pytest.fixture(scope="module")
def stored():
    """Every document of a store with one release, by key."""
    store = MemoryStore()
    publish_fixture(store, "shop", "home", ROWS, shards={"cooc": 2})
    ArtifactTree(store, Hierarchy("documents", ("project",))).save({"name": "x"}, content=json_content([1]))
    return {item.key: store.get(item.key, max_bytes=10**7).data for item in store.list("")}


def named(key):
    """Return the name of the schema of what is stored at a key, or None where there is none."""
    first, *rest = key.split("/")
    if first == "trees" and key.endswith(".json"):
        return "tree-entry" if rest[1] == "log" else "tree-node"
    if first == "artifacts":
        return "shard-index" if rest[2].endswith(".shards") else f"artifact-{rest[2]}"
    return {"releases": "release", "registry/current": "pointer", "registry/journal": "journal-entry"}.get(
        first if first == "releases" else f"{first}/{rest[0]}"
    )


def test_the_files_are_those_of_the_types():
    spec = importlib.util.spec_from_file_location("schemas", ROOT / "docs" / "_site" / "schemas.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")}
    assert found == json.loads(json.dumps(module.schemas())), "run: python docs/_site/schemas.py"


def test_what_is_stored_keeps_its_schema(stored):
    asked = {key: name for key in stored if (name := named(key)) is not None}
    assert set(asked.values()) >= {
        "pointer",
        "release",
        "journal-entry",
        "shard-index",
        "artifact-cooc",
        "tree-entry",
        "tree-node",
    }
    wrong = {key: found for key, name in asked.items() if (found := problems(name, json.loads(stored[key])))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pointer", {"v": 2}),
        ("pointer", {"signature": "x"}),
        ("pointer", {"current": {}}),
        ("release", {"members": None}),
        ("artifact-popularity", {"items": [{"item_id": "i1", "count": 1.5}]}),
        ("artifact-popularity", {"items": [{"item_id": "", "count": 1}]}),
        ("artifact-popularity", {"artifact_type": "cooc"}),
    ],
)
def test_what_is_none_of_its_kind_is_refused(stored, name, change):
    (document,) = [json.loads(stored[key]) for key in stored if named(key) == name]
    assert problems(name, document) == []
    assert problems(name, document | change) != []


def test_events_keep_their_schema_and_lines_of_another_version_do_not():
    lines = [json.loads(line) for line in day_lines(FIRST, targets=[HOME])]
    assert [problem for line in lines for problem in problems("event", line)] == []
    for change in ({"v": 9}, {"ts": "yesterday"}, {"item_id": " "}, {"rank": -1}):
        assert problems("event", lines[0] | change) != []


def test_the_pointer_s_schema_names_its_five_keys(stored):
    pointer = json.loads(stored[pointer_key(HOME)])
    schema = json.loads((FOLDER / "pointer.json").read_text(encoding="utf-8"))
    assert set(schema["required"]) == set(pointer) == {"v", "tenant", "surface", "current", "updated_at"}
