"""Many publishers of one target at once: one winner for each swap, no acknowledged ship lost, every swap reported."""

import json
import os
import subprocess
from contextlib import ExitStack
from itertools import pairwise

import pytest

from recsys_assets.release import journal
from recsys_assets.release.layout import intent_prefix
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.open import open_store
from recsys_assets.storage.s3 import S3Store
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests import warm_processes
from recsys_assets_tests.release.acting import ROOT, command
from recsys_assets_tests.release.staging import TARGET, day
from recsys_assets_tests.storage.cloud_fakes import connection_string
from recsys_assets_tests.thoroughness import THOROUGH

pytestmark = pytest.mark.slow


def race(root, *, writers, rounds, environment):
    """Let `writers` processes publish at once, `rounds` times; return what each reported, by round."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                warm_processes.start(
                    command(root, "race", writer, writers, rounds),
                    cwd=ROOT,
                    env=os.environ | environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for writer in range(writers)
        ]
        message = []
        for _ in range(rounds):
            for process in processes:
                process.stdin.write("go\n")
                process.stdin.flush()
            message.append([json.loads(process.stdout.readline()) for process in processes])
        for process in processes:
            process.stdin.close()
            assert process.wait(timeout=30) == 0
    return message


def check(store, message, *, writers, rounds):
    changes = list(reversed(list(journal.changes(store, TARGET))))
    shipped = [entry.after for entry in changes]
    assert [entry.before for entry in changes] == [None, *shipped[:-1]], "the entries form one chain"
    assert all(one.pointer_at < other.pointer_at for one, other in pairwise(changes))
    acknowledged = [release for answers in message for outcome, release in answers if outcome == "done"]
    assert sorted(acknowledged) == sorted(shipped), "each acknowledged ship is recorded once, and nothing else is"
    assert all(sum(outcome == "done" for outcome, _ in answers) >= 1 for answers in message), "somebody wins each round"
    outcomes = {outcome for answers in message for outcome, _ in answers}
    assert outcomes <= {"done", "older", "ConflictError"}
    current = read_current(store, TARGET)
    assert current.release_id == shipped[-1]
    assert read_release(store, TARGET, current.release_id).data_through == day(writers * rounds - 1).isoformat()
    assert list(store.list(intent_prefix(TARGET))) == []
    assert verify(store, TARGET).ok


def test_eight_processes_race_on_a_folder(tmp_path):  # F5
    rounds = 200 if THOROUGH else 50
    message = race(tmp_path, writers=8, rounds=rounds, environment={})
    check(FilesystemStore(tmp_path), message, writers=8, rounds=rounds)


@pytest.mark.timeout(900)  # some 60 requests for each publish
def test_eight_processes_race_on_s3(s3_server):  # F5
    rounds = 200 if THOROUGH else 5
    prefix = s3_server.new_prefix()
    root = f"s3://{s3_server.bucket}/{prefix}"
    message = race(root, writers=8, rounds=rounds, environment=s3_server.environment())
    store = S3Store(s3_server.client(), bucket=s3_server.bucket, prefix=prefix)
    check(store, message, writers=8, rounds=rounds)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("cloud", ["gs", "az"])
def test_processes_race_on_other_clouds(cloud, gcs_server, azure_server, monkeypatch):  # F5
    writers, rounds = (8, 200) if THOROUGH else (3, 1)
    found = {
        "STORAGE_EMULATOR_HOST": gcs_server.endpoint,
        "AZURE_STORAGE_CONNECTION_STRING": connection_string(azure_server.endpoint),
    }
    root = f"{cloud}://bucket/raced"
    message = race(root, writers=writers, rounds=rounds, environment=found)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    check(open_store(root), message, writers=writers, rounds=rounds)
