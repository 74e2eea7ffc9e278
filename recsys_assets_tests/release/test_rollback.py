"""A rollback goes where it was asked to, only to what proves itself, and keeps automation from undoing it."""

import resource
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from recsys_assets.errors import ConfigurationError, ConflictError, CorruptObjectError, RefusedError
from recsys_assets.identity import rfc3339
from recsys_assets.release import journal
from recsys_assets.release.candidate import Requirement
from recsys_assets.release.change import PointerChange
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import Hold, Release
from recsys_assets.release.forgotten_users import add_forgotten_user
from recsys_assets.release.hold import is_loud, place_hold, read_hold, release_hold, swap_to_itself
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled, find_label
from recsys_assets.release.layout import (
    blob_key,
    hold_key,
    intent_prefix,
    journal_key,
    pointer_key,
    release_key,
    sweep_key,
)
from recsys_assets.release.marking import mark
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import live_at
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.ship_rules import Ruling, is_in_force
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.repair import restore_pointer
from recsys_assets_tests.release.staging import GATES, POLICY, TARGET, Shop, day

ANN = Actor("ann", "a bad night")
FIVE = ("popularity", "cooc", "item_seq", "content_sim", "session_seq")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def shop(store):
    return Shop(store)


def back(shop, to="previous", **options):
    return roll_back(shop.store, TARGET, **({"to": to, "by": ANN, "now": shop.clock} | options))


def live(shop):
    current = read_current(shop.store, TARGET)
    return current and current.release_id


def shipped(shop, days):
    return [shop.ship(n).release.id for n in range(days)]


def actions(shop):
    return [(e.action, e.outcome) for e in reversed(list(journal.newest_first(shop.store, TARGET)))]


def test_previous_is_the_release_before_and_a_second_rollback_goes_further_back(shop):
    first, second, third = shipped(shop, 3)
    assert back(shop).live == live(shop) == second
    assert back(shop).live == live(shop) == first
    with pytest.raises(RefusedError, match="there is none"):
        back(shop)
    assert live(shop) == first
    assert find_label(shop.store, TARGET, Labelled.BAD, third)


def test_a_rollback_that_died_before_its_end_is_finished_by_the_same_command_and_not_done_twice(shop):
    first, second, _ = shipped(shop, 3)

    def die(verb, key):
        if verb == "delete" and key.startswith(intent_prefix(TARGET)):
            raise KeyboardInterrupt

    shop.store.on_call = die
    with pytest.raises(KeyboardInterrupt):
        back(shop)
    shop.store.on_call = None
    assert back(shop).live == live(shop) == second
    assert back(shop).live == live(shop) == first


def test_two_bad_nights_in_a_row_end_on_the_last_good_release(shop):
    good, bad, worse = shipped(shop, 3)
    mark(shop.store, TARGET, Labelled.BAD, bad, by=ANN, now=shop.clock)
    assert back(shop).live == good
    assert find_label(shop.store, TARGET, Labelled.BAD, worse)


def test_a_release_shipped_after_a_rollback_goes_back_to_what_was_live_then(shop):
    _, second, _ = shipped(shop, 3)
    back(shop)
    shop.ship(3)
    assert back(shop).live == second


def test_an_id_or_its_beginning_names_the_destination(shop):
    first, _, third = shipped(shop, 3)
    assert back(shop, to=first[:10]).live == first
    assert back(shop, to=third, hold=False).live == third


def test_a_time_names_what_was_live_then(shop):
    first = shop.ship(0).release.id
    then = shop.clock.at
    shop.ship(1)
    assert live_at(shop.store, TARGET, then).release_id == first
    assert back(shop, to=rfc3339(then)).live == first
    with pytest.raises(RefusedError, match="live at 2020"):
        back(shop, to="2020-01-01T00:00:00Z")


def test_a_time_that_is_yet_to_come_is_refused(shop):
    shipped(shop, 2)
    before = shop.store.objects[pointer_key(TARGET)]
    with pytest.raises(ConfigurationError, match="in the future"):
        back(shop, to=rfc3339(shop.clock.at + timedelta(hours=1)))
    assert shop.store.objects[pointer_key(TARGET)] == before


def test_a_rollback_behind_an_erasure_says_that_it_may_bring_users_back(shop):
    shop.ship(0)
    add_forgotten_user(shop.store, TARGET, "u1", through=day(1), by=ANN, now=shop.clock())
    shop.ship(1)
    shop.ship(2)
    assert "forget" not in back(shop).message
    message = back(shop).message
    assert "it may contain 1 user forgotten since: run `recsys-assets forget` for them again" in message


