"""Staged rollout: one step at a time, one winner, journaled, and ended by whatever else happens to the target."""

import threading
from datetime import timedelta
from functools import partial

import pytest

from recsys_assets.errors import ConflictError, OutcomeUnknownError, RefusedError, StoreUnavailableError
from recsys_assets.release.forgotten_users import add_forgotten_user
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor, newest_first
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.layout import candidate_key, pointer_key, rollout_key
from recsys_assets.release.marking import mark
from recsys_assets.release.pointer import parse_pointer, read_current
from recsys_assets.release.releases import read_release, refs_of
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.rollout import Plan, RolloutState, find_rollout, rolling_release
from recsys_assets.release.rollout_transitions import abort, advance, settle
from recsys_assets.release.shards import missing_blobs
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.repair import relocate
from recsys_assets.upkeep.retire import retire
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Shop, day

ANN = Actor("ann", "by hand")
PLAN = Plan(steps=(5, 25, 100), bake_minutes=60)


@pytest.fixture
def shop():
    shop = Shop(MemoryStore())

    def seconds():
        return shop.clock.at.timestamp()

    shop.store.clock = seconds
    shop.ship(0)
    return shop


def begin(shop, n=1, **options):
    return shop.ship(n, plan=PLAN, **options)


def step(shop, **options):
    return advance(shop.store, TARGET, by=ANN, now=shop.clock, **options)


def stop(shop, **options):
    return abort(shop.store, TARGET, by=ANN, now=shop.clock, **options)


def live(shop):
    return read_current(shop.store, TARGET).release_id


def actions(shop):
    return [(e.action, e.outcome) for e in newest_first(shop.store, TARGET)]


def state(shop):
    return find_rollout(shop.store, TARGET).state


def test_a_rollout_goes_step_by_step_and_ends_with_the_swap(shop):
    first = live(shop)
    outcome = begin(shop)
    assert (outcome.how, outcome.live, outcome.exit_code) == (Ruling.ROLLOUT, first, 0)
    key = candidate_key(TARGET)
    candidate = parse_pointer(shop.store.uri_roots, TARGET, shop.store.objects[key][0], etag="")
    assert candidate.release_id == outcome.release.id
    assert begin(shop).how is Ruling.UNCHANGED
    assert find_rollout(shop.store, TARGET).share == 5
    assert step(shop).rollout.share == 25
    assert live(shop) == first
    done = step(shop)
    assert (done.entry.changed, done.rollout.state) == (True, RolloutState.PROMOTED)
    assert live(shop) == outcome.release.id
    assert [one for one in actions(shop) if "ship" not in one[0] or one[1] == "rollout"] == [
        ("promote", "done"),
        ("advance_rollout", "done"),
        ("ship", "rollout"),
    ]
    assert verify(shop.store, TARGET).ok
    with pytest.raises(RefusedError, match="no release is being rolled out"):
        step(shop)


def test_the_first_release_of_a_target_ships_at_once():
    shop = Shop(MemoryStore())
    assert begin(shop, 0).how is Ruling.SHIP


def test_an_abort_marks_the_release_bad_with_its_reason_and_live_never_moves(shop):
    first = shop.store.objects[pointer_key(TARGET)]
    release = begin(shop).release.id
    stop(shop, why="3.1 % empty, live 0.2 %")
    assert state(shop) is RolloutState.ABORTED
    assert shop.store.objects[pointer_key(TARGET)] == first
    assert find_label(shop.store, TARGET, Labelled.BAD, release).reason == "by hand: 3.1 % empty, live 0.2 %"
    with pytest.raises(RefusedError, match="marked bad"):
        begin(shop)
    for again in (step, stop):
        with pytest.raises(RefusedError, match="no release is being rolled out"):
            again(shop)


def test_a_decision_on_a_step_that_is_over_does_nothing(shop):
    begin(shop)
    step(shop, from_step=0)
    assert step(shop, from_step=0).entry is None
    assert find_rollout(shop.store, TARGET).step == 1


def test_dry_runs_change_nothing(shop):
    begin(shop)
    before = dict(shop.store.objects)
    assert "25 %" in step(shop, dry_run=True).message
    stop(shop, dry_run=True)
    assert shop.store.objects == before


def test_a_newer_release_takes_the_place_of_one_that_is_rolled_out(shop):
    begin(shop)
    newer = begin(shop, 2).release.id
    assert rolling_release(shop.store, TARGET, live=live(shop)) == newer
    assert find_rollout(shop.store, TARGET).step == 0


ENDINGS = {
    "hold": lambda shop: place_hold(shop.store, TARGET, by=ANN, now=shop.clock),
    "a ship by hand": lambda shop: shop.ship(2),
    "a bad mark": lambda shop: mark(
        shop.store, TARGET, Labelled.BAD, find_rollout(shop.store, TARGET).release, by=ANN, now=shop.clock
    ),
    "a rollback": lambda shop: roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_does_not_go_with_a_rollout_ends_it(shop, ending):  # F71
    shop.ship(1)
    release = begin(shop, 3).release.id
    ENDINGS[ending](shop)
    assert rolling_release(shop.store, TARGET, live=live(shop)) is None
    with pytest.raises(RefusedError, match="no release is being rolled out"):
        step(shop)
    assert live(shop) != release
    assert settle(shop.store, TARGET, by=ANN, now=shop.clock).state is RolloutState.ABORTED
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    assert verify(shop.store, TARGET).ok


def test_one_whose_release_shipped_at_once_does_not_go_on_after_a_rollback(shop):  # F71
    first = live(shop)
    release = begin(shop).release.id
    shop.ship(1)
    assert live(shop) == release
    roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    assert (live(shop), state(shop)) == (first, RolloutState.PROMOTED)
    assert rolling_release(shop.store, TARGET, live=first) is None


@pytest.mark.parametrize("back", ["a rollback", "a ship of the same day"])
def test_one_that_gave_way_does_not_go_on_when_what_it_began_beside_is_live_again(shop, back):  # F71
    first = live(shop)
    begin(shop)
    shop.ship(0, content=1)
    if back == "a rollback":
        roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    else:
        shop.ship(0)
    assert live(shop) == first
    assert rolling_release(shop.store, TARGET, live=first) is None
    assert state(shop) is RolloutState.ABORTED
    with pytest.raises(RefusedError, match="no release is being rolled out"):
        step(shop)


def test_a_retirement_ends_it(shop):  # F71
    begin(shop)
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET) is None
    assert state(shop) is RolloutState.ABORTED
    for again in (step, stop):
        with pytest.raises(RefusedError, match="no release is being rolled out"):
            again(shop)


