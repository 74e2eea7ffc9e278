"""Deletes that arrive late: held by a network, or sent by a collector that slept; live is never left broken."""

import os
import re
import signal
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from recsys_assets.errors import ConflictError, RefusedError, StoreUnavailableError
from recsys_assets.identity import ArtifactRef
from recsys_assets.release.change import PointerChange, claim_from_collections
from recsys_assets.release.document_encoding import create_document, encode, find_document
from recsys_assets.release.documents import CollectedBlob, Sweep
from recsys_assets.release.fault_points import VARIABLE
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import blob_key, blob_prefix, sweep_key, trash_prefix
from recsys_assets.release.pointer import read_current
from recsys_assets.release.trash import DELETE_LIFETIME, lately_taken
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.acting import KEEP_TWO, ROOT, command, now
from recsys_assets_tests.release.staging import TARGET, Clock, Shop, no_pause

ANN, BOB = Actor("ann", "tidy up"), Actor("bob", "finishes it")
KEEP = Retention(keep=2)
ARTIFACTS = blob_prefix(TARGET)


@pytest.fixture
def shop():
    shop = Shop(MemoryStore(), clock=Clock(step=timedelta(seconds=1)))
    shop.store.clock = lambda clock=shop.clock: clock.at.timestamp()
    shop.old = shop.ship(0).release
    for n in range(1, 4):
        shop.ship(n)
    later(shop, days=3)
    return shop


def later(shop, **span):
    shop.clock.at += timedelta(**span)


def gather(shop, by=ANN, clock=None):
    return collect(shop.store, TARGET, by=by, now=clock or shop.clock, retention=KEEP, apply=True, pause=no_pause)


def rebuild_and_ship(shop, **options):
    return shop.ship(0, allow_older=True, **options).live


def held_delete(shop):
    """Let a collection's first delete be held by the network, and the next collection finish what it began."""
    shop.store.inject(Fault("delete_unchanged", FaultMode.HOLD, prefix=ARTIFACTS))
    with pytest.raises(StoreUnavailableError):
        gather(shop)
    gather(shop, by=BOB)
    assert shop.store.stat(sweep_key(TARGET)) is None


def is_sound(shop):
    return verify(shop.store, TARGET, keep=2).ok


def test_a_ship_waits_while_a_held_delete_could_hit_what_it_rebuilt(shop):  # F55
    held_delete(shop)
    live = read_current(shop.store, TARGET).release_id
    with pytest.raises(ConflictError, match="a delete may still be under way: run again 15 minutes after it"):
        rebuild_and_ship(shop)
    assert read_current(shop.store, TARGET).release_id == live
    (hit,) = shop.store.deliver()
    assert shop.store.stat(hit) is None
    shop.clock.at += DELETE_LIFETIME
    assert rebuild_and_ship(shop) == shop.old.id
    assert is_sound(shop)


def test_a_release_waits_if_only_one_of_its_artifacts_was_taken_lately(shop):  # F55
    held_delete(shop)
    taken, kept = shop.old.refs["cooc"], shop.ship(9).release.refs["popularity"]
    assert lately_taken(shop.store, TARGET, (kept,)) is None
    assert lately_taken(shop.store, TARGET, (kept, taken)) is not None


class RemoteStore(MemoryStore):
    """A store whose calls are requests, as what overlaps reads of such stores sees it."""

    root_uri = "s3://memory"


def test_collections_under_way_are_looked_for_before_those_that_are_over():  # F55
    store, asked = RemoteStore(), []
    store.on_call = lambda verb, key: asked.append((verb, key))
    change = PointerChange(store, TARGET, "ship", ANN, now=now, pause=no_pause)
    claim_from_collections(change, (ArtifactRef("cooc", "0" * 64, 1, "0" * 64),))
    under_way = asked.index(("get", sweep_key(TARGET)))
    over = next(n for n, (verb, key) in enumerate(asked) if verb == "list" and key.startswith(trash_prefix(TARGET)))
    assert under_way < over  # the other way round, one that ends between the two looks is seen by neither


