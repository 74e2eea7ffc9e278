"""Causes of staleness: each by its name, reported from what is in the store alone."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from recsys_assets.errors import ConflictError, RefusedError
from recsys_assets.evidence import Finding, Verdict
from recsys_assets.identity import rfc3339
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor, tail
from recsys_assets.release.labels import Labelled
from recsys_assets.release.layout import journal_key, pointer_key
from recsys_assets.release.marking import mark
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.heartbeats import Heartbeat, write_heartbeat
from recsys_assets.upkeep.staleness import Cause, RawFiles, explain_freshness, wanted_at
from recsys_assets.upkeep.status import BuildFailure, journal_failure
from recsys_assets_tests.release.staging import (
    KINDS,
    TARGET,
    Clock,
    Shop,
    change_canonical,
    change_staged,
    day,
    report_of,
)

AGE = timedelta(hours=30)
DUE = datetime(2026, 3, 3, 6, tzinfo=UTC)  # when data through day(1), 2 March, must be live
ANN = Actor("ann", "prices are wrong")
REFUSED = Finding("volume", Verdict.REFUSED, 0, {"min_events": 1}, "0 events, at least 1")


@pytest.fixture
def shop():
    opened = Shop(MemoryStore())
    opened.ship(0)
    opened.clock.at = DUE
    return opened


def explain(shop, raw=None, *, now=DUE):
    wanted = wanted_at(now, max_age=AGE, first=day(0), last=None)
    return explain_freshness(shop.store, TARGET, wanted, kinds=KINDS, raw=lambda _: raw or RawFiles(0))


def test_data_is_fresh_until_the_instant_at_which_the_next_day_is_due(shop):
    before = explain(shop, now=DUE - timedelta(seconds=1))
    assert (before.fresh, before.wanted_through, before.age_hours) == (True, day(0), 30.0)
    after = explain(shop)
    assert (after.fresh, after.cause, after.wanted_through) == (False, Cause.INPUT_MISSING, day(1))
    shop.ship(1)
    assert explain(shop).cause is Cause.FRESH


@pytest.mark.parametrize(
    ("now", "last", "wanted"),
    [
        pytest.param(DUE, None, day(1), id="due to the second"),
        pytest.param(DUE - timedelta(seconds=1), None, day(0), id="a second early"),
        pytest.param(DUE + timedelta(days=30), day(3), day(3), id="data that has ended is never older than its end"),
        pytest.param(DUE - timedelta(days=2), None, None, id="before the first day is due"),
        pytest.param(DUE.astimezone(tz=None), None, day(1), id="F16 in another zone"),
    ],
)
def test_the_wanted_day_is_the_oldest_that_ended_less_than_the_age_ago(now, last, wanted):
    assert wanted_at(now, max_age=AGE, first=day(0), last=last).day == wanted


def test_nothing_is_due_before_the_first_day():
    found = explain(Shop(MemoryStore()), now=DUE - timedelta(days=2))
    assert (found.fresh, found.data_through) == (True, None)


@pytest.mark.parametrize(
    ("raw", "cause", "message"),
    [
        pytest.param(RawFiles(0), Cause.INPUT_MISSING, "2026-03-02 has no raw file", id="F27 no file"),
        pytest.param(RawFiles(1, DUE, settled=False), Cause.INPUT_LATE, "still being written", id="F27 half a file"),
        pytest.param(
            RawFiles(2, DUE + timedelta(minutes=5)), Cause.INPUT_LATE, "after they were due", id="F26 came too late"
        ),
        pytest.param(
            RawFiles(2, DUE - timedelta(hours=20)), Cause.NOT_BUILT, "schedule and daemon", id="F33 nothing ran"
        ),
    ],
)
def test_a_day_without_events_is_explained_by_its_raw_files(shop, raw, cause, message):
    found = explain(shop, raw)
    assert found.cause is cause
    assert message in found.why


def test_events_without_artifacts_mean_that_the_run_ended_early(shop):
    shop.stage(1)
    change_staged(shop.store, TARGET, day(1), "cooc", gates=UNSET)
    assert explain(shop).cause is Cause.NOT_BUILT


def test_what_was_gated_and_never_shipped_says_so(shop):
    shop.stage(1)
    assert explain(shop).cause is Cause.NOT_SHIPPED


@pytest.mark.parametrize("subject", ["canonical", "cooc"])
def test_a_refused_gate_is_named_with_its_numbers_though_no_ship_was_tried(shop, subject):
    refs = shop.stage(1)
    version = refs["cooc"].version if subject == "cooc" else _canonical_digest(shop)
    report = report_of(subject, version, findings=(REFUSED,))
    if subject == "cooc":
        change_staged(shop.store, TARGET, day(1), "cooc", gates=report)
    else:
        change_canonical(shop.store, TARGET, day(1), gates=report)
    found = explain(shop)
    assert found.cause is Cause.GATE_REFUSED
    assert f"{subject}: gate volume refused: 0 events, at least 1" in found.why


def test_a_refusal_of_bytes_that_were_rebuilt_since_is_not_the_cause(shop):
    shop.stage(1)
    change_staged(shop.store, TARGET, day(1), "cooc", gates=report_of("cooc", "f" * 64, findings=(REFUSED,)))
    assert explain(shop).cause is not Cause.GATE_REFUSED


def test_a_hold_is_reported_with_who_and_why(shop):
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    found = explain(shop)
    assert found.cause is Cause.HELD
    assert "by ann (prices are wrong)" in found.why


def test_a_release_that_was_marked_bad_is_a_refusal(shop):
    shop.ship(1)
    bad = shop.publish(1).release.id
    mark(shop.store, TARGET, Labelled.BAD, bad, by=ANN, now=shop.clock)
    shop.ship(0, content=1, allow_older=True)
    with pytest.raises(RefusedError):
        shop.publish(1)
    found = explain(shop)
    assert found.cause is Cause.REFUSED
    assert "marked bad" in found.why


def refuse_day(shop, n, *, at):
    """Try to ship a day that was never built, by a clock that says `at`."""
    late, shop.clock.at = shop.clock.at, at
    with pytest.raises(RefusedError):
        shop.publish(n)
    shop.clock.at = late


def test_a_refusal_is_found_behind_entries_that_are_lost_and_by_a_clock_that_is_behind(shop):  # F14 F16
    refuse_day(shop, 1, at=datetime(2026, 3, 1, 20, tzinfo=UTC))  # four hours before the day began
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    release_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    newest = tail(shop.store, TARGET).sequence
    shop.store.put(journal_key(TARGET, newest), b"{")
    found = explain(shop)
    assert found.cause is Cause.REFUSED
    assert "was not built" in found.why


def test_the_search_for_an_attempt_ends_where_the_day_had_not_begun(shop):
    for n in range(2, 30):
        shop.ship(0, content=n)
    later = DUE + timedelta(days=20)
    read = []
    shop.store.on_call = lambda verb, key: read.append(key) if verb == "get" and "registry/journal/" in key else None
    assert explain(shop, now=later).cause is Cause.INPUT_MISSING
    assert len(set(read)) == 1


def test_f5_a_ship_that_lost_every_swap_is_a_conflict(shop):
    shop.stage(1)
    rival, busy = Shop(shop.store, clock=shop.clock), []

    def overtake(verb, key):
        if verb == "swap" and key == pointer_key(TARGET) and not busy:
            busy.append(1)
            rival.ship(0, content=1 + len(list(shop.store.list("registry/journal/"))))
            busy.clear()

    shop.store.on_call = overtake
    with pytest.raises(ConflictError):
        shop.publish(1)
    shop.store.on_call = None
    found = explain(shop)
    assert found.cause is Cause.CONFLICT
    assert "changed by another writer" in found.why


@pytest.mark.parametrize(
    ("minutes", "cause"),
    [
        pytest.param(5, Cause.FRESH, id="just swapped"),
        pytest.param(60, Cause.READERS_BEHIND, id="long after the swap"),
    ],
)
def test_fresh_data_that_consumers_do_not_serve_is_not_fresh_for_them(minutes, cause):
    shop = Shop(MemoryStore(), clock=Clock(DUE - timedelta(minutes=minutes)))
    shop.ship(1)
    beat = Heartbeat(
        consumer="web-1", release="b" * 64, state="fresh", seen_at=rfc3339(DUE), every_seconds=60.0, nonce="1"
    )
    write_heartbeat(shop.store, TARGET, beat, expected=None)
    found = explain(shop)
    assert found.cause is cause
    assert ("web-1" in found.why) == (cause is Cause.READERS_BEHIND)


@pytest.mark.parametrize("verb", ["get", "stat"])
def test_f11_a_store_that_does_not_answer_is_the_cause(shop, verb):
    shop.store.inject(Fault(verb, FaultMode.FAIL, times=1000))
    found = explain(shop)
    assert (found.fresh, found.cause) == (False, Cause.STORE_DOWN)


def test_f14_a_damaged_pointer_is_the_cause(shop):
    shop.store.put(pointer_key(TARGET), b"{")
    found = explain(shop)
    assert (found.fresh, found.cause) == (False, Cause.DAMAGED)
    assert "manifest.json" in found.why


def _canonical_digest(shop):
    _, record = shop.store.get(f"canonical/shop/home/{day(1)}.json", max_bytes=10_000).data.split(b'"digest":"', 1)
    return record[:64].decode()


def test_a_day_that_failed_before_its_swap_says_how_until_it_is_built(shop):
    failure = BuildFailure(day(1).isoformat(), "canonical", "InputError", "InputError: all 3 lines are bad")
    journal_failure(shop.store, TARGET, failure, by=ANN, now=shop.clock())
    found = explain(shop, RawFiles(1, DUE))
    assert found.cause is Cause.BUILD_FAILED
    assert "canonical of 2026-03-02: InputError: all 3 lines are bad" in found.why
    shop.stage(1)
    assert explain(shop).cause is Cause.NOT_SHIPPED
    shop.ship(1)
    assert explain(shop).cause is Cause.FRESH


@pytest.mark.parametrize(
    ("error", "cause"), [("gate", Cause.GATE_REFUSED), ("InputError", Cause.BUILD_FAILED)], ids=["gate", "input"]
)
def test_a_newest_day_without_a_file_does_not_hide_that_a_day_before_it_failed(shop, error, cause):
    for n in (1, 2):
        failure = BuildFailure(day(n).isoformat(), "canonical", error, f"gate volume refused day {n}")
        journal_failure(shop.store, TARGET, failure, by=ANN, now=shop.clock())
    found = explain(shop, now=DUE + timedelta(days=2))
    assert (found.cause, found.wanted_through) == (cause, day(3))
    assert "canonical of 2026-03-02: gate volume refused day 1; and 2026-03-04 has no raw file" in found.why
    shop.ship(1)
    assert "gate volume refused day 2; and" in explain(shop, now=DUE + timedelta(days=2)).why
    shop.ship(2)
    assert explain(shop, now=DUE + timedelta(days=2)).cause is Cause.INPUT_MISSING


def test_what_a_gate_says_of_the_day_as_it_is_comes_before_how_its_build_failed(shop):
    failure = BuildFailure(day(1).isoformat(), "popularity", "LimitExceededError", "too many items")
    journal_failure(shop.store, TARGET, failure, by=ANN, now=shop.clock())
    refs = shop.stage(1)
    report = replace(report_of("popularity", refs["popularity"].version), findings=(REFUSED,))
    change_staged(shop.store, TARGET, day(1), "popularity", gates=report)
    assert explain(shop).cause is Cause.GATE_REFUSED
