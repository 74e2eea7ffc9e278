"""A reader's heartbeat: what it serves is reported to the store, and no fault there reaches a request."""

import os
import signal
import threading
import time

import pytest

from recsys_assets.errors import ConfigurationError, UnsafeNameError
from recsys_assets.release.layout import heartbeat_key, heartbeat_prefix
from recsys_assets.serving.state import RefreshOutcome
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import Fault, FaultMode
from recsys_assets.storage.s3 import S3Store
from recsys_assets.upkeep.heartbeats import MAX_SECONDS, read_heartbeats
from recsys_assets_tests.serving.releases import TARGET, Shop, answers

WAIT = 30  # seconds until a test gives up; none waits so long when all is well
FOR_EVER = 10**9


def until(condition):
    """Look often; fail when it never comes true."""
    deadline = time.monotonic() + WAIT
    tick = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        tick.wait(0.002)


def heard(store):
    return {beat.consumer: beat for beat in read_heartbeats(store, TARGET).beats}


def test_a_reader_reports_what_it_serves(store, shop, open_reader):
    reader = open_reader(heartbeat="web-1")
    assert reader.beat() is True
    assert (heard(store)["web-1"].release, heard(store)["web-1"].state) == (None, "never_loaded")
    for n in range(2):
        release = shop.ship(n)
        reader.refresh()
        assert reader.beat() is True
        assert (heard(store)["web-1"].release, heard(store)["web-1"].state) == (release.id, "fresh")


def test_a_reader_without_a_name_writes_nothing(store, shop, open_reader):
    shop.ship(0)
    before = set(store.objects)
    with open_reader() as reader, pytest.raises(ConfigurationError, match="no heartbeat"):
        reader.beat()
    assert set(store.objects) == before


@pytest.mark.parametrize("name", ["", "../web", "a/b", "a\nb", "."])
def test_a_name_that_is_no_key_is_refused_at_once(open_reader, name):
    """F17."""
    with pytest.raises(UnsafeNameError):
        open_reader(heartbeat=name)


def test_the_thread_beats_reports_a_switch_and_says_when_it_ends(store, shop, open_reader):
    first = shop.ship(0)
    with open_reader(heartbeat="web-1", poll_seconds=0.01):
        until(lambda: "web-1" in heard(store))
        assert heard(store)["web-1"].release == first.id
        second = shop.ship(1)
        until(lambda: heard(store)["web-1"].release == second.id)
        assert heard(store)["web-1"].left is False
    assert heard(store)["web-1"].left is True


def test_what_stays_the_same_is_reported_once_in_an_interval(store, shop, open_reader, clock):
    shop.ship(0)
    reader = open_reader(heartbeat="web-1")
    reader.refresh()
    heart = reader._heartbeat
    written = []
    store.on_call = lambda verb, _: written.append(verb) if verb in {"create", "swap"} else None
    heart._beat_if_due()
    heart._beat_if_due()
    assert written == ["create"]
    clock.move(seconds=59)
    heart._beat_if_due()
    assert written == ["create"]
    clock.move(seconds=1)
    heart._beat_if_due()
    assert written == ["create", "swap"]


def test_a_state_that_changes_is_reported_though_the_release_does_not(store, shop, open_reader, clock):
    shop.ship(0)
    reader = open_reader(heartbeat="web-1", poll_seconds=60, expire_after_seconds=30)
    reader.refresh()
    reader._heartbeat._beat_if_due()
    clock.move(seconds=50)  # less than the interval between two beats
    reader._heartbeat._beat_if_due()
    assert heard(store)["web-1"].state == "expired"


@pytest.mark.slow
def test_a_switch_is_reported_soon_however_seldom_the_consumer_polls(store, shop, open_reader):
    shop.ship(0)
    with open_reader(heartbeat="web-1", poll_seconds=3600) as reader:
        until(lambda: "web-1" in heard(store))
        second = shop.ship(1)
        reader.refresh()
        until(lambda: heard(store)["web-1"].release == second.id)


def test_one_that_polls_all_the_time_reports_no_more_than_one_that_polls_every_ten_seconds(
    store, shop, open_reader, clock
):
    shop.ship(0)
    reader = open_reader(heartbeat="web-1", poll_seconds=0.01)
    reader.refresh()
    written = []
    store.on_call = lambda verb, _: written.append(verb) if verb in {"create", "swap"} else None
    for _ in range(20):
        reader.refresh()
        reader._heartbeat._beat_if_due()
        clock.move(seconds=1)
    assert written == ["create", "swap"]


