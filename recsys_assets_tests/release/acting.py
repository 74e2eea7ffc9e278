"""One action on a store as a process of its own, to be raced, stopped and killed: python -m ... ROOT ACTION [WORDS]."""

import json
import signal
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from recsys_assets.errors import ConflictError
from recsys_assets.release import trash
from recsys_assets.release.blocking import block_item, unblock_item
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.rollout import Plan
from recsys_assets.release.rollout_transitions import abort, advance
from recsys_assets.storage.open import open_store
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.repair import restore_pointer
from recsys_assets.upkeep.roots import Retention
from recsys_assets_tests.release.staging import KINDS, SHARDED, TARGET, WITH_SHARDS, Shop

ROOT = Path(__file__).parents[2]
ANN = Actor("ann", "a bad night")
PLAN = Plan(steps=(5, 25, 100), bake_minutes=0)
KEEP_TWO = Retention(keep=2, grace=timedelta(0))


def now():
    return datetime.now(UTC)


ON_THE_TARGET = {
    "hold": place_hold,
    "release_hold": release_hold,
    "restore_pointer": restore_pointer,
    "block_item": partial(block_item, item="i1"),
    "unblock_item": partial(unblock_item, item="i1"),
    "advance": partial(advance, from_step=0),
    "promote": advance,
    "abort": abort,
}


def act(store, action, words=()):
    """Do one action; return what became of it."""
    if action == "ship":
        return Shop(store, clock=now, kinds=kinds_of(store)).publish(int(words[0])).how.value
    if action == "rollout":
        return Shop(store, clock=now, kinds=kinds_of(store)).publish(4, plan=PLAN).how.value
    if action == "roll_back":
        return roll_back(store, TARGET, to=words[0] if words else "previous", by=ANN, now=now).message
    if action in ON_THE_TARGET:
        return ON_THE_TARGET[action](store, TARGET, by=ANN, now=now).message
    if action == "collect":
        collection = collect(store, TARGET, by=ANN, now=now, retention=KEEP_TWO, apply=True)
        return f"{len(collection.taken)} taken, {len(collection.emptied)} emptied"
    raise ValueError(action)


def kinds_of(store):
    """What is staged: of shops that deal in shards, these too."""
    return WITH_SHARDS if any(f"/{SHARDED}.json" in item.key for item in store.list("staging/")) else KINDS


def command(root, action, *words):
    """The command line of such a process."""
    return [sys.executable, "-m", "recsys_assets_tests.release.acting", str(root), action, *map(str, words)]


def race(store, writer, writers, rounds):
    """Ship a day of one's own in every round, as soon as the round begins; know what was acknowledged."""
    shop = Shop(store, clock=now, kinds=("popularity",))
    for number in range(rounds):
        shop.stage(number * writers + writer)
        sys.stdin.readline()  # the barrier: everybody gets the line at once
        try:
            outcome = shop.publish(number * writers + writer)
            message = [outcome.how.value, outcome.release.id]
        except ConflictError as error:
            message = [type(error).__name__, str(error)]
        say(json.dumps(message))


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def obey_signals():
    """A suite that was started in the background ignores interrupts, and its processes would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main():
    obey_signals()
    trash.DELETE_LIFETIME = timedelta(0)  # no delete is held here: the trash may be emptied at once
    root, action, *words = sys.argv[1:]
    store = open_store(root)
    if action == "race":
        race(store, *map(int, words))
    elif action == "stage":
        Shop(store, clock=now).stage(*map(int, words))
    else:
        say(act(store, action, words))


if __name__ == "__main__":
    main()
