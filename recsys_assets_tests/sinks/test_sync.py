"""A sink follows the store's pointer, on real servers: whole or not at all, again for nothing, back without writing."""

import json
from contextlib import suppress
from datetime import timedelta

import pytest

from recsys_assets.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
    StoreUnavailableError,
)
from recsys_assets.release.blocking import block_item
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import blob_key, pointer_key
from recsys_assets.release.releases import versions_of
from recsys_assets.release.rollback import roll_back
from recsys_assets.sinks.spaces import ENTRIES_OF_A_PAGE
from recsys_assets.sinks.sync import SyncState
from recsys_assets.upkeep.retire import retire
from recsys_assets_tests.sinks.conftest import TARGET, Watched

pytestmark = pytest.mark.slow
BY = Actor("ann", "a test")


def go_back(place):
    return roll_back(place.store, TARGET, to="previous", by=BY, now=place.now)


def test_every_row_of_what_is_live_is_found_as_the_layout_says_and_again_changes_nothing(place):
    release = place.ship(0)
    done = place.sync()
    assert (done.state, done.written, done.release) == (SyncState.SWITCHED, 23, release.id)
    assert place.row("cooc", "item 7") == b'{"item_id":"item 7","items":[{"item_id":"day 0","count":8}]}'
    assert json.loads(place.row("popularity", "0"))[0] == {"item_id": "day 0", "count": 7}
    assert place.row("cooc", "no such item") is None
    assert {kind: (one.version, one.rows, one.key) for kind, one in place.pointer().kinds.items()} == {
        "content_sim": (versions_of(release)["content_sim"], 1, "item_id"),
        "cooc": (versions_of(release)["cooc"], 21, "item_id"),
        "popularity": (versions_of(release)["popularity"], 1, None),
    }
    before = place.sink.read_pointer(place.key)
    assert place.sync().state is SyncState.UNCHANGED
    assert place.sink.read_pointer(place.key) == before


def test_a_rollback_is_followed_by_the_pointer_alone(place):
    place.ship(0)
    place.sync()
    before = place.pointer()
    place.ship(1)
    assert place.sync().state is SyncState.SWITCHED
    assert place.serves() == {1}
    assert b"day 0" in place.row("cooc", "item", space=before.kinds["cooc"])  # for who still holds the old pointer
    go_back(place)
    watched = Watched(place.sink)
    done = place.sync(watched)
    assert (done.state, done.written) == (SyncState.SWITCHED, 0)
    assert place.serves() == {0}
    assert watched.calls == ["read_pointer", "swap_pointer"]


def test_broken_off_behind_any_call_services_read_one_whole_release_and_the_next_sync_goes_on(place):
    place.ship(0)
    place.sync()
    place.ship(1)
    counted = Watched(place.sink)
    place.prefix, real = place.prefix + "x", place.prefix
    place.sync(counted)  # into another prefix: as many calls as the broken ones would make
    place.prefix = real
    for number in range(len(counted.calls)):

        def end(_name, called, number=number):
            if called == number:
                raise StoreUnavailableError("the wire broke")

        with suppress(StoreUnavailableError):
            place.sync(Watched(place.sink, after=end))
        assert place.serves() in ({0}, {1})
    assert place.sync().state is SyncState.UNCHANGED
    assert place.serves() == {1}


def test_what_a_killed_one_wrote_is_not_written_again(place):
    place.ship(0)
    writes = 0

    def end(name, _number):
        nonlocal writes
        writes += name == "change_bucket"
        if writes == 2:
            raise StoreUnavailableError("the wire broke")

    with pytest.raises(StoreUnavailableError):
        place.sync(Watched(place.sink, after=end))
    assert place.pointer().release is None
    assert 0 < place.sync().written < 23
    assert place.serves() == {0}