def flip_a_digit(data):
    at = data.index(b'"version":"') + len(b'"version":"')
    return data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda _: b"{", "is not a Sweep", id="F57 torn"),
        pytest.param(lambda _: b"\0" * 300, "is not a Sweep", id="F57 zeros"),
        pytest.param(
            lambda data: data.replace(b'"version":"', b'"version":"../'), "contains an invalid artifact", id="F57 path"
        ),
        pytest.param(lambda data: data.replace(b'"kind":"', b'"kind":"#'), "artifact kind", id="F57 no key"),
        pytest.param(lambda data: data.replace(b'"at":"2', b'"at":"x'), "is not an RFC 3339 time", id="F57 time"),
        pytest.param(
            lambda data: re.sub(b'"id":"[0-9a-f]*', b'"id":"' + b"0" * 32, data), "another collection", id="F57 id"
        ),
        pytest.param(lambda _: None, "is not in the store", id="F57 gone"),
        pytest.param(flip_a_digit, None, id="F57 another version"),
    ],
)
def test_a_damaged_record_in_the_trash_stops_no_ship_and_still_warns_by_its_copies(shop, damage, message):  # F55
    held_delete(shop)
    for item in list(shop.store.list(trash_prefix(TARGET))):
        if item.key.endswith("/sweep.json"):
            data = damage(shop.store.objects.pop(item.key)[0])
            if data is not None:
                shop.store.put(item.key, data)
    with pytest.raises(ConflictError, match="a delete may still be under way"):
        rebuild_and_ship(shop)
    assert shop.ship(9).live  # of other artifacts
    found = verify(shop.store, TARGET, keep=2)
    assert [message in problem and "collect --apply" in problem for problem in found.problems] == [True] * bool(message)
    shop.store.deliver()
    shop.clock.at += DELETE_LIFETIME
    assert rebuild_and_ship(shop) == shop.old.id
    gather(shop)
    assert is_sound(shop)
    later(shop, days=9)
    shop.ship(10)
    shop.ship(11)
    for _ in range(3):
        gather(shop)
        later(shop, days=9)
    assert list(shop.store.list(trash_prefix(TARGET))) == []


@pytest.mark.parametrize(
    "damage", [lambda _: b"{", lambda data: data.replace(b'"kind":"', b'"kind":"#')], ids=["torn", "no key"]
)
def test_an_announcement_that_cannot_be_read_stops_neither_ship_nor_collection(shop, damage):  # F57
    taken = (CollectedBlob(kind="cooc", version="0" * 64, size=1),)
    sweep = Sweep(id="6" * 32, at="2026-03-13T00:00:00Z", actor="cy", reason="", decided=False, taken=taken)
    shop.store.put(sweep_key(TARGET), damage(encode(sweep)))
    (problem,) = verify(shop.store, TARGET, keep=2).problems
    assert problem.startswith(sweep_key(TARGET))
    assert shop.ship(9).live
    assert is_sound(shop)
    shop.store.put(sweep_key(TARGET), damage(encode(sweep)))
    assert gather(shop).taken
    assert shop.store.stat(sweep_key(TARGET)) is None
    assert is_sound(shop)


def test_an_artifact_that_is_larger_than_was_announced_stays_and_stops_no_collection(shop):  # F57
    ref = shop.old.refs["cooc"]
    taken = (CollectedBlob(kind="cooc", version=ref.version, size=ref.size - 1),)
    sweep = Sweep(id="6" * 32, at="2026-03-13T00:00:00Z", actor="cy", reason="", decided=True, taken=taken)
    shop.store.put(sweep_key(TARGET), encode(sweep))
    gather(shop)  # ends the one that was announced, then takes what it finds itself
    assert shop.store.stat(sweep_key(TARGET)) is None
    assert is_sound(shop)
    assert shop.store.stat(blob_key(TARGET, "cooc", ref.version)) is None


def test_a_collector_ends_whose_announcement_was_damaged_and_replaced(shop):  # F57
    done = []

    def damage(verb, key):
        if verb == "delete_unchanged" and key.startswith(ARTIFACTS) and not done:
            done.append(key)
            shop.store.put(sweep_key(TARGET), b"{")
            assert shop.ship(9).live

    shop.store.on_call = damage
    gather(shop)
    shop.store.on_call = None
    missing = {blob_key(TARGET, one.ref.kind, one.ref.version) for one in shop.old.members} - shop.store.objects.keys()
    assert missing == set(done)  # it deleted what it was about to, and nothing more
    assert is_sound(shop)


@pytest.mark.parametrize("hours", [-1, 1, 30])
def test_a_ship_waits_by_the_stores_times_however_its_own_clock_differs(shop, hours):  # F55 F59
    held_delete(shop)
    ahead = Clock(shop.clock.at + timedelta(hours=hours))
    gather(shop, by=BOB, clock=ahead)  # would empty the trash, and the record that warns with it
    with pytest.raises(ConflictError, match="may still be under way"):
        rebuild_and_ship(shop, now=ahead)


def test_no_swap_wins_while_the_trash_cannot_be_listed(shop):  # F55 F11
    held_delete(shop)
    shop.stage(0)
    live = read_current(shop.store, TARGET).release_id
    shop.store.inject(Fault("list", FaultMode.FAIL, times=10**6, prefix=trash_prefix(TARGET)))
    with pytest.raises(StoreUnavailableError, match="as requested"):
        shop.publish(0, allow_older=True)
    assert read_current(shop.store, TARGET).release_id == live
    shop.store.heal()
    shop.clock.at += DELETE_LIFETIME
    assert rebuild_and_ship(shop) == shop.old.id


def test_what_a_delete_hits_hours_late_is_taken_back_by_the_next_collection(shop):  # F55
    held_delete(shop)
    shop.clock.at += DELETE_LIFETIME
    assert rebuild_and_ship(shop) == shop.old.id
    later(shop, days=9)
    gather(shop)  # would empty the trash of all but what live needs
    (hit,) = shop.store.deliver()
    with pytest.raises(RefusedError, match="collect --apply"):
        collect(shop.store, TARGET, by=ANN, now=shop.clock, retention=KEEP)
    assert not is_sound(shop)
    gather(shop)
    assert shop.store.stat(hit) is not None
    assert is_sound(shop)


