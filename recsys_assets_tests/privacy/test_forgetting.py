"""A forgotten user is in nothing that the store serves or builds from, and does not come back with a rebuild."""

import hashlib
import json
from datetime import date, timedelta

import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError, CorruptObjectError
from recsys_assets.events.event_files import decode_part
from recsys_assets.kinds.tallies import decode_tally
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.forgotten_users import (
    ForgottenUsers,
    add_forgotten_user,
    note_faults,
    read_forgotten,
    read_forgotten_of,
)
from recsys_assets.release.journal import newest_first
from recsys_assets.release.layout import blob_prefix, forgotten_key, intent_key, pointer_key, raw_record_key
from recsys_assets.release.releases import read_release
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.privacy.erasing import BY, GONE, STAYS, build, canonical, forget, live_users, now
from recsys_assets_tests.small_shop import CART, HOME, after, day_lines

TALLIES = "tallies/shop/home/"


def fingerprint(shop):
    files = sorted(path for path in (shop.folder / "store").rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_nothing_that_is_built_from_or_served_names_the_user(shop):
    before = shop.live()
    forgot = forget(shop)
    assert (forgot.days, forgot.events, forgot.raw_events) == (("2026-01-01", "2026-01-02"), 6, 6)
    assert (forgot.live_holds, forgot.exit_code) == (False, 1), "releases that are kept hold the user still"
    assert {place.split("/")[0] for place in forgot.places} == {"artifacts"}
    for n in range(2):
        record, events = canonical(shop, after(n))
        assert GONE not in events.ids["user_id"].to_list()
        assert (record.rows, record.events) == (15, 15)
        raw = read_document(shop.store, raw_record_key(after(n)), RawRecord)
        share = next(share for share in raw.targets if share.surface == HOME.surface)
        for part in share.parts:
            data = shop.store.get(part.name, max_bytes=part.size).data
            assert hashlib.sha256(data).hexdigest() == part.digest
            assert GONE not in decode_part(data).ids["user_id"].texts()
        for kept in raw.quarantine:
            assert GONE.encode() not in shop.store.get(kept.name, max_bytes=kept.size).data
    tallies = [decode_tally(shop.store.get(item.key, max_bytes=item.size).data) for item in shop.store.list(TALLIES)]
    mine = [tally.ids["user_id"].to_list() for tally in tallies if "user_id" in tally.ids]
    assert mine
    assert GONE not in {user for users in mine for user in users}
    assert shop.live().release_id != before.release_id
    assert live_users(shop) == {"implicit": {STAYS, "u5"}, "session_seq": {STAYS, "u5"}}
    assert read_release(shop.store, HOME, shop.live().release_id).data_through == "2026-01-02"
    assert verify(shop.store, HOME).ok


def test_where_nothing_is_live_a_change_under_way_is_named_since_no_pointer_fences_it_off(shop):
    key = intent_key(HOME, "a" * 32)
    shop.store.put(key, b"{}")
    shop.store.delete(pointer_key(HOME))
    forgot = forget(shop)
    assert [place for place in forgot.places if place.startswith(f"{key} (a change under way")]
    assert forgot.exit_code == 1


def test_parts_and_lines_of_quarantine_that_are_gone_stop_no_forget(shop):
    for item in [*shop.store.list("quarantine/"), *shop.store.list("raw/")]:
        if not item.key.endswith(".json"):
            shop.store.delete(item.key)
    forgot = forget(shop)
    assert (forgot.events, forgot.raw_events, forgot.quarantined) == (6, 0, 0)


def test_tallies_that_no_window_asks_for_any_more_go_too(shop):
    shop.configure()
    assert list(shop.store.list(TALLIES))
    forget(shop)
    assert list(shop.store.list(TALLIES)) == []


def test_another_target_keeps_its_own_events_of_the_user(shop):
    before = shop.live(CART)
    forget(shop)
    assert shop.live(CART) == before
    assert GONE in canonical(shop, after(0), CART)[1].ids["user_id"].to_list()


def test_a_rebuild_from_the_same_raw_files_does_not_bring_the_user_back(shop):
    forget(shop)
    released = shop.live().release_id
    shop.store.delete(raw_record_key(after(1)))  # so that the files are read again
    build(shop, after(1))
    assert GONE not in canonical(shop, after(1))[1].ids["user_id"].to_list()
    assert shop.live().release_id == released


def test_somebody_who_comes_back_later_is_built_again(shop):
    add_forgotten_user(shop.store, HOME, GONE, through=after(1), by=BY, now=now())
    shop.write(after(2), day_lines(after(2)))
    build(shop, after(2))
    assert GONE in live_users(shop)["session_seq"]


def test_releases_that_are_kept_are_reported_until_they_are_gone(shop):
    left = shop.live().release_id
    assert left in forget(shop).still_in
    assert forget(shop, user="nobody").still_in == ()
    blobs = [item.key for item in shop.store.list(blob_prefix(HOME))]
    assert blobs  # nothing was deleted that a rollback needs
    assert left in forget(shop).still_in


def test_it_is_written_down_without_the_user(shop):
    forget(shop)
    entry = next(entry for entry in newest_first(shop.store, HOME) if entry.action == "forget")
    assert (entry.actor, entry.reason, entry.details["days"]) == ("ann", "asked to be forgotten", 2)
    message = [shop.store.get(item.key, max_bytes=item.size).data for item in shop.store.list("registry/")]
    assert not [data for data in message if f'"{GONE}"'.encode() in data]


def test_a_dry_run_says_the_same_and_changes_nothing(shop):
    before = fingerprint(shop)
    rehearsed = forget(shop, dry_run=True)
    assert fingerprint(shop) == before
    done = forget(shop)
    same = ("days", "events", "raw_events", "quarantined")
    assert [getattr(rehearsed, name) for name in same] == [getattr(done, name) for name in same]
    assert done.quarantined == 2


def test_a_dry_run_over_all_targets_counts_each_line_of_quarantine_once(shop):
    def message(*more):
        words = ["forget", "--user", GONE, "--reason", "asked", "--config", str(shop.folder / "recsys.toml"), "--json"]
        called = CliRunner().invoke(recsys_assets, [*words, *more], standalone_mode=False)
        return [one["quarantined"] for one in json.loads(called.stdout)["targets"]]

    rehearsed = message("--dry-run")
    assert rehearsed == message()
    assert sum(rehearsed) == 2


def test_again_is_a_no_op(shop):
    forget(shop)
    before = shop.live()
    again = forget(shop)
    assert (again.events, again.raw_events, again.quarantined) == (0, 0, 0)
    assert shop.live().release_id == before.release_id


def test_a_gate_that_refuses_the_new_build_leaves_live_and_says_that_it_holds_the_user(shop):
    before = shop.live()
    shop.configure("[gates]\nmin_events = 18\n[artifacts.implicit]\nwindow_days = 2\n")
    forgot = forget(shop)
    assert (forgot.live_holds, forgot.exit_code, shop.live().release_id) == (True, 1, before.release_id)
    assert "volume" in forgot.message
    again = forget(shop)
    assert (again.events, again.live_holds, again.entry.outcome) == (0, True, "refused"), "it is not done"
    shop.configure("[artifacts.implicit]\nwindow_days = 2\n")
    last = forget(shop)
    assert (last.live_holds, last.entry.outcome) == (False, "done")
    assert GONE not in live_users(shop)["implicit"]


@pytest.mark.parametrize("user", ["", " "])
def test_nobody_is_not_forgotten(shop, user):
    before = fingerprint(shop)
    with pytest.raises(ConfigurationError, match="--user is empty"):
        forget(shop, user=user)
    assert fingerprint(shop) == before


def test_a_note_that_cannot_be_read_hides_its_user_on_every_day_and_stops_no_other():
    store = MemoryStore()
    name = add_forgotten_user(store, HOME, GONE, through=after(1), by=BY, now=now())
    add_forgotten_user(store, CART, STAYS, through=after(1), by=BY, now=now())
    store.put(forgotten_key(HOME, name), b"{}")
    store.put("registry/forgotten/stray", b"{}")
    store.put(f"registry/forgotten/{HOME}/notes/of-somebody.txt", b"{}")
    found = read_forgotten(store)
    assert found[HOME.tenant, HOME.surface].hides(GONE, after(400))
    assert found[CART.tenant, CART.surface].hides(STAYS, after(1))
    assert name in note_faults(store, HOME)[0]


def test_a_secret_that_cannot_be_read_stops_the_builds_of_its_target_alone():
    store = MemoryStore()
    for target in (HOME, CART):
        add_forgotten_user(store, target, GONE, through=after(1), by=BY, now=now())
    store.put(forgotten_key(HOME, "key"), b"{}")
    assert read_forgotten(store)[CART.tenant, CART.surface].hides(GONE, after(0))
    assert read_forgotten_of(store, CART)
    with pytest.raises(CorruptObjectError, match="forgotten"):
        read_forgotten_of(store, HOME)


def test_a_later_request_reaches_later_days_and_an_earlier_one_takes_nothing_back():
    store, first = MemoryStore(), date(2026, 1, 1)
    for through in (first, first + timedelta(days=2), first + timedelta(days=1)):
        add_forgotten_user(store, HOME, GONE, through=through, by=BY, now=now())
    forgotten = read_forgotten(store)[HOME.tenant, HOME.surface]
    hidden = [forgotten.hides(GONE, first + timedelta(days=n)) for n in range(4)]
    assert (hidden, forgotten.hides(STAYS, first)) == ([True, True, True, False], False)
    assert not ForgottenUsers()
