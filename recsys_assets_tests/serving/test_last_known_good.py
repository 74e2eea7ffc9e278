import pytest

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.identity import Target
from recsys_assets.release.layout import release_key
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Problem, RefreshOutcome, State
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets_tests.serving.releases import IDLE, TARGET, Shop, answers

COPY = "copies/shop/home/pointer.json"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "copy"


@pytest.fixture
def kept(shop, open_reader, folder):
    """A folder that holds the copy of the shop's first release."""
    shop.ship(0)
    open_reader(copy_folder=folder).refresh()
    return folder


def down():
    store = MemoryStore()
    store.inject(*(Fault(verb, FaultMode.FAIL, times=10**9) for verb in ("get", "stat", "list")))
    return store


def files(folder):
    return sorted(path for path in folder.rglob("*.json") if path.is_file())


def test_a_start_without_a_store_serves_the_copy(kept, open_reader):  # F43
    reader = open_reader(store=down(), copy_folder=kept)
    assert reader.refresh().problem is Problem.OUTAGE
    assert answers(reader.snapshot()) == {0}
    assert (reader.status().state, reader.status().source) == (State.STALE, "disk")


def test_a_start_with_a_store_takes_the_store_and_reads_no_blob_twice(kept, store, open_reader):
    reader = open_reader(copy_folder=kept)
    read = []
    store.on_call = lambda _, key: read.append(key)
    reader.refresh()
    assert (reader.status().state, reader.status().source) == (State.FRESH, "store")
    assert read == [*IDLE, release_key(TARGET, reader.snapshot().release_id)]


def test_a_start_without_store_and_copy_says_both(folder, open_reader):  # F43
    reader = open_reader(store=down(), copy_folder=folder)
    reader.refresh()
    assert reader.status().state is State.NEVER_LOADED
    with pytest.raises(StoreUnavailableError, match="nor the copy on disk: there is none"):
        reader.snapshot()


@pytest.mark.parametrize("which", range(6))
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), id="cut"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.unlink(), id="gone"),
    ],
)
def test_a_damaged_copy_never_serves_and_is_replaced(kept, store, open_reader, which, damage):  # F43
    damage(files(kept)[which])
    reader = open_reader(store=down(), copy_folder=kept)
    reader.refresh()
    assert reader.status().state is State.NEVER_LOADED
    assert "nor the copy on disk" in reader.status().why
    again = open_reader(store=store, copy_folder=kept)
    assert again.refresh().outcome is RefreshOutcome.CHANGED
    repaired = open_reader(store=down(), copy_folder=kept)
    repaired.refresh()
    assert answers(repaired.snapshot()) == {0}


@pytest.mark.parametrize("which", range(6))
def test_a_link_in_the_copy_is_not_followed_and_stops_nothing(kept, store, open_reader, which):
    """F19."""
    path = files(kept)[which]
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))
    reader = open_reader(store=down(), copy_folder=kept)
    reader.refresh()
    assert reader.status().state is State.NEVER_LOADED
    again = open_reader(store=store, copy_folder=kept)
    again.refresh()
    assert again.status().state is State.FRESH
    assert path.is_symlink()


def test_a_flipped_bit_in_any_file_of_the_copy_is_found(kept, open_reader):  # F43
    for path in files(kept):
        good = path.read_bytes()
        for at in range(0, len(good), 37):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            reader = open_reader(store=down(), copy_folder=kept)
            reader.refresh()
            assert reader.status().state is State.NEVER_LOADED
        path.write_bytes(good)


def test_the_copy_of_another_target_never_serves(kept, store, open_reader):  # F43
    rival = Shop(store, Target("rival", "home"))
    theirs = rival.ship(5)
    Reader(store, "rival", "home", copy_folder=kept).refresh()
    (kept / COPY).write_bytes((kept / "copies/rival/home/pointer.json").read_bytes())
    copy = FilesystemStore(kept)
    for kind in theirs.refs:
        copy.put(rival.blob(theirs, kind), store.objects[rival.blob(theirs, kind)][0])
    reader = open_reader(store=down(), copy_folder=kept)
    reader.refresh()
    assert reader.status().state is State.NEVER_LOADED
    assert "not of shop/home" in reader.status().why


def test_the_copy_of_another_store_never_serves(kept, open_reader):
    elsewhere = down()
    elsewhere.name = "elsewhere"
    reader = open_reader(store=elsewhere, copy_folder=kept)
    reader.refresh()
    assert reader.status().state is State.NEVER_LOADED
    assert "is not below memory://elsewhere" in reader.status().why


def test_a_copy_that_is_newer_than_the_store_stays(kept, store, shop, open_reader):  # F43
    backup = dict(store.objects)
    shop.ship(1)
    open_reader(copy_folder=kept).refresh()
    store.objects.clear()
    store.objects.update(backup)
    reader = open_reader(copy_folder=kept)
    assert reader.refresh().problem is Problem.OLDER_POINTER
    assert (answers(reader.snapshot()), reader.status().source) == ({1}, "disk")


def test_the_copy_holds_one_release_and_no_more(kept, shop, open_reader):
    reader = open_reader(copy_folder=kept)
    for n in range(1, 4):
        release = shop.ship(n)
        reader.refresh()
        assert {path.stem for path in files(kept)} == {ref.version for ref in release.refs.values()} | {"pointer"}


def test_two_processes_share_a_folder_and_the_newer_stays(kept, store, shop, open_reader):
    lagging = MemoryStore(objects=dict(store.objects))
    slow, fast = open_reader(store=lagging, copy_folder=kept), open_reader(copy_folder=kept)
    slow.refresh()
    fast.refresh()
    shop.ship(1)
    lagging.objects = dict(store.objects)
    shop.ship(2)
    fast.refresh()
    assert slow.refresh().outcome is RefreshOutcome.CHANGED
    without_store = open_reader(store=down(), copy_folder=kept)
    without_store.refresh()
    assert (answers(slow.snapshot()), answers(without_store.snapshot())) == ({1}, {2})


def test_a_folder_that_cannot_be_written_stops_nothing(shop, open_reader, tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    shop.ship(0)
    reader = open_reader(copy_folder=tmp_path / "file" / "copy")
    assert reader.refresh().outcome is RefreshOutcome.CHANGED
    assert answers(reader.snapshot()) == {0}
    assert "artifact copy failed" in caplog.text
