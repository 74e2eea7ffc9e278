"""A store as version 0.1 wrote it stays readable: looking, serving, verifying and rolling back work over it.

`old_stores/store-0.1.tar.gz` holds every kind of document that 0.1 stored; `store-0.1.json` what 0.1 said of it.
`old_stores/trees-1.tar.gz` holds artifact trees as their first format had them: revisions, contents of every form, a
node in the trash, one that was purged, one of a registered file, a sealed segment; `trees-1.json` what they held.
"""

import json
import sys
import tarfile
from pathlib import Path

import msgspec
import pytest

from recsys_assets.errors import NoSuchNodeError
from recsys_assets.serving.reader import Reader
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.open import open_store
from recsys_assets.trees.log import Filter
from recsys_assets.trees.tree import open_trees
from recsys_assets_tests import warm_processes

HERE = Path(__file__).parent / "old_stores"
EXPECTED = json.loads((HERE / "store-0.1.json").read_text(encoding="utf-8"))
TREES = json.loads((HERE / "trees-1.json").read_text(encoding="utf-8"))
WRITTEN_AT = b"/tmp/recsys-old-store"
TARGETS = sorted(target for target, live in EXPECTED["live"].items() if live["release"])
ASKED = {"popularity": None, "cooc": "neighbors", "item_seq": "next_items", "implicit": "for_user"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The shop with its store, moved to a new place by hand: its pointers and its own record name the new root."""
    parent = tmp_path_factory.mktemp("old")
    with tarfile.open(HERE / "store-0.1.tar.gz") as archive:
        archive.extractall(parent, filter="data")
    shop = parent / "recsys-old-store"
    for path in [*shop.glob("store/registry/current/*/*/manifest.json"), shop / "store/registry/store.json"]:
        path.write_bytes(path.read_bytes().replace(WRITTEN_AT, str(shop).encode()))
    return shop


def command(folder, *arguments):
    """Return what the command prints as JSON, and its exit code."""
    code = "from recsys_assets.cli.main import main; main()"
    name, *more = arguments
    done = warm_processes.run(
        [sys.executable, "-c", code, name, "--config", str(folder / "recsys.toml"), *more, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.returncode


def plain(value):
    """Return a typed answer as JSON has it."""
    return json.loads(msgspec.json.encode(value))


def by_target(rows):
    return {f"{row.get('target', row)['tenant']}/{row.get('target', row)['surface']}": row for row in rows}


@pytest.mark.slow
def test_status_shows_what_is_live(folder):
    rows, _ = command(folder, "status")
    found = by_target(rows)
    for target, live in EXPECTED["live"].items():
        assert {name: found[target][name] for name in live} == live


@pytest.mark.slow
def test_log_shows_every_entry_with_its_message(folder):
    rows, code = command(folder, "log", "--limit", "1000")
    assert code == 0
    for target, row in by_target(rows).items():
        entries = [entry | {"message": entry["details"].get("message", "")} for entry in row["entries"]]
        assert [{name: entry[name] for name in EXPECTED["journal"][target][0]} for entry in entries] == EXPECTED[
            "journal"
        ][target]


@pytest.mark.slow
def test_verify_proves_every_retained_release(folder):
    rows, code = command(folder, "verify")
    assert code == 0
    for target, row in by_target(rows).items():
        assert {one["release_id"]: one["faults"] for one in row["releases"]} == EXPECTED["retained"][target]
        assert row["problems"] == EXPECTED["problems"][target]


@pytest.mark.parametrize("target", TARGETS)
def test_a_reader_serves_what_the_old_reader_served(folder, target):
    reader = Reader(open_store(str(folder / "store")), *target.split("/"))
    reader.refresh()
    snapshot, answers = reader.snapshot(), EXPECTED["answers"][target]
    assert snapshot.release_id == answers["release"]
    assert snapshot.versions == answers["versions"]
    for kind, ask in ASKED.items():
        if ask is None:
            assert plain(snapshot.top_items(5)) == answers[kind]
        elif kind in answers:
            asked = {key: plain(getattr(snapshot, ask)(key)) for key in answers[kind]}
            assert asked == answers[kind]


@pytest.mark.slow
def test_rollback_puts_an_old_release_back_and_its_entry_follows_the_old_ones(folder):
    tenant, surface = "shop", "cart"
    before = EXPECTED["live"][f"{tenant}/{surface}"]["release"]
    target = ("--tenant", tenant, "--surface", surface)
    _, code = command(folder, "rollback", *target, "--to", "previous", "--reason", "proof", "--actor", "ada")
    assert code == 0
    rows, _ = command(folder, "status")
    found = by_target(rows)[f"{tenant}/{surface}"]
    assert found["release"] == found["last"]["after"] != before
    assert found["last"]["sequence"] == EXPECTED["journal"][f"{tenant}/{surface}"][0]["sequence"] + 1


@pytest.fixture
def open_old_trees(tmp_path):
    """A function that opens the old trees, each time as a process that begins does."""
    with tarfile.open(HERE / "trees-1.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    settings = load_settings(str(tmp_path / "recsys-old-trees" / "recsys.toml"))
    return lambda: open_trees(FilesystemStore(tmp_path / "recsys-old-trees" / "store"), settings)


@pytest.mark.parametrize("name", ["ml_pipeline", "documents"])
def test_old_trees_hold_every_node_revision_and_content(open_old_trees, name):
    tree, expected = open_old_trees()[name], TREES[name]
    assert [node.id for node in tree.page(size=1_000)[0]] == [*expected["nodes"]]
    for node, said in expected["nodes"].items():
        found = tree.find(node)
        assert (found.label, found.etag, plain(found.document)) == (said["label"], said["etag"], said["document"])
        revisions = tree.revisions(node)
        assert [one.document for one in revisions] == said["revisions"]
        assert [tree.find(node, revision=n + 1).etag for n in range(len(revisions))] == said["revisions"]
        assert [one.id for one in tree.children(node)] == said["children"]
        if said["content"] is not None:
            assert tree.read_content(found).hex() == said["content"]
    assert [node.id for node in tree.children()] == expected["roots"]
    assert [node.id for node in tree.page(Filter(deleted=True))[0]] == expected["trash"]
    entries = tree.history(limit=1_000)
    assert [[e.sequence, e.change, e.actor, e.reason, e.run_id, e.at, [*e.ids]] for e in entries] == expected["log"]


def test_old_trees_are_searched_and_grow_on(open_old_trees):
    tree = open_old_trees()["ml_pipeline"]
    for search, ids in TREES["found"].items():
        name, _, value = search.partition(":")
        assert [node.id for node in tree.page(Filter(metadata=(name, value)))[0]] == ids
    with pytest.raises(NoSuchNodeError, match="permanently deleted"):
        tree.find(TREES["purged"])
    (trash,) = TREES["ml_pipeline"]["trash"]
    tree.restore(trash)
    revised = tree.revise(trash, {"name": "of today"})
    again = open_old_trees()["ml_pipeline"]
    assert again.find(trash) == revised
    assert [entry.sequence for entry in again.history(limit=3)] == [
        number + TREES["ml_pipeline"]["log"][0][0] for number in (2, 1, 0)
    ]
