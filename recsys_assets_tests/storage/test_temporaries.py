"""Temporary files: only those of dead writers are swept, whatever the clock says, and none is ever an object."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recsys_assets.errors import StoreUnavailableError
from recsys_assets.storage.filesystem import STALE_SECONDS, TEMPORARY, FilesystemStore, sweep, temporary_file
from recsys_assets_tests import warm_processes

ROOT = Path(__file__).parents[2]
PAST = STALE_SECONDS + 60


def age(path):
    """Let a file look a day old: as after a clock that stepped forward, or a writer stopped overnight."""
    past = time.time() - PAST
    os.utime(path, (past, past))


def temporaries(root):
    return sorted((root / TEMPORARY).iterdir())


def test_a_living_writer_keeps_its_file_however_old_the_clock_makes_it(tmp_path):  # F6 F16
    with temporary_file(str(tmp_path), b"data") as new:
        age(tmp_path / TEMPORARY / new.name)
        sweep(str(tmp_path))
        assert (tmp_path / TEMPORARY / new.name).read_bytes() == b"data"
    assert temporaries(tmp_path) == []


@pytest.mark.slow
def test_the_file_of_a_killed_writer_is_swept_once_it_is_old(tmp_path):  # F1 F4
    code = (
        "import sys; from recsys_assets.storage.filesystem import temporary_file\n"
        f"with temporary_file({str(tmp_path)!r}, b'half'):\n"
        "    print(flush=True); sys.stdin.read()\n"
    )
    writer = warm_processes.start([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with writer:
        writer.stdout.readline()
        (left,) = temporaries(tmp_path)
        age(left)
        writer.send_signal(signal.SIGSTOP)
        sweep(str(tmp_path))
        assert temporaries(tmp_path) == [left]
        writer.send_signal(signal.SIGKILL)
    store = FilesystemStore(tmp_path)
    assert list(store.list("")) == []
    store.create("a", b"1")
    assert temporaries(tmp_path) == []


def test_sweeping_touches_no_object_and_no_link(tmp_path):  # F4 F19
    root, outside = tmp_path / "store", tmp_path / "outside"
    FilesystemStore(root).create("a", b"1")
    outside.write_bytes(b"secret")
    (root / TEMPORARY / "link").symlink_to(outside)
    for path in (outside, root / "a"):
        age(path)
    sweep(str(root))
    assert outside.read_bytes() == b"secret"
    assert (root / "a").read_bytes() == b"1"


def test_a_store_that_was_never_written_has_nothing_to_sweep(tmp_path):
    sweep(str(tmp_path / "absent"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("verb", "key", "call"),
    [
        pytest.param(verb, key, call, id=f"F15 {verb} {call}")
        for verb, key, calls in (("create", "b", "utime fsync link"), ("put", "a", "utime fsync rename"))
        for call in calls.split()
    ],
)
def test_a_write_that_fails_at_any_step_leaves_no_temporary(tmp_path, monkeypatch, verb, key, call):
    store = FilesystemStore(tmp_path)
    store.create("a", b"1")

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "as requested")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(StoreUnavailableError, match="free the disk"):
        getattr(store, verb)(key, b"2")
    monkeypatch.undo()
    assert temporaries(tmp_path) == []
    assert [(item.key, store.get(item.key, max_bytes=1).data) for item in store.list("")] == [("a", b"1")]