@pytest.mark.parametrize("to", ["yesterday", "deadbee", "DEADBEEF00", "", "2026-01-01"])
def test_a_destination_that_means_nothing_is_a_usage_error(shop, to):
    shipped(shop, 2)
    with pytest.raises(ConfigurationError, match=r"previous|zone"):
        back(shop, to=to)


def test_a_rollback_to_what_is_live_is_a_no_op(shop):  # F35
    _, second = shipped(shop, 2)
    pointer = shop.store.objects[pointer_key(TARGET)]
    outcome = back(shop, to=second)
    assert shop.store.objects[pointer_key(TARGET)] == pointer
    assert outcome.entry.outcome == "unchanged"
    rehearsed = back(shop, to=second, dry_run=True)
    assert (rehearsed.message, rehearsed.hold) == (f"dry run: release {second[:12]} is already live", None)
    assert read_hold(shop.store, TARGET) is None
    assert find_label(shop.store, TARGET, Labelled.BAD, second) is None


def test_a_dry_run_names_the_destination_and_changes_no_byte(shop):
    first, _ = shipped(shop, 2)
    before = dict(shop.store.objects)
    outcome = back(shop, dry_run=True)
    assert outcome.live == first
    assert outcome.message.startswith("dry run")
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock, dry_run=True)
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock, dry_run=True)
    restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock, dry_run=True)
    assert shop.store.objects == before


def collected(shop, release):
    for member in release.members:
        shop.store.delete(blob_key(TARGET, member.ref.kind, member.ref.version))


def corrupt(shop, release):
    ref = release.members[0].ref
    shop.store.put(blob_key(TARGET, ref.kind, ref.version), b"x" * ref.size)


def record_gone(shop, release):
    shop.store.delete(release_key(TARGET, release.id))


def record_of_another_format(shop, release):
    shop.store.put(release_key(TARGET, release.id), encode(msgspec.structs.replace(release, v=3)))


def record_of_another_release(shop, release):
    other = msgspec.structs.replace(release, members=release.members[:1])
    shop.store.put(release_key(TARGET, release.id), encode(other))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(collected, "not in the store", id="F35 collected"),
        pytest.param(corrupt, "digest", id="F13 corrupt"),
        pytest.param(record_gone, "there is none", id="F12 record gone"),
        pytest.param(record_of_another_format, "upgrade the package", id="F35 F51 newer format"),
        pytest.param(record_of_another_release, "its refs give", id="F14 record of another release"),
    ],
)
def test_a_destination_that_cannot_be_served_is_refused_with_alternatives(shop, spoil, message):
    first, second, third = shipped(shop, 3)
    spoil(shop, read_document(shop.store, release_key(TARGET, second), Release))
    with pytest.raises(RefusedError, match=message) as raised:
        back(shop)
    assert first[:12] in str(raised.value)
    assert live(shop) == third
    assert read_hold(shop.store, TARGET) is None
    assert actions(shop)[-1] == ("roll_back", "refused")
    assert list(shop.store.list(intent_prefix(TARGET))) == []
    assert back(shop, to=first).live == first


def test_of_two_rollbacks_at_once_one_wins_and_none_goes_back_twice(shop):  # F35
    _, second, _ = shipped(shop, 3)
    done = []

    def overtake(verb, key):
        if verb == "swap" and key == pointer_key(TARGET) and not done:
            done.append(1)
            roll_back(shop.store, TARGET, to="previous", by=Actor("bob", "too"), now=shop.clock)

    shop.store.on_call = overtake
    assert back(shop).live == second
    assert live(shop) == second
    assert actions(shop)[-2:] == [("roll_back", "done"), ("roll_back", "unchanged")]


def test_a_rollback_that_something_else_overtakes_asks_to_decide_again(shop):
    shipped(shop, 3)
    done = []
    rival = Shop(shop.store, clock=shop.clock)

    def overtake(verb, key):
        if verb == "create" and key.startswith("registry/bad") and not done:
            done.append(1)
            rival.ship(3)

    shop.store.on_call = overtake
    with pytest.raises(ConflictError, match="decide again"):
        back(shop)
    assert live(shop) == rival.publish(3).release.id


def test_without_anything_live_there_is_nothing_to_roll_back(shop):  # F39
    with pytest.raises(RefusedError, match="restore-pointer"):
        back(shop)


# --- hold ---


def test_a_rollback_holds_until_newer_good_data(shop):
    first, _ = shipped(shop, 2)
    back(shop)
    assert shop.ship(1, content=7).how is Ruling.HELD  # the same day, other content: not newer
    assert live(shop) == first
    outcome = shop.ship(2)
    assert outcome.how is Ruling.SHIP
    assert live(shop) == outcome.release.id


def test_a_hold_until_newer_data_is_over_once_newer_data_is_live_whatever_ships_then(shop):
    shipped(shop, 3)
    back(shop)  # holds until there is data after the third day
    shop.ship(3)
    assert shop.ship(0, content=7, allow_older=True).how is Ruling.SHIP


