"""Retiring ends what is served, on purpose and so that it can be undone; nothing that was built is lost."""

from contextlib import suppress

import pytest

from recsys_assets.errors import ConflictError, RefusedError, StoreUnavailableError
from recsys_assets.identity import Target
from recsys_assets.release.hold import release_hold
from recsys_assets.release.journal import Actor, newest_first
from recsys_assets.release.labels import Labelled
from recsys_assets.release.layout import blob_prefix, intent_prefix, pointer_key, trash_prefix
from recsys_assets.release.marking import mark
from recsys_assets.release.pointer import read_current
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.repair import restore_pointer
from recsys_assets.upkeep.retire import retire
from recsys_assets.upkeep.roots import GRACE
from recsys_assets.upkeep.status import served_targets, status
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Shop, no_pause

ANN = Actor("ann", "the shop closed")


@pytest.fixture
def shop():
    opened = Shop(MemoryStore())
    opened.ship(0)
    return opened


def test_a_retired_target_serves_nothing_and_no_automation_ships_to_it(shop):
    done = retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert "retired" in done.message
    assert read_current(shop.store, TARGET) is None
    assert shop.ship(1).how is Ruling.HELD
    assert read_current(shop.store, TARGET) is None
    entries = [entry.action for entry in newest_first(shop.store, TARGET)]
    assert entries[1:3] == ["retire", "hold"]


def test_retiring_is_undone_by_putting_the_pointer_back_and_lifting_the_hold(shop):
    live = read_current(shop.store, TARGET)
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock)
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET).release_id == live.release_id
    assert shop.ship(1).how is Ruling.SHIP


def test_a_dry_run_leaves_everything(shop):
    before = dict(shop.store.objects)
    assert retire(shop.store, TARGET, by=ANN, now=shop.clock, dry_run=True).message.startswith("dry run")
    assert shop.store.objects == before


def test_nothing_live_cannot_be_retired(shop):
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    with pytest.raises(RefusedError, match="nothing is live"):
        retire(shop.store, TARGET, by=ANN, now=shop.clock)


def test_f1_a_retirement_that_broke_off_is_done_by_running_it_again(shop):
    shop.store.inject(Fault("delete_unchanged", FaultMode.FAIL, prefix="registry/current/"))
    with pytest.raises(StoreUnavailableError):
        retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET) is not None
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert read_current(shop.store, TARGET) is None


def retire_long_ago():
    """Return a target with two releases whose blobs are old, retired two graces ago."""
    shop = Shop(MemoryStore(clock=lambda: 0.0))
    for n in range(2):
        shop.ship(n)
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    shop.clock.at += 2 * GRACE
    shop.store.clock = lambda clock=shop.clock: clock.at.timestamp()
    return shop


@pytest.fixture
def retired():
    return retire_long_ago()


def gather(shop):
    return collect(shop.store, TARGET, by=ANN, now=shop.clock, apply=True, pause=no_pause)


def keys(shop, prefix):
    return [item.key for item in shop.store.list(prefix)]


def test_what_a_retired_target_left_is_trashed_a_grace_later_and_gone_after_another(retired):
    left = keys(retired, blob_prefix(TARGET))
    assert len(gather(retired).taken) == len(left) == 4
    assert keys(retired, blob_prefix(TARGET)) == []
    assert len(keys(retired, trash_prefix(TARGET))) == len(left) + 1
    retired.clock.at += 2 * GRACE
    assert len(gather(retired).emptied) == len(left)
    assert keys(retired, trash_prefix(TARGET)) == []
    message = [
        entry.details.get("message") for entry in newest_first(retired.store, TARGET) if entry.action == "collect"
    ]
    assert message[1:] == [
        "moved 4 artifacts to the trash, deleted 0 from it",
        "collects the artifacts of a retired target",
    ]


def test_within_the_grace_a_retired_target_is_whole(shop):
    shop.store.clock = lambda: 0.0
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    before = keys(shop, "")
    with pytest.raises(RefusedError, match=r"was retired at .* can be restored until"):
        gather(shop)
    assert keys(shop, "") == before


