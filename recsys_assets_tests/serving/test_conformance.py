"""Readers in several languages take what the conformance kit calls good, and refuse what it calls bad."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.serving.reader import Reader
from recsys_assets.storage.filesystem import FilesystemStore

READERS = Path(__file__).parents[2] / "examples" / "readers"
LEAST_CASES = 20


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """The folder of the kit, and its cases."""
    spec = importlib.util.spec_from_file_location("kit", READERS / "kit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("kit")
    cases = module.make_kit(folder)
    assert len(cases) >= LEAST_CASES
    return folder, cases


def expected(cases):
    return {case["name"]: [case["expected"], *_expected_answers(case)] for case in cases}


def _expected_answers(case):
    return [[answer for _, _, answer in case["ask"]]] if case["expected"] == "served" else []


def ask_ours(case):
    """Return what our reader makes of a case, rows as JSON has them; every question is asked, so shards are read."""
    store = FilesystemStore(Path(case["root"]))
    reader = Reader(store, case["tenant"], case["surface"], strict=case["strict"])
    reader.refresh()
    try:
        release = reader.snapshot()
        answers = [as_json(kind, release.rows(kind), key) for kind, key, _ in case["ask"]]
    except RecsysAssetsError:
        return ["refused"]
    return ["served", answers]


def as_json(kind, rows, key):
    found = next((row for row in rows if row.item_id == key), None) if kind == "popularity" else rows.find(key)
    if found is None:
        return None
    if kind == "popularity":
        return {"item_id": found.item_id, "count": found.count}
    if kind == "content_sim":
        return {"item_id": found.item_id, "tags": list(found.tags)}
    value = "count" if kind == "cooc" else "score"
    items = [{"item_id": item.item_id, value: getattr(item, value)} for item in found.items]
    name = "item_id" if kind == "cooc" else "user_id"
    return {name: getattr(found, name), "items": items}


def test_our_reader_conforms(kit):
    _, cases = kit
    assert {case["name"]: ask_ours(case) for case in cases} == expected(cases)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_the_reader_in_node_conforms(kit):
    folder, cases = kit
    command = ["node", str(READERS / "node" / "reader.mjs"), str(folder / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = {
        one["name"]: [one["outcome"], *([one["answers"]] if "answers" in one else [])]
        for one in json.loads(done.stdout)
    }
    assert found == expected(cases)