def test_a_relocation_ends_it_as_the_candidate_names_the_former_root(shop):  # F71
    begin(shop)
    moved = MemoryStore(name="elsewhere", clock=shop.store.clock)
    for item in shop.store.list(""):
        moved.put(item.key, shop.store.get(item.key, max_bytes=10**7).data)
    relocate(moved, [TARGET], by=ANN, now=shop.clock, dry_run=False)
    assert find_rollout(moved, TARGET).state is RolloutState.ABORTED
    assert read_current(moved, TARGET).release_id == live(shop)
    assert verify(moved, TARGET).ok


def test_no_candidate_that_may_hold_a_forgotten_user_becomes_live(shop):  # F71
    begin(shop)
    step(shop)
    add_forgotten_user(shop.store, TARGET, "u1", through=day(2), by=ANN, now=shop.clock())
    before = live(shop)
    with pytest.raises(RefusedError, match="a user was forgotten since"):
        step(shop)
    assert (live(shop), state(shop)) == (before, RolloutState.ABORTED)


def test_no_rollout_begins_under_a_hold_even_one_that_comes_meanwhile(shop):
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    assert begin(shop).how is Ruling.HELD
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    done = []

    def hold_first(verb, key):
        if key == rollout_key(TARGET) and verb in {"create", "swap"} and not done:
            done.append(1)
            place_hold(shop.store, TARGET, by=ANN, now=shop.clock)

    shop.store.on_call = hold_first
    with pytest.raises(ConflictError, match="held by ann"):
        begin(shop)
    shop.store.on_call = None
    assert rolling_release(shop.store, TARGET, live=live(shop)) is None


def test_a_promotion_refuses_what_may_not_ship_and_ends_the_rollout(shop):
    release = begin(shop).release.id
    step(shop)
    ref = next(ref for ref in refs_of(read_release(shop.store, TARGET, release)) if ref.kind == "cooc")
    shop.store.put(f"artifacts/shop/home/cooc/{ref.version}.json", b"other bytes")
    before = live(shop)
    with pytest.raises(RefusedError, match="cooc"):
        step(shop)
    assert (live(shop), state(shop)) == (before, RolloutState.ABORTED)


def test_collection_keeps_what_is_rolled_out_and_takes_it_when_it_is_over(shop):
    release = begin(shop).release.id
    refs = refs_of(read_release(shop.store, TARGET, release))
    for n in (0, 1):  # nothing staged keeps it
        for item in list(shop.store.list(f"staging/shop/home/2026-03-0{n + 1}/")):
            shop.store.delete(item.key)

    def collected():
        shop.clock.at += timedelta(days=10)
        collect(shop.store, TARGET, by=ANN, now=shop.clock, retention=Retention(keep=1), apply=True)
        return bool(missing_blobs(shop.store, TARGET, refs))

    assert not collected()
    stop(shop)
    assert collected()


@pytest.mark.parametrize("verb", ["create", "swap"])
@pytest.mark.parametrize("mode", [FaultMode.LOSE_REPLY, FaultMode.LOSE_REQUEST])
def test_a_step_whose_reply_was_lost_is_made_once(shop, verb, mode):
    if verb == "swap":
        begin(shop)
        stop(shop, mark_bad=False)
    shop.store.inject(Fault(verb, mode, nth=1, times=1, prefix="registry/candidate/"))
    try:
        begin(shop)
    except (ConflictError, OutcomeUnknownError, StoreUnavailableError):
        assert mode is FaultMode.LOSE_REQUEST
        begin(shop)
    assert (state(shop), find_rollout(shop.store, TARGET).step) == (RolloutState.RUNNING, 0)


def race(*acts):
    barrier, results = threading.Barrier(len(acts)), []

    def run(act):
        barrier.wait()
        try:
            results.append(act())
        except (ConflictError, RefusedError) as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_promoters_swap_once(shop):  # F72
    release = begin(shop).release.id
    step(shop)
    swaps = len([e for e in newest_first(shop.store, TARGET) if e.changed])
    race(*[partial(step, shop)] * 2)
    assert live(shop) == release
    assert len([e for e in newest_first(shop.store, TARGET) if e.changed]) == swaps + 1
    assert settle(shop.store, TARGET, by=ANN, now=shop.clock).state is RolloutState.PROMOTED


@pytest.mark.parametrize("_", range(5))
def test_of_promotion_and_abort_one_wins(shop, _):
    before, release = live(shop), begin(shop).release.id
    step(shop)
    race(partial(step, shop), partial(stop, shop))
    won = settle(shop.store, TARGET, by=ANN, now=shop.clock).state
    assert (live(shop), won) in {(release, RolloutState.PROMOTED), (before, RolloutState.ABORTED)}