def test_a_bad_release_does_not_ship_again_even_when_the_hold_is_lifted(shop):
    first, second = shipped(shop, 2)
    back(shop)
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    with pytest.raises(RefusedError, match="marked bad"):
        shop.publish(1)
    assert live(shop) == first
    assert back(shop, to=second).live == second  # whoever names it says that it is good after all
    assert find_label(shop.store, TARGET, Labelled.BAD, second) is None
    assert find_label(shop.store, TARGET, Labelled.BAD, first) is None


def test_without_a_hold_the_next_day_ships(shop):
    shipped(shop, 2)
    assert back(shop, hold=False).hold is None
    assert shop.ship(1, content=3).how is Ruling.SHIP


def test_a_hold_until_a_date_ends_by_itself(shop):
    shipped(shop, 2)
    back(shop, until=shop.clock.at + timedelta(days=2))
    assert shop.ship(5).how is Ruling.HELD
    shop.clock.at += timedelta(days=3)
    assert shop.publish(5).how is Ruling.SHIP


def test_a_hold_until_an_instant_is_over_at_that_instant():
    end = datetime(2026, 3, 1, 12, tzinfo=UTC)
    hold = Hold(at=rfc3339(end - timedelta(days=1)), actor="ann", reason="a test", until=rfc3339(end))
    assert is_in_force(hold, data_through="2026-03-01", now=end - timedelta(microseconds=1))
    assert not is_in_force(hold, data_through="2026-03-01", now=end)
    assert not is_loud(hold, now=end + timedelta(days=2))
    assert is_loud(hold, now=end + timedelta(days=2, microseconds=1))


def test_a_hold_by_hand_stands_until_it_is_lifted(shop):
    shipped(shop, 2)
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    shop.clock.at += timedelta(days=400)
    assert shop.ship(300).how is Ruling.HELD
    assert release_hold(shop.store, TARGET, by=ANN, now=shop.clock).entry.outcome == "done"
    assert release_hold(shop.store, TARGET, by=ANN, now=shop.clock).entry.outcome == "unchanged"
    assert shop.publish(300).how is Ruling.SHIP


def test_a_rollback_never_cuts_a_hold_by_hand_short(shop):
    shipped(shop, 3)
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    back(shop)
    assert shop.ship(9).how is Ruling.HELD


def test_a_hold_swaps_the_pointer_to_itself(shop):
    shop.ship(0)
    before = read_current(shop.store, TARGET)
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    after = read_current(shop.store, TARGET)
    assert after.versions == before.versions
    assert after.updated_at > before.updated_at


def test_nothing_live_cannot_be_held(shop):
    with pytest.raises(RefusedError, match="nothing is live"):
        place_hold(shop.store, TARGET, by=ANN, now=shop.clock)


def test_a_hold_that_cannot_be_read_holds_and_can_be_lifted(shop):  # F14
    first = shop.ship(0).release.id
    shop.store.put(hold_key(TARGET), b"{")
    with pytest.raises(CorruptObjectError, match=r"hold\.json"):
        shop.ship(1)
    assert live(shop) == first
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    assert shop.publish(1).how is Ruling.SHIP


# --- the journal and a pointer that was lost ---


def test_a_deleted_pointer_is_put_back_from_the_journal(shop):  # F39
    _, second = shipped(shop, 2)
    at = read_current(shop.store, TARGET).updated_at
    shop.store.delete(pointer_key(TARGET))
    assert restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock).live == second
    assert live(shop) == second
    assert read_current(shop.store, TARGET).updated_at > at
    assert restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock).entry.outcome == "unchanged"


@pytest.mark.parametrize("found", [b"", b"{}", b"\xef\xbb\xbf{}", b"[" * 100_000, b"\x00" * 100])
def test_a_damaged_pointer_is_put_back_from_the_journal(shop, found):  # F3 F14 F22
    _, second = shipped(shop, 2)
    shop.store.put(pointer_key(TARGET), found)
    with pytest.raises(CorruptObjectError):
        read_current(shop.store, TARGET)
    restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock)
    assert live(shop) == second


def test_an_old_pointer_put_back_is_reported_and_can_be_undone(shop):  # F40
    shop.ship(0)
    old = shop.store.objects[pointer_key(TARGET)]
    first, second = live(shop), shop.ship(1).release.id
    newest = read_current(shop.store, TARGET).updated_at
    shop.store.objects[pointer_key(TARGET)] = old
    assert live(shop) == first
    assert restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock).live == second
    assert read_current(shop.store, TARGET).updated_at > newest
    assert actions(shop)[-2:] == [("replay", "recovered"), ("restore_pointer", "done")]


