"""Guard of what is live: a release that is far worse is undone once, and nothing else is."""

import random
from datetime import timedelta

import pytest

from recsys_assets.errors import RefusedError
from recsys_assets.identity import rfc3339
from recsys_assets.release import journal
from recsys_assets.release.forgotten_users import add_forgotten_user
from recsys_assets.release.hold import place_hold, read_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.layout import pointer_key
from recsys_assets.release.marking import mark
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.answer_guard import (
    GUARD,
    GuardMode,
    GuardSettings,
    LiveVerdict,
    carry_out_on_live,
    look_at_live,
)
from recsys_assets.upkeep.heartbeats import Heartbeat, KindAnswers, ReleaseAnswers, write_heartbeat
from recsys_assets.upkeep.repair import repair_journal
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Shop, day

ANN, BOT = Actor("ann", "by hand"), Actor("cron", "every minute")
ACT = GuardSettings(GuardMode.ACT)


@pytest.fixture
def shop():
    shop = Shop(MemoryStore())
    shop.ids = [shop.ship(n).release.id for n in range(3)]
    return shop


def kinds(asked, empty=0, unknown=0):
    return {"cooc": KindAnswers(asked=asked, empty=empty, unknown=unknown)}


def beat(shop, live, before, *, consumer="web-1", of=None, ago=0):
    """What a consumer says: its counts of what is live, and of the release before."""
    release, older = of or shop.ids[:-3:-1]
    answers = tuple(ReleaseAnswers(release=r, kinds=k) for r, k in ((release, live), (older, before)) if k)
    heartbeat = Heartbeat(
        consumer=consumer,
        release=release,
        state="fresh",
        seen_at=rfc3339(shop.clock() - timedelta(seconds=ago)),
        every_seconds=600,
        nonce=f"{random.random()}",  # noqa: S311 - never twice, no secret
        answers=answers,
        v=2,
    )
    write_heartbeat(shop.store, TARGET, heartbeat, expected=None)


def far_worse(shop):
    beat(shop, kinds(5000, empty=4000), kinds(20_000, empty=200))


def look(shop, watch=ACT):
    return look_at_live(shop.store, TARGET, watch, now=shop.clock.at)


def act(shop, watch=ACT):
    return carry_out_on_live(shop.store, TARGET, look(shop, watch), by=BOT, now=shop.clock)


def live(shop):
    return read_current(shop.store, TARGET).release_id


def test_a_release_that_answers_far_worse_is_undone_marked_held_and_journaled(shop):  # F70
    far_worse(shop)
    done = act(shop)
    assert (done.left, done.live, live(shop)) == (shop.ids[2], shop.ids[1], shop.ids[1])
    entry = next(journal.newest_first(shop.store, TARGET))
    assert (entry.action, entry.actor) == ("roll_back", f"{GUARD} (cron)")
    assert "cooc: 80.0% of 5,000 lookups without items, before 1.0% of 20,000" in entry.reason
    assert find_label(shop.store, TARGET, Labelled.BAD, shop.ids[2]).reason == entry.reason
    assert read_hold(shop.store, TARGET).after_data == "2026-03-03"
    assert verify(shop.store, TARGET).ok
    assert look(shop).verdict is LiveVerdict.NOTHING, "never below the last good release"


@pytest.mark.parametrize("watch", [GuardSettings(GuardMode.OFF), GuardSettings(GuardMode.ADVISE)])
def test_nothing_moves_unless_that_was_configured(shop, watch):
    far_worse(shop)
    before = dict(shop.store.objects)
    assert act(shop, watch) is None
    assert (look(shop, watch).verdict, look(shop, watch).exit_code) == (LiveVerdict.ADVISE, 1)
    assert shop.store.objects == before


def worse_again(shop):
    """Undone once; then newer good data ends the hold, ships, and answers as badly."""
    far_worse(shop)
    act(shop)
    newer = shop.ship(3)
    assert newer.how is Ruling.SHIP
    beat(shop, kinds(5000, empty=4000), kinds(20_000, empty=200), of=(newer.release.id, shop.ids[1]))
    return newer.release.id


def test_it_acts_once_until_a_person_has_looked(shop):
    newer = worse_again(shop)
    assert act(shop) is None
    assert "release-hold" in look(shop).why
    assert live(shop) == newer
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    assert act(shop).live == shop.ids[1]


def hold(shop):
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)


def mark_the_one_before(shop):
    mark(shop.store, TARGET, Labelled.BAD, shop.ids[1], by=ANN, now=shop.clock)


