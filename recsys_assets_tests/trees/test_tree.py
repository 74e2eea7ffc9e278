"""Artifact trees: what is saved is found, revised, deleted and restored, whatever races, kills or lost objects do."""

import json
import os
import subprocess
import sys
import threading
import zipfile
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from recsys_assets.errors import (
    CorruptObjectError,
    InvalidNodeError,
    NodeInUseError,
    NoSuchNodeError,
    StaleRevisionError,
)
from recsys_assets.release.fault_points import VARIABLE
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import node_prefix, tree_log_key
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.trees.collecting import collect_tree
from recsys_assets.trees.content import Content, json_content, table_content
from recsys_assets.trees.documents import Hierarchy, is_ulid, new_ulid
from recsys_assets.trees.log import Filter
from recsys_assets.trees.tree import ArtifactTree
from recsys_assets_tests.trees.conftest import PIPELINE

BY = Actor("anna", "trial")
GRACE = timedelta(hours=24)


def reopened(tree):
    return ArtifactTree(tree.store, tree.hierarchy, now=tree._now, pause=lambda _: None)


def test_levels_are_those_of_the_parents_and_a_node_reads_back_as_it_was_saved(tree):
    experiment = tree.save({"experiment": "v1"}, by=BY)
    model = tree.save({"rmse": 0.25}, parent=experiment.id, content=Content(b"weights", "application/octet-stream"))
    found = [(node.label, node.document.level, node.document.parent) for node in (experiment, model)]
    assert found == [("experiment", 0, None), ("model", 1, experiment.id)]
    assert is_ulid(experiment.id)
    assert experiment.id < model.id  # later is larger
    again = reopened(tree)
    assert again.find(model.id) == model
    assert again.read_content(model) == b"weights"
    assert again.children() == (experiment,)
    assert again.children(experiment.id) == (model,)


def test_nodes_of_one_millisecond_stay_in_the_order_in_which_a_writer_saved_them(store):
    instant = datetime(2026, 1, 1, tzinfo=UTC)
    tree = ArtifactTree(store, PIPELINE, now=lambda: instant)
    saved = [tree.save({"n": n}).id for n in range(20)]
    assert [node.id for node in tree.children()] == saved
    assert len({name[:10] for name in saved}) == 1
    assert all(map(is_ulid, saved))


def test_parents_must_exist_and_levels_end(tree):
    with pytest.raises(InvalidNodeError, match="is not in this tree"):
        tree.save({}, parent=new_ulid(tree._now()))
    parent = None
    for _ in PIPELINE.levels:
        parent = tree.save({}, parent=parent).id
    with pytest.raises(InvalidNodeError, match="'predictions', the last one of ml_pipeline"):
        tree.save({}, parent=parent)


def test_a_revision_leaves_the_older_ones_readable(tree):
    first = tree.save({"a": 1}, content=json_content([1]))
    second = tree.revise(first.id, {"a": 2}, expected=first.etag, by=BY)
    third = tree.revise(first.id, content=json_content([3]), by=BY)
    again = reopened(tree)
    assert again.find(first.id) == third
    assert [again.find(first.id, revision=n).document.data for n in (1, 2, 3)] == [{"a": 1}, {"a": 2}, {"a": 2}]
    assert [again.read_content(again.find(first.id, revision=n)) for n in (1, 2, 3)] == [b"[1]", b"[1]", b"[3]"]
    assert (second.document.created_at, second.document.revision) == (first.document.created_at, 2)
    with pytest.raises(NoSuchNodeError, match="revisions 1 to 3"):
        again.find(first.id, revision=4)
    with pytest.raises(StaleRevisionError, match="has revision 3"):
        tree.revise(first.id, {"a": 4}, expected=second.etag)


def test_a_chosen_id_is_taken_once(tree):
    chosen = new_ulid(tree._now())
    assert tree.save({}, node=chosen).id == chosen
    with pytest.raises(StaleRevisionError, match="exists or existed"):
        tree.save({}, node=chosen)
    with pytest.raises(InvalidNodeError, match="not a ULID"):
        tree.save({}, node="x" * 26)


