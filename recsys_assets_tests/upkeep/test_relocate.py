"""A store that is seen from elsewhere: behind a link, at another mount, copied to a bucket and back, and relocated."""

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError, CorruptObjectError, RefusedError
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor, newest_first
from recsys_assets.release.layout import blob_prefix, pointer_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import live_at
from recsys_assets.release.rollback import roll_back
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.state import Problem, State
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.open import open_store
from recsys_assets.storage.proof import KEY, ensure_proven, written_roots
from recsys_assets.storage.s3 import S3Store
from recsys_assets.upkeep.repair import relocate, restore_pointer
from recsys_assets.upkeep.status import served_targets
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Clock, Shop
from recsys_assets_tests.serving.releases import Shop as ServedShop
from recsys_assets_tests.storage.cloud_fakes import connection_string

ANN = Actor("ann", "the disk was replaced")
MAX = 10_000_000


def uris(store, target=TARGET):
    return json.loads(store.get(pointer_key(target), max_bytes=MAX).data)["current"]


def service_reads(root, store, target=TARGET):
    """Load what is live as a service does that was given `root` and takes URIs below it alone, by their text."""
    for uri in uris(store, target).values():
        assert uri.startswith(f"{root}/"), f"file uri is outside configured root: {uri}"
        assert Path(urlsplit(uri).path).is_file()
    return len(uris(store, target))


def copy(store, other):
    for item in store.list(""):
        other.put(item.key, store.get(item.key, max_bytes=MAX).data)
    return other


def served(store, **more):
    reader = Reader(store, "shop", "home", **more)
    reader.refresh()
    return reader