def test_one_that_polls_once_a_month_is_believed_for_days_and_not_for_ever(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader(heartbeat="web-1", poll_seconds=30 * MAX_SECONDS)
    assert reader.beat()
    assert heard(store)["web-1"].every_seconds == MAX_SECONDS


def test_no_two_beats_are_the_same_bytes_though_they_say_the_same(store, shop, open_reader):
    """A store whose reply was lost is read back: equal bytes would be taken for one's own."""
    shop.ship(0)
    reader = open_reader(heartbeat="web-1")
    bytes_written = set()
    for _ in range(3):
        assert reader.beat()
        bytes_written.add(store.objects[heartbeat_key(TARGET, "web-1")][0])
    assert len(bytes_written) == 3


@pytest.mark.parametrize("how", [FaultMode.FAIL, FaultMode.DENY, FaultMode.LOSE_REQUEST])
def test_a_store_that_takes_no_heartbeat_is_served_from_as_well(store, shop, open_reader, caplog, how):
    """F11: reading works, writing does not."""
    shop.ship(0)
    reader = open_reader(heartbeat="web-1")
    for verb in ("create", "swap", "put"):
        store.inject(Fault(verb, how, times=FOR_EVER, prefix=heartbeat_prefix(TARGET)))
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert [reader.beat() for _ in range(3)] == [False] * 3
    assert answers(reader.snapshot()) == {0}
    warned = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert "heartbeat failed consumer=web-1" in warned[0].getMessage()
    store.heal()
    assert reader.beat() is True
    store.inject(Fault("swap", how, times=FOR_EVER, prefix=heartbeat_prefix(TARGET)))
    assert reader.beat() is False
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 2  # it is news again


def test_a_store_that_fails_is_not_hurried(store, shop, open_reader):
    shop.ship(0)
    reader = open_reader(heartbeat="web-1")
    reader.refresh()
    store.inject(Fault("create", FaultMode.FAIL, times=FOR_EVER, prefix=heartbeat_prefix(TARGET)))
    tried = []
    store.on_call = lambda verb, key: tried.append(key) if verb == "create" else None
    for _ in range(5):
        reader._heartbeat._beat_if_due()
    assert tried == [heartbeat_key(TARGET, "web-1")]


def test_a_heartbeat_that_hangs_keeps_nobody_waiting(store, shop, open_reader):
    """F22, F44: a silent store holds the thread that beats, and neither requests nor switches nor the shutdown."""
    entered, go = threading.Event(), threading.Event()

    def hang(_, key):
        if key.startswith(heartbeat_prefix(TARGET)):
            entered.set()
            assert go.wait(WAIT)

    shop.ship(0)
    store.on_call = hang
    reader = open_reader(heartbeat="web-1", poll_seconds=0.01)
    reader.start()
    try:
        assert entered.wait(WAIT)
        shop.ship(1)
        until(lambda: answers(reader.snapshot()) == {1})
        assert reader.close(wait_seconds=0.05) is True
    finally:
        go.set()


def test_a_last_heartbeat_that_hangs_delays_no_shutdown(store, shop, open_reader):
    shop.ship(0)
    go = threading.Event()
    reader = open_reader(heartbeat="web-1", poll_seconds=0.01)
    reader.start()
    try:
        until(lambda: "web-1" in heard(store))
        store.on_call = lambda _, key: key.startswith(heartbeat_prefix(TARGET)) and go.wait(WAIT)
        begin = time.monotonic()
        reader.close(wait_seconds=0.05)
        assert time.monotonic() - begin < WAIT / 2
    finally:
        go.set()


def test_two_of_one_name_take_turns(store, shop, open_reader):
    shop.ship(0)
    readers = [open_reader(heartbeat="web-1") for _ in range(2)]
    for reader in readers * 3:
        reader.refresh()
        assert reader.beat() is True
    assert list(heard(store)) == ["web-1"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_is_a_consumer_of_its_own(tmp_path, open_reader):
    store = FilesystemStore(tmp_path / "store")
    Shop(store).ship(0)
    with open_reader(store=store, poll_seconds=0.02, heartbeat="web-1") as reader:
        reader._heartbeat._lock.acquire()  # as if the parent was in the middle of a beat
        child = os.fork()
        if child == 0:
            signal.pause()
        reader._heartbeat._lock.release()
        try:
            until(lambda: set(heard(store)) == {"web-1", f"web-1.{child}"})
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.mark.slow
def test_a_bucket_keeps_heartbeats_as_a_folder_does(s3_server, open_reader):
    store = S3Store(s3_server.client(), bucket=s3_server.bucket, prefix=s3_server.new_prefix())
    shop = Shop(store)
    for n in range(2):
        release = shop.ship(n)
        reader = open_reader(store=store, heartbeat="web-1")
        reader.refresh()
        assert [reader.beat(), reader.beat()] == [True, True]
        assert heard(store)["web-1"].release == release.id