def test_a_node_with_children_is_not_deleted_and_one_in_the_trash_comes_back(tree):
    parent = tree.save({})
    child = tree.save({"n": 1}, parent=parent.id)
    with pytest.raises(NodeInUseError, match=child.id):
        tree.delete(parent.id, by=BY)
    tree.delete(child.id, by=BY)
    tree.delete(parent.id, by=BY)
    with pytest.raises(NoSuchNodeError, match="was deleted at"):
        tree.find(child.id)
    with pytest.raises(InvalidNodeError, match="parent: node"):
        tree.restore(child.id)
    assert [node.id for node in tree.page(Filter(deleted=True))[0]] == sorted([parent.id, child.id])
    tree.restore(parent.id)
    assert reopened(tree).restore(child.id) == child
    assert tree.children(parent.id) == (child,)


def test_a_collection_deletes_for_good_what_was_in_the_trash_for_the_grace(tree, store, clock):
    kept, gone = tree.save({}), tree.save({}, content=json_content("x"))
    tree.delete(gone.id, by=BY)
    young = collect_tree(tree, grace=GRACE, now=clock(), by=BY, apply=True)
    assert (young.purged, young.waiting, young.objects) == ((), (gone.id,), ())
    clock.now += GRACE
    plan = collect_tree(tree, grace=GRACE, now=clock(), by=BY)
    assert (plan.purged, len(plan.objects), plan.applied) == ((gone.id,), 2, False)
    assert tree.restore(gone.id)
    tree.delete(gone.id)
    clock.now += GRACE
    assert len(collect_tree(tree, grace=GRACE, now=clock(), by=BY, apply=True).objects) == 2
    assert list(store.list(node_prefix("ml_pipeline", gone.id))) == []
    with pytest.raises(NoSuchNodeError, match="permanently deleted"):
        tree.restore(gone.id)
    with pytest.raises(StaleRevisionError):
        tree.save({}, node=gone.id)
    assert reopened(tree).find(kept.id) == kept


def test_every_change_is_in_the_log_with_who_and_why(tree):
    node = tree.save({}, by=Actor("anna", "first", run_id="r1"))
    tree.revise(node.id, {"a": 1}, by=Actor("ben", "second"))
    tree.delete(node.id, by=Actor("cleo", "third"))
    found = [(entry.change, entry.actor, entry.reason, entry.run_id, entry.ids) for entry in tree.history()]
    assert found == [
        ("delete", "cleo", "third", None, (node.id,)),
        ("revise", "ben", "second", None, (node.id,)),
        ("create", "anna", "first", "r1", (node.id,)),
    ]
    assert [entry.change for entry in tree.history(limit=1)] == ["delete"]


def test_pages_and_filters(tree):
    roots = [tree.save({"name": f"e{n}", "public": n == 2, "size": n / 2}) for n in range(3)]
    child = tree.save(
        {"type": "ml_training", "metadata": {"status": "success"}},
        parent=roots[0].id,
    )

    def found(start=0, size=50, **wanted):
        nodes, total = tree.page(Filter(**wanted), start=start, size=size)
        return [node.id for node in nodes], total

    ids = [node.id for node in roots]
    assert found() == ([*ids, child.id], 4)
    assert found(start=1, size=2) == (ids[1:], 4)
    assert found(level=1) == ([child.id], 1)
    assert found(parent="") == (ids, 3)
    assert found(parent=ids[0]) == ([child.id], 1)
    for field, node in {("status", "success"): child, ("name", "e1"): roots[1], ("size", "0.5"): roots[1]}.items():
        assert found(metadata=field) == ([node.id], 1)
    assert found(metadata=("public", "true")) == ([ids[2]], 1)
    assert found(metadata=("size", "x")) == ([], 0)
    assert found(text="SUCC") == ([child.id], 1)
    assert found(text="TRUE") == ([ids[2]], 1)
    assert found(text=ids[1].lower()) == ([ids[1]], 1)
    later = tree.find(ids[1]).document.created_at
    assert found(created_from=tree._now() + timedelta(days=1)) == ([], 0)
    assert found(created_before=tree._now()) == ([*ids, child.id], 4)
    assert later > tree.find(ids[0]).document.created_at


