"""Trial of a candidate: a stable share of keys, whole releases on both sides, and every answer counted once."""

import hashlib
import threading
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from recsys_assets.errors import ConfigurationError
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import blob_key, candidate_key, rollout_key
from recsys_assets.release.rollout import Plan
from recsys_assets.release.rollout_transitions import abort, advance
from recsys_assets.release.signatures import Trust
from recsys_assets.serving.counting import counts_by_release
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.trial import part_of
from recsys_assets.storage.memory import Fault, FaultMode
from recsys_assets.upkeep.heartbeats import read_heartbeats
from recsys_assets_tests.serving.releases import TARGET, answers

ANN = Actor("ann", "a test")
PLAN = Plan(steps=(5, 25, 100), bake_minutes=0)
KEYS = [f"user-{n}" for n in range(4000)]
THREADS, STEPS = 16, 200


@pytest.fixture
def reader(store, shop, clock):
    shop.ship(0)
    reader = Reader(store, TARGET.tenant, TARGET.surface, now=clock, rollouts=True, heartbeat="web-1")
    reader.refresh()
    return reader


def begin(shop, reader, n=1):
    release = shop.ship(n, plan=PLAN)
    reader.refresh()
    return release


def chosen(reader):
    """The keys that the candidate answers."""
    return {key for key in KEYS if answers(reader.snapshot(key)) == {1}}


def test_a_share_of_the_keys_gets_the_candidate_and_keeps_it_as_the_share_grows(store, shop, reader):
    begin(shop, reader)
    few = chosen(reader)
    assert 0.04 < len(few) / len(KEYS) < 0.06
    assert chosen(reader) == few
    assert answers(reader.snapshot()) == {0}, "without a key what is live answers"
    advance(store, TARGET, by=ANN, now=shop.clock)
    reader.refresh()
    more = chosen(reader)
    assert 0.23 < len(more) / len(KEYS) < 0.27
    assert few < more
    advance(store, TARGET, by=ANN, now=shop.clock)
    reader.refresh()
    assert chosen(reader) == set(KEYS)
    assert reader.trial is None


def test_the_part_of_a_key_is_what_the_page_on_serving_says():
    digest = hashlib.sha256(b"0a1b/user-7").digest()
    assert part_of("0a1b", "user-7") == int.from_bytes(digest[:8], "big") % 10_000
    assert part_of("0a1b", "user-7") != part_of("0a1c", "user-7"), "each rollout draws its own share"


def test_an_abort_or_a_hold_takes_the_candidate_back_at_the_next_look(store, shop, reader):
    for n, end in enumerate((abort, place_hold)):
        begin(shop, reader, n + 1)
        assert reader.trial is not None
        end(store, TARGET, by=ANN, now=shop.clock)
        reader.refresh()
        assert reader.trial is None
        assert {frozenset(answers(reader.snapshot(key))) for key in KEYS[:500]} == {frozenset({0})}


def test_without_an_answer_of_the_store_what_is_live_answers(store, shop, reader):
    begin(shop, reader)
    store.inject(Fault("get", FaultMode.FAIL, times=1, prefix="registry/candidate/"))
    reader.refresh()
    assert chosen(reader) == set()
    reader.refresh()
    assert chosen(reader)


def test_a_candidate_that_cannot_be_proven_is_shown_to_nobody_and_reported(store, shop, reader):
    release = shop.ship(1, plan=PLAN)
    store.put(blob_key(TARGET, "cooc", release.refs["cooc"].version), b"other bytes")
    reader.refresh()
    assert chosen(reader) == set()
    reader.beat()
    (beat,) = read_heartbeats(store, TARGET).beats
    assert "cooc" in beat.trial.fault


@pytest.mark.parametrize("key", [rollout_key(TARGET), candidate_key(TARGET)])
def test_a_damaged_rollout_is_followed_by_nobody(store, shop, reader, key):
    shop.ship(1, plan=PLAN)
    store.put(key, b"{}")
    reader.refresh()
    assert chosen(reader) == set()


def test_a_reader_that_knows_of_no_rollouts_reads_live(shop, open_reader):
    shop.ship(0)
    shop.ship(1, plan=PLAN)
    reader = open_reader()
    reader.refresh()
    assert chosen(reader) == set()


def test_signed_pointers_and_rollouts_exclude_each_other(store):
    with pytest.raises(ConfigurationError, match="only the live pointer is signed"):
        Reader(store, "shop", "home", rollouts=True, trust=Trust({"ann": Ed25519PrivateKey.generate().public_key()}))


def test_both_sides_are_counted_by_themselves_and_the_heartbeat_carries_them(store, shop, reader):
    release = begin(shop, reader)
    few = chosen(reader)
    reader.snapshot().neighbors("item")
    reader.beat()
    (beat,) = read_heartbeats(store, TARGET).beats
    trial = beat.trial
    assert trial.release == release.id
    assert (trial.candidate.requests, trial.control.requests) == (len(few), len(KEYS) - len(few))
    assert trial.candidate.kinds["cooc"].asked == len(few)
    assert sum(trial.candidate.kinds["cooc"].times) == -(-len(few) // 64), "one lookup of 64 is timed"
    assert trial.candidate.keys == pytest.approx(len(few), rel=0.05)
    assert trial.control.keys == pytest.approx(len(KEYS) - len(few), rel=0.05)
    (live,) = beat.answers
    assert live.kinds["cooc"].asked == len(KEYS) - len(few) + 1, "with and without a key"


def asked(reader):
    by_release = counts_by_release(reader.all_counters).values()
    return sum(kinds["cooc"].asked for kinds in by_release if "cooc" in kinds)


def test_threads_mix_nothing_and_count_everything_through_a_whole_rollout(store, shop, reader):
    seen = [[] for _ in range(THREADS)]

    def ask(number):
        for step in range(STEPS):
            with reader.snapshot(f"user-{number}-{step % 50}") as release:
                before = answers(release)
                seen[number].append((before, answers(release)))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    shop.ship(1, plan=PLAN)
    reader.refresh()
    for _ in range(2):
        advance(store, TARGET, by=ANN, now=shop.clock)
        reader.refresh()
    for thread in threads:
        thread.join()
    assert all(len(one) == 1 and one == other for pairs in seen for one, other in pairs)
    assert asked(reader) == THREADS * STEPS * 2
    assert reader.trial is None
    for pairs in seen:  # who got the candidate keeps it: shares only grow
        by_key = [[min(one) for one, _ in pairs[key::50]] for key in range(50)]
        assert all(earlier <= later for numbers in by_key for earlier, later in pairwise(numbers))
