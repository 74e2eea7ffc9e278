"""Collection takes only what nothing needs, by references and never by age alone, whatever runs beside it."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from recsys_assets.errors import ConflictError, CorruptObjectError, RecsysAssetsError, RefusedError
from recsys_assets.identity import Target, parse_rfc3339, rfc3339
from recsys_assets.release import journal
from recsys_assets.release.document_encoding import create_document, encode
from recsys_assets.release.documents import CollectedBlob, Intent, Sweep
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled
from recsys_assets.release.layout import (
    blob_key,
    blob_prefix,
    intent_key,
    intent_prefix,
    journal_key,
    pointer_key,
    release_key,
    sweep_key,
    trash_prefix,
)
from recsys_assets.release.marking import mark, tag, unmark
from recsys_assets.release.pointer import read_current
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.storage.proof import KEY as PROOF
from recsys_assets.upkeep.collect import collect, explain, restore
from recsys_assets.upkeep.roots import HORIZON, Retention, read_roots
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Clock, Shop, no_pause

ANN = Actor("ann", "tidy up")
KEEP_TWO = Retention(keep=2)


@pytest.fixture
def shop():
    shop = Shop(MemoryStore())
    shop.store.clock = lambda clock=shop.clock: clock.at.timestamp()
    return shop


def copied(shop):
    """Return a shop with the same objects and the same time, which goes on without the other."""
    copy = Shop(MemoryStore(objects=dict(shop.store.objects)), clock=Clock(shop.clock.at))
    copy.store.clock = lambda clock=copy.clock: clock.at.timestamp()
    return copy


def gather(shop, *, apply=True, retention=KEEP_TWO, by=ANN):
    return collect(shop.store, TARGET, by=by, now=shop.clock, retention=retention, apply=apply, pause=no_pause)


def attempt(shop):
    """Collect, and return what went wrong, if anything did."""
    try:
        gather(shop)
    except RecsysAssetsError as error:
        return error
    return None


def days_later(shop, days=3):
    shop.clock.at += timedelta(days=days)


def blobs(shop):
    return {item.key for item in shop.store.list(blob_prefix(TARGET))}


def trash(shop):
    return [item.key for item in shop.store.list(trash_prefix(TARGET)) if not item.key.endswith("sweep.json")]


def blobs_of(release):
    return {blob_key(TARGET, member.ref.kind, member.ref.version) for member in release.members}


def sound(shop):
    return verify(shop.store, TARGET, keep=2).ok


def test_a_dry_run_lists_what_would_go_and_changes_no_byte(shop):
    releases = [shop.ship(n).release for n in range(4)]
    days_later(shop)
    before = dict(shop.store.objects)
    plan = gather(shop, apply=False)
    assert shop.store.objects == before
    assert {item.key for item in plan.taken} == blobs_of(releases[0]) | blobs_of(releases[1])
    assert plan.taken_bytes == sum(len(before[item.key][0]) for item in plan.taken) > 0
    assert set(plan.left_alone) == {"staging/shop/home/", "canonical/shop/home/"}


def test_what_is_taken_waits_in_the_trash_and_is_gone_a_grace_later(shop):
    releases = [shop.ship(n).release for n in range(4)]
    days_later(shop)
    gather(shop)
    assert blobs(shop) == blobs_of(releases[2]) | blobs_of(releases[3])
    assert len(trash(shop)) == 4
    again = gather(shop)
    assert (again.taken, again.emptied) == ((), ())
    days_later(shop)
    assert len(gather(shop).emptied) == 4
    assert list(shop.store.list(trash_prefix(TARGET))) == []
    assert sound(shop)


def test_what_was_written_lately_is_never_taken(shop):
    releases = [shop.ship(n).release for n in range(4)]
    assert gather(shop).taken == ()
    assert blobs_of(releases[0]) <= blobs(shop)


def test_age_alone_takes_nothing(shop):  # F16
    release = shop.ship(0).release
    days_later(shop, 4000)
    assert gather(shop).taken == ()
    assert blobs(shop) == blobs_of(release)


@pytest.mark.parametrize("pin", [True, False])
def test_a_pinned_release_is_kept(shop, pin):
    releases = [shop.ship(n).release for n in range(4)]
    mark(shop.store, TARGET, Labelled.PINNED, releases[0].id[:9], by=ANN, now=shop.clock)
    if not pin:
        unmark(shop.store, TARGET, Labelled.PINNED, releases[0].id, by=ANN, now=shop.clock)
    days_later(shop)
    gather(shop)
    assert (blobs_of(releases[0]) <= blobs(shop)) is pin


@pytest.mark.parametrize(("days", "kept"), [(100, True), (2, False)], ids=["it stands", "it has ended"])
def test_a_pin_keeps_a_release_until_its_end(shop, days, kept):
    releases = [shop.ship(n).release for n in range(4)]
    end = shop.clock() + timedelta(days=days)
    mark(shop.store, TARGET, Labelled.PINNED, releases[0].id, by=ANN, now=shop.clock, until=end)
    days_later(shop)
    gather(shop)
    assert (blobs_of(releases[0]) <= blobs(shop)) is kept
    assert verify(shop.store, TARGET, keep=2, now=shop.clock()).ok
    if not kept:
        with pytest.raises(RefusedError, match="was collected"):
            mark(shop.store, TARGET, Labelled.PINNED, releases[0].id, by=ANN, now=shop.clock)


def test_a_release_with_a_name_is_kept_until_the_name_moves(shop):
    releases = [shop.ship(n).release for n in range(5)]
    tag(shop.store, TARGET, "champion", releases[0].id, by=ANN, now=shop.clock)
    days_later(shop)
    gather(shop)
    assert blobs_of(releases[0]) <= blobs(shop)
    tag(shop.store, TARGET, "champion", releases[4].id, by=ANN, now=shop.clock)
    gather(shop)
    assert not blobs_of(releases[0]) & blobs(shop)


def test_bad_nights_do_not_push_the_last_good_release_out(shop):
    good = shop.ship(0).release
    for n in range(1, 6):
        bad = shop.ship(n).release
        mark(shop.store, TARGET, Labelled.BAD, bad.id, by=ANN, now=shop.clock)
    days_later(shop)
    gather(shop)
    assert roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock).live == good.id


def test_what_was_collected_does_not_count_again_when_a_release_is_marked_bad(shop):
    for n in range(3):
        shop.ship(n)
    days_later(shop)
    gather(shop)

    roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock, hold=False)

    assert verify(shop.store, TARGET, keep=2).ok
    gather(shop)
    shop.ship(3)
    assert [proof.data_through for proof in verify(shop.store, TARGET, keep=2).releases] == [
        "2026-03-04",
        "2026-03-02",
    ]


def test_what_a_hold_keeps_back_is_kept(shop):
    for n in range(3):
        shop.ship(n)
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    held = shop.ship(3).release
    shop.ship(4)
    days_later(shop, 30)
    gather(shop)
    assert blobs_of(held) <= blobs(shop)
    assert sound(shop)


def test_what_is_staged_for_a_newer_day_is_kept(shop):
    for n in range(4):
        shop.ship(n)
    staged = shop.stage(4)
    days_later(shop, 30)
    gather(shop)
    assert {blob_key(TARGET, ref.kind, ref.version) for ref in staged.values()} <= blobs(shop)
    assert shop.publish(4).how is Ruling.SHIP


def test_one_target_never_takes_from_another(shop):
    other = Shop(shop.store, Target("shop", "home2"), clock=shop.clock)
    for n in range(4):
        shop.ship(n)
        other.ship(n)
    before = {item.key for item in shop.store.list(blob_prefix(other.target))}
    days_later(shop)
    gather(shop)
    assert {item.key for item in shop.store.list(blob_prefix(other.target))} == before


def test_what_is_no_artifact_is_listed_and_left_alone(shop):
    for n in range(4):
        shop.ship(n)
    strange = f"{blob_prefix(TARGET)}cooc/notes.txt"
    shop.store.put(strange, b"mine")
    days_later(shop)
    assert [item.key for item in gather(shop).unknown] == [strange]
    assert strange in shop.store.objects


def test_everything_taken_can_be_taken_back(shop):
    for n in range(4):
        shop.ship(n)
    before = {key: shop.store.objects[key][0] for key in blobs(shop)}
    days_later(shop)
    taken = {item.key for item in gather(shop).taken}
    one = min(taken)
    assert set(restore(shop.store, TARGET, by=ANN, now=shop.clock, dry_run=True)) == taken
    assert not taken & blobs(shop)
    assert restore(shop.store, TARGET, by=ANN, now=shop.clock, key=one) == (one,)
    assert set(restore(shop.store, TARGET, by=ANN, now=shop.clock)) == taken
    assert {key: shop.store.objects[key][0] for key in blobs(shop)} == before


def test_a_rollback_to_something_in_the_trash_is_refused_until_it_is_taken_back(shop):  # F35
    first = shop.ship(0).release
    for n in range(1, 4):
        shop.ship(n)
    days_later(shop)
    gather(shop)
    with pytest.raises(RefusedError, match="possible destinations"):
        roll_back(shop.store, TARGET, to=first.id, by=ANN, now=shop.clock)
    restore(shop.store, TARGET, by=ANN, now=shop.clock)
    assert roll_back(shop.store, TARGET, to=first.id, by=ANN, now=shop.clock).live == first.id


def test_explain_says_why_for_every_object(shop):
    releases = [shop.ship(n).release for n in range(4)]
    pinned = releases[0]
    mark(shop.store, TARGET, Labelled.PINNED, pinned.id, by=ANN, now=shop.clock)

    def why(release):
        return explain(shop.store, TARGET, min(blobs_of(release)), now=shop.clock, retention=KEEP_TWO)

    assert "live" in why(releases[3])
    assert "one of the last 2" in why(releases[2])
    assert "live until recently" in why(releases[1])
    assert "pinned" in why(pinned)
    shop.stage(0, content=9)  # an older day than live data: nothing will ship it by itself
    (unnamed,) = {item.key for item in shop.store.list(f"{blob_prefix(TARGET)}cooc/")} - {
        key for release in releases for key in blobs_of(release)
    }
    assert "written within the last" in explain(shop.store, TARGET, unnamed, now=shop.clock, retention=KEEP_TWO)
    days_later(shop)
    assert "next collection moves it" in why(releases[1])
    gather(shop)
    assert "in the trash since" in why(releases[1])
    assert "only artifacts" in explain(shop.store, TARGET, pointer_key(TARGET), now=shop.clock)
    assert "not have the name of an artifact" in explain(shop.store, TARGET, f"{blob_prefix(TARGET)}x", now=shop.clock)
    assert "not in the store" in explain(shop.store, TARGET, blob_key(TARGET, "cooc", "0" * 64), now=shop.clock)


# --- refusals ---


def no_pointer(shop):
    shop.store.delete(pointer_key(TARGET))


def everything_gone(shop):
    shop.store.objects.clear()


def corrupt_pointer(shop):
    shop.store.put(pointer_key(TARGET), b"{")


def wrong_root(shop):
    """A store whose pointer names another place than any that the store was written under."""
    shop.store.name = "other"
    shop.store.put(PROOF, b'{"v":1,"root":"memory://third"}')


def cut(prefix):
    def spoil(shop):
        shop.store.inject(Fault("list", FaultMode.CUT, times=100, prefix=prefix))

    return spoil


def failing(prefix):
    def spoil(shop):
        shop.store.inject(Fault("list", FaultMode.FAIL, times=100, prefix=prefix))

    return spoil


def lost_entry(shop):
    shop.store.put(journal_key(TARGET, 3), b"{")


def corrupt_record(shop):
    shop.store.put(release_key(TARGET, read_current(shop.store, TARGET).release_id), b"{")


def corrupt_intent(shop):
    shop.store.put(f"{intent_prefix(TARGET)}{'0' * 32}.json", b"{")


def live_blob_gone(shop):
    current = read_current(shop.store, TARGET)
    shop.store.delete(blob_key(TARGET, "cooc", current.versions["cooc"]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(no_pointer, "nothing is live", id="F38 pointer missing"),
        pytest.param(everything_gone, "nothing is live", id="F38 F39 bucket emptied"),
        pytest.param(corrupt_pointer, "Pointer", id="F14 pointer corrupt"),
        pytest.param(wrong_root, "is not below", id="F38 wrong root"),
        pytest.param(cut("artifacts/"), "the listing lacks", id="F38 partial listing of artifacts"),
        pytest.param(failing("artifacts/"), "no answer", id="F38 listing fails"),
        pytest.param(failing("intents/"), "no answer", id="F11 F38 announcements cannot be listed"),
        pytest.param(lost_entry, "entry 3 is lost", id="F14 journal entry"),
        pytest.param(corrupt_record, "are unknown", id="F14 release record"),
        pytest.param(corrupt_intent, "Intent", id="F14 announcement"),
        pytest.param(live_blob_gone, "of the live release is missing", id="F12 live blob gone"),
    ],
)
def test_when_what_is_needed_is_not_known_nothing_is_collected(shop, spoil, message):
    for n in range(4):
        shop.ship(n)
    days_later(shop)
    spoil(shop)
    before = set(shop.store.objects)
    for apply in (False, True):
        with pytest.raises(Exception, match=message) as raised:
            gather(shop, apply=apply)
        assert type(raised.value).__name__ in {"RefusedError", "CorruptObjectError", "StoreUnavailableError"}
    assert before - set(shop.store.objects) == set()


def test_a_listing_of_announcements_that_ends_early_takes_nothing(shop):  # F38
    for n in range(4):
        shop.ship(n)
    days_later(shop)
    before = blobs(shop)
    shop.store.inject(Fault("list", FaultMode.CUT, nth=2, times=100, prefix="intents/"))
    with pytest.raises(RefusedError, match="incomplete"):
        gather(shop)
    assert blobs(shop) == before
    shop.store.heal()
    gather(shop)
    assert sound(shop)
    assert len(blobs(shop)) == 4


# --- beside other writers ---


def interleave(shop, at, work):
    """Run `work` once, right before the `at`-th call that the other side makes from now on.

    Before every single call, all that the pointer names is there: a reader may come at any instant.
    """
    seen = []

    def on_call(*_):
        seen.append(1)
        pointer = msgspec.json.decode(shop.store.objects[pointer_key(TARGET)][0])
        for uri in pointer["current"].values():
            assert uri.removeprefix("memory://store/") in shop.store.objects, f"gone before call {len(seen)}"
        if len(seen) == at:
            shop.store.on_call = None
            work()
            shop.store.on_call = on_call

    shop.store.on_call = on_call
    return seen


def old_content_again(shop):
    """Four releases, the oldest unreferenced by now, and staged once more: nothing new is uploaded."""
    old = shop.ship(0).release
    for n in range(1, 4):
        shop.ship(n)
    days_later(shop)
    shop.stage(0)
    return old


def test_a_publish_that_reuses_an_old_artifact_meets_a_collection_anywhere(shop):  # F36 F37
    steps, old, prepared = 0, old_content_again(shop), shop
    while True:
        shop = copied(prepared)
        seen = interleave(shop, steps + 1, lambda shop=shop: gather(shop))
        outcome = shop.publish(0, allow_older=True)
        shop.store.on_call = None
        assert outcome.how is Ruling.SHIP
        assert read_current(shop.store, TARGET).release_id == old.id
        assert blobs_of(old) <= blobs(shop), f"collected before call {steps + 1}"
        assert sound(shop)
        if len(seen) <= steps:
            break
        steps += 1
    assert steps > 20


def test_a_collection_meets_a_publish_that_reuses_an_old_artifact_anywhere(shop):  # F36 F37
    steps, old, prepared = 0, old_content_again(shop), shop
    while True:
        shop = copied(prepared)
        problems = []

        def ship(shop=shop, problems=problems):
            try:
                shop.publish(0, allow_older=True)
            except ConflictError as error:  # it met the collection under way: it says to run again
                problems.append(error)

        seen = interleave(shop, steps + 1, ship)
        gather(shop)
        shop.store.on_call = None
        assert sound(shop), f"published before call {steps + 1}"
        assert shop.publish(0, allow_older=True).live == old.id
        assert blobs_of(old) <= blobs(shop)
        if len(seen) <= steps:
            break
        steps += 1
    assert steps > 20


def test_a_publish_whose_writer_slept_for_days_finds_its_artifact_or_is_refused(shop):  # F6
    shipped = shop.ship(0).release
    shop.stage(1)
    done = []

    def sleep_before_swap(verb, key):
        if verb == "swap" and key == pointer_key(TARGET) and not done:
            done.append(1)
            rival = Shop(shop.store, clock=shop.clock)
            days_later(shop, 5)
            for n in range(5, 9):
                rival.ship(n)
            days_later(shop, 5)
            gather(shop)
            days_later(shop, 5)
            gather(shop)

    shop.store.on_call = sleep_before_swap
    assert shop.publish(1).how is Ruling.OLDER
    assert read_current(shop.store, TARGET).release_id != shipped.id
    assert sound(shop)


@pytest.mark.parametrize("collections", [1, 2])
def test_a_publish_that_slept_past_its_own_announcement_never_ships_what_was_taken(shop, collections):  # F6 F36
    old = old_content_again(shop)
    live = read_current(shop.store, TARGET).release_id
    done = []

    def sleep_before_swap(verb, key):
        if verb == "swap" and key == pointer_key(TARGET) and not done:
            done.append(1)
            for _ in range(collections):
                days_later(shop, 5)
                gather(shop)
            assert not blobs_of(old) & blobs(shop)

    shop.store.on_call = sleep_before_swap
    if collections == 1:  # still in the trash: taken back before the next attempt
        assert shop.publish(0, allow_older=True).live == old.id
    else:
        with pytest.raises(RefusedError, match="build the day again"):
            shop.publish(0, allow_older=True)
        assert read_current(shop.store, TARGET).release_id == live
    shop.store.on_call = None
    assert sound(shop)


def test_what_a_hold_keeps_from_shipping_is_kept_whatever_is_staged(shop):
    shop.ship(0)
    place_hold(shop.store, TARGET, by=Actor("ann", "a test"), now=shop.clock)
    held = shop.ship(1)
    assert held.how is Ruling.HELD
    for item in list(shop.store.list("staging/")):
        shop.store.delete(item.key)
    days_later(shop)
    collect(shop.store, TARGET, by=Actor("ann", "a test"), now=shop.clock, retention=Retention(keep=1), apply=True)
    assert all(shop.store.stat(blob_key(TARGET, ref.kind, ref.version)) for ref in held.release.refs.values())


def test_an_announcement_protects_until_it_is_older_than_the_grace(shop):
    shop.ship(0)
    now, grace = shop.clock(), timedelta(days=1)
    announced = Intent(
        id="a" * 32,
        action="ship",
        release="b" * 64,
        at=rfc3339(now - grace),
        actor="ann",
        reason="x",
        run_id=None,
        refs=(),
    )
    shop.store.put(intent_key(TARGET, announced.id), encode(announced))

    def stale(at):
        return read_roots(shop.store, TARGET, Retention(keep=1, grace=grace), now=at).stale_intents

    assert stale(now) == ()
    assert stale(now + timedelta(microseconds=1)) == (intent_key(TARGET, announced.id),)


def test_a_dead_publish_stops_protecting_after_the_grace(shop):
    for n in range(4):
        shop.ship(n)
    shop.stage(0, content=5)

    def die(verb, key):
        if verb == "swap" and key == pointer_key(TARGET):
            raise KeyboardInterrupt

    shop.store.on_call = die
    shop.store.inject(Fault("delete", FaultMode.FAIL, times=100, prefix="intents/"))
    with pytest.raises(KeyboardInterrupt):
        shop.publish(0, allow_older=True)
    shop.store.on_call = None
    shop.store.heal()
    kept = {item.key for item in gather(shop, apply=False).kept}
    assert len(kept) == 10
    days_later(shop)
    assert len(gather(shop).stale_intents) == 1
    assert list(shop.store.list(intent_prefix(TARGET))) == []
    assert len(blobs(shop)) == 4


@pytest.mark.parametrize("verb", ["get", "create", "swap", "delete", "list", "stat"])
def test_a_collection_that_breaks_anywhere_is_finished_by_the_next(shop, verb):  # F2 F11 F15
    broke, prepared = 0, shop
    for n in range(4):
        prepared.ship(n)
    days_later(prepared)
    for nth in range(1, 60):
        shop = copied(prepared)
        shop.store.inject(Fault(verb, FaultMode.FAIL, nth=nth, times=10**6))
        error = attempt(shop)
        shop.store.heal()
        if error is None:
            break
        assert "as requested" in str(error)
        broke += 1
        assert not any(proof.faults for proof in verify(shop.store, TARGET, keep=2).releases)
        gather(shop)
        assert len(blobs(shop)) == 4
        assert shop.store.stat(sweep_key(TARGET)) is None
        assert sound(shop)
        days_later(shop)
        gather(shop)
        assert list(shop.store.list(trash_prefix(TARGET))) == []
    assert broke > 0


def test_a_collection_that_slept_through_its_own_end_takes_nothing_more(shop):  # F6
    old = old_content_again(shop)
    done = []

    def sleep_before_delete(verb, key):
        if verb == "delete_unchanged" and key.startswith("artifacts/") and not done:
            done.append(1)
            gather(shop, by=Actor("bob", "finishes it"))
            shop.publish(0, allow_older=True)

    shop.store.on_call = sleep_before_delete
    gather(shop)
    shop.store.on_call = None
    assert read_current(shop.store, TARGET).release_id == old.id
    assert sound(shop)


def test_a_collection_that_slept_before_its_decision_never_carries_out_the_next_one(shop):  # F6
    for n in range(4):
        shop.ship(n)
    days_later(shop)
    live = read_current(shop.store, TARGET).pointer.current
    needed = tuple(CollectedBlob(kind=kind, version=uri[-69:-5], size=1) for kind, uri in live.items())
    asleep = []

    def sleep_before_decision(verb, key):
        fenced = any(HORIZON.encode() in data for data, _ in shop.store.objects.values())
        if (verb, key) == ("get", sweep_key(TARGET)) and fenced and not asleep:
            asleep.append(1)
            gather(shop, by=Actor("bob", "finishes it"))
            following = Sweep(
                id="6" * 32, at="2026-03-13T00:00:00Z", actor="cy", reason="", decided=False, taken=needed
            )
            create_document(shop.store, sweep_key(TARGET), following)

    shop.store.on_call = sleep_before_decision
    with pytest.raises(ConflictError, match="collect again"):
        gather(shop)
    shop.store.on_call = None
    assert sound(shop)


def test_a_trashed_artifact_that_is_needed_again_is_not_emptied(shop):
    old = old_content_again(shop)
    gather(shop)
    assert not blobs_of(old) & blobs(shop)
    assert shop.publish(0, allow_older=True).how is Ruling.SHIP  # taken back from the trash by itself
    days_later(shop)
    gather(shop)
    assert blobs_of(old) <= blobs(shop)
    assert sound(shop)


def test_what_is_staged_again_for_a_day_that_may_ship_is_taken_back_before_the_trash_is_emptied(shop):
    for n in range(5):
        shop.ship(n)
    staged = shop.stage(3, content=5)
    keys = {blob_key(TARGET, ref.kind, ref.version) for ref in staged.values()}
    days_later(shop)
    gather(shop)  # live data has passed the day that it was staged for
    assert not keys & blobs(shop)
    roll_back(shop.store, TARGET, to="previous", by=ANN, now=shop.clock)
    days_later(shop)
    gather(shop)
    assert keys <= blobs(shop)


def test_the_grace_ends_for_artifacts_trash_and_former_releases_to_the_second(shop):  # F16
    releases = [shop.ship(n).release for n in range(4)]
    shop.clock.step = timedelta()
    written = {key: shop.store.objects[key][1] for key in blobs(shop)}
    left = journal.tail(shop.store, TARGET).pointer_at

    def taken_at(moment):
        plan = collect(shop.store, TARGET, by=ANN, now=lambda: moment, retention=Retention(keep=1))
        return {item.key for item in plan.taken}

    grace, tick = KEEP_TWO.grace, timedelta(microseconds=1)
    second = max(datetime.fromtimestamp(written[key], UTC) for key in blobs_of(releases[1])) + grace
    end = parse_rfc3339(left) + grace
    assert blobs_of(releases[2]) <= taken_at(end)
    assert not blobs_of(releases[2]) & taken_at(end - tick)
    assert second < end
    shop.clock.at = end
    gather(shop, retention=Retention(keep=1))
    emptied = len(trash(shop))
    assert emptied
    shop.clock.at = end + grace - tick
    assert gather(shop, retention=Retention(keep=1)).emptied == ()
    shop.clock.at = end + grace
    assert len(gather(shop, retention=Retention(keep=1)).emptied) == emptied


def test_an_artifact_that_nothing_names_is_taken_when_it_is_as_old_as_the_grace(shop):  # F16
    for n in range(2):
        shop.ship(n)
    unnamed = blob_key(TARGET, "cooc", "0" * 64)
    shop.store.put(unnamed, b"{}")
    end = datetime.fromtimestamp(shop.store.objects[unnamed][1], UTC) + KEEP_TWO.grace
    for moment, expected in ((end - timedelta(microseconds=1), set()), (end, {unnamed})):
        plan = collect(shop.store, TARGET, by=ANN, now=lambda moment=moment: moment, retention=KEEP_TWO)
        assert {item.key for item in plan.taken} == expected


def test_wrong_bytes_in_the_trash_are_not_taken_back(shop):  # F13
    old_content_again(shop)
    gather(shop)
    for key in trash(shop):
        shop.store.put(key, b"x")
    with pytest.raises((RefusedError, CorruptObjectError)):
        shop.publish(0, allow_older=True)
    assert sound(shop)


def test_a_collection_is_recorded_in_the_journal(shop):
    for n in range(4):
        shop.ship(n)
    days_later(shop)
    gather(shop)
    newest = journal.tail(shop.store, TARGET)
    assert (newest.action, newest.outcome, newest.actor) == ("collect", "done", "ann")
    assert newest.details["taken"] == 4