def test_a_tree_is_cut_at_a_depth_and_at_a_number_of_nodes_and_says_so(tree):
    root = tree.save({})
    models = [tree.save({}, parent=root.id) for _ in range(3)]
    leaf = tree.save({}, parent=models[2].id)
    whole = tree.tree(root.id)
    assert [branch.node for branch in whole.children] == models
    assert whole.children[2].children[0].node == leaf
    assert tree.tree(root.id, max_depth=0).children == ()
    assert tree.tree(root.id, max_depth=0).total == 3
    shallow = tree.tree(root.id, max_depth=1)
    assert [(len(one.children), one.total) for one in shallow.children] == [(0, 0), (0, 0), (0, 1)]
    cut = tree.tree(root.id, max_nodes=3)
    assert (len(cut.children), cut.total) == (2, 3)


def test_a_node_registered_from_one_origin_is_one_node(tree):
    one = tree.save({"n": 1}, origin="import:a")
    assert reopened(tree).save({"n": 2}, origin="import:a") == one
    tree.delete(one.id)
    assert tree.save({"n": 3}, origin="import:a").id != one.id
    with pytest.raises(InvalidNodeError, match="registered again"):
        tree.restore(one.id)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(lambda: Content(b"x", "application/x-pickle"), "its content type", id="declared"),
        pytest.param(
            lambda: Content(b"\x80\x04K\x01.", "application/octet-stream"), "its bytes are a pickle", id="bytes"
        ),
        pytest.param(
            lambda: Content(b"x", "nonsense"), "expected a type such as application/json", id="no content type"
        ),
        pytest.param(lambda: json_content({1: object()}), "not a JSON document", id="no JSON"),
        pytest.param(lambda: table_content("x"), "not a table", id="not a table"),
    ],
)
def test_content_that_is_refused_says_why(content, message):
    with pytest.raises(InvalidNodeError, match=message):
        content()


def test_an_archive_that_holds_a_pickle_is_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", b"x")
    with pytest.raises(InvalidNodeError, match=r"model/data\.pkl.*safetensors"):
        Content((tmp_path / "model.pt").read_bytes(), "application/zip")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"a": object()}, "not a JSON object"),
        ({"a": "x" * 1_000_001}, "larger than 1,000,000 bytes"),
        ({"type": "ml_training", "metadata": {}}, "status"),
        ({"type": "ml_training", "metadata": {"status": "ok", "more": 1}}, "more"),
        ({"type": "ml_prediction", "metadata": {"status": "ok", "started_at": "yesterday"}}, "metadata.started_at"),
        (
            {
                "type": "ml_training",
                "metadata": {
                    "status": "ok",
                    "started_at": "2026-01-02T00:00:00Z",
                    "completed_at": "2026-01-01T00:00:00Z",
                },
            },
            "before started_at",
        ),
        ({"type": "ml_training", "metadata": {"status": "ok", "duration_seconds": -1}}, "duration_seconds"),
        ({"type": "generic"}, "metadata"),
    ],
)
def test_data_that_is_refused_says_why(tree, store, data, message):
    with pytest.raises(InvalidNodeError, match=message):
        tree.save(data)
    assert store.objects == {}


def test_the_duration_of_a_run_is_added_where_both_ends_are_known(tree):
    metadata = {"status": "success", "started_at": "2026-01-01T10:00:00Z", "completed_at": "2026-01-01T10:05:00Z"}
    node = tree.save({"type": "ml_training", "metadata": metadata})
    assert node.document.data["metadata"]["duration_seconds"] == 300.0


def test_content_over_the_bound_is_refused(store):
    small = ArtifactTree(store, Hierarchy("small", ("one",), max_bytes=3))
    with pytest.raises(InvalidNodeError, match=r"hierarchies\.small\.max_bytes"):
        small.save({}, content=json_content("long"))


def test_a_table_is_kept_as_parquet(tree):
    node = tree.save({}, content=table_content(pl.DataFrame({"a": [1, 2]})))
    assert pl.read_parquet(tree.read_content(node)).to_dict(as_series=False) == {"a": [1, 2]}


# --- races, kills and lost objects -----------------------------------------------------------------------------------


