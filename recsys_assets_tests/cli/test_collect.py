"""`collect` over every target: one that refuses is reported, with exit 1, and keeps no other from being collected."""

import json
import os
from pathlib import Path

import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import NoSuchNodeError
from recsys_assets.identity import Target
from recsys_assets.release.layout import blob_prefix, pointer_key
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.trees.tree import open_trees
from recsys_assets_tests.release.staging import Shop
from recsys_assets_tests.small_shop import CONFIG, HOME

LOST, NEW = Target("a", "lost"), Target("b", "new")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Three targets: one whose pointer was lost, one that never shipped, one with something to collect."""
    (tmp_path / "catalog.jsonl").touch()
    rows = "".join(f'[[targets]]\ntenant = "{t.tenant}"\nsurface = "{t.surface}"\n' for t in (LOST, NEW, HOME))
    (tmp_path / "recsys.toml").write_text(f"{CONFIG}[retention]\nkeep = 1\ngrace_hours = 0\n{rows}")
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    store = FilesystemStore(tmp_path / "store")
    for target in (LOST, HOME):
        for n in range(2):
            Shop(store, target).ship(n)
    store.delete(pointer_key(LOST))
    for path in Path(tmp_path, "store", "artifacts").rglob("*.json"):
        os.utime(path, (0, 0))
    return store


def call(*words):
    return recsys_assets.main(("collect", *words), standalone_mode=False)


def test_f38_f47_a_target_that_refuses_keeps_no_other_from_being_collected(store, capsys):
    before = [item.key for item in store.list(blob_prefix(LOST))]
    assert call("--apply", "--json") == 1
    lost, new, home = json.loads(capsys.readouterr().out)
    assert (lost["collection"], new["collection"]) == (None, None)
    assert "nothing is live" in lost["refused"]
    assert (home["refused"], len(home["collection"]["taken"])) == (None, 2)
    assert [item.key for item in store.list(blob_prefix(LOST))] == before


def test_people_see_the_refusal_beside_what_was_done(store, capsys):
    assert store is not None
    assert call() == 1
    message = capsys.readouterr()
    assert "refused: a/lost: nothing is live" in message.err
    assert "would go to trash" in message.out


def test_a_target_alone_ends_with_0_when_it_was_collected(store):
    assert call("--apply", "--tenant", "shop", "--surface", "home") == 0
    assert len(list(store.list(blob_prefix(HOME)))) == 2


def test_what_was_in_the_trash_of_a_tree_for_the_grace_goes_for_good(store, capsys, tmp_path):
    config = tmp_path / "recsys.toml"
    config.write_text(f'{config.read_text()}[hierarchies.documents]\nlevels = ["project"]\n')
    tree = open_trees(store, load_settings(str(config)))["documents"]
    kept, gone = tree.save({}), tree.save({})
    tree.delete(gone.id)
    call("--apply", "--tenant", "shop", "--surface", "home")  # one target: not the trees
    assert tree.restore(gone.id)
    tree.delete(gone.id)
    capsys.readouterr()
    call()
    assert "documents: 1 node and 0 unfinished saves would be permanently deleted" in capsys.readouterr().out
    call("--apply")
    assert [node.id for node in tree.children()] == [kept.id]
    with pytest.raises(NoSuchNodeError, match="permanently deleted"):
        tree.restore(gone.id)
