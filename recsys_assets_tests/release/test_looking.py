"""Status, verify, diff, repair and marks know how things stand, whatever is wrong, and change nothing unasked."""

from datetime import date, timedelta

import msgspec
import pytest

from recsys_assets.errors import ConfigurationError, CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import Target
from recsys_assets.release import journal
from recsys_assets.release.document_encoding import decode, encode, read_document
from recsys_assets.release.documents import JOURNAL_FORMAT, JournalEntry, Release
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled, find_tag
from recsys_assets.release.layout import blob_key, hold_key, journal_key, pointer_key, release_key
from recsys_assets.release.marking import mark, tag, unmark
from recsys_assets.release.rollback import roll_back
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.storage.proof import KEY
from recsys_assets.upkeep.diff import diff, read_rows
from recsys_assets.upkeep.repair import repair_journal
from recsys_assets.upkeep.status import status
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Shop, day

ANN = Actor("ann", "to see")


@pytest.fixture
def shop():
    return Shop(MemoryStore())


def one(shop):
    (found,) = status(shop.store, [TARGET], now=shop.clock())
    return found


def test_status_shows_what_is_live_and_how_old_its_data_is(shop):
    release = shop.ship(0).release
    found = one(shop)
    assert (found.tenant, found.surface, found.release) == ("shop", "home", release.id)
    assert (found.data_through, found.data_age_days) == (date(2026, 3, 1), 8)
    assert set(found.versions) == {"popularity", "cooc"}
    assert (found.hold, found.problems) == (None, ())
    assert (found.last.action, found.last.outcome) == ("ship", "done")


def test_status_shows_a_target_that_never_shipped(shop):
    found = one(shop)
    assert (found.release, found.data_through, found.last, found.problems) == (None, None, None, ())


def test_status_shows_the_last_refusal_and_its_cause(shop):
    shop.ship(0)
    with pytest.raises(RefusedError):
        shop.publish(1)
    assert one(shop).last.outcome == "refused"
    assert "was not built" in one(shop).last.details["message"]


def test_status_shows_a_hold_while_it_stands_and_a_forgotten_one_loudly(shop):
    shop.ship(0)
    shop.ship(1)
    roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    assert one(shop).hold.after_data == day(1).isoformat()
    shop.ship(2)
    assert one(shop).hold is None
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    assert one(shop).problems == ()
    shop.clock.at += timedelta(days=4)
    assert "forgotten" in " ".join(one(shop).problems)
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    assert one(shop).hold is None


def spoiled(name):
    def spoil(shop, release):
        ref = release.members[0].ref
        {
            "pointer gone": lambda: shop.store.delete(pointer_key(TARGET)),
            "pointer corrupt": lambda: shop.store.put(pointer_key(TARGET), b"{"),
            "record gone": lambda: shop.store.delete(release_key(TARGET, release.id)),
            "blob gone": lambda: shop.store.delete(blob_key(TARGET, ref.kind, ref.version)),
            "hold corrupt": lambda: shop.store.put(hold_key(TARGET), b"{"),
            "entry corrupt": lambda: shop.store.put(journal_key(TARGET, 2), b"{"),
            "clock ahead": lambda: setattr(shop.clock, "at", shop.clock.at - timedelta(hours=1)),
            "outage": lambda: shop.store.inject(
                Fault("get", FaultMode.FAIL, times=10**6, prefix=f"registry/current/{TARGET}")
            ),
        }[name]()

    return spoil


