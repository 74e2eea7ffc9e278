"""Runs forked from a process that has loaded the definitions: canceled, killed, outliving their server, never stale."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.errors import DagsterInvariantViolationError
from dagster._core.launcher import LaunchRunContext, WorkerStatus
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from recsys_assets.dagster_defs import fork_server
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.dagster_defs.fork_server import is_alive
from recsys_assets.dagster_defs.private_api import run_arguments
from recsys_assets.dagster_defs.run_launcher import PROCESS_TAG, ForkServerLauncher
from recsys_assets.release.releases import read_release
from recsys_assets.settings.reading import load_settings
from recsys_assets_tests.dagster_defs.dagster_dev import open_home
from recsys_assets_tests.small_shop import FIRST, HOME, after, day_lines, open_shop

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only")]

JOB = "build_shop__home"
SECONDS = 90
ONE_TARGET = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
ONE_KIND = '[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n'
# A gate that holds its run for as long as the file `hold` is there, and says so by the file `held`.
WAITING_GATE = """
import time
from pathlib import Path
import pandera.polars as pa

folder = Path(__file__).parent
while (folder / "hold").exists():
    (folder / "held").touch()
    time.sleep(0.02)
schema = pa.DataFrameSchema({})
"""
OWN_PROJECT = """
from recsys_assets.dagster_defs import fork_server
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.settings.reading import load_settings

defs = build_definitions(load_settings({config!r}))
"""
THREAD_AT_START = """
import sys, threading
if "recsys_assets.dagster_defs.fork_server" in sys.orig_argv:
    with open({file!r}, "a") as file:
        file.write("started\\n")
    threading.Thread(target=threading.Event().wait, name="pool-of-a-library", daemon=True).start()
"""
GATE = '[gates.custom.waiting]\npandera = "waiting.py:schema"\nkinds = ["popularity"]\n'


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return open_home(tmp_path_factory.mktemp("launched") / "home")


@pytest.fixture(scope="module")
def shop(home):
    """Six days of events of one target, of which none is built."""
    with pytest.MonkeyPatch.context() as patch, dg.DagsterInstance.from_config(str(home)) as instance:
        opened = open_shop(home.parent, instance)
        opened.configure(ONE_KIND + GATE, targets=ONE_TARGET)
        (home.parent / "waiting.py").write_text(WAITING_GATE)
        for number in range(6):
            opened.write(after(number), day_lines(after(number), targets=[HOME], shift=number))
        patch.setenv("RECSYS_CONFIG", str(home.parent / "recsys.toml"))
        yield opened


@pytest.fixture(scope="module")
def kept_launcher(shop):
    launcher = ForkServerLauncher()
    launcher.register_instance(shop.instance)
    yield launcher
    launcher.dispose()


@pytest.fixture
def launcher(kept_launcher, home):
    """The launcher, and no run that is held after the test."""
    yield kept_launcher
    (home.parent / "hold").unlink(missing_ok=True)
    (home.parent / "held").unlink(missing_ok=True)


def create_run(shop, day, *, job=None, origin=None):
    """Create the run of a day, whose job is by default loaded from the package's definitions."""
    return shop.instance.create_run_for_job(
        job or build_definitions().resolve_job_def(JOB),
        tags={"dagster/partition": str(day)},
        job_code_origin=origin or job_origin(),
        status=dg.DagsterRunStatus.STARTING,
    )


def job_origin():
    repository = ReconstructableRepository.for_module("recsys_assets.definitions", "defs")
    return repository.get_reconstructable_job(JOB).get_python_origin()


def launch(shop, launcher, day):
    """Launch the run of a day, and return its id."""
    run = create_run(shop, day)
    launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run.run_id


def launch_held(shop, launcher, day):
    """Launch a run that waits in a gate; return its id and its process's."""
    folder = shop.folder
    (folder / "hold").touch()
    run_id = launch(shop, launcher, day)
    until((folder / "held").exists, what="the run waits in the gate")
    return run_id, int(process_of(shop, run_id).split()[1])


def day_of_live(shop):
    return read_release(shop.store, HOME, shop.live(HOME).release_id).data_through


def process_of(shop, run_id):
    return shop.instance.get_run_by_id(run_id).tags[PROCESS_TAG]


def end_of(shop, run_id):
    return until(lambda: (run := shop.instance.get_run_by_id(run_id)).is_finished and run, what="the run ends").status


