"""A folder as a store when links, crashes, full disks, permissions and stopped writers are in its way."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    NotFoundError,
    OutcomeUnknownError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from recsys_assets.storage.filesystem import LOCKS, STALE_SECONDS, TEMPORARY, FilesystemStore
from recsys_assets_tests import warm_processes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(root):
    return FilesystemStore(root)


def test_the_same_bytes_again_have_another_etag(store):
    first = store.create("a", b"A")
    second = store.swap("a", b"B", expected=first)
    third = store.swap("a", b"A", expected=second)
    assert len({first, second, third}) == 3
    with pytest.raises(ConflictError):
        store.swap("a", b"C", expected=first)


def test_a_swap_gets_a_later_time_whatever_the_clock_says(store, root):  # F16
    etag = store.create("a", b"A")
    future = time.time_ns() + 3_600_000_000_000
    os.utime(root / "a", ns=(future, future))
    etag = store.get("a", max_bytes=1).etag
    store.swap("a", b"B", expected=etag)
    assert (root / "a").stat().st_mtime_ns == future + 1


def test_a_link_in_the_way_is_not_followed(store, root, tmp_path):  # F19
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"secret")
    store.create("b/c", b"1")
    (root / "folder").symlink_to(outside)
    (root / "b" / "file").symlink_to(outside / "a")
    for key in ("folder/a", "b/file"):
        for call in (
            lambda key=key: store.get(key, max_bytes=9),
            lambda key=key: store.get_if_changed(key, etag="x", max_bytes=9),
            lambda key=key: store.swap(key, b"2", expected="x"),
        ):
            with pytest.raises(ConfigurationError, match="link"):
                call()
    with pytest.raises(ConfigurationError, match="link"):
        store.create("folder/new", b"2")
    with pytest.raises(ConflictError):
        store.create("b/file", b"2")
    assert [item.key for item in store.list("")] == ["b/c"]
    assert (outside / "a").read_bytes() == b"secret"
    assert sorted(path.name for path in outside.iterdir()) == ["a"]


def test_a_root_that_is_replaced_by_a_link_is_not_followed(store, root, tmp_path):  # F19
    store.create("a", b"1")
    root.rename(tmp_path / "moved")
    root.symlink_to(tmp_path / "moved")
    with pytest.raises((ConfigurationError, NotFoundError)):
        store.get("a", max_bytes=9)


def test_a_hard_link_to_a_file_outside_is_never_written_through(store, root, tmp_path):  # F19
    outside = tmp_path / "outside"
    outside.write_bytes(b"secret")
    store.create("x", b"1")
    os.link(outside, root / "a")
    store.swap("a", b"new", expected=store.get("a", max_bytes=9).etag)
    store.put("a", b"newer")
    assert outside.read_bytes() == b"secret"


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_no_object(store, root, kind):
    store.create("b", b"1")
    if kind == "folder":
        (root / "a").mkdir()
    else:
        os.mkfifo(root / "a")
    with pytest.raises((CorruptObjectError, ConfigurationError)):
        store.get("a", max_bytes=9)
    assert store.stat("a") is None
    assert [item.key for item in store.list("")] == ["b"]


def test_leftovers_of_dead_writers_are_never_listed_and_cleaned_in_time(store, root):  # F4
    store.create("a", b"1")
    old, young = root / TEMPORARY / "1-old", root / TEMPORARY / "2-young"
    for path in (old, young):
        path.write_bytes(b"half")
    past = time.time() - STALE_SECONDS - 60
    os.utime(old, (past, past))
    FilesystemStore(root).create("b", b"1")
    assert [item.key for item in store.list("")] == ["a", "b"]
    assert not old.exists()
    assert young.exists()


def test_a_write_that_is_cut_short_leaves_the_old_bytes(store, root, monkeypatch):  # F3 F15
    etag = store.create("a", b"first")
    monkeypatch.setattr(os, "fsync", _failing(errno.ENOSPC))
    with pytest.raises(StoreUnavailableError, match="free the disk"):
        store.swap("a", b"second", expected=etag)
    monkeypatch.setattr(os, "fsync", _failing(errno.ENOSPC, named=False))
    with pytest.raises(StoreUnavailableError, match=r"^b: No space left on device: nothing has changed"):
        store.create("b", b"second")
    with pytest.raises(StoreUnavailableError):
        store.put("a", b"second")
    monkeypatch.undo()
    assert store.get("a", max_bytes=9).data == b"first"
    assert store.stat("b") is None
    assert list((root / TEMPORARY).iterdir()) == []
    store.swap("a", b"second", expected=etag)


@pytest.mark.parametrize(
    ("number", "error"),
    [
        pytest.param(errno.ENOSPC, StoreUnavailableError, id="F15 disk full"),
        pytest.param(errno.EDQUOT, StoreUnavailableError, id="F15 quota"),
        pytest.param(errno.EIO, StoreUnavailableError, id="F15 input or output error"),
        pytest.param(errno.EROFS, ConfigurationError, id="F15 read-only"),
        pytest.param(errno.EACCES, ConfigurationError, id="F50 not permitted"),
        pytest.param(errno.EXDEV, ConfigurationError, id="another file system below the root"),
    ],
)
@pytest.mark.parametrize("call", ["rename", "open"])
def test_what_the_system_refuses_is_reported_with_the_key_and_a_remedy(store, monkeypatch, number, error, call):
    etag = store.create("deep/a", b"first")
    monkeypatch.setattr(os, call, _failing(number))
    with pytest.raises(error, match="deep/a"):
        store.swap("deep/a", b"second", expected=etag)
    monkeypatch.undo()
    assert store.get("deep/a", max_bytes=9).data == b"first"


def test_a_name_that_may_not_last_is_an_unknown_outcome(store, monkeypatch):  # F15
    etag = store.swap("a", b"first", expected=store.create("a", b"zero"))
    sync = os.fsync

    def only_files(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, "as requested")
        sync(fd)

    monkeypatch.setattr(os, "fsync", only_files)
    with pytest.raises(OutcomeUnknownError, match="synced"):
        store.swap("a", b"second", expected=etag)


def test_other_bytes_in_a_file_of_the_same_number_size_and_time_are_another_object(store, root):  # F59
    etag = store.create("a", b"first")
    before = (root / "a").stat()
    with (root / "a").open("r+b") as file:
        file.write(b"other")
    os.utime(root / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (root / "a").stat().st_ino == before.st_ino
    assert store.get("a", max_bytes=9).etag != etag
    with pytest.raises(ConflictError):
        store.swap("a", b"third", expected=etag)


@pytest.mark.parametrize(
    ("call", "changed"),
    [
        pytest.param(lambda store, _: store.create("new/deep/b", b"1"), {"", "new", "new/deep"}, id="create"),
        pytest.param(lambda store, _: store.put("new/deep/b", b"1"), {"", "new", "new/deep"}, id="put"),
        pytest.param(lambda store, etag: store.swap("old/a", b"2", expected=etag), {"old"}, id="swap"),
        pytest.param(lambda store, _: store.delete("old/a"), {"old"}, id="delete"),
        pytest.param(
            lambda store, etag: store.delete_unchanged("old/a", expected=etag), {"old"}, id="delete_unchanged"
        ),
    ],
)
def test_every_folder_whose_names_changed_is_synced_before_the_call_returns(store, root, monkeypatch, call, changed):
    etag = store.create("old/a", b"1")
    waiting = set()  # folders with a change that a power loss would undo

    def path_of(fd):
        return str(Path(f"/proc/self/fd/{fd}").resolve())

    def noting(name, folder):
        before = getattr(os, name)

        def change(*words, **named):
            answer = before(*words, **named)
            waiting.add(path_of(named[folder]))
            return answer

        monkeypatch.setattr(os, name, change)

    for name, folder in (("link", "dst_dir_fd"), ("rename", "dst_dir_fd"), ("mkdir", "dir_fd"), ("unlink", "dir_fd")):
        noting(name, folder)
    sync, synced = os.fsync, set()

    def note_sync(fd):
        sync(fd)
        if path_of(fd) in waiting:
            waiting.remove(path_of(fd))
            synced.add(path_of(fd))

    monkeypatch.setattr(os, "fsync", note_sync)
    call(store, etag)
    monkeypatch.undo()
    inside = {str((root / name).resolve()) for name in changed}
    assert inside <= synced
    assert not inside & waiting


@pytest.mark.parametrize(
    ("umask", "file", "folder"),
    [pytest.param(0o027, 0o640, 0o750, id="F50 group reads"), pytest.param(0o077, 0o600, 0o700, id="F50 nobody else")],
)
def test_files_follow_the_umask(root, umask, file, folder):
    code = (
        f"import os; os.umask({umask}); from recsys_assets.storage.filesystem import FilesystemStore; "
        f"FilesystemStore({str(root)!r}).create('a/b', b'1')"
    )
    warm_processes.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert stat.S_IMODE((root / "a" / "b").stat().st_mode) == file
    assert stat.S_IMODE((root / "a").stat().st_mode) == folder


def test_a_writer_that_is_stopped_with_the_lock_does_not_stop_the_others_for_ever(root):  # F6
    store = FilesystemStore(root, lock_seconds=0.05)
    etag = store.create("a", b"1")
    store.swap("a", b"2", expected=etag)
    (lock,) = (root / LOCKS).iterdir()
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailableError, match="lock"):
            store.swap("a", b"3", expected=store.get("a", max_bytes=1).etag)
    store.swap("a", b"3", expected=store.get("a", max_bytes=1).etag)


@pytest.mark.slow
def test_a_reader_sees_whole_objects_while_writers_are_killed(root):  # F1 F3
    store = FilesystemStore(root)
    sizes = (1_000, 300_000)
    store.create("a", b"x" * sizes[0])
    code = (
        "from recsys_assets.storage.filesystem import FilesystemStore\n"
        f"store = FilesystemStore({str(root)!r})\n"
        "print(flush=True)\n"
        "while True:\n"
        f"    for size in {sizes}:\n"
        "        store.swap('a', b'x' * size, expected=store.get('a', max_bytes=10**6).etag)\n"
    )
    for n in range(8):
        writer = warm_processes.start([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
        writer.stdout.readline()
        deadline = time.monotonic() + 0.05 + n * 0.01
        while time.monotonic() < deadline:
            assert len(store.get("a", max_bytes=10**6).data) in sizes
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert len(store.get("a", max_bytes=10**6).data) in sizes
    store.swap("a", b"x" * sizes[0], expected=store.get("a", max_bytes=10**6).etag)
    assert [item.key for item in store.list("")] == ["a"]


def _failing(number, *, named=True):
    def fail(*_, **__):
        raise OSError(number, os.strerror(number), *["as requested"][: int(named)])

    return fail


def test_what_holds_a_secret_is_its_owners_alone(tmp_path):
    store = FilesystemStore(tmp_path)
    before = os.umask(0o002)
    try:
        store.create("registry/forgotten/shop/home/key.json", b"secret")
        store.put("registry/key.json", b"secret")
        store.create("registry/forgotten/shop/home/note.json", b"open")
    finally:
        os.umask(before)
    modes = [
        (tmp_path / key).stat().st_mode & 0o777
        for key in ("registry/forgotten/shop/home/key.json", "registry/key.json")
    ]
    assert modes == [0o600, 0o600]
    assert (tmp_path / "registry/forgotten/shop/home/note.json").stat().st_mode & 0o777 == 0o664


@pytest.mark.parametrize("tick_ns", [1_000_000, 1_000_000_000, 2_000_000_000])
def test_times_of_write_that_are_coarse_give_no_etag_twice(tmp_path, monkeypatch, tick_ns):  # F59
    utime = os.utime
    monkeypatch.setattr(os, "utime", lambda fd, *, ns: utime(fd, ns=tuple(one // tick_ns * tick_ns for one in ns)))
    store = FilesystemStore(tmp_path / "store")
    etags = [store.create("a", b"0000")]
    for n in range(6):
        etags.append(store.swap("a", f"{n:04}".encode(), expected=etags[-1]))
    assert len(set(etags)) == len(etags)


def test_a_file_that_is_deleted_and_written_again_in_one_tick_has_another_etag(tmp_path, monkeypatch):  # F59
    utime = os.utime
    monkeypatch.setattr(os, "utime", lambda fd, *, ns: utime(fd, ns=(1_000_000_000, 1_000_000_000)) or ns)
    store = FilesystemStore(tmp_path / "store")
    before = store.create("a", b"0001")
    store.delete("a")
    after = store.create("a", b"0002")
    if after.rpartition("-")[0] != before.rpartition("-")[0]:
        pytest.skip("this file system gives the second file another inode")
    with pytest.raises(ConflictError):
        store.swap("a", b"0003", expected=before)
    with pytest.raises(ConflictError):
        store.delete_unchanged("a", expected=before)
    assert store.get_if_changed("a", etag=before, max_bytes=9).data == b"0002"
    assert store.get_if_changed("a", etag=after, max_bytes=9) is None


def test_a_file_system_without_times_is_refused(tmp_path, monkeypatch):
    utime = os.utime
    monkeypatch.setattr(os, "utime", lambda fd, **_: utime(fd, ns=(0, 0)))
    with pytest.raises(UnsafeStoreError, match="does not store modification times"):
        FilesystemStore(tmp_path / "store").create("a", b"1")


@pytest.mark.parametrize(
    ("call", "number", "verbs"),
    [
        pytest.param("link", errno.EPERM, ("create",), id="FAT: no hard links"),
        pytest.param("link", errno.ENOTSUP, ("create",), id="SMB: no hard links"),
        pytest.param("link", errno.ENOSYS, ("create",), id="a mounted bucket: no hard links"),
        pytest.param("flock", errno.ENOLCK, ("create", "swap", "put"), id="NFS without a lock server"),
        pytest.param("flock", errno.ENOSYS, ("create", "swap", "put"), id="FUSE: no locks"),
        pytest.param("flock", errno.EOPNOTSUPP, ("create", "swap", "put"), id="9p: no locks"),
    ],
)
def test_a_file_system_that_lacks_a_call_is_named_with_those_that_have_it(store, monkeypatch, call, number, verbs):
    etag = store.create("a", b"1")
    monkeypatch.setattr(os if call == "link" else fcntl, call, _failing(number))
    calls = {
        "create": lambda: store.create("b", b"2"),
        "swap": lambda: store.swap("a", b"2", expected=etag),
        "put": lambda: store.put("a", b"2"),
    }
    for verb in verbs:
        with pytest.raises(UnsafeStoreError, match=rf"fails the call {call} .*ext4.*s3://, gs://, az://"):
            calls[verb]()
    monkeypatch.undo()
    assert store.get("a", max_bytes=9).data == b"1"
    assert [item.key for item in store.list("")] == ["a"]
