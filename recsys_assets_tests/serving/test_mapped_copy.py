"""Copies that are mapped: what serves is proven, however the folder was damaged, and made once for all processes."""

import os
import threading
from mmap import mmap

import pytest

from recsys_assets.errors import ConfigurationError
from recsys_assets.serving.state import Problem, RefreshOutcome, State
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets_tests.serving.releases import TARGET, answers

USERS = {f"u{n:05d}": {f"item of {n}": 1} for n in range(1000)}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "copy"


@pytest.fixture
def mapped(open_reader, folder):
    """Open a reader on the folder and have it look once."""

    def opened(**options):
        reader = open_reader(copy_folder=folder, mapped=True, **options)
        reader.refresh()
        return reader

    return opened


@pytest.fixture
def shipped(shop, mapped):
    """A release of a thousand users that one reader has brought into the folder."""
    release = shop.ship(0, implicit=USERS)
    mapped()
    return release


def blob_file(folder, shop, release, kind="implicit"):
    return folder / shop.blob(release, kind)


def index_file(folder, release, kind="implicit"):
    return folder / "copies" / TARGET.tenant / TARGET.surface / "rows" / kind / release.refs[kind].version


def serves_everything(reader):
    with reader.snapshot() as release:
        found = [release.for_user(user)[0].item_id for user in USERS]
        return found == [next(iter(items)) for items in USERS.values()] and release.for_user("u00000x") is None


def down():
    store = MemoryStore()
    store.inject(*(Fault(verb, FaultMode.FAIL, times=10**9) for verb in ("get", "stat", "list")))
    return store


def test_what_serves_is_mapped_and_answers_as_ever(shop, mapped):
    shop.ship(0)
    reader = mapped()
    assert answers(reader.snapshot()) == {0}
    assert {type(one.data) for one in reader.snapshot().artifacts.values()} == {mmap}
    assert type(reader.snapshot().content("cooc")) is bytes


def test_the_next_process_reads_no_blob_of_the_store_and_makes_no_index(shipped, store, mapped, folder):
    before = index_file(folder, shipped).stat()
    read = []
    store.on_call = lambda _, key: read.append(key)
    reader = mapped()
    assert serves_everything(reader)
    assert not [key for key in read if key.startswith("artifacts/")]
    assert index_file(folder, shipped).stat() == before
    assert isinstance(reader.snapshot().rows("implicit").starts, memoryview)


@pytest.mark.usefixtures("shipped")
def test_a_start_without_a_store_serves_the_copy(mapped):
    reader = mapped(store=down())
    assert (reader.status().state, reader.status().source) == (State.STALE, "disk")
    assert serves_everything(reader)


DAMAGES = [
    pytest.param(lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:], id="a bit early"),
    pytest.param(lambda data: data[:-5000] + bytes([data[-5000] ^ 1]) + data[-4999:], id="a bit in the middle"),
    pytest.param(lambda data: data[:-1] + bytes([data[-1] ^ 1]), id="a bit at the end"),
    pytest.param(lambda data: data[:-1], id="cut by a byte"),
    pytest.param(lambda data: data[:10], id="cut to a stump"),
    pytest.param(lambda _: b"", id="empty"),
    pytest.param(lambda data: data + b"\n", id="a byte more"),
    pytest.param(lambda data: bytes(len(data)), id="zeros"),
]


def damage(file, how):
    """Replace a file as a disk or a person might: the process that has mapped the old one keeps it."""
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(how(data))
    return data


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_blob_is_fetched_again(shipped, shop, mapped, folder, how):
    file = blob_file(folder, shop, shipped)
    whole = damage(file, how)
    reader = mapped()
    assert reader.status().state is State.FRESH
    assert serves_everything(reader)
    assert file.read_bytes() == whole


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_blob_is_not_served_where_there_is_no_store(shipped, shop, mapped, folder, how):
    damage(blob_file(folder, shop, shipped), how)
    assert mapped(store=down()).status().state is State.NEVER_LOADED


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_index_finds_no_row_and_is_made_again(shipped, mapped, folder, how, caplog):
    file = index_file(folder, shipped)
    whole = damage(file, how)
    assert serves_everything(mapped())
    assert file.read_bytes() == whole
    assert "artifact copy failed" in caplog.text


@pytest.mark.usefixtures("shipped")
def test_an_index_of_another_blob_finds_no_row(shop, mapped, folder):
    another = shop.ship(1, implicit={f"v{user}": items for user, items in USERS.items()})
    mapped()
    ours = index_file(folder, another)
    theirs = ours.read_bytes()
    again = shop.ship(2, implicit=USERS)
    mapped()
    file = index_file(folder, again)
    damage(file, lambda _: theirs)
    assert serves_everything(mapped())
    assert file.read_bytes() != theirs


def test_what_is_no_longer_served_is_removed_with_its_index(shipped, shop, mapped, folder):
    another = shop.ship(1)
    reader = mapped()
    assert answers(reader.snapshot()) == {1}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if shipped.refs["implicit"].version in str(path)]
    assert index_file(folder, another).exists()


@pytest.mark.usefixtures("shipped")
def test_what_is_held_from_before_a_switch_still_answers(shop, mapped):
    reader = mapped()
    with reader.snapshot() as before:
        shop.ship(1)
        reader.refresh()
        assert answers(reader.snapshot()) == {1}
        assert before.for_user("u00999")[0].item_id == "item of 999"


def test_of_many_that_start_at_once_one_fetches(shop, store, open_reader, folder):
    release = shop.ship(0, implicit=USERS)
    read = []
    store.on_call = lambda verb, key: read.append(key) if verb == "get" else None
    readers = [open_reader(copy_folder=folder, mapped=True) for _ in range(6)]
    threads = [threading.Thread(target=reader.refresh) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(serves_everything(reader) for reader in readers)
    assert read.count(shop.blob(release, "implicit")) == 1


def test_a_folder_that_cannot_be_written_stops_nothing(shop, open_reader, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    shop.ship(0)
    reader = open_reader(copy_folder=tmp_path / "file" / "copy", mapped=True)
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {0}
    assert "artifact copy failed" in caplog.text


def test_a_blob_that_the_store_damaged_is_neither_served_nor_left_to_serve(shop, store, mapped, folder):
    release = shop.ship(0)
    key = shop.blob(release, "cooc")
    data, at = store.objects[key]
    store.objects[key] = (data[:50] + bytes([data[50] ^ 1]) + data[51:], at)
    assert mapped().refresh().problem is Problem.BROKEN_RELEASE
    store.objects[key] = (data, at)
    assert answers(mapped().snapshot()) == {0}
    assert blob_file(folder, shop, release, "cooc").read_bytes() == data


@pytest.mark.usefixtures("shipped")
def test_a_forked_child_serves_what_its_parent_mapped(mapped):
    reader = mapped()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, b"good" if serves_everything(reader) else b"bad")
        os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(read, 10) == b"good"
    os.close(read)


def test_mapping_without_a_folder_is_refused(open_reader):
    with pytest.raises(ConfigurationError, match="copy_folder"):
        open_reader(mapped=True)