def forget(shop):
    add_forgotten_user(shop.store, TARGET, "u1", through=day(2), by=ANN, now=shop.clock())


@pytest.mark.parametrize(
    ("do", "why"),
    [(hold, "held by ann"), (mark_the_one_before, "is marked bad"), (forget, "may contain users forgotten since")],
)
def test_what_a_person_did_stands_even_if_it_came_a_moment_ago(shop, do, why):
    far_worse(shop)
    decision = look(shop)
    do(shop)
    with pytest.raises(RefusedError, match=why):
        carry_out_on_live(shop.store, TARGET, decision, by=BOT, now=shop.clock)
    assert act(shop) is None
    assert why in look(shop).why
    assert live(shop) == shop.ids[2]


def test_a_hold_that_comes_right_before_the_swap_stops_it(shop):
    far_worse(shop)

    def hold_first(verb, key):
        if verb == "swap" and key == pointer_key(TARGET):
            shop.store.on_call = None
            hold(shop)

    shop.store.on_call = hold_first
    with pytest.raises(RefusedError, match="held by ann"):
        act(shop)
    assert live(shop) == shop.ids[2]


def test_readers_that_fell_silent_restarted_or_moved_say_nothing(shop):  # F73
    beat(shop, kinds(5000, empty=5000), kinds(20_000), ago=3600)  # silent
    beat(shop, kinds(5000, empty=5000), {}, consumer="restarted")
    beat(shop, {}, kinds(90_000), consumer="behind")
    assert look(shop).verdict is LiveVerdict.WAIT
    assert look(shop).compared == ()


def test_a_consumer_whose_users_are_others_shifts_nothing_when_it_asks_more(shop):
    """Half of one's users are unknown, before and now; it asks more than before, and the other less."""
    beat(shop, kinds(90_000, unknown=45_000), kinds(2000, unknown=1000), consumer="anonymous")
    beat(shop, kinds(2000, unknown=20), kinds(90_000, unknown=900), consumer="signed-in")
    assert look(shop).compared[0].before[0] / look(shop).compared[0].before[1] == pytest.approx(0.49, abs=0.01)
    assert look(shop).verdict is LiveVerdict.WAIT


@pytest.mark.parametrize(
    ("live", "before"),
    [
        pytest.param(kinds(500, empty=500), kinds(20_000), id="too few questions"),
        pytest.param(kinds(10**7, empty=15 * 10**4), kinds(10**7, empty=10**5), id="half as many more"),
        pytest.param(kinds(10**7, empty=5 * 10**4), kinds(10**7, empty=10**3), id="less than one in a hundred more"),
        pytest.param(kinds(5000, empty=10), kinds(5000, empty=4000), id="better"),
        pytest.param({"cooc": KindAnswers(asked=5000, failed=5000)}, kinds(5000), id="a store that is away"),
    ],
)
def test_what_is_not_far_worse_beyond_doubt_stays(shop, live, before):
    beat(shop, live, before)
    assert look(shop).verdict is LiveVerdict.WAIT


def test_only_a_ship_is_watched_and_only_for_so_long(shop):
    far_worse(shop)
    assert look(shop, GuardSettings(GuardMode.ACT, hours=0.01)).verdict is LiveVerdict.NOTHING
    roll_back(shop.store, TARGET, to=shop.ids[0], by=ANN, now=shop.clock)
    beat(shop, kinds(5000, empty=4000), kinds(20_000), of=(shop.ids[0], shop.ids[2]))
    assert "did not become live by a ship" in look(shop).why


@pytest.mark.parametrize("key", ["registry/hold/", pointer_key(TARGET), "registry/journal/"])
def test_one_that_was_interrupted_goes_on_and_moves_once(shop, key):
    far_worse(shop)

    def interrupt(verb, at):
        if verb in {"create", "swap"} and at.startswith(key):
            shop.store.on_call = None
            raise KeyboardInterrupt

    shop.store.on_call = interrupt
    with pytest.raises(KeyboardInterrupt):
        act(shop)
    for _ in range(2):
        far_worse(shop)  # the clock went on meanwhile
        act(shop)
    repair_journal(shop.store, TARGET, by=ANN, now=shop.clock)
    assert live(shop) == shop.ids[1]
    assert find_label(shop.store, TARGET, Labelled.BAD, shop.ids[1]) is None
    assert [e.after for e in journal.changes(shop.store, TARGET)][:2] == [shop.ids[1], shop.ids[2]]