@pytest.mark.parametrize(
    ("name", "message"),
    [
        pytest.param("pointer gone", "restore-pointer", id="F39 pointer gone"),
        pytest.param("pointer corrupt", "Pointer", id="F14 pointer corrupt"),
        pytest.param("record gone", "age is unknown", id="F12 record gone"),
        pytest.param("blob gone", "is missing", id="F12 blob gone"),
        pytest.param("hold corrupt", "Hold", id="F14 hold corrupt"),
        pytest.param("entry corrupt", "JournalEntry", id="F14 entry corrupt"),
        pytest.param("clock ahead", "clock is wrong", id="F16 clock"),
        pytest.param("outage", "no answer", id="F11 outage"),
    ],
)
def test_status_names_what_is_wrong_and_hides_no_other_target(shop, name, message):
    other = Shop(shop.store, Target("shop", "search"), clock=shop.clock)
    other.ship(1)
    shop.ship(0)
    spoiled(name)(shop, shop.ship(1).release)
    wrong, right = status(shop.store, [TARGET, other.target], now=shop.clock())
    assert message in " ".join(wrong.problems)
    assert ("the pointer is missing" in " ".join(wrong.problems)) == (name == "pointer gone")
    assert right.release is not None
    assert right.problems == () or name == "clock ahead"


def test_status_names_an_old_pointer_that_was_put_back(shop):  # F40
    shop.ship(0)
    old = shop.store.objects[pointer_key(TARGET)]
    shop.ship(1)
    shop.store.objects[pointer_key(TARGET)] = old
    assert "old bytes were restored" in " ".join(one(shop).problems)
    assert "older than the one of" in " ".join(verify(shop.store, TARGET).problems)


def test_status_and_verify_write_nothing(shop):
    shop.ship(0)
    before = dict(shop.store.objects)
    one(shop)
    verify(shop.store, TARGET)
    repair_journal(shop.store, TARGET, by=ANN, now=shop.clock, dry_run=True)
    assert shop.store.objects == before


@pytest.mark.parametrize(
    "change", [b"", b"x", b"flip", b"more"], ids=["F13 empty", "F13 other", "F13 flip", "F13 more"]
)
def test_verify_names_every_artifact_that_does_not_prove_itself(shop, change):
    shop.ship(0)
    release = shop.ship(1).release
    ref = release.members[1].ref
    key = blob_key(TARGET, ref.kind, ref.version)
    data = bytearray(shop.store.objects[key][0])
    data[30] ^= change == b"flip"
    shop.store.put(key, bytes(data) + b" " * (change == b"more") if len(change) == 4 else change)
    verification = verify(shop.store, TARGET)
    assert not verification.ok
    faults = {proof.release_id: proof.faults for proof in verification.releases if proof.faults}
    assert list(faults) == [release.id]
    assert ref.kind in faults[release.id][0]


def test_verify_names_gaps_and_repair_fills_them(shop):
    for n in range(5):
        shop.ship(n)
    shop.store.delete(journal_key(TARGET, 2))
    shop.store.put(journal_key(TARGET, 4), b"{")
    assert not verify(shop.store, TARGET).ok
    repaired = repair_journal(shop.store, TARGET, by=ANN, now=shop.clock)
    assert repaired.filled == (2, 4)
    assert verify(shop.store, TARGET).ok
    assert [e.action for e in journal.newest_first(shop.store, TARGET)] == ["ship", "repair", "ship", "repair", "ship"]
    assert [e.sequence for e in journal.changes(shop.store, TARGET)] == [5, 3, 1]
    assert repair_journal(shop.store, TARGET, by=ANN, now=shop.clock).filled == ()


def test_a_mark_is_reported_once_and_taken_off(shop):
    release = shop.ship(0).release
    for on, outcomes in ((True, ["done", "unchanged"]), (False, ["done", "unchanged"])):
        for outcome in outcomes:
            change = mark if on else unmark
            entry = change(shop.store, TARGET, Labelled.PINNED, release.id[:8], by=ANN, now=shop.clock).entry
            assert (entry.action, entry.outcome) == ("pin" if on else "unpin", outcome)
    with pytest.raises(NotFoundError, match="is not recorded"):
        mark(shop.store, TARGET, Labelled.BAD, "0" * 8, by=ANN, now=shop.clock)


