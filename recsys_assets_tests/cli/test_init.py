"""A store that must exist: where its mount is missing nothing is shown, built or changed, and `init` begins one."""

import json

import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.errors import ConfigurationError, UnsafeStoreError
from recsys_assets.release.pointer import read_current
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.storage.open import open_store
from recsys_assets.storage.proof import KEY, ensure_proven
from recsys_assets_tests.release.staging import TARGET, Shop
from recsys_assets_tests.small_shop import CONFIG, FIRST, HOME, QUIET, SmallShop, day_lines

NAMED = ("--tenant", "shop", "--surface", "home", "--reason", "wrong prices")
MUST_EXIST = CONFIG.replace('root = "store"', 'root = "store"\nmust_exist = true')
ONE_TARGET = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'


@pytest.fixture
def mount(tmp_path, monkeypatch):
    """A configured store with two releases."""
    (tmp_path / "catalog.jsonl").touch()
    (tmp_path / "recsys.toml").write_text(MUST_EXIST + ONE_TARGET)
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    shop = Shop(FilesystemStore(tmp_path / "store"))
    for n in range(2):
        shop.ship(n)
    return tmp_path / "store"


def unmount(mount):
    """Leave what is left where a disk was mounted: an empty folder."""
    mount.rename(mount.with_name("elsewhere"))
    mount.mkdir()


def call(*words, **options):
    return recsys_assets.main(words, standalone_mode=False, **options)


def written(mount):
    return [path for path in mount.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("log",),
        ("verify",),
        ("at", "2026-03-01T00:00:00Z"),
        ("collect", "--apply"),
        ("reindex",),
        ("probe",),
        ("rollback", *NAMED, "--to", "previous"),
        ("hold", *NAMED),
        ("restore-pointer", *NAMED),
        ("ship", *NAMED, "--day", "2026-03-01"),
        ("retire", "--tenant", "shop", "--surface", "cart", "--reason", "closed"),
        ("run", "--start", str(FIRST)),
    ],
    ids=lambda words: words[0],
)
def test_a_missing_mount_is_named_by_every_command_and_nothing_is_written(mount, words):
    unmount(mount)
    with pytest.raises(ConfigurationError, match=r"store.json .* is the disk mounted"):
        call(*words)
    assert written(mount) == []


def test_a_run_of_the_daemon_fails_and_ships_nothing_where_the_mount_is_missing(mount, tmp_path):
    unmount(mount)
    shop = SmallShop(tmp_path, None)
    shop.write(FIRST, day_lines(FIRST, targets=[HOME]))
    job = build_definitions(shop.settings).resolve_job_def("build_all")
    result = job.execute_in_process(partition_key=str(FIRST), raise_on_error=False, run_config=QUIET)
    assert not result.success
    assert written(mount) == []


def test_what_was_mounted_again_goes_on_as_if_nothing_was(mount):
    live = read_current(FilesystemStore(mount), TARGET).release_id
    unmount(mount)
    with pytest.raises(ConfigurationError):
        call("status")
    mount.rmdir()
    mount.with_name("elsewhere").rename(mount)
    assert call("rollback", *NAMED, "--to", "previous") == 0
    assert read_current(FilesystemStore(mount), TARGET).release_id != live


def test_init_begins_a_store_once(mount, capsys):
    unmount(mount)
    for words, message in (
        (("--dry-run",), {"began": True, "dry_run": True}),
        ((), {"began": True, "dry_run": False}),
        ((), {"began": False, "dry_run": False}),
    ):
        assert call("init", "--json", *words) == 0
        assert json.loads(capsys.readouterr().out) == {"root": f"file://{mount}", **message}
        assert (mount / KEY).exists() is not ("--dry-run" in words)
    assert call("status") == 0


def test_a_store_that_was_copied_to_another_root_is_not_the_one_that_must_exist(tmp_path):
    """Its pointers name blobs of the root that it came from."""
    ensure_proven(FilesystemStore(tmp_path / "one"))
    open_store(str(tmp_path / "one"), must_exist=True)
    (tmp_path / "one").rename(tmp_path / "two")
    with pytest.raises(ConfigurationError, match="of its own"):
        open_store(str(tmp_path / "two"), must_exist=True)


def test_a_store_that_ignores_conditions_is_not_begun(mount):  # F10
    store = MemoryStore()
    store.inject(Fault("swap", FaultMode.IGNORE, times=100))
    assert mount.exists()
    with pytest.raises(UnsafeStoreError):
        call("init", obj=lambda _: store)
    assert store.objects == {}


@pytest.mark.slow
def test_a_prefix_that_is_empty_is_no_store_either(s3_server, monkeypatch):
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    root = f"s3://{s3_server.bucket}/{s3_server.new_prefix()}"
    with pytest.raises(ConfigurationError, match="are bucket and prefix right"):
        open_store(root, must_exist=True)
    ensure_proven(open_store(root))
    assert open_store(root, must_exist=True).root_uri == root