@pytest.fixture
def linked(tmp_path):
    """A folder, and a link to it."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    return tmp_path / "disk", tmp_path / "link"


def test_uris_name_the_root_as_the_configuration_does(linked):  # F65
    real, link = linked
    shop = ServedShop(FilesystemStore(link))
    shop.ship(0)
    assert service_reads(f"file://{link}", shop.store) == 5
    for root in linked:
        assert served(FilesystemStore(root)).status().state is State.FRESH
    assert shop.store.root_uri == f"file://{real}"


def test_a_store_that_was_written_by_its_real_path_is_read_behind_a_link(linked):  # F65
    real, link = linked
    ServedShop(FilesystemStore(real)).ship(0)
    assert served(FilesystemStore(link)).status().state is State.FRESH
    (relocated,) = relocate(FilesystemStore(link), [TARGET], by=ANN, now=Clock(), dry_run=False)
    assert (relocated.before, relocated.after) == (f"file://{real}", f"file://{link}")


def test_dots_behind_a_link_are_no_way_back(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    store = FilesystemStore(f"{tmp_path}/link/../store")
    assert store.uri_roots == (f"file://{tmp_path}/a/store",)


def test_a_public_root_is_what_pointers_name(tmp_path):
    public = tmp_path / "mnt" / "recsys"
    shop = ServedShop(open_store(str(tmp_path / "store"), public_root=str(public)))
    shop.ship(0)
    public.parent.mkdir()
    (tmp_path / "store").rename(public)
    assert service_reads(f"file://{public}", FilesystemStore(public)) == 5
    assert shop.store.root_uri == f"file://{tmp_path}/store"


@pytest.mark.parametrize(
    "root", ["mnt", "/", "/a/../b", "/a//b", "file://host/a", "https://x/y", "/a?b", "/a#b", "s3:///x"]
)
def test_a_public_root_that_no_uri_may_begin_with_is_refused(tmp_path, root):
    config(tmp_path, tmp_path / "store", f'public_root = "{root}"\n')
    with pytest.raises(ConfigurationError, match=r"line 3: storage.public_root: .*expected a path"):
        call(tmp_path, "status")


def test_a_copy_at_another_mount_is_read_and_says_so_itself(tmp_path):  # F65
    ServedShop(FilesystemStore(tmp_path / "one")).ship(0)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.rmtree(tmp_path / "one")
    two = FilesystemStore(tmp_path / "two")
    assert served(two).status().state is State.FRESH
    assert all(uri.startswith(f"file://{tmp_path}/one/") for uri in uris(two).values())
    two.delete(KEY)
    assert served(two).status().problem is Problem.BAD_POINTER, "nothing says any more where it was written"


def test_a_root_that_nobody_recorded_is_refused_wherever_the_store_is_seen(tmp_path):  # F18
    shop = ServedShop(FilesystemStore(tmp_path / "one"))
    shop.ship(0)
    data = shop.store.get(pointer_key(TARGET), max_bytes=MAX).data
    shop.store.put(pointer_key(TARGET), data.replace(b"/one/", b"/elsewhere/"))
    with pytest.raises(CorruptObjectError, match="recsys-assets relocate"):
        read_current(shop.store, TARGET)


def test_the_copy_on_disk_of_a_store_seen_from_elsewhere_serves_without_it(tmp_path):  # F43 F65
    ServedShop(FilesystemStore(tmp_path / "one")).ship(0)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    two = FilesystemStore(tmp_path / "two")
    served(two, copy_folder=tmp_path / "copy")
    shutil.rmtree(tmp_path / "two")
    reader = served(two, copy_folder=tmp_path / "copy")
    assert (reader.status().state, reader.status().source) == (State.STALE, "disk")
    other = served(FilesystemStore(tmp_path / "three"), copy_folder=tmp_path / "copy")
    assert other.status().state is State.NEVER_LOADED, "a copy of another store"


def test_both_mounts_of_one_store_can_be_written_in_turn(tmp_path):  # F65
    shop = Shop(FilesystemStore(tmp_path / "one"))
    first = shop.ship(0)
    (tmp_path / "one").rename(tmp_path / "two")
    there = Shop(FilesystemStore(tmp_path / "two"), clock=shop.clock)
    second = there.ship(1)
    assert written_roots(there.store) == (f"file://{tmp_path}/one", f"file://{tmp_path}/two")
    (tmp_path / "two").rename(tmp_path / "one")
    assert read_current(shop.store, TARGET).release_id == second.release.id
    roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET).release_id == first.release.id
    assert written_roots(shop.store)[-1] == f"file://{tmp_path}/one"
    assert verify(shop.store, TARGET).ok


def test_a_relocation_keeps_what_is_live_what_is_held_and_the_history(tmp_path):
    shop = Shop(FilesystemStore(tmp_path / "one"))
    first, second = shop.ship(0), shop.ship(1)
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    at = shop.clock.at
    (tmp_path / "one").rename(tmp_path / "two")
    two = FilesystemStore(tmp_path / "two")
    before = {item.key: item for item in two.list("")}
    (dry,) = relocate(two, served_targets(two), by=ANN, now=shop.clock)
    assert {item.key: item for item in two.list("")} == before, "a dry run"
    assert (dry.before, dry.after, dry.moves) == (f"file://{tmp_path}/one", f"file://{tmp_path}/two", True)

    (done,) = relocate(two, served_targets(two), by=ANN, now=shop.clock, dry_run=False)

    assert (done.entry.action, done.entry.actor, done.entry.before) == ("relocate", "ann", second.release.id)
    assert done.entry.after == read_current(two, TARGET).release_id == second.release.id
    assert service_reads(f"file://{tmp_path}/two", two) == 2
    assert verify(two, TARGET).ok
    assert live_at(two, TARGET, at).release_id == second.release.id
    again = relocate(two, served_targets(two), by=ANN, now=shop.clock, dry_run=False)
    assert [(one.moves, one.entry) for one in again] == [(False, None)]
    assert Shop(two, clock=shop.clock).ship(2).how == "held"
    roll_back(two, TARGET, to="previous", by=ANN, now=shop.clock)
    assert read_current(two, TARGET).release_id == first.release.id


def test_a_ship_beside_a_relocation_stays():
    shop = Shop(MemoryStore(name="one"))
    shop.ship(0)
    shop.stage(1)
    two = copy(shop.store, MemoryStore(name="two"))
    there = Shop(two, clock=shop.clock)

    def ship_meanwhile(verb, key):
        if verb == "swap" and key == pointer_key(TARGET):
            two.on_call = None
            there.publish(1)

    two.on_call = ship_meanwhile
    (done,) = relocate(two, [TARGET], by=ANN, now=shop.clock, dry_run=False)
    assert done.entry.outcome == "unchanged"
    newest = [entry for entry in newest_first(two, TARGET) if entry.changed]
    assert (newest[0].action, newest[0].after) == ("ship", read_current(two, TARGET).release_id)


def test_a_copy_that_is_not_whole_is_not_relocated():
    shop = Shop(MemoryStore(name="one"))
    shop.ship(0)
    two = copy(shop.store, MemoryStore(name="two"))
    blob = next(two.list(blob_prefix(TARGET))).key
    two.delete(blob)
    before = dict(two.objects)
    with pytest.raises(RefusedError, match="are missing: copy the whole store"):
        relocate(two, [TARGET], by=ANN, now=shop.clock, dry_run=False)
    assert two.objects == before


def test_restoring_a_pointer_names_the_root_of_now(tmp_path):
    shop = Shop(FilesystemStore(tmp_path / "one"))
    shop.ship(0)
    (tmp_path / "one").rename(tmp_path / "two")
    two = FilesystemStore(tmp_path / "two")
    two.delete(pointer_key(TARGET))
    restore_pointer(two, TARGET, by=ANN, now=shop.clock)
    assert service_reads(f"file://{tmp_path}/two", two) == 2


@pytest.mark.slow
def test_a_prefix_of_a_bucket_copied_to_a_folder_and_back(tmp_path, s3_server):  # F65
    bucket = S3Store(
        s3_server.client(), bucket=s3_server.bucket, prefix=s3_server.new_prefix(), public_root="s3://alias/x"
    )
    shop = ServedShop(bucket)
    shop.ship(0)
    assert all(uri.startswith("s3://alias/x/artifacts/") for uri in uris(bucket).values())
    folder = copy(bucket, FilesystemStore(tmp_path / "copy"))
    assert served(folder).status().state is State.FRESH
    relocate(folder, [TARGET], by=ANN, now=shop.clock, dry_run=False)
    assert service_reads(f"file://{tmp_path}/copy", folder) == 5
    back = copy(folder, S3Store(s3_server.client(), bucket=s3_server.bucket, prefix=s3_server.new_prefix()))
    assert served(back).status().state is State.FRESH
    relocate(back, [TARGET], by=ANN, now=shop.clock, dry_run=False)
    assert all(uri.startswith(f"{back.root_uri}/") for uri in uris(back).values())
    assert verify(back, TARGET).ok


@pytest.mark.slow
@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_a_folder_copied_to_another_cloud_and_back(tmp_path, cloud, gcs_server, azure_server, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server.endpoint)
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection_string(azure_server.endpoint))
    folder = FilesystemStore(tmp_path / "one")
    shop = ServedShop(folder)
    shop.ship(0)
    bucket = copy(folder, open_store(f"{cloud}://bucket/relocated"))
    assert served(bucket).status().state is State.FRESH
    relocate(bucket, [TARGET], by=ANN, now=shop.clock, dry_run=False)
    assert all(uri.startswith(f"{cloud}://bucket/relocated/artifacts/") for uri in uris(bucket).values())
    assert verify(bucket, TARGET).ok
    ServedShop(bucket, clock=shop.clock).ship(1)
    back = copy(bucket, FilesystemStore(tmp_path / "two"))
    relocate(back, [TARGET], by=ANN, now=shop.clock, dry_run=False)
    assert service_reads(f"file://{tmp_path}/two", back) == 5


def config(folder, root, more=""):
    text = f'[storage]\nroot = "{root}"\n{more}[[targets]]\ntenant = "shop"\nsurface = "home"\n'
    (folder / "recsys.toml").write_text(text)


def call(folder, command, *words):
    return recsys_assets.main([command, "--config", str(folder / "recsys.toml"), *words], standalone_mode=False)


def test_the_command_says_first_and_then_moves_every_pointer_also_of_former_targets(tmp_path, capsys):
    for target in (TARGET, type(TARGET)("shop", "former")):
        Shop(FilesystemStore(tmp_path / "one"), target).ship(0)
    (tmp_path / "one").rename(tmp_path / "two")
    config(tmp_path, tmp_path / "two")
    assert call(tmp_path, "relocate") == 0
    assert "2 pointers would change: repeat the command with --apply" in capsys.readouterr().out
    assert call(tmp_path, "relocate", "--apply", "--actor", "ann", "--json") == 0
    moved = json.loads(capsys.readouterr().out)
    assert [one["surface"] for one in moved] == ["former", "home"]
    assert {one["after"] for one in moved} == {f"file://{tmp_path}/two"}
    assert call(tmp_path, "log", "--tenant", "shop", "--surface", "home") == 0
    assert "relocate" in capsys.readouterr().out


def test_init_of_a_copy_remembers_where_it_was_written():
    one, two = MemoryStore(name="one"), MemoryStore(name="two")
    ensure_proven(one)
    assert "uri_roots" not in json.loads(one.get(KEY, max_bytes=MAX).data), "as ever"
    copy(one, two)
    ensure_proven(two)
    found = json.loads(two.get(KEY, max_bytes=MAX).data)
    assert (found["root"], found["uri_roots"]) == ("memory://two", ["memory://one", "memory://two"])
