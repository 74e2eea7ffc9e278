"""Signals to `run`: it ends after the step under way, says what is done, and --resume goes on from there."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import dagster as dg
import pytest

from recsys_assets.dagster_defs.attempts import raise_if_stopping, reason_of
from recsys_assets.errors import StoreUnavailableError
from recsys_assets.pipeline.stopping import SIGNALS, is_stopping, run_until_signal
from recsys_assets.release.fault_points import VARIABLE
from recsys_assets_tests import warm_processes
from recsys_assets_tests.small_shop import FIRST, after, day_lines, open_shop

PROGRAM = [sys.executable, "-c", "from recsys_assets.cli.main import main; main()"]
DAYS = 6


def test_a_signal_lets_the_work_end_its_step_and_begins_no_other():
    names, handled = [], threading.Event()

    def work():
        os.kill(os.getpid(), signal.SIGTERM)
        assert handled.wait(10), "the handler runs in the main thread, which waits for this one"
        assert is_stopping()
        left = {signal.getsignal(one) for one in SIGNALS} - {signal.SIG_IGN}
        assert left == {signal.SIG_DFL}, "a second signal ends the process"
        return refused()

    def notify(name):
        names.append(name)
        handled.set()

    before = signal.getsignal(signal.SIGTERM)
    assert run_until_signal(work, notify=notify) == ("ended its step", signal.SIGTERM)
    assert names == ["SIGTERM"]
    assert signal.getsignal(signal.SIGTERM) is before
    raise_if_stopping()
    assert run_until_signal(lambda: 7, notify=notify) == (7, None)


def test_a_signal_that_the_process_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def work():
        os.kill(os.getpid(), signal.SIGHUP)
        return is_stopping()

    try:
        assert run_until_signal(work, notify=lambda _: None) == (False, None)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def refused():
    with pytest.raises(dg.Failure, match="stopped before it began"):
        raise_if_stopping()
    return "ended its step"


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_run_of_many_days_stops_and_resumes(tmp_path, sent, code):
    shop = open_shop(tmp_path)
    shop.configure('[artifacts]\nkinds = ["popularity"]\n')
    for n in range(DAYS):
        shop.write(after(n), day_lines(after(n), shift=n))
    call = [*PROGRAM, "run", "--config", str(tmp_path / "recsys.toml"), "--tenant", "shop", "--surface", "home"]
    call += ["--start", str(FIRST), "--end", str(after(DAYS - 1))]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    in_the_first_ship = environment | {VARIABLE: "ship.before_swap:STOP"}
    with warm_processes.start(
        call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=in_the_first_ship
    ) as run:
        os.waitid(os.P_PID, run.pid, os.WSTOPPED)
        run.send_signal(sent)
        while run.poll() is None:
            run.send_signal(signal.SIGCONT)
            time.sleep(0.05)
        printed, errors = run.communicate(timeout=100)
    assert run.returncode == code, errors
    assert f"stopped by {sent.name}" in errors
    assert "--resume" in errors
    assert f"{FIRST} shop/home/manifest" in printed, "the step under way has ended"
    assert str(after(DAYS - 1)) not in printed
    assert "failed" not in printed
    resumed = warm_processes.run([*call, "--resume"], capture_output=True, text=True, check=False, env=environment)
    assert resumed.returncode == 0, resumed.stderr
    assert "of them before" in resumed.stdout


def test_the_reason_of_a_failed_step_is_our_error_with_its_remedy_and_not_the_innermost_one():
    @dg.op
    def write() -> None:
        try:
            try:
                raise OSError(errno.ENOSPC, "No space left on device")  # noqa: TRY301 - as a store does
            except OSError as error:
                raise StoreUnavailableError("raw/a.part: the disk is full: free some space, then run again") from error
        except StoreUnavailableError as error:
            raise dg.RetryRequested(max_retries=0) from error

    @dg.job
    def job() -> None:
        write()

    result = job.execute_in_process(raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert reason_of(failure) == "StoreUnavailableError: raw/a.part: the disk is full: free some space, then run again"


def test_the_reason_of_an_error_that_is_not_ours_is_its_first_cause():
    @dg.op
    def write() -> None:
        try:
            raise ZeroDivisionError("nothing to divide by")  # noqa: TRY301 - one function as a library has it
        except ZeroDivisionError as error:
            raise ValueError("no share") from error

    @dg.job
    def job() -> None:
        write()

    result = job.execute_in_process(raise_on_error=False)
    (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert reason_of(failure) == "ZeroDivisionError: nothing to divide by"
