"""A process that is killed between any two steps leaves the old live or the new, and a rerun converges."""

import os
import signal
import subprocess
from contextlib import suppress
from datetime import timedelta
from functools import cache
from itertools import pairwise

import pytest

from recsys_assets.errors import RefusedError
from recsys_assets.release import journal, trash
from recsys_assets.release.blocking import blocked_ids
from recsys_assets.release.fault_points import VARIABLE
from recsys_assets.release.hold import read_hold
from recsys_assets.release.layout import intent_prefix, pointer_key, sweep_key, trash_prefix
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollout import find_rollout
from recsys_assets.release.rollout_transitions import settle
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets.upkeep.repair import repair_journal
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests import warm_processes
from recsys_assets_tests.release.acting import ANN, ROOT, act, command, now
from recsys_assets_tests.release.staging import TARGET, WITH_SHARDS, Shop
from recsys_assets_tests.thoroughness import THOROUGH

pytestmark = pytest.mark.slow

SHIP = [
    "after_read",
    "after_intent",
    "after_proof",
    "after_record",
    "before_swap",
    "after_swap",
    "after_journal",
    "after_all",
]
ROLL_BACK = ["after_intent", "after_mark", "after_hold", "before_swap", "after_swap", "after_journal"]
HOLD = ["before_swap_to_itself", "before_swap", "after_swap", "after_journal"]
COLLECT = [
    "after_announcement", "before_swap", "after_swap", "after_journal", "after_decision", "after_move", "after_sweep",
    "before_emptying", "after_emptying",
]  # fmt: skip
ROLLOUT = [
    *(("rollout", point) for point in ("after_candidate", "after_start")),
    ("advance", "after_step"),
    *(
        ("promote", point)
        for point in ("after_decision", "after_intent", "before_swap", "after_swap", "after_promotion")
    ),
    *(("abort", point) for point in ("after_mark", "after_end")),
]
RESTORE = ["after_intent", "before_swap", "after_swap", "after_journal"]
MOVES = [
    *(pytest.param("ship", point, id=f"F1 ship {point}") for point in SHIP),
    *(pytest.param("roll_back", point, id=f"F2 roll_back {point}") for point in ROLL_BACK),
    *(pytest.param("collect", point, id=f"F2 collect {point}") for point in COLLECT),
]
OTHERS = [
    *(pytest.param("hold", point, id=f"F2 hold {point}") for point in HOLD),
    pytest.param("release_hold", "after_lift", id="F2 release_hold after_lift"),
    *(pytest.param(*one, id=f"F2 F72 {one[0]} {one[1]}") for one in ROLLOUT),
    pytest.param("block_item", "after_write", id="F2 block_item after_write"),
    pytest.param("unblock_item", "after_write", id="F2 unblock_item after_write"),
    *(pytest.param("restore_pointer", point, id=f"F2 F39 restore_pointer {point}") for point in RESTORE),
]
ON_BOTH = pytest.mark.parametrize("store", ["folder", "bucket"], indirect=True)
# A bucket takes some 400 requests for each: in `make test`, where what was written last is another sort of object.
ON_A_BUCKET = {
    "ship": {"after_intent", "after_record", "after_swap", "after_journal"},
    "roll_back": {"after_mark", "before_swap", "after_swap"},
    "collect": {"after_announcement", "after_swap", "after_move", "before_emptying"},
}
BUCKET_MOVES = [one for one in MOVES if THOROUGH or one.values[1] in ON_A_BUCKET[one.values[0]]]


