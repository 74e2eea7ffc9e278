"""Changes of code, gates or processes between a build and its ship: records name the builder; nothing half ships."""

import os
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from recsys_assets.errors import RefusedError
from recsys_assets.release import journal
from recsys_assets.release.fault_points import VARIABLE
from recsys_assets.release.layout import intent_prefix
from recsys_assets.release.pointer import read_current
from recsys_assets.release.publish import publish
from recsys_assets.release.releases import read_release
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests import warm_processes
from recsys_assets_tests.release.acting import ROOT, act, command, now
from recsys_assets_tests.release.staging import BOT, BUILD, GATES, REQUIREMENTS, TARGET, Shop, day

DEPLOYED = msgspec.structs.replace(BUILD, run_id="run-2", code="0.2.0", config="d" * 64)


@pytest.fixture
def shop():
    return Shop(MemoryStore())


def ship(shop, n, *, build, requirements=REQUIREMENTS):
    return publish(
        shop.store, TARGET, day(n), kinds=shop.kinds, requirements=requirements, build=build, by=BOT, now=shop.clock
    )


def test_f31_code_deployed_between_build_and_ship_stands_beside_the_code_that_built(shop):
    shop.stage(0)
    ship(shop, 0, build=DEPLOYED)
    release = read_release(shop.store, TARGET, read_current(shop.store, TARGET).release_id)
    assert release.build == DEPLOYED
    assert [member.build for member in release.members] == [BUILD] * len(shop.kinds)


def test_f31_the_first_record_of_a_release_stands_whichever_code_ships_it_again(shop):
    shop.ship(0)
    release = read_current(shop.store, TARGET).release_id
    before = read_release(shop.store, TARGET, release)
    assert ship(shop, 0, build=DEPLOYED).how.value == "unchanged"
    assert read_release(shop.store, TARGET, release) == before


@pytest.mark.parametrize("subject", ["popularity", "cooc", "canonical"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"policy": "n" * 64}, "used other limits", id="limits"),
        pytest.param({"gates": GATES | {"drift"}}, "gate drift did not run", id="one gate more"),
    ],
)
def test_f31_f48_gates_that_changed_since_the_build_must_be_passed_before_the_ship(shop, subject, change, message):
    shipped = shop.ship(0).release.id
    shop.stage(1)
    changed = {**REQUIREMENTS, subject: replace(REQUIREMENTS[subject], **change)}
    with pytest.raises(RefusedError, match=f"{subject}.*{message}"):
        ship(shop, 1, build=DEPLOYED, requirements=changed)
    assert read_current(shop.store, TARGET).release_id == shipped


@pytest.fixture
def folder(tmp_path):
    """One day shipped, a second staged, on disk."""
    store = FilesystemStore(tmp_path / "store")
    shop = Shop(store)
    shop.ship(0)
    shop.stage(1)
    return store


def begin(store, *words, fault, **how):
    environment = os.environ | {VARIABLE: fault}
    return warm_processes.start(command(store.root_uri, *words), cwd=ROOT, env=environment, **how)


def check_converges(store):
    """What was live is whole, and the same ship again ends on the newer day, recorded once."""
    assert not any(proof.faults for proof in verify(store, TARGET).releases)
    act(store, "ship", ["1"])
    live = read_current(store, TARGET)
    assert read_release(store, TARGET, live.release_id).data_through == day(1).isoformat()
    assert next(entry.pointer_at for entry in journal.changes(store, TARGET)) == live.pointer.updated_at
    assert len(list(journal.changes(store, TARGET))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("point", ["after_intent", "after_record", "before_swap", "after_swap", "after_journal"])
def test_f52_a_second_interrupt_while_the_first_is_handled_is_no_worse(folder, point):
    stopped = begin(folder, "ship", "1", fault=f"ship.{point}:STOP", stderr=subprocess.PIPE)
    os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
    stopped.send_signal(signal.SIGINT)
    stopped.send_signal(signal.SIGCONT)
    stopped.send_signal(signal.SIGINT)
    _, message = stopped.communicate(timeout=30)
    assert stopped.returncode != 0
    assert b"KeyboardInterrupt" in message
    check_converges(folder)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["before_swap", "after_swap"])
def test_f52_a_ship_whose_parent_died_ends_by_itself(folder, point):
    words = command(folder.root_uri, "ship", "1")
    parent = warm_processes.start(
        ["sh", "-c", '"$@" & echo $!; wait', "parent", *words],
        cwd=ROOT,
        env=os.environ | {VARIABLE: f"ship.{point}:STOP"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    child = int(parent.stdout.readline())
    wait_until_stopped(child)
    parent.kill()
    parent.wait()
    os.kill(child, signal.SIGCONT)
    parent.stdout.read()  # ends when the orphan has ended
    parent.stdout.close()
    live = read_current(folder, TARGET)
    assert read_release(folder, TARGET, live.release_id).data_through == day(1).isoformat()
    assert list(folder.list(intent_prefix(TARGET))) == []
    check_converges(folder)


def wait_until_stopped(pid):
    """Return once a process that is not our child stands still."""
    deadline = now().timestamp() + 30
    while now().timestamp() < deadline:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        if stat.rpartition(")")[2].split()[0] == "T":
            return
    raise TimeoutError(f"{pid} did not stop")