def test_a_backup_that_is_taken_while_nodes_are_saved_is_whole(tree, store, clock):
    """Logs first, as the page on backups says; and of a log segments that were sealed after its entries were listed."""
    root = tree.save({"name": "kept"}, content=json_content("kept"))
    for n in range(16):
        tree.save({"n": n}, parent=root.id, content=json_content(n))
    copy = MemoryStore(clock=clock.timestamp)

    def copy_over(chosen):
        for item in store.list(""):
            if chosen(item.key) and item.key not in copy.objects:
                copy.put(item.key, store.get(item.key, max_bytes=10**6).data)

    copy_over(lambda key: "/log/" in key and "/segments/" not in key)
    for n in range(16):
        tree.save({"later": n}, parent=root.id, content=json_content(n))
    tree.delete(tree.children(root.id)[0].id)
    copy_over(lambda key: "/segments/" in key)
    copy_over(lambda key: "/log/" not in key)
    restored = ArtifactTree(copy, PIPELINE, now=clock, pause=lambda _: None)
    children = restored.children(root.id)
    assert len(children) == 31, "17 entries were copied one by one, the others in a segment"
    assert restored.read_content(root) == b'"kept"'
    assert all(restored.read_content(node) for node in children)
    assert len(restored.history(limit=100)) == 1 + len(children)
    restored.save({"after": "the restore"}, parent=root.id)
    again = ArtifactTree(copy, PIPELINE)
    assert len(again.children(root.id)) == len(children) + 1


@pytest.mark.parametrize("others_wrote", [False, True])
def test_a_process_that_outlived_a_restore_writes_after_what_was_restored(tree, store, others_wrote):
    kept = tree.save({"n": 0})
    backup = dict(store.objects)
    gone = [tree.save({"n": n}) for n in range(3)]
    store.objects.clear()
    store.objects.update(backup)
    written = [reopened(tree).save({"of": "another"}) for _ in range(3 if others_wrote else 0)]
    with pytest.raises(InvalidNodeError, match="is not in this tree"):
        tree.save({}, parent=gone[0].id)
    written.append(tree.save({"of": "this"}))
    again = reopened(tree)
    assert {node.id for node in again.children()} == {one.id for one in (kept, *written)}
    assert [entry.sequence for entry in again.history()] == [*range(1 + len(written), 0, -1)]
    assert [node.id for node in tree.children()] == [node.id for node in again.children()]


def test_of_two_writers_one_wins_each_entry_and_nothing_is_lost(tree):
    writers = [tree, *(reopened(tree) for _ in range(3))]
    root = tree.save({})
    threads = [
        threading.Thread(target=lambda one=one: [one.save({"n": n}, parent=root.id) for n in range(10)])
        for one in writers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reopened(tree).children(root.id)) == 40
    assert [entry.sequence for entry in reversed(tree.history())] == list(range(1, 42))


def interleave(store, prefix, act):
    """Run something right before the next write of a key below a prefix."""

    def on_call(verb, key):
        if verb == "create" and key.startswith(prefix):
            store.on_call = None
            act()

    store.on_call = on_call


def test_a_child_that_is_saved_while_its_parent_is_deleted_keeps_it_or_is_refused(tree, store):
    parent, log = tree.save({}), "trees/ml_pipeline/log/"
    other = reopened(tree)
    interleave(store, log, lambda: other.save({}, parent=parent.id))
    with pytest.raises(NodeInUseError):
        tree.delete(parent.id)
    lonely = tree.save({})
    interleave(store, log, lambda: other.delete(lonely.id))
    with pytest.raises(InvalidNodeError, match="was deleted"):
        tree.save({}, parent=lonely.id)


def test_of_two_updates_of_one_revision_the_second_is_stale_and_without_a_condition_follows(tree, store):
    node, other = tree.save({"n": 0}), reopened(tree)
    interleave(store, "trees/ml_pipeline/log/", lambda: other.revise(node.id, {"n": 1}, expected=node.etag))
    with pytest.raises(StaleRevisionError):
        tree.revise(node.id, {"n": 2}, expected=node.etag)
    interleave(store, "trees/ml_pipeline/log/", lambda: other.revise(node.id, {"n": 3}))
    assert tree.revise(node.id, {"n": 4}).document.revision == 4
    assert [tree.find(node.id, revision=n).document.data["n"] for n in range(1, 5)] == [0, 1, 3, 4]


def test_a_save_that_slept_past_its_collection_is_refused(tree, store, clock):
    def collected():
        clock.now += 2 * GRACE
        found = collect_tree(reopened(tree), grace=GRACE, now=clock(), by=BY, apply=True)
        assert len(found.unfinished) == 1

    interleave(store, "trees/ml_pipeline/log/", collected)
    with pytest.raises(StaleRevisionError):
        tree.save({"n": 1}, content=json_content("x"))
    assert tree.page()[1] == 0


