"""Artifact trees in a real bucket: two writers, a race of a delete with a child, segments, and a collection."""

import threading
from datetime import timedelta

import pytest

from recsys_assets.errors import InvalidNodeError, NodeInUseError
from recsys_assets.release.journal import Actor
from recsys_assets.storage.s3 import S3Store
from recsys_assets.trees.collecting import collect_tree
from recsys_assets.trees.content import json_content
from recsys_assets.trees.tree import ArtifactTree
from recsys_assets_tests.trees.conftest import PIPELINE

pytestmark = pytest.mark.slow


def test_writers_of_one_tree_in_a_bucket_lose_nothing(s3_server):
    store = S3Store(s3_server.client(), bucket=s3_server.bucket, prefix=s3_server.new_prefix())
    trees = [ArtifactTree(store, PIPELINE) for _ in range(2)]
    root = trees[0].save({}, content=json_content("x"))
    errors = []

    def write(tree):
        for n in range(10):
            tree.save({"n": n}, parent=root.id)
        lonely = tree.save({})
        other = next(one for one in trees if one is not tree)
        threads = [
            threading.Thread(target=attempt, args=(lambda: tree.delete(lonely.id),)),
            threading.Thread(target=attempt, args=(lambda: other.save({}, parent=lonely.id),)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def attempt(act):
        try:
            act()
        except (InvalidNodeError, NodeInUseError) as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(tree,)) for tree in trees]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = ArtifactTree(store, PIPELINE)
    assert len(again.children(root.id)) == 20
    assert len(errors) == 2  # of each lonely node: either it is gone, or it has its child
    assert all(again.look(lambda s, n=node: n.parent is None or n.parent in s.living) for node in again.look(records))
    assert any("/segments/" in item.key for item in store.list("trees/"))
    again.delete(again.children(root.id)[0].id)
    later = again._now() + timedelta(days=2)
    done = collect_tree(again, grace=timedelta(days=1), now=later, by=Actor("anna", ""), apply=True)
    assert len(done.objects) == len(done.purged) + len(done.unfinished)
    assert len(ArtifactTree(store, PIPELINE).children(root.id)) == 19


def records(state):
    return [state.revisions[node][-1] for node in state.living]