def until(probe, *, what):
    deadline = time.monotonic() + SECONDS
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"not within {SECONDS} s: {what}"
        time.sleep(0.02)
    return answer


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def messages(shop, run_id):
    return "\n".join(entry.to_json() for entry in shop.instance.all_logs(run_id))


def test_a_run_ships_its_day_in_the_process_that_its_tag_names(shop, launcher):
    run_id = launch(shop, launcher, FIRST)
    assert end_of(shop, run_id) is dg.DagsterRunStatus.SUCCESS
    assert day_of_live(shop) == str(FIRST)
    assert f"Started process for run (pid: {process_of(shop, run_id).split()[1]})" in messages(shop, run_id)
    until(lambda: not is_alive(process_of(shop, run_id)), what="its process has ended")


def test_runs_are_forked_from_one_server(shop, launcher):
    servers = set()
    for number in (1, 2):
        run_id, pid = launch_held(shop, launcher, after(number))
        servers.add(parent_of(parent_of(pid)))
        (shop.folder / "hold").unlink()
        assert end_of(shop, run_id) is dg.DagsterRunStatus.SUCCESS
        (shop.folder / "held").unlink()
    assert len(servers) == 1
    assert parent_of(servers.pop()) == os.getpid()


def test_a_run_is_canceled_by_a_launcher_that_knows_only_its_id(shop, launcher):
    run_id, _ = launch_held(shop, launcher, after(3))
    other = ForkServerLauncher()
    other.register_instance(shop.instance)
    assert other.terminate(run_id)
    assert end_of(shop, run_id) is dg.DagsterRunStatus.CANCELED
    until(lambda: not is_alive(process_of(shop, run_id)), what="its process has ended")
    assert not other.terminate(run_id)


def test_f26_a_killed_run_is_reported_as_failed_with_the_signal(shop, launcher):
    run_id, pid = launch_held(shop, launcher, after(3))
    os.kill(pid, signal.SIGKILL)
    assert end_of(shop, run_id) is dg.DagsterRunStatus.FAILURE
    assert "was killed by signal 9" in messages(shop, run_id)


def test_f26_run_monitoring_finds_a_run_that_was_killed_with_what_watches_it(shop, launcher):
    run_id, pid = launch_held(shop, launcher, after(3))
    assert launcher.supports_check_run_worker_health
    assert launcher.check_run_worker_health(shop.instance.get_run_by_id(run_id)).status is WorkerStatus.RUNNING
    for process in (parent_of(pid), pid):
        os.kill(process, signal.SIGKILL)
    until(lambda: not is_alive(process_of(shop, run_id)), what="its process has ended")
    found = launcher.check_run_worker_health(shop.instance.get_run_by_id(run_id))
    assert found.status is WorkerStatus.NOT_FOUND
    assert f"{socket.gethostname()} {pid} " in found.msg
    assert shop.instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.STARTED
    shop.instance.report_run_failed(shop.instance.get_run_by_id(run_id))


@pytest.mark.usefixtures("shop")
def test_a_process_of_another_host_or_of_a_code_server_is_taken_to_be_alive(launcher):
    run = dg.DagsterRun("any", run_id="1" * 8, tags={PROCESS_TAG: f"another-host {os.getpid()} 1"})
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    assert launcher.check_run_worker_health(dg.DagsterRun("any", run_id="2" * 8)).status is WorkerStatus.RUNNING


def test_a_later_process_with_the_same_pid_is_not_the_run():
    assert not is_alive(f"{socket.gethostname()} {os.getpid()} 1")


def test_a_changed_configuration_is_read_by_the_next_run_and_one_with_a_mistake_fails_it(shop, launcher):
    assert end_of(shop, launch(shop, launcher, after(3))) is dg.DagsterRunStatus.SUCCESS, "the server has loaded it"
    run = create_run(shop, after(4))
    file = shop.folder / "recsys.toml"
    file.write_text(file.read_text() + "\n[no_such_table]\nkey = 1\n")
    launcher.launch_run(LaunchRunContext(run, workspace=None))
    assert end_of(shop, run.run_id) is dg.DagsterRunStatus.FAILURE
    assert "no_such_table" in messages(shop, run.run_id)
    shop.configure(ONE_KIND.replace('"]', '", "cooc"]') + GATE, targets=ONE_TARGET)
    assert end_of(shop, launch(shop, launcher, after(4))) is dg.DagsterRunStatus.SUCCESS
    assert set(shop.live(HOME).versions) == {"popularity", "cooc"}