@pytest.mark.parametrize("how", [FaultMode.LOSE_REPLY, FaultMode.LOSE_REQUEST])
def test_a_lost_reply_makes_no_second_node(tree, store, how):
    store.inject(Fault("create", how, prefix="trees/ml_pipeline/log/"))
    tree.save({})
    assert tree.page()[1] == 1
    assert len(tree.history()) == 1


def test_an_entry_that_is_lost_or_replaced_is_found(tree, store):
    for _ in range(3):
        tree.save({})
    key = tree_log_key("ml_pipeline", 2)
    data, _ = store.objects.pop(key)
    with pytest.raises(CorruptObjectError, match=r"0002\.json is lost"):
        reopened(tree).save({})
    assert key not in store.objects
    store.objects[key] = (data.replace(b'"reason":""', b'"reason":"forged"'), 0.0)
    with pytest.raises(CorruptObjectError, match="does not follow"):
        reopened(tree).page()


def test_content_that_changed_is_not_handed_out(tree, store):
    node = tree.save({}, content=json_content("right"))
    key = next(key for key in store.objects if key.endswith(".content"))
    store.objects[key] = (b'"wrong"', 0.0)
    with pytest.raises(CorruptObjectError):
        tree.read_content(node)
    del store.objects[key]
    with pytest.raises(NoSuchNodeError, match="restore it from a backup"):
        tree.read_content(node)


SAVE = """
import sys
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.trees.content import json_content
from recsys_assets_tests.trees.conftest import PIPELINE
from recsys_assets.trees.tree import ArtifactTree
ArtifactTree(FilesystemStore(sys.argv[1]), PIPELINE).save({"n": 1}, content=json_content("x"))
"""


def test_a_save_that_was_killed_between_bytes_and_entry_did_not_happen(tmp_path):
    killed = subprocess.run(
        [sys.executable, "-c", SAVE, str(tmp_path / "store")],
        env={**os.environ, VARIABLE: "tree.after_object"},
        check=False,
    )
    assert killed.returncode == -9
    tree = ArtifactTree(FilesystemStore(tmp_path / "store"), PIPELINE)
    left = list(tree.store.list(node_prefix("ml_pipeline")))
    assert len(left) == 1
    assert tree.page() == ((), 0)
    assert tree.save({"n": 1}).document.level == 0
    now = tree._now() + 2 * GRACE
    assert collect_tree(tree, grace=GRACE, now=now, by=BY, apply=True).objects == tuple(left)
    assert tree.page()[1] == 1


# --- growth ----------------------------------------------------------------------------------------------------------


def test_a_reader_of_many_entries_reads_segments(tree, store):
    root = tree.save({})
    for n in range(299):
        tree.save({"n": n}, parent=root.id)
    calls = []
    store.on_call = lambda verb, key: calls.append((verb, key))
    again = reopened(tree)
    nodes, total = again.page(Filter(parent=root.id), start=280, size=10)
    assert (total, [node.document.data["n"] for node in nodes]) == (299, list(range(280, 290)))
    reads = len(calls)
    assert reads < 50  # 1 segment of 256, 2 of 16, 12 entries, 10 documents, and looks for what follows
    assert {verb for verb, _ in calls} == {"get"}
    again.page(size=1)
    assert len(calls) - reads == 2  # a look for a new entry, and the document


def test_segments_that_were_never_written_are_written_by_the_next_writer(tree, store):
    for _ in range(33):
        tree.save({})
    for key in [key for key in store.objects if "/segments/" in key]:
        del store.objects[key]
    assert reopened(tree).page()[1] == 33
    reopened(tree).save({})
    assert sum("/segments/1/" in key for key in store.objects) == 2


def test_a_segment_that_is_damaged_is_named(tree, store):
    for _ in range(16):
        tree.save({})
    (key,) = [key for key in store.objects if "/segments/" in key]
    store.objects[key] = (b"no zstd", 0.0)
    with pytest.raises(CorruptObjectError, match="delete it, it is rebuilt from the entries"):
        reopened(tree).page()


def test_documents_of_the_tree_are_json_with_a_version(tree, store):
    tree.save({}, content=json_content("x"))
    documents = [
        json.loads(data)
        for key, (data, _) in store.objects.items()
        if key.startswith("trees/") and key.endswith(".json")
    ]
    assert [document["v"] for document in documents] == [1, 1]
