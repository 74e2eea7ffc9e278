"""Storm of workers over one folder store: random commands, kills, stops and a lying wire; a checker reads bytes only.

    python -m recsys_assets_tests.storm FOLDER --seconds 300 --seed 1 --workers 6

Prints a line of counts; ends 1 and names the violation if an invariant of docs/reference/failure-modes.md broke.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recsys_assets.errors import OutcomeUnknownError, RecsysAssetsError, StoreUnavailableError
from recsys_assets.release import change, journal, trash
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.judgement import Ruling
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.upkeep import sweep
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.repair import repair_journal
from recsys_assets.upkeep.restore import restore_pointer
from recsys_assets.upkeep.retire import retire
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Shop

LEASE, LIFETIME = timedelta(seconds=0.4), timedelta(seconds=2)  # scaled with the longest hold and the longest stop
LONGEST_HOLD, LONGEST_STOP = 1.0, 1.5  # seconds
KEEP = Retention(keep=2, grace=timedelta(0))
STORM = Actor("storm", "a storm")
DAYS, CONTENTS = 6, 2
COMMANDS = ("ship",) * 6 + (
    "roll_back",
    "hold",
    "release_hold",
    "release_hold",
    "collect",
    "collect",
    "restore",
    "retire",
    "repair",
)


class LyingWire:
    """A store behind a wire that loses requests and replies, repeats writes, and holds deletes of artifacts."""

    def __init__(self, origin, dice):
        self.origin, self.dice, self.root_uri = origin, dice, origin.root_uri
        self.uri_roots = origin.uri_roots

    def __getattr__(self, verb):
        call = getattr(self.origin, verb)
        return call if verb.startswith("_") else lambda *words, **named: self._send(verb, call, words, named)

    def _send(self, verb, call, words, named):
        fate = self.dice.random()
        is_write = verb in {"create", "swap", "put", "delete", "delete_unchanged"}
        is_conditional = verb in {"create", "swap", "delete_unchanged"}
        silence = OutcomeUnknownError if is_conditional else StoreUnavailableError
        if verb == "delete_unchanged" and words[0].startswith("artifacts/") and fate < 0.3:
            self._hold(call, words, named)
            raise silence("held")
        if fate < 0.01:
            raise StoreUnavailableError("lost") if not is_write else silence("request lost")
        answer = call(*words, **named)
        if is_write and fate < 0.02:
            raise silence("reply lost")
        if verb in {"put", "delete"} and fate < 0.04:
            call(*words, **named)  # repeated, as client libraries do
        return answer

    def _hold(self, call, words, named):
        """Let a process of its own deliver the request later: it outlives a sender that is killed."""
        seconds = self.dice.uniform(0, LONGEST_HOLD)
        if os.fork() == 0:
            time.sleep(seconds)
            try:
                call(*words, **named)
            except RecsysAssetsError:
                pass
            finally:
                os._exit(0)


def act(shop, dice, log):
    """Do one random command; write down each ship that was acknowledged."""
    store, command, common = shop.store, dice.choice(COMMANDS), {"by": STORM, "now": shop.clock}
    if command == "ship":
        outcome = shop.ship(dice.randrange(DAYS), dice.randrange(CONTENTS), allow_older=dice.random() < 0.7)
        if outcome.how is Ruling.SHIP:
            os.write(log, f"{outcome.release.id}\n".encode())
    elif command == "roll_back":
        roll_back(store, TARGET, to="previous", hold=False, **common)
    elif command == "hold":
        place_hold(store, TARGET, **common)
    elif command == "release_hold":
        release_hold(store, TARGET, **common)
    elif command == "collect":
        collect(store, TARGET, retention=KEEP, apply=True, **common)
    elif command == "restore":
        restore_pointer(store, TARGET, **common)
        release_hold(store, TARGET, **common)
    elif command == "retire" and dice.random() < 0.3:
        retire(store, TARGET, **common)
    elif command == "repair":
        repair_journal(store, TARGET, **common)


def scale_times():
    """Make the lease and the lifetime of a delete short, in proportion to the holds and stops of the storm."""
    trash.LEASE = sweep.LEASE = LEASE
    trash.DELETE_LIFETIME = change.DELETE_LIFETIME = LIFETIME


def work(folder, seed, end):
    """Run commands until the end, by a clock that differs from the others' by up to an hour."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    dice = random.Random(seed)  # noqa: S311 - no secret
    skew = timedelta(seconds=dice.uniform(-3600, 3600))
    shop = Shop(LyingWire(FilesystemStore(folder), dice), clock=lambda: datetime.now(UTC) + skew)
    log = os.open(folder.with_suffix(".acknowledged"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    counts = os.open(folder.with_suffix(".commands"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while time.time() < end:
        os.write(counts, b".")
        try:
            act(shop, dice, log)
        except RecsysAssetsError:
            continue  # refused, lost, or no answer: what a person sees, and may run again


def look(folder):
    """Read the live release as any reader does, from bytes; return what is wrong with it, or None."""
    pointer_file = folder / f"registry/current/{TARGET.tenant}/{TARGET.surface}/manifest.json"
    try:
        before = pointer_file.read_bytes()
    except FileNotFoundError:
        return None
    problem = None
    try:
        pointer = json.loads(before)
        digests = {}
        for uri in pointer["current"].values():
            digests[uri] = hashlib.sha256(Path(uri.removeprefix("file://")).read_bytes()).hexdigest()
        records = folder / f"releases/{TARGET.tenant}/{TARGET.surface}"
        known = {d for r in records.iterdir() if r.suffix == ".json" for d in digests.values() if d in r.read_text()}
        if known != set(digests.values()):
            problem = f"bytes that no release record names: {digests}"
    except (OSError, ValueError, KeyError) as error:
        problem = repr(error)
    try:  # what was replaced while it was read may be gone
        return problem if pointer_file.read_bytes() == before else None
    except FileNotFoundError:
        return None


def settle(folder):
    """Run what a person runs after a storm, with no fault; return what is wrong in the end."""
    shop = Shop(FilesystemStore(folder), clock=lambda: datetime.now(UTC) + timedelta(hours=2))
    time.sleep(LONGEST_HOLD + LIFETIME.total_seconds())
    common = {"by": STORM, "now": shop.clock}
    restore_pointer(shop.store, TARGET, **common)
    repair_journal(shop.store, TARGET, **common)
    for _ in range(2):
        collect(shop.store, TARGET, retention=KEEP, apply=True, **common)
    problems = []
    verification = verify(shop.store, TARGET, keep=KEEP.keep)
    problems += verification.problems
    problems += [fault for proof in verification.releases for fault in proof.faults]
    shipped = {entry.after for entry in journal.changes(shop.store, TARGET)}
    acknowledged = folder.with_suffix(".acknowledged").read_text().split()
    problems += [f"an acknowledged ship is not in the journal: {one}" for one in set(acknowledged) - shipped]
    if read_current(shop.store, TARGET) is None:
        problems.append("nothing is live")
    shop.ship(DAYS, 0)
    return problems


def storm(folder, *, seconds, seed, workers):
    """Run a storm and return (counts, violations)."""
    scale_times()
    dice = random.Random(seed)  # noqa: S311 - no secret
    shop = Shop(FilesystemStore(folder), clock=lambda: datetime.now(UTC) - timedelta(hours=2))
    shop.ship(0)
    fork = multiprocessing.get_context("fork")
    end = time.time() + seconds
    counts = {"kills": 0, "stops": 0, "reads": 0}

    def start():
        process = fork.Process(target=work, args=(folder, dice.random(), end), daemon=True)
        process.start()
        return process

    crew, stopped, violations = [start() for _ in range(workers)], {}, []
    while time.time() < end and not violations:
        time.sleep(0.02)
        counts["reads"] += 1
        violations += [problem for problem in [look(folder)] if problem]
        for index, wake in list(stopped.items()):
            if time.time() >= wake:
                os.kill(crew[index].pid, stopped.pop(index) and signal.SIGCONT)
        index, fate = dice.randrange(workers), dice.random()
        if index in stopped or not crew[index].is_alive():
            continue
        if fate < 0.05:
            crew[index].kill()
            crew[index].join()
            crew[index] = start()
            counts["kills"] += 1
        elif fate < 0.12:
            os.kill(crew[index].pid, signal.SIGSTOP)
            stopped[index] = time.time() + dice.uniform(0, LONGEST_STOP)
            counts["stops"] += 1
    for index in stopped:
        os.kill(crew[index].pid, signal.SIGCONT)
    for process in crew:
        process.join(30)
    counts["commands"] = folder.with_suffix(".commands").stat().st_size
    return counts, violations or settle(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=6)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    counts, violations = storm(asked.folder.resolve(), seconds=asked.seconds, seed=asked.seed, workers=asked.workers)
    sys.stdout.write(json.dumps({**counts, "violations": violations}) + "\n")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