def test_a_pin_that_has_ended_can_be_put_again_and_one_that_stands_cannot(shop):
    release = shop.ship(0).release.id
    for end, outcome in ((timedelta(hours=1), "done"), (timedelta(days=9), "unchanged"), (timedelta(days=9), "done")):
        until = shop.clock() + end
        done = mark(shop.store, TARGET, Labelled.PINNED, release, by=ANN, now=shop.clock, until=until)
        assert done.entry.outcome == outcome
        shop.clock.at += timedelta(minutes=40)
    with pytest.raises(ConfigurationError, match="in the past"):
        mark(shop.store, TARGET, Labelled.PINNED, release, by=ANN, now=shop.clock, until=shop.clock())


def test_a_release_is_called_by_its_name_wherever_an_id_is_taken(shop):
    first, second = shop.ship(0).release.id, shop.ship(1).release.id
    assert tag(shop.store, TARGET, "champion", first[:8], by=ANN, now=shop.clock).entry.outcome == "done"
    assert tag(shop.store, TARGET, "champion", first, by=ANN, now=shop.clock).entry.outcome == "unchanged"
    assert mark(shop.store, TARGET, Labelled.PINNED, "champion", by=ANN, now=shop.clock).release == first
    assert roll_back(shop.store, TARGET, to="champion", by=ANN, now=shop.clock).live == first
    moved = tag(shop.store, TARGET, "champion", second, by=ANN, now=shop.clock)
    assert (moved.entry.details["release_before"], find_tag(shop.store, TARGET, "champion").release) == (first, second)
    with pytest.raises(RefusedError, match=r"champion, release .* is marked bad"):
        roll_back(shop.store, TARGET, to="champion", by=ANN, now=shop.clock)
    assert tag(shop.store, TARGET, "champion", None, by=ANN, now=shop.clock).entry.action == "untag"
    with pytest.raises(ConfigurationError, match="not a destination"):
        roll_back(shop.store, TARGET, to="champion", by=ANN, now=shop.clock)