def test_definitions_of_a_project_that_read_other_files_are_loaded_by_each_run(shop, launcher):
    folder = shop.folder
    own = folder / "own.toml"
    text = (folder / "recsys.toml").read_text()
    (folder / "own_project.py").write_text(OWN_PROJECT.format(config=str(own)))
    repository = ReconstructableRepository.for_module("own_project", "defs", working_directory=str(folder))
    for number, kinds in ((0, {"popularity"}), (1, {"popularity", "cooc"})):
        own.write_text(re.sub("^kinds = .*$", f"kinds = {json.dumps(sorted(kinds))}", text, flags=re.MULTILINE))
        job = build_definitions(load_settings(own)).resolve_job_def(JOB)
        origin = repository.get_reconstructable_job(JOB).get_python_origin()
        run = create_run(shop, after(4 + number), job=job, origin=origin)
        launcher.launch_run(LaunchRunContext(run, workspace=None))
        assert end_of(shop, run.run_id) is dg.DagsterRunStatus.SUCCESS
        assert set(shop.live(HOME).versions) == kinds


def test_a_file_that_is_new_in_the_package_is_a_change(tmp_path, monkeypatch):
    monkeypatch.setattr(fork_server, "PACKAGE", tmp_path)
    cache = tmp_path / "defs" / "__pycache__"
    cache.mkdir(parents=True)
    (cache / "rows.nbi").write_bytes(b"1")
    known = fork_server.state_of_files()
    assert fork_server._changed(known) == ""
    (cache / "more.pyc").touch()
    (cache / "rows.nbi").write_bytes(b"22")  # numba compiled it again
    assert fork_server._changed(known) == ""
    added = tmp_path / "defs" / "defs.yaml"
    added.touch()
    assert fork_server._changed(known) == str(added)


def test_where_no_server_can_fork_runs_are_left_to_code_servers_and_no_more_are_started(shop, tmp_path, monkeypatch):
    started = tmp_path / "started"
    (tmp_path / "sitecustomize.py").write_text(THREAD_AT_START.format(file=str(started)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    refused = ForkServerLauncher()
    refused.register_instance(shop.instance)
    for _ in range(2):
        with pytest.raises(DagsterInvariantViolationError, match="requires a workspace"):
            refused.launch_run(LaunchRunContext(create_run(shop, FIRST), workspace=None))
    assert started.read_text() == "started\n" * 2


def test_a_run_outlives_its_launcher(shop, launcher):
    run_id, pid = launch_held(shop, launcher, after(5))
    server = parent_of(parent_of(pid))
    launcher.dispose()
    assert not Path(f"/proc/{server}").exists()
    (shop.folder / "hold").unlink()
    assert end_of(shop, run_id) is dg.DagsterRunStatus.SUCCESS
    assert day_of_live(shop) == str(after(5))


def test_a_server_beside_whose_threads_a_fork_is_unsafe_begins_no_run(shop):
    """Definitions that import a library with a thread of its own: the run is left to the code server."""
    program = (
        "import sys, threading; from recsys_assets.dagster_defs.fork_server import main\n"
        "threading.Thread(target=threading.Event().wait, name='pool-of-a-library', daemon=True).start()\n"
        "main(sys.argv[1:])"
    )
    ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with subprocess.Popen([sys.executable, "-c", program, str(other.fileno())], pass_fds=[other.fileno()]), ours:
        other.close()
        assert ours.recv(100) == b"ready"
        ours.send(run_arguments(create_run(shop, FIRST), shop.instance).encode())
        assert "pool-of-a-library" in json.loads(ours.recv(10_000))["refused"]


def of_another_python():
    origin = job_origin()
    other = origin._replace(repository_origin=origin.repository_origin._replace(executable_path="/usr/bin/another"))
    return dg.DagsterRun(JOB, run_id="3" * 8, job_code_origin=other)


def of_another_host():
    location = GrpcServerCodeLocationOrigin(host="code", port=4000, location_name="recsys_assets")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), JOB)
    return dg.DagsterRun(JOB, run_id="4" * 8, job_code_origin=job_origin(), remote_job_origin=origin)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("run_of", [of_another_python, of_another_host])
def test_a_run_of_another_python_or_host_is_left_to_its_code_server(launcher, run_of):
    run = run_of()
    with pytest.raises(DagsterInvariantViolationError, match="requires a workspace"):
        launcher.launch_run(LaunchRunContext(run, workspace=None))
