"""Storm of workers over one store: random commands, kills, stops and a lying wire; a checker reads bytes only.

    python -m recsys_assets_tests.storm FOLDER --seconds 300 --seed 1 --workers 6 --builders 2 [--bucket]

Workers change a target whose days are made up, builders one whose days are really built, with imports and users who
are forgotten (`storm_shop`). Clocks differ by up to two hours, and roots by name: half of all relocations undo others.
With `--bucket` the store is a real S3 server, behind a proxy that loses, repeats, delays and holds requests.

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
import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from recsys_assets.errors import OutcomeUnknownError, RecsysAssetsError, RefusedError, StoreUnavailableError
from recsys_assets.release import change, journal, trash
from recsys_assets.release.change import PointerChange
from recsys_assets.release.forgotten_users import add_forgotten_user
from recsys_assets.release.hold import place_hold, release_hold, swap_to_itself
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled, labelled, lift_label, put_label
from recsys_assets.release.layout import pointer_key, release_prefix
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.s3 import S3Store
from recsys_assets.upkeep import sweep
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.collect import restore as restore_from_trash
from recsys_assets.upkeep.repair import relocate, repair_journal, restore_pointer
from recsys_assets.upkeep.retire import retire, retired_at
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests import storm_shop
from recsys_assets_tests.conftest import running_weed
from recsys_assets_tests.lying_proxy import LyingProxy
from recsys_assets_tests.release.staging import TARGET, WITH_SHARDS, Shop, day
from recsys_assets_tests.small_shop import SmallShop
from recsys_assets_tests.storm_shop import BUILT

BUILDERS_SHARE = 0.02  # of the fates of workers: a build takes a second
LEASE = timedelta(seconds=0.4)  # scaled, as the lifetimes below, with the longest hold and the longest stop
LONGEST_HOLD, LONGEST_STOP = 1.0, 1.5  # seconds
KEEP = Retention(keep=2, grace=timedelta(0))
STORM = Actor("storm", "a storm")
DAYS, CONTENTS = 6, 2
COMMANDS = ("ship",) * 6 + (
    "ship_shards",
    "ship_shards",
    "forget",
    "pin",
    "unpin",
    "mark_bad",
    "roll_back",
    "hold",
    "release_hold",
    "release_hold",
    "collect",
    "collect",
    "restore",
    "retire",
    "repair",
    "relocate",
    "restore_from_trash",
)
OF_EITHER = {"roll_back", "hold", "release_hold", "restore", "retire", "repair", "relocate"}


ELSEWHERE = "s3://elsewhere/storm"  # another name of the same bucket


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
    target = BUILT if command in OF_EITHER and dice.random() < 0.1 else TARGET
    if command in {"ship", "ship_shards"}:
        asked = replace(shop, kinds=WITH_SHARDS) if command == "ship_shards" else shop
        outcome = asked.ship(dice.randrange(DAYS), dice.randrange(CONTENTS), allow_older=dice.random() < 0.7)
        if outcome.how is Ruling.SHIP:
            os.write(log, f"{outcome.release.id}\n".encode())
    elif command == "roll_back":
        roll_back(store, target, to="previous", hold=False, **common)
    elif command == "hold":
        place_hold(store, target, **common)
    elif command == "release_hold":
        release_hold(store, target, **common)
    elif command == "collect":
        collect(store, TARGET, retention=KEEP, apply=True, **common)
    elif command == "forget":
        forget(store, dice, common)
    elif command in {"pin", "unpin", "mark_bad"}:
        mark(store, command, shop.clock())
    else:
        repair(store, target, command, dice, common)


def repair(store, target, command, dice, common):
    """Do what a person does when something is wrong, whether it is or not."""
    if command == "restore":
        restore_pointer(store, target, **common)
        release_hold(store, target, **common)
    elif command == "retire" and dice.random() < 0.3:
        retire(store, target, **common)
    elif command == "repair":
        repair_journal(store, target, **common)
    elif command == "relocate":
        relocate(store, [target], dry_run=False, **common)
    elif command == "restore_from_trash":
        restore_from_trash(store, TARGET, **common)


def forget(store, dice, common):
    """Note a user and fence off every ship that has not seen the note, as forgetting begins."""
    through = day(dice.randrange(DAYS))
    add_forgotten_user(store, TARGET, f"user-{dice.randrange(20)}", through=through, by=STORM, now=common["now"]())
    if read_current(store, TARGET) is not None:
        swap_to_itself(PointerChange(store, TARGET, "forget", **common), message="a user is being forgotten")


def mark(store, command, at):
    """Pin what is live, mark it bad, or lift both again."""
    live = read_current(store, TARGET)
    if live is None:
        return
    if command == "unpin":
        for label in Labelled:
            for release_id in labelled(store, TARGET, label):
                lift_label(store, TARGET, label, release_id)
    else:
        label = Labelled.PINNED if command == "pin" else Labelled.BAD
        put_label(store, TARGET, label, live.release_id, by=STORM, now=at)


def scale_times(lifetime):
    """Make the lease and the lifetime of a delete short, in proportion to the holds and stops of the storm."""
    trash.LEASE = sweep.LEASE = LEASE
    trash.DELETE_LIFETIME = change.DELETE_LIFETIME = lifetime


class Folder:
    """A store in a folder: workers write through a lying wire, the checker reads the files."""

    lifetime = timedelta(seconds=2)

    def __init__(self, folder):
        self.root, self.link, self.logs = folder / "store", folder / "link", folder
        self.root.mkdir()
        self.link.symlink_to(self.root)

    def honest(self):
        return FilesystemStore(self.root)

    def lying(self, dice, *, elsewhere=False):
        return LyingWire(FilesystemStore(self.link if elsewhere else self.root), dice)

    def read(self, key):
        return (self.root / key).read_bytes()

    def names(self, prefix):
        return [path.name for path in (self.root / prefix).iterdir()]

    def key_of(self, uri):
        return str(Path(uri.removeprefix("file://")).resolve().relative_to(self.root))

    def faults(self):
        return {}


class Bucket:
    """A store in a bucket of a real server: workers write through a lying proxy, the checker reads from the server."""

    lifetime = timedelta(seconds=4)  # its server keeps whole seconds

    def __init__(self, folder, server, proxy):
        self.logs, self.proxy, self.server = folder, proxy, server
        self.through = replace(server, endpoint=f"http://127.0.0.1:{proxy.server_address[1]}")
        self.client = server.client()

    def honest(self):
        return S3Store(self.server.client(), bucket=self.server.bucket, prefix="storm")

    def lying(self, _, *, elsewhere=False):
        public = ELSEWHERE if elsewhere else None
        return S3Store(self.through.client(), bucket=self.server.bucket, prefix="storm", public_root=public)

    def read(self, key):
        try:
            return self.client.get_object(Bucket=self.server.bucket, Key=f"storm/{key}")["Body"].read()
        except self.client.exceptions.NoSuchKey as error:
            raise FileNotFoundError(key) from error

    def names(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.server.bucket, Prefix=f"storm/{prefix}/"
        )
        return [item["Key"].rpartition("/")[2] for page in pages for item in page.get("Contents", ())]

    def key_of(self, uri):
        return uri.removeprefix(f"s3://{self.server.bucket}/storm/").removeprefix(f"{ELSEWHERE}/")

    def faults(self):
        return dict(self.proxy.faults)


@contextmanager
def bucket_behind_a_proxy(folder, seed):
    """Yield a place in a server of its own."""
    with running_weed(folder) as server:
        host, _, port = server.endpoint.rpartition("/")[2].rpartition(":")
        with LyingProxy((host, int(port)), seed, longest_hold=LONGEST_HOLD) as proxy:
            threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
            yield Bucket(folder, server, proxy)
            proxy.shutdown()


def work(place, seed, end):
    """Run commands until the end, by a clock that differs from the others' by up to an hour."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    dice = random.Random(seed)  # noqa: S311 - no secret
    skew = timedelta(seconds=dice.uniform(-3600, 3600))
    shop = Shop(place.lying(dice, elsewhere=dice.random() < 0.3), clock=lambda: datetime.now(UTC) + skew)
    log = os.open(place.logs / "acknowledged", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    counts = os.open(place.logs / "commands", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while time.time() < end:
        os.write(counts, b".")
        try:
            act(shop, dice, log)
        except RecsysAssetsError:
            continue  # refused, lost, or no answer: what a person sees, and may run again


def build(place, seed, end):
    """Build, import, forget and collect until the end."""
    storm_shop.work(place.lying, place.logs / "shop", place.logs, seed, end)


def look(place, target, records, forgotten=()):
    """Read the live release as any reader does, from bytes; return what is wrong with it, or None.

    `records` holds the release records that were read before: they are never written twice. Nobody of `forgotten` may
    be in what is live.
    """
    try:
        before = place.read(pointer_key(target))
    except FileNotFoundError:
        return None
    problem = None
    try:
        pointer = json.loads(before)
        keys = [place.key_of(uri) for uri in pointer["current"].values()]
        data = {key: place.read(key) for key in keys}
        digests = {key: hashlib.sha256(data[key]).hexdigest() for key in keys}
        prefix = release_prefix(target)
        for name in set(place.names(prefix.rstrip("/"))) - records.keys():
            records[name] = place.read(f"{prefix}{name}").decode()
        known = {digest for text in records.values() for digest in digests.values() if digest in text}
        if known != set(digests.values()):
            problem = f"bytes that no release record names: {digests}"
        back = [f"{user} in {key}" for user in forgotten for key in keys if user.encode() in data[key]]
        if back:
            return f"forgotten, proven, and served: {back}"
    except (OSError, ValueError, KeyError) as error:
        problem = repr(error)
    try:  # what was replaced while it was read may be gone
        return problem if place.read(pointer_key(target)) == before else None
    except FileNotFoundError:
        return None


def settle(place):
    """Run what a person runs after a storm, with no fault; return what is wrong in the end."""
    shop = Shop(place.honest(), clock=lambda: datetime.now(UTC) + timedelta(hours=2))
    time.sleep(LONGEST_HOLD + place.lifetime.total_seconds())
    common = {"by": STORM, "now": shop.clock}
    problems = []
    for target, keep in ((TARGET, KEEP), (BUILT, storm_shop.KEEP_LIVE)):
        if target == BUILT and next(journal.changes(shop.store, target), None) is None:
            continue  # there were no builders, or nothing of theirs was ever live
        try:
            restore_pointer(shop.store, target, **common)
        except RefusedError as error:  # retired and, where the grace is nothing, collected since: it begins again
            if retired_at(shop.store, target) is None:
                problems.append(str(error))
        release_hold(shop.store, target, **common)
        if read_current(shop.store, target) is None:
            begin_again(place, shop, target)
        repair_journal(shop.store, target, **common)
        for _ in range(2):
            collect(shop.store, target, retention=keep, apply=True, **common)
        verification = verify(shop.store, target, keep=keep.keep)
        problems += verification.problems
        problems += [fault for proof in verification.releases for fault in proof.faults]
    problems += settle_erasure(place, shop)
    shipped = {entry.after for entry in journal.changes(shop.store, TARGET)}
    acknowledged = (place.logs / "acknowledged").read_text().split()
    problems += [f"an acknowledged ship is not in the journal: {one}" for one in set(acknowledged) - shipped]
    if read_current(shop.store, TARGET) is None:
        problems.append("nothing is live")
    shop.ship(DAYS, 0)
    return problems


def begin_again(place, shop, target):
    """Ship to a target of which nothing is left."""
    if target == TARGET:
        shop.ship(0, allow_older=True)
    else:
        storm_shop.build(SmallShop(place.logs / "shop", None), shop.store, 0, shop.clock, allow_older=True)


def settle_erasure(place, shop):
    """Forget everybody for good who was proven to be forgotten; return whom bytes still hold, and where."""
    users = forgotten_users(place)
    if not users:
        return []
    built = SmallShop(place.logs / "shop", None)
    problems = storm_shop.erased_at_last(built, shop.store, users, shop.clock, lifetime=place.lifetime)
    for item in shop.store.list(""):
        data = storm_shop.text_of(place.read(item.key))
        problems += [f"{user} is in {item.key}" for user in users if user.encode() in data]
    return problems


def forgotten_users(place):
    """Return whom a `forget` has proven to be in no object any more."""
    try:
        return set((place.logs / "forgotten").read_text().split())
    except FileNotFoundError:
        return set()


def storm(place, *, seconds, seed, workers, builders):  # noqa: C901 - one loop, whose order is the point
    """Run a storm and return (counts, violations)."""
    scale_times(place.lifetime)
    dice, records, built_records = random.Random(seed), {}, {}  # noqa: S311 - no secret
    shop = Shop(place.honest(), clock=lambda: datetime.now(UTC) - timedelta(hours=2))
    shop.ship(0)
    fork = multiprocessing.get_context("fork")  # nothing here has started threads of Polars, which do not survive it
    if builders:
        storm_shop.open_built_shop(place.logs / "shop")
    end = time.time() + seconds
    counts = {"kills": 0, "stops": 0, "reads": 0}

    def start(index):
        process = fork.Process(target=work if index < workers else build, args=(place, dice.random(), end), daemon=True)
        process.start()
        return process

    crew, stopped, violations = [start(index) for index in range(workers + builders)], {}, []
    while time.time() < end and not violations:
        time.sleep(0.02)
        counts["reads"] += 1
        forgotten = forgotten_users(place)
        looks = [look(place, TARGET, records), look(place, BUILT, built_records, forgotten) if builders else None]
        violations += [problem for problem in looks if problem]
        for index, wake in list(stopped.items()):
            if time.time() >= wake:
                os.kill(crew[index].pid, stopped.pop(index) and signal.SIGCONT)
        index, fate = dice.randrange(len(crew)), dice.random()
        if index >= workers and dice.random() > BUILDERS_SHARE:
            continue
        if index in stopped or not crew[index].is_alive():
            continue
        if fate < 0.05:
            crew[index].kill()
            crew[index].join()
            crew[index] = start(index)
            counts["kills"] += 1
        elif fate < 0.12:
            os.kill(crew[index].pid, signal.SIGSTOP)
            stopped[index] = time.time() + dice.uniform(0, LONGEST_STOP)
            counts["stops"] += 1
    for index in stopped:
        os.kill(crew[index].pid, signal.SIGCONT)
    for process in crew:
        process.join(30)
    counts["commands"] = (place.logs / "commands").stat().st_size
    if builders:
        counts["built"] = (place.logs / "built").stat().st_size if (place.logs / "built").exists() else 0
        counts["forgotten"] = len(forgotten_users(place))
    return counts | place.faults(), violations or settle(place)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=6)
    parser.add_argument("--builders", type=int, default=2)
    parser.add_argument("--bucket", action="store_true")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True)
    folder = asked.folder.resolve()
    place = bucket_behind_a_proxy(folder, asked.seed) if asked.bucket else nullcontext(Folder(folder))
    with place as opened:
        options = {"seconds": asked.seconds, "seed": asked.seed, "workers": asked.workers, "builders": asked.builders}
        counts, violations = storm(opened, **options)
    sys.stdout.write(json.dumps({**counts, "violations": violations}) + "\n")
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