@pytest.fixture
def store(request, monkeypatch):
    """Four days shipped, a fifth staged: in a folder, or, where a test asks for it, on a real S3 server."""
    if getattr(request, "param", "folder") == "folder":
        return set_back(*request.getfixturevalue("folder"))
    for name, value in request.getfixturevalue("s3_server").environment().items():
        monkeypatch.setenv(name, value)  # for the processes that are killed
    return set_back(*request.getfixturevalue("bucket"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A store in a folder, and what it is filled with."""
    store = filled(FilesystemStore(tmp_path_factory.mktemp("killed") / "store"))
    return store, contents(store)


@pytest.fixture(scope="module")
def bucket(s3_server):
    """A store in a bucket, and what it is filled with."""
    store = filled(S3Store(s3_server.client(), bucket=s3_server.bucket, prefix=s3_server.new_prefix()))
    return store, contents(store)


def contents(store):
    return {item.key: store.get(item.key, max_bytes=item.size) for item in store.list("")}


def set_back(store, whole):
    """Give every key that changed its bytes again, in the same place, as pointers name places; delete all others."""
    found = contents(store)
    for key in found.keys() - whole.keys():
        store.delete(key)
    for key, stored in whole.items():
        if key not in found or found[key].data != stored.data:
            store.put(key, stored.data)
    return store


def filled(store):
    shop = Shop(store, kinds=WITH_SHARDS)
    for n in range(4):
        shop.ship(n)
    shop.stage(4)
    return store


def run(store, action, words, fault=None):
    environment = os.environ | ({VARIABLE: fault} if fault else {})
    line = command(store.root_uri, action, *words)
    return warm_processes.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def words_of(action):
    return ["4"] if action == "ship" else []


def state(store):
    """What a person sees in the end: what is live, held, blocked, rolled out, and which artifacts there are."""
    current = read_current(store, TARGET)
    held = read_hold(store, TARGET)
    artifacts = [item.key for item in store.list("artifacts/")]
    blocked = blocked_ids(store, TARGET, now=now())
    rollout = find_rollout(store, TARGET)
    rolled = rollout and (rollout.release, rollout.state, rollout.step)
    return current and current.release_id, held and (held.actor, held.after_data), artifacts, blocked, rolled


def prepare(store, action):
    if action == "release_hold":
        act(store, "hold")
    if action in {"advance", "promote", "abort"}:
        act(store, "rollout")
    if action == "promote":
        act(store, "advance")
    if action == "unblock_item":
        act(store, "block_item")
    if action == "restore_pointer":
        store.delete(pointer_key(TARGET))


def check_invariants(store):
    if read_current(store, TARGET) is None:
        return
    verification = verify(store, TARGET, keep=2)
    assert not any(proof.faults for proof in verification.releases)


@pytest.mark.parametrize(("action", "point"), [*MOVES, *OTHERS])
def test_a_killed_process_breaks_nothing_and_a_rerun_converges(store, action, point):
    check_killed(store, action, point)


@pytest.mark.parametrize("store", ["bucket"], indirect=True)
@pytest.mark.parametrize(("action", "point"), BUCKET_MOVES)
def test_a_process_killed_on_a_bucket_breaks_nothing_and_a_rerun_converges(store, action, point):
    check_killed(store, action, point)


def check_killed(store, action, point):
    prepare(store, action)
    before = state(store)
    killed = run(store, action, words_of(action), fault=f"{action}.{point}")
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    check_invariants(store)
    live = read_current(store, TARGET)

    expected = undisturbed(action)

    moved = action in {"ship", "roll_back", "restore_pointer", "promote"}
    early = point in {"after_swap", "after_journal", "after_all", "after_promotion"}
    if moved:
        assert (live and live.release_id) == (expected[0] if early else before[0])
    with suppress(RefusedError):  # an abort that was all but done: there is no rollout any more
        act(store, action, words_of(action))
    check_invariants(store)
    assert state(store) == expected
    settle(store, TARGET, by=ANN, now=now)
    assert store.stat(sweep_key(TARGET)) is None
    repair_journal(store, TARGET, by=ANN, now=now)
    check_journal(store)


@cache
def undisturbed(action):
    """Return what a person sees where nothing is killed."""
    other = filled(MemoryStore(name="undisturbed"))
    prepare(other, action)
    return act(other, action, words_of(action)) and state(other)


def check_journal(store):
    """Every swap of the pointer is recorded exactly once, and the last one is what is live."""
    changes = list(journal.changes(store, TARGET))
    times = [entry.pointer_at for entry in changes]
    assert len(set(times)) == len(times)
    assert changes[0].pointer_at == read_current(store, TARGET).pointer.updated_at
    for newer, older in pairwise(changes):
        assert newer.before in {older.after, None}


@pytest.mark.parametrize("point", ["after_swap", "after_journal"])
def test_a_rollback_that_was_killed_after_it_moved_does_not_move_twice(store, point):  # F2
    run(store, "roll_back", [], fault=f"roll_back.{point}")
    done = read_current(store, TARGET).release_id
    message = act(store, "roll_back")
    assert "interrupted" in message
    assert read_current(store, TARGET).release_id == done
    assert "back to" in act(store, "roll_back")  # who asks once more, knowing that, goes further back


def test_a_recovered_entry_names_who_did_it(store):
    run(store, "ship", ["4"], fault="ship.after_swap")
    act(store, "hold")
    recovered = [e for e in journal.newest_first(store, TARGET) if e.outcome == "recovered"]
    assert [(e.action, e.actor, e.details["recovered_by"]) for e in recovered] == [("ship", "nightly", "ann")]


def test_what_a_killed_publish_leaves_behind_is_named_and_collected(store):  # F1
    run(store, "ship", ["4"], fault="ship.before_swap")
    assert "ship of" in " ".join(verify(store, TARGET).notes)
    act(store, "ship", ["4"])
    act(store, "collect")
    assert list(store.list(intent_prefix(TARGET))) == []
    assert verify(store, TARGET, keep=2).ok


@pytest.mark.parametrize("name", ["TERM", "INT"])
@pytest.mark.parametrize("point", ["after_intent", "before_swap", "after_swap"])
def test_a_signal_is_no_worse_than_a_kill(store, name, point):  # F52
    before = read_current(store, TARGET).release_id
    stopped = run(store, "ship", ["4"], fault=f"ship.{point}:{name}")
    assert stopped.returncode != 0
    check_invariants(store)
    assert (read_current(store, TARGET).release_id == before) is (point != "after_swap")
    act(store, "ship", ["4"])
    assert read_current(store, TARGET).release_id != before
    check_journal(store)


@ON_BOTH
def test_a_publisher_that_was_stopped_before_its_swap_loses_to_who_shipped_meanwhile(store, monkeypatch):  # F6
    monkeypatch.setattr(trash, "DELETE_LIFETIME", timedelta(0))  # no delete is held: the trash may be emptied at once
    shop = Shop(store, clock=now, kinds=WITH_SHARDS)
    environment = os.environ | {VARIABLE: "ship.before_swap:STOP"}
    stopped = warm_processes.start(
        command(store.root_uri, "ship", "4"), cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
    for n in range(6, 10):
        shop.ship(n)
    act(store, "collect")
    act(store, "collect")
    live = read_current(store, TARGET).release_id
    stopped.send_signal(signal.SIGCONT)
    output, _ = stopped.communicate(timeout=30)
    assert read_current(store, TARGET).release_id == live
    assert output.strip() in {b"older", b""}
    assert verify(store, TARGET, keep=2).ok
    assert list(store.list(trash_prefix(TARGET))) == []
    check_journal(store)