def test_of_two_writers_of_one_release_one_switches_and_the_other_finds_it_done(place):
    place.ship(0)
    others = []

    def second(name, _number):
        if name == "change_bucket" and not others:
            others.append(None)
            others.append(place.sync().state)

    done = place.sync(Watched(place.sink, before=second))
    assert (others[1], done.state) == (SyncState.SWITCHED, SyncState.UNCHANGED)
    assert place.serves() == {0}
    assert len(place.pointer().kept) == len(place.pointer().writing) == 0


def test_a_slow_writer_of_an_older_release_does_not_go_back_behind_a_faster_one(redis_place):
    redis_place.ship(0)
    others = []

    def second(name, _number):
        if name == "change_bucket" and not others:
            others.append(redis_place.ship(1))
            redis_place.sync()

    assert redis_place.sync(Watched(redis_place.sink, before=second)).release == others[0].id
    assert redis_place.serves() == {1}


def test_what_becomes_live_between_the_last_row_and_the_switch_is_what_is_served(redis_place):
    redis_place.ship(0)
    redis_place.sync()
    redis_place.ship(1)
    shipped = []

    def ship(name, number):
        if name == "swap_pointer" and number > 1 and not shipped:
            shipped.append(go_back(redis_place))

    redis_place.sync(Watched(redis_place.sink, before=ship))
    redis_place.sync()
    assert redis_place.serves() == {0}


def test_others_that_never_stop_end_it_with_a_conflict(redis_place):
    redis_place.ship(0)

    def disturb(name, _number):
        if name == "swap_pointer":
            raise ConflictError("somebody else")

    with pytest.raises(ConflictError, match="changed 5 times"):
        redis_place.sync(Watched(redis_place.sink, before=disturb))


def test_an_old_pointer_that_was_put_back_is_refused(redis_place):
    redis_place.ship(0)
    old = redis_place.store.get(pointer_key(TARGET), max_bytes=10_000).data
    redis_place.ship(1)
    redis_place.sync()
    redis_place.store.put(pointer_key(TARGET), old)
    with pytest.raises(RefusedError, match="old bytes were put back"):
        redis_place.sync()
    assert redis_place.serves() == {1}


def test_old_versions_go_once_they_are_beyond_keep_and_the_grace_is_over(place):
    place.rules = {"keep": 2, "grace": timedelta(hours=1)}
    spaces = []
    for n in range(4):
        place.ship(n)
        place.sync()
        spaces.append(place.pointer().kinds["cooc"])
    assert [bool(place.row("cooc", "item", space=one)) for one in spaces] == [True] * 4
    place.at += timedelta(hours=2)
    done = place.sync()
    assert (done.state, done.removed) == (SyncState.UNCHANGED, 6)
    assert [bool(place.row("cooc", "item", space=one)) for one in spaces] == [False, False, True, True]
    assert place.pointer().removing == ()
    go_back(place)
    assert place.sync().written == 0


def test_a_version_that_comes_again_after_it_went_gets_a_space_of_its_own(redis_place):
    redis_place.rules = {"keep": 1, "grace": timedelta(0)}
    redis_place.ship(0)
    redis_place.sync()
    before = redis_place.pointer().kinds["cooc"]
    redis_place.ship(1)
    redis_place.sync()
    go_back(redis_place)
    assert redis_place.sync().written == 23
    after = redis_place.pointer().kinds["cooc"]
    assert (before.version, before.name) != (after.version, after.name)
    assert before.version == after.version
    assert redis_place.serves() == {0}


def test_a_removal_that_was_broken_off_is_ended_by_the_next_sync(place):
    place.rules = {"keep": 1, "grace": timedelta(0)}
    place.ship(0)
    place.sync()
    old = place.pointer().kinds["cooc"]
    place.ship(1)

    def end(name, _number):
        if name == "delete_buckets":
            raise StoreUnavailableError("the wire broke")

    with pytest.raises(StoreUnavailableError):
        place.sync(Watched(place.sink, before=end))
    assert place.serves() == {1}
    assert len(place.pointer().removing) == 3
    assert place.sync().removed == 3
    assert place.row("cooc", "item", space=old) is None