def test_a_delete_that_hits_after_the_trash_was_emptied_is_undone_by_its_sender(shop):  # F55 F6
    slept = []

    def sleep(verb, key):
        if verb == "delete_unchanged" and key.startswith(ARTIFACTS) and not slept:
            slept.append(key)
            gather(shop, by=BOB)
            later(shop, days=9)
            gather(shop, by=BOB)
            assert rebuild_and_ship(shop) == shop.old.id

    shop.store.on_call = sleep
    gather(shop)
    shop.store.on_call = None
    assert shop.store.stat(slept[0]) is not None
    assert is_sound(shop)


def test_wrong_bytes_in_the_trash_do_not_repair_live(shop):  # F55 F13
    held_delete(shop)
    shop.clock.at += DELETE_LIFETIME
    rebuild_and_ship(shop)
    (hit,) = shop.store.deliver()
    for item in shop.store.list(trash_prefix(TARGET)):
        if not item.key.endswith("/sweep.json"):
            shop.store.put(item.key, b"{}")
    with pytest.raises(RefusedError, match="of the live release is missing"):
        gather(shop)
    assert shop.store.stat(hit) is None


@pytest.mark.parametrize("at", ["get", "create", "delete_unchanged"])
@pytest.mark.parametrize("minutes", [3, 10, 60, 3000])
def test_a_collector_that_sleeps_anywhere_in_a_move_leaves_live_whole(shop, at, minutes):  # F55 F6
    slept = []

    def sleep(verb, key):
        if verb != at or slept or not key.startswith((ARTIFACTS, trash_prefix(TARGET))):
            return
        if shop.store.stat(sweep_key(TARGET)) is None:
            return
        slept.append(key)
        later(shop, minutes=minutes)
        gather(shop, by=BOB)
        shop.stage(0)
        try:
            shop.publish(0, allow_older=True)
        except ConflictError:
            later(shop, minutes=20)
            shop.ship(0, allow_older=True)

    shop.store.on_call = sleep
    gather(shop)
    shop.store.on_call = None
    assert slept
    assert read_current(shop.store, TARGET).release_id == shop.old.id
    assert is_sound(shop)


def test_a_collector_that_wakes_beside_the_next_collection_leaves_it_alone(shop):  # F55 F6
    """It slept after its first move; another finished it, its day shipped again, and a third collection began."""
    following = Sweep(id="6" * 32, at="2026-03-13T00:00:00Z", actor="cy", reason="", decided=False, taken=())
    slept = []

    def sleep(verb, key):
        if verb != "delete_unchanged" or not key.startswith(ARTIFACTS) or slept:
            return
        slept.append(key)
        gather(shop, by=BOB)
        later(shop, minutes=20)
        rebuild_and_ship(shop)
        create_document(shop.store, sweep_key(TARGET), following)
        shop.store.on_call = watch

    def watch(*_):
        missing = needed - shop.store.objects.keys()
        assert missing <= set(slept)  # the one delete that was under way

    needed = {blob_key(TARGET, one.ref.kind, one.ref.version) for one in shop.old.members}
    shop.store.on_call = sleep
    gather(shop)
    shop.store.on_call = None
    assert find_document(shop.store, sweep_key(TARGET), Sweep) == following
    assert is_sound(shop)


@pytest.mark.parametrize("last_word", [signal.SIGCONT, signal.SIGKILL], ids=["F55 resumed", "F55 killed"])
def test_a_stopped_collector_that_resumes_deletes_nothing_that_was_rebuilt(tmp_path, last_word):  # F55
    shop = Shop(FilesystemStore(tmp_path), clock=now)
    old = shop.ship(0).release
    for n in range(1, 4):
        shop.ship(n)
    environment = os.environ | {VARIABLE: "collect.before_delete:STOP"}
    with subprocess.Popen(command(tmp_path.as_uri(), "collect"), cwd=ROOT, env=environment) as collector:
        os.waitid(os.P_PID, collector.pid, os.WSTOPPED)
        collect(shop.store, TARGET, by=BOB, now=now, retention=KEEP_TWO, apply=True)
        shop.stage(0)
        with pytest.raises(ConflictError, match="may still be under way"):
            shop.publish(0, allow_older=True)
        for record in tmp_path.glob("trash/*/*/*/sweep.json"):  # as if the lifetime of a delete had passed
            then = (datetime.now(UTC) - 2 * DELETE_LIFETIME).timestamp()
            os.utime(record, (then, then))
        assert shop.publish(0, allow_older=True).live == old.id
        collector.send_signal(last_word)
        collector.wait(timeout=60)
    needed = {blob_key(TARGET, member.ref.kind, member.ref.version) for member in old.members}
    assert needed <= {item.key for item in shop.store.list(ARTIFACTS)}
    assert verify(shop.store, TARGET, keep=2).ok