def test_a_pointer_that_was_lost_is_no_retirement(retired):  # F38 F39
    restore_pointer(retired.store, TARGET, by=ANN, now=retired.clock)
    retired.store.delete(pointer_key(TARGET))
    retired.clock.at += 2 * GRACE
    with pytest.raises(RefusedError, match="nothing is live"):
        gather(retired)


def test_what_is_pinned_outlives_a_retirement(retired):
    pinned = read_current_of(retired)
    mark(retired.store, TARGET, Labelled.PINNED, pinned, by=ANN, now=retired.clock)
    assert len(gather(retired).taken) == 2
    restored = restore_pointer(retired.store, TARGET, by=ANN, now=retired.clock)
    assert restored.live == pinned
    assert verify(retired.store, TARGET).ok


def read_current_of(shop):
    """The release that was live when the target was retired."""
    return next(entry.after for entry in newest_first(shop.store, TARGET) if entry.changed)


def interrupted(shop, call, *, at, by):
    """Run `call`, and `by` right before its `at`-th use of the store; return whether there were so many."""
    count = 0

    def look(*_):
        nonlocal count
        count += 1
        if count == at:
            shop.store.on_call = None
            unless_refused(by)

    shop.store.on_call = look
    unless_refused(call)
    shop.store.on_call = None
    return count >= at


def unless_refused(call):
    with suppress(RefusedError, ConflictError):
        call()


@pytest.mark.parametrize("first", ["collect", "restore"])
def test_a_retirement_that_is_collected_and_undone_at_once_is_whole_or_stays_retired(first):
    """F36: at every use of the store by the one, the other comes between, and another collection long after it."""
    outcomes = set()
    for at in range(1, 100):
        shop = retire_long_ago()

        def restore(shop=shop):
            restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock, pause=no_pause)

        def sweep(shop=shop):
            gather(shop)
            shop.clock.at += 5 * GRACE
            gather(shop)

        call, by = (sweep, restore) if first == "collect" else (restore, sweep)
        if not interrupted(shop, call, at=at, by=by):
            break
        live = read_current(shop.store, TARGET)
        outcomes.add("whole" if live else "retired")
        assert live is None or verify(shop.store, TARGET).ok, at
    assert at > 20
    assert outcomes == {"whole", "retired"}


def test_an_announcement_however_old_keeps_what_it_names_where_no_pointer_fences_it_off(retired):
    retired.store.inject(Fault("create", FaultMode.FAIL, prefix="registry/current/", times=99))
    with pytest.raises(StoreUnavailableError):
        restore_pointer(retired.store, TARGET, by=ANN, now=retired.clock)
    retired.store.heal()
    retired.clock.at += 10 * GRACE
    assert len(gather(retired).taken) == 2, "what the release that was being put back needs is left"
    (left,) = keys(retired, intent_prefix(TARGET))
    retired.store.delete(left)
    assert len(gather(retired).taken) == 2


def test_a_target_that_comes_back_after_it_was_collected_counts_its_releases_from_one(retired):
    gather(retired)
    release_hold(retired.store, TARGET, by=ANN, now=retired.clock)
    retired.ship(5)
    assert verify(retired.store, TARGET, keep=7).ok
    assert [proof.why for proof in verify(retired.store, TARGET).releases] == ["live"]


def test_status_of_a_retired_target_names_no_problem_and_its_retirement_last(retired):
    (found,) = status(retired.store, [TARGET], now=retired.clock())
    assert (found.release, found.problems) == (None, ())
    assert (found.last.action, found.last.reason) == ("retire", "the shop closed")


def test_served_targets_are_those_with_a_pointer(shop):
    other = Target("Läden", "a b")
    Shop(shop.store, other).ship(0)
    shop.store.put("registry/current/shop/stray.json", b"{}")
    shop.store.put("registry/current/shop/home/other.json", b"{}")
    assert set(served_targets(shop.store)) == {TARGET, other}
    retire(shop.store, TARGET, by=ANN, now=shop.clock)
    assert served_targets(shop.store) == (other,)