def test_what_the_store_has_no_more_goes_at_once(redis_place):  # of a user who was forgotten, for instance
    redis_place.ship(0)
    redis_place.sync()
    old = redis_place.pointer().kinds["cooc"]
    redis_place.ship(1)
    redis_place.sync()
    redis_place.store.delete(blob_key(TARGET, "cooc", old.version))
    assert redis_place.sync().removed == 1
    assert redis_place.row("cooc", "item", space=old) is None


def test_verify_finds_rows_that_were_changed_lost_or_added_and_writes_those_alone(place):
    place.ship(0)
    place.sync()
    space = place.pointer().kinds["cooc"]
    bucket = f"{space.name}:0"
    lost, changed, *_ = place.sink.read_bucket(bucket)
    place.sink.change_bucket(bucket, put={changed: b"{}", "added": b"{}"}, remove=[lost])
    assert place.sync().state is SyncState.UNCHANGED
    done = place.sync(verify=True)
    assert (done.state, done.written) == (SyncState.PROVEN, 2)
    assert "added" not in place.sink.read_bucket(bucket)
    assert place.sync(verify=True).written == 0


def test_rows_that_do_not_stay_as_they_were_written_keep_the_pointer_where_it_is(place):
    place.ship(0)
    place.sync()
    place.ship(1)

    class Losing(Watched):
        def change_bucket(self, name, *, put, remove):
            self.sink.change_bucket(name, put=dict(list(put.items())[1:]), remove=remove)

    with pytest.raises(StoreUnavailableError, match="does not hold what was just written"):
        place.sync(Losing(place.sink))
    assert place.serves() == {0}


def test_shards_and_long_rankings_are_found_by_the_same_rule(place):
    count = ENTRIES_OF_A_PAGE + 5
    ranking = {f"item {n}": count - n for n in range(count)}
    users = {f"user {n}": {"item": 1.5} for n in range(12)}
    place.ship(0, {"popularity": ranking, "implicit": users}, shards={"implicit": 3})
    place.sync()
    assert [json.loads(place.row("implicit", user))["user_id"] for user in users] == list(users)
    assert place.pointer().kinds["implicit"].rows == 12
    pages = place.pointer().kinds["popularity"].rows
    entries = [one for page in range(pages) for one in json.loads(place.row("popularity", str(page)))]
    assert [one["item_id"] for one in entries] == list(ranking)
    assert pages == 2


def test_blocked_items_stand_in_the_pointer(redis_place):
    redis_place.ship(0)
    redis_place.sync()
    block_item(redis_place.store, TARGET, "day 0", by=BY, now=redis_place.now)
    done = redis_place.sync()
    assert (done.state, done.written, redis_place.pointer().blocked) == (SyncState.SWITCHED, 0, ("day 0",))


def test_a_target_that_is_retired_is_served_no_more_and_a_lost_pointer_takes_nothing_away(redis_place):
    assert redis_place.sync().state is SyncState.NOTHING_LIVE
    redis_place.ship(0)
    redis_place.sync()
    stored = redis_place.store.get(pointer_key(TARGET), max_bytes=10_000)
    redis_place.store.delete(pointer_key(TARGET))
    with pytest.raises(NotFoundError, match="restore-pointer"):
        redis_place.sync()
    assert redis_place.serves() == {0}
    redis_place.store.create(pointer_key(TARGET), stored.data)
    retire(redis_place.store, TARGET, by=BY, now=redis_place.now)
    assert redis_place.sync().state is SyncState.RETIRED
    assert redis_place.serves() is None


def test_chosen_kinds_alone_are_written(redis_place):
    redis_place.rules = {"kinds": ("cooc",)}
    redis_place.ship(0)
    redis_place.sync()
    assert list(redis_place.pointer().kinds) == ["cooc"]
    redis_place.rules = {}
    assert redis_place.sync().state is SyncState.SWITCHED
    assert redis_place.serves() == {0}