def test_a_publish_over_an_old_pointer_put_back_gets_a_later_time_than_ever(shop):  # F40
    shop.ship(0)
    old = shop.store.objects[pointer_key(TARGET)]
    shop.ship(1)
    newest = read_current(shop.store, TARGET).updated_at
    shop.store.objects[pointer_key(TARGET)] = old
    shop.clock.at -= timedelta(hours=3)
    shop.ship(2)
    assert read_current(shop.store, TARGET).updated_at > newest


def test_without_a_journal_there_is_nothing_to_put_back(shop):  # F39
    with pytest.raises(RefusedError, match="publish a day"):
        restore_pointer(shop.store, TARGET, by=ANN, now=shop.clock)


def test_a_lost_entry_in_the_middle_does_not_stop_a_rollback(shop):  # F14
    _, second, _ = shipped(shop, 3)
    shop.store.put(journal_key(TARGET, 2), b"{")
    assert back(shop).live == second  # the entry after it names what was live before


def test_a_rollback_of_five_kinds_makes_at_most_21_calls_of_the_store(store):
    """Each blob is read once, after the announcement; pointer, journal, marks and hold are looked at once."""
    shop = Shop(
        store, kinds=FIVE, requirements={subject: Requirement(POLICY, GATES) for subject in (*FIVE, "canonical")}
    )
    first, _ = shipped(shop, 2)
    calls = []
    store.on_call = lambda verb, key: calls.append((verb, key))
    outcome = back(shop)
    store.on_call = None
    assert (outcome.live, live(shop)) == (first, first)
    assert len(calls) <= 21, calls
    announced = next(n for n, (verb, key) in enumerate(calls) if verb == "create" and key.startswith("intents/"))
    swapped = calls.index(("swap", pointer_key(TARGET)))
    proofs = [n for n, (verb, key) in enumerate(calls) if verb == "get" and key.startswith("artifacts/")]
    assert len(proofs) == len(FIVE)
    assert announced < calls.index(("get", sweep_key(TARGET))) < min(proofs) < max(proofs) < swapped


def test_a_pointer_swapped_after_it_was_read_is_read_and_looked_at_again(shop):
    """A collection that begins after a rollback has looked swaps the pointer: the rollback's first swap loses."""
    first, _ = shipped(shop, 2)
    looks = []

    def fence(_, key):
        looks.append(key)
        if key == hold_key(TARGET):  # everything is proven by then
            shop.store.on_call = None
            swap_to_itself(PointerChange(shop.store, TARGET, "collect", ANN, shop.clock), message="a fence")
            shop.store.on_call = lambda _, key: looks.append(key)

    shop.store.on_call = fence
    assert back(shop).live == first
    shop.store.on_call = None
    assert looks.count(sweep_key(TARGET)) == 2
    assert [action for action, _ in actions(shop)][-2:] == ["collect", "roll_back"]


def test_what_was_live_then_is_reported_though_it_was_collected(shop):
    shop.ship(0)
    then = shop.clock.at
    release = shop.publish(0, dry_run=True).release
    shop.ship(1)
    collected(shop, release)
    found = live_at(shop.store, TARGET, then)
    assert found.release_id == release.id
    assert sorted(found.collected) == ["cooc", "popularity"]
    assert found.entry.actor == "nightly"
    assert live_at(shop.store, TARGET, then - timedelta(days=1)) is None


def seconds_of_command(root):
    """The time that the processor gave to a rollback by command: a machine that is busy is not the command's fault."""
    config = root.with_suffix(".toml")
    config.write_text(f'[storage]\nroot = "{root}"\n[[targets]]\ntenant = "shop"\nsurface = "home"\n')
    words = [
        "rollback",
        "--config",
        config,
        "--tenant",
        "shop",
        "--surface",
        "home",
        "--to",
        "previous",
        "--reason",
        "x",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code = "from recsys_assets.cli.main import main; main()"
    subprocess.run([sys.executable, "-c", code, *words], check=True, timeout=60, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.slow
def test_a_rollback_among_a_thousand_releases_takes_less_than_two_seconds(tmp_path):
    shop = Shop(FilesystemStore(tmp_path), kinds=("popularity",))
    memory = Shop(MemoryStore(), clock=shop.clock, kinds=shop.kinds)
    for n in range(1000):
        memory.ship(n)
    for key, (data, _) in memory.store.objects.items():
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.replace(b"memory://store", shop.store.root_uri.encode()))
    (tmp_path / "registry" / "store.json").unlink()
    assert seconds_of_command(tmp_path) < 2
    for to in ("previous", "2026-03-10T04:20:00Z"):
        started = time.perf_counter()
        back(shop, to=to)
        assert time.perf_counter() - started < 2
