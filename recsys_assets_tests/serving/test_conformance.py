"""Readers in several languages take what the conformance kit calls good, and refuse what it calls bad."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from recsys_assets.errors import RecsysAssetsError
from recsys_assets.identity import Target
from recsys_assets.release.layout import pointer_key
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Problem, RefreshOutcome
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
    if case["seen"]:
        see_before(reader, case)
    if reader.refresh().problem is Problem.OLDER_POINTER:
        return ["refused"]
    try:
        release = reader.snapshot()
        answers = [as_json(kind, release.rows(kind), key) for kind, key, _ in case["ask"]]
    except RecsysAssetsError:
        return ["refused"]
    return ["served", answers]


def see_before(reader, case):
    """Have the reader serve, from this store, what it has served of the other one."""
    key = pointer_key(Target(case["tenant"], case["surface"]))
    now, before = (Path(root) / key for root in (case["root"], case["seen"]))
    kept = now.read_bytes()
    now.write_bytes(before.read_bytes().replace(case["seen"].encode(), case["root"].encode()))
    for folder in ("artifacts", "releases"):
        shutil.copytree(Path(case["seen"]) / folder, Path(case["root"]) / folder, dirs_exist_ok=True)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    now.write_bytes(kept)


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


@pytest.mark.parametrize("command", [["node", "node/reader.mjs"], ["go", "run", "go/reader.go"]], ids=["node", "go"])
def test_the_readers_in_other_languages_conform(kit, command):
    folder, cases = kit
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]}")
    command = [*command[:-1], str(READERS / command[-1]), str(folder / "cases.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found = {
        one["name"]: [one["outcome"], *([one["answers"]] if "answers" in one else [])]
        for one in json.loads(done.stdout)
    }
    assert found == expected(cases)