@pytest.mark.parametrize("name", ["previous", "live", "deadbeef", "Champion", "a/b", "", "1st"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(shop, name):
    with pytest.raises(ConfigurationError, match="is not a valid name of a release"):
        tag(shop.store, TARGET, name, shop.ship(0).release.id, by=ANN, now=shop.clock)


def test_a_dry_run_of_marking_writes_nothing(shop):
    release = shop.ship(0).release.id
    before = sorted(item.key for item in shop.store.list(""))
    for label in Labelled:
        assert "dry run" in mark(shop.store, TARGET, label, release, by=ANN, now=shop.clock, dry_run=True).message
    assert (
        "champion is release"
        in tag(shop.store, TARGET, "champion", release, by=ANN, now=shop.clock, dry_run=True).message
    )
    assert before == sorted(item.key for item in shop.store.list(""))


def test_housekeeping_of_marks_hides_no_refused_ship(shop):
    release = shop.ship(0).release.id
    with pytest.raises(RefusedError):
        shop.publish(1)
    mark(shop.store, TARGET, Labelled.PINNED, release, by=ANN, now=shop.clock)
    tag(shop.store, TARGET, "champion", release, by=ANN, now=shop.clock)
    assert one(shop).last.action == "ship"


# --- diff ---


def test_diff_shows_what_entered_left_and_moved(shop):
    def ranked(*items):
        return [{"item_id": item, "count": 9 - n} for n, item in enumerate(items)]

    def neighbours(**rows):
        return [
            {"item_id": item, "items": [{"item_id": other, "count": 1} for other in others]}
            for item, others in rows.items()
        ]

    days = {
        0: {"popularity": ranked("a", "b", "c"), "cooc": neighbours(a="b", b="a", c="a")},
        1: {"popularity": ranked("b", "a", "d"), "cooc": neighbours(a="bd", b="a", d="a")},
    }
    for n in (0, 1):
        shop.stage(n, content=n, rows=days[n])
    before, after = shop.publish(0).release, shop.publish(1).release
    found = diff(shop.store, TARGET, before.id[:10], "live")
    assert (found.before, found.after) == (before, after)
    cooc, popularity = found.kinds
    assert (popularity.entered, popularity.left) == (("d",), ("c",))
    assert popularity.moved == (("b", 2, 1), ("a", 1, 2))
    assert (cooc.entered, cooc.left, cooc.moved) == (("d",), ("c",), (("a", 1, 1),))
    assert (cooc.rows_before, cooc.rows_after) == (3, 3)
    short = diff(shop.store, TARGET, before.id, after.id, shown=1)
    assert short.kinds[1].moved == (("b", 2, 1),)
    assert short.kinds[1].counts == {"entered": 1, "left": 1, "moved": 2}


def test_diff_of_a_release_with_itself_is_empty(shop):
    release = shop.ship(0).release
    assert {kind.message for kind in diff(shop.store, TARGET, release.id, "live").kinds} == {"the same"}


def test_diff_shows_a_kind_that_came(shop):
    shop.kinds = ("popularity",)
    before = shop.ship(0).release
    shop.kinds = ("popularity", "cooc")
    shop.ship(1)
    cooc, _ = diff(shop.store, TARGET, before.id, "live").kinds
    assert (cooc.before, cooc.rows_before, cooc.entered) == (None, None, ("i0",))


def test_diff_of_what_is_not_there_says_so(shop):
    with pytest.raises(NotFoundError, match="does not exist"):
        diff(shop.store, TARGET, "live", "live")


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"a":[],"b":[]}', b'{"items":1}', b'{"items":[1]}', b"{"])
def test_rows_that_cannot_be_read_are_named(data):
    with pytest.raises(CorruptObjectError, match="no readable rows"):
        read_rows(data, name="x")


# --- formats ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"v": JOURNAL_FORMAT + 1}, "upgrade the package", id="F51 newer"),
        pytest.param({"v": JOURNAL_FORMAT + 1, "new": 1}, "upgrade the package", id="F51 newer with a new key"),
        pytest.param({"new": 1}, "new", id="unknown key"),
        pytest.param({"sequence": "1"}, "int", id="wrong type"),
    ],
)
def test_a_document_of_another_form_is_refused_with_the_next_step(change, message):
    entry = JournalEntry(
        sequence=1, at="t", action="ship", outcome="done", actor="a", reason="r", before=None, after=None
    )
    data = msgspec.json.encode(msgspec.to_builtins(entry) | change)
    with pytest.raises(CorruptObjectError, match=message):
        decode(data, JournalEntry, name="x")


def test_a_release_record_is_written_and_read_back_whole(shop):
    release = shop.ship(0).release
    assert read_document(shop.store, release_key(TARGET, release.id), Release) == release
    assert encode(release) == shop.store.objects[release_key(TARGET, release.id)][0]


def test_a_store_of_a_newer_package_takes_no_change(shop):  # F51
    shop.ship(0)
    shop.stage(1)
    shop.store.put(KEY, b'{"v":2,"root":"memory://store"}')
    for change in (
        lambda: shop.publish(1),
        lambda: roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock),
        lambda: place_hold(shop.store, TARGET, by=ANN, now=shop.clock),
    ):
        with pytest.raises(ConfigurationError, match="upgrade"):
            change()


def test_status_of_many_targets_comes_in_their_order_and_asks_each_question_once(shop):
    targets = [Target("shop", f"surface{n:02d}") for n in range(30)]
    shipped = {target: Shop(shop.store, target).ship(0).release.id for target in targets[::2]}
    calls = []
    shop.store.on_call = lambda verb, key: calls.append((verb, key))
    found = status(shop.store, targets, now=shop.clock())
    assert [(row.surface, row.release) for row in found] == [(t.surface, shipped.get(t)) for t in targets]
    assert len(calls) == len(set(calls)) < 15 * len(targets)
