"""Publish ships only what proves itself, in order, and says why in every other case; what is live stays live."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from recsys_assets.artifact_format import version_of
from recsys_assets.errors import (
    ConfigurationError,
    ConflictError,
    CorruptObjectError,
    OutcomeUnknownError,
    RefusedError,
    StoreUnavailableError,
    UnsafeStoreError,
)
from recsys_assets.evidence import Verdict
from recsys_assets.identity import Target, Window
from recsys_assets.release import journal
from recsys_assets.release.candidate import Requirement
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import CanonicalRecord, StagedArtifact
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import (
    blob_key,
    canonical_gates_key,
    canonical_record_key,
    intent_prefix,
    journal_prefix,
    pointer_key,
    release_key,
    staged_gates_key,
    staged_key,
)
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets_tests.release.staging import (
    BOT,
    GATES,
    KINDS,
    POLICY,
    REQUIREMENTS,
    TARGET,
    Shop,
    artifact,
    change_canonical,
    change_staged,
    day,
    report_of,
    stage_blob,
    stage_canonical,
    stored_report,
)

ANN = Actor("ann", "by hand")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def shop(store):
    return Shop(store)


def live(store, target=TARGET):
    current = read_current(store, target)
    return current and current.release_id


def attempt(shop, n):
    """Publish, and return what went wrong, if anything did."""
    try:
        shop.publish(n)
    except (StoreUnavailableError, ConfigurationError, RefusedError) as error:
        return error
    return None


def entries(store, target=TARGET):
    return [(e.action, e.outcome) for e in reversed(list(journal.newest_first(store, target)))]


def test_a_proven_day_ships_and_leaves_a_record_a_pointer_and_one_entry(shop, store):
    outcome = shop.ship(0)
    current = read_current(store, TARGET)
    assert outcome.how is Ruling.SHIP
    assert outcome.live == current.release_id == outcome.release.id
    assert entries(store) == [("ship", "done")]
    assert list(store.list(intent_prefix(TARGET))) == []
    release = read_release(store, TARGET, outcome.release.id)
    assert release == outcome.release
    assert {m.ref.kind for m in release.members} == set(KINDS)
    assert all(m.gates.passed and m.build.run_id == "run-1" for m in release.members)
    assert [c.day for c in release.canonical] == [day(0).isoformat()]
    assert release.canonical[0].inputs[0].name == f"raw/{day(0)}.jsonl"


def test_the_pointer_has_exactly_five_keys_and_uris_below_the_root(shop, store):
    shop.ship(0)
    pointer = msgspec.json.decode(store.get(pointer_key(TARGET), max_bytes=10_000).data)
    assert list(pointer) == ["v", "tenant", "surface", "current", "updated_at"]
    assert (pointer["v"], pointer["tenant"], pointer["surface"]) == (1, "shop", "home")
    assert all(uri.startswith("memory://store/artifacts/shop/home/") for uri in pointer["current"].values())
    assert pointer["updated_at"].endswith("Z")


def test_the_release_id_can_be_computed_from_the_pointer_alone(shop, store):
    outcome = shop.ship(0)
    assert read_current(store, TARGET).release_id == outcome.release.id


def test_the_same_day_again_is_a_no_op_that_is_recorded(shop, store):
    shop.ship(0)
    before = store.get(pointer_key(TARGET), max_bytes=10_000)
    outcome = shop.publish(0)
    assert outcome.how is Ruling.UNCHANGED
    assert store.get(pointer_key(TARGET), max_bytes=10_000) == before
    assert entries(store) == [("ship", "done"), ("ship", "unchanged")]


def test_an_older_day_is_recorded_and_does_not_move_the_pointer(shop, store):
    newest = shop.ship(5).release.id
    outcome = shop.ship(3)
    assert outcome.how is Ruling.OLDER
    assert outcome.exit_code == 1, "who ships by hand asked for something else"
    assert shop.publish(3, dry_run=True).exit_code == 0
    assert live(store) == newest
    assert read_release(store, TARGET, outcome.release.id).data_through == day(3).isoformat()
    assert shop.publish(3, allow_older=True).how is Ruling.SHIP
    assert live(store) == outcome.release.id


def test_the_same_day_with_other_content_ships(shop, store):
    shop.ship(3)
    outcome = shop.ship(3, content=1)
    assert outcome.how is Ruling.SHIP
    assert live(store) == outcome.release.id


def test_a_dry_run_says_the_same_and_changes_no_byte(shop, store):
    shop.ship(0)
    shop.stage(1)
    before = dict(store.objects)
    outcome = shop.publish(1, dry_run=True)
    assert outcome.how is Ruling.SHIP
    assert outcome.entry is None
    assert store.objects == before
    shop.store = MemoryStore()
    shop.stage(1)
    before = dict(shop.store.objects)
    shop.publish(1, dry_run=True)
    assert shop.store.objects == before


def change_report(store, **change):
    change_staged(store, TARGET, day(1), "cooc", gates=replace(stored_report(store, TARGET, day(1), "cooc"), **change))


def refuse(report):
    findings = (replace(report.findings[0], verdict=Verdict.REFUSED, message="too big"), *report.findings[1:])
    return replace(report, findings=findings)


def gate_skipped(store):
    change_staged(store, TARGET, day(1), "cooc", gates=UNSET)


def gate_crashed(store):
    change_report(store, findings=stored_report(store, TARGET, day(1), "cooc").findings[:1])


def gate_refused(store):
    change_staged(store, TARGET, day(1), "cooc", gates=refuse(stored_report(store, TARGET, day(1), "cooc")))


def gate_of_other_bytes(store):
    change_report(store, version="0" * 64)


def gate_of_other_subject(store):
    change_report(store, subject="popularity")


def gate_of_other_limits(store):
    change_report(store, policy="q" * 64)


def gate_that_found_nothing(store):
    change_report(store, findings=())


def in_format_1(store):
    """Write what is staged of `cooc` as format 1 did: the report in a document beside."""
    store.put(staged_gates_key(TARGET, day(1), "cooc"), encode(stored_report(store, TARGET, day(1), "cooc")))
    change_staged(store, TARGET, day(1), "cooc", gates=UNSET, v=1)


def former_report_corrupt(store):
    in_format_1(store)
    store.put(staged_gates_key(TARGET, day(1), "cooc"), b"{")


def former_report_refused(store):
    gate_refused(store)
    in_format_1(store)


def former_report_beside_an_artifact_that_was_not_judged(store):
    in_format_1(store)
    change_staged(store, TARGET, day(1), "cooc", v=2)


def canonical_gate_skipped(store):
    change_canonical(store, TARGET, day(1), gates=UNSET)


def canonical_gate_refused(store):
    record = read_document(store, canonical_record_key(TARGET, day(1)), CanonicalRecord)
    change_canonical(store, TARGET, day(1), gates=refuse(record.gates))


def canonical_in_format_1(store):
    """Write a canonical day as format 1 did: the report in a document beside."""
    key = canonical_record_key(TARGET, day(1))
    store.put(canonical_gates_key(TARGET, day(1)), encode(read_document(store, key, CanonicalRecord).gates))
    change_canonical(store, TARGET, day(1), gates=UNSET, v=1)


def former_canonical_report_corrupt(store):
    canonical_in_format_1(store)
    store.put(canonical_gates_key(TARGET, day(1)), b"{")


def former_canonical_report_refused(store):
    canonical_gate_refused(store)
    canonical_in_format_1(store)


def canonical_rebuilt(store):
    stage_canonical(store, TARGET, day(1), content=99)


def canonical_gone(store):
    store.delete(canonical_record_key(TARGET, day(1)))


def kind_not_built(store):
    store.delete(staged_key(TARGET, day(1), "cooc"))


def staged_corrupt(store):
    store.put(staged_key(TARGET, day(1), "cooc"), b'{"v":1}')


def staged_of_another_day(store):
    store.put(staged_key(TARGET, day(1), "cooc"), store.objects[staged_key(TARGET, day(0), "cooc")][0])


def staged_version(store, kind):
    return read_document(store, staged_key(TARGET, day(1), kind), StagedArtifact).ref.version


def blob_of(store):
    return blob_key(TARGET, "cooc", staged_version(store, "cooc"))


def blob_gone(store):
    store.delete(blob_of(store))


def blob_bit_flipped(store):
    data = bytearray(store.objects[blob_of(store)][0])
    data[40] ^= 1
    store.put(blob_of(store), bytes(data))


def blob_truncated(store):
    store.put(blob_of(store), store.objects[blob_of(store)][0][:-1])


def blob_appended(store):
    store.put(blob_of(store), store.objects[blob_of(store)][0] + b" ")


def blob_of_other_tenant(store):
    other = Target("evil", "home")
    ref = stage_blob(MemoryStore(), other, day(1), "cooc")
    source = MemoryStore()
    stage_blob(source, other, day(1), "cooc")
    store.create(blob_key(TARGET, "cooc", ref.version), source.objects[blob_key(other, "cooc", ref.version)][0])
    change_staged(store, TARGET, day(1), "cooc", ref=ref, gates=report_of("cooc", ref.version))


REFUSALS = [
    pytest.param(gate_skipped, "cooc: gates contract, size did not run, or crashed", id="F32 gate skipped"),
    pytest.param(gate_crashed, "cooc: gate size did not run, or crashed", id="F32 gate crashed"),
    pytest.param(gate_refused, "cooc: gate contract refused: too big", id="F32 gate refused"),
    pytest.param(gate_of_other_bytes, "cooc: its gates evaluated cooc 000000000000", id="F32 gate of other bytes"),
    pytest.param(gate_of_other_subject, "its gates evaluated popularity", id="F32 gate of another subject"),
    pytest.param(gate_of_other_limits, "cooc: its gates used other limits", id="F32 F48 gate of other limits"),
    pytest.param(gate_that_found_nothing, "cooc: gate contract did not run", id="F32 empty report"),
    pytest.param(former_report_corrupt, "cooc: .*is not a GateReport", id="F14 report corrupt"),
    pytest.param(former_report_refused, "cooc: gate contract refused: too big", id="F32 refused, in format 1"),
    pytest.param(
        former_report_beside_an_artifact_that_was_not_judged, "cooc: gates contract, size did", id="F32 former report"
    ),
    pytest.param(canonical_gate_skipped, "canonical 2026-03-02: gates contract, size did not", id="F32 canonical gate"),
    pytest.param(canonical_gate_refused, "canonical 2026-03-02: gate contract refused", id="F32 canonical refused"),
    pytest.param(
        former_canonical_report_corrupt, "canonical 2026-03-02: .*is not a GateReport", id="F14 day in format 1"
    ),
    pytest.param(former_canonical_report_refused, "canonical 2026-03-02: gate contract ref", id="F32 day in format 1"),
    pytest.param(canonical_rebuilt, "cooc: canonical 2026-03-02 was rebuilt", id="F29 F31 canonical rebuilt since"),
    pytest.param(canonical_gone, "cooc: canonical 2026-03-02 was rebuilt", id="canonical gone"),
    pytest.param(kind_not_built, "cooc: was not built", id="F32 kind not built"),
    pytest.param(staged_corrupt, "cooc: .*is not a StagedArtifact", id="F14 reference corrupt"),
    pytest.param(
        staged_of_another_day, "cooc: the staged artifact is cooc of 2026-03-01", id="F32 reference of another day"
    ),
    pytest.param(blob_gone, "cooc: .*not in the store", id="F12 blob gone"),
    pytest.param(blob_bit_flipped, "cooc: .*digest", id="F13 bit flipped"),
    pytest.param(blob_truncated, "cooc: .*expected", id="F13 truncated"),
    pytest.param(blob_appended, "cooc: .*at most", id="F13 appended"),
    pytest.param(blob_of_other_tenant, "belongs to another target", id="F20 other tenant's blob"),
]


@pytest.mark.parametrize(("spoil", "message"), REFUSALS)
def test_a_day_that_does_not_prove_itself_is_refused_by_name_and_reported(shop, store, spoil, message):
    shipped = shop.ship(0).release.id
    shop.stage(1)
    spoil(store)
    with pytest.raises(RefusedError, match=message):
        shop.publish(1)
    assert live(store) == shipped
    assert entries(store) == [("ship", "done"), ("ship", "refused")]
    assert list(store.list(intent_prefix(TARGET))) == []
    with pytest.raises(RefusedError, match=message):
        shop.publish(1, dry_run=True)
    shop.stage(1, content=1)
    assert shop.publish(1).how is Ruling.SHIP


def test_every_fault_is_named_at_once(shop, store):
    shop.stage(1)
    gate_refused(store)
    canonical_gate_skipped(store)
    store.delete(staged_key(TARGET, day(1), "popularity"))
    with pytest.raises(RefusedError) as raised:
        shop.publish(1)
    for message in ("cooc: gate contract", "canonical 2026-03-02", "popularity: was not built"):
        assert message in str(raised.value)


def test_an_advice_does_not_stop_a_day(shop, store):  # F32
    shop.stage(1)
    findings = stored_report(store, TARGET, day(1), "cooc").findings
    change_report(store, findings=tuple(replace(finding, verdict=Verdict.ADVISED) for finding in findings))
    assert shop.publish(1).how is Ruling.SHIP


def test_a_day_that_was_staged_in_format_1_ships(shop, store):
    shop.stage(1)
    in_format_1(store)
    canonical_in_format_1(store)
    assert shop.publish(1).how is Ruling.SHIP


def test_a_kind_of_which_nothing_is_required_is_a_mistake_in_the_configuration(shop):
    shop.stage(0)
    shop.requirements = {kind: Requirement(POLICY, GATES) for kind in KINDS}
    with pytest.raises(ConfigurationError, match="canonical"):
        shop.publish(0)


def test_a_window_needs_every_day_that_there_is(shop, store):
    for n in range(3):
        stage_canonical(store, TARGET, day(n))
    inputs = [stage_canonical(store, TARGET, day(n)) for n in (0, 2)]
    shop.kinds = ("cooc",)
    stage_blob(store, TARGET, day(2), "cooc", window_days=3, inputs=inputs)
    with pytest.raises(RefusedError, match="canonical 2026-03-02 was added or accepted after it was built"):
        shop.publish(2)
    store.delete(canonical_record_key(TARGET, day(1)))
    outcome = shop.publish(2)
    assert [c.day for c in outcome.release.canonical] == ["2026-03-01", "2026-03-03"]


def test_what_is_made_from_the_catalog_needs_no_canonical_day(shop, store):
    shop.kinds = ("content_sim",)
    shop.requirements = REQUIREMENTS | {"content_sim": Requirement(POLICY, GATES)}
    stage_blob(store, TARGET, day(0), "content_sim")
    assert shop.publish(0).release.canonical == ()


def test_one_target_never_touches_another(shop, store):
    other = Shop(store, Target("shop", "search"))
    shipped = other.ship(0).release.id
    shop.stage(0)
    change_staged(store, TARGET, day(0), "cooc", gates=UNSET)
    with pytest.raises(RefusedError):
        shop.publish(0)
    assert live(store, other.target) == shipped
    assert entries(store, other.target) == [("ship", "done")]
    assert shop.ship(0).release.id != shipped  # F20: the same content of another target is another release


# --- the pointer moves once, whatever happens to a reply ---


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(FaultMode.LOSE_REPLY, id="F7 reply lost"),
        pytest.param(FaultMode.LOSE_REQUEST, id="F7 request lost"),
        pytest.param(FaultMode.FAIL, id="F9 unavailable once"),
    ],
)
@pytest.mark.parametrize(
    ("verb", "prefix"),
    [
        ("swap", "registry/current"),
        ("create", "registry/journal"),
        ("create", "intents"),
        ("create", "releases"),
    ],
)
def test_a_lost_reply_ends_in_one_ship_and_one_entry(shop, store, how, verb, prefix):
    shop.ship(0)
    shop.stage(1)
    store.inject(Fault(verb, how, prefix=prefix))
    try:
        outcome = shop.publish(1)
    except StoreUnavailableError:
        assert how is FaultMode.FAIL
        store.heal()
        outcome = shop.publish(1)
    assert live(store) == outcome.release.id
    store.heal()
    shop.publish(1)
    message = [e for e in entries(store) if e[1] in {"done", "recovered"}]
    assert len(message) == 2
    assert {e[0] for e in message} == {"ship"}


def test_a_lost_first_ship_is_found_again(shop, store):  # F7
    shop.stage(0)
    store.inject(Fault("create", FaultMode.LOSE_REPLY, prefix="registry/current"))
    assert shop.publish(0).how is Ruling.SHIP
    assert entries(store) == [("ship", "done")]


def test_an_outcome_that_cannot_be_read_back_at_once_is_found_on_the_next_look(shop, store):  # F7
    shop.ship(0)
    shop.stage(1)
    swapped = []

    def blind(verb, key):
        if verb == "swap" and key == pointer_key(TARGET):
            swapped.append(key)
            if len(swapped) == 1:
                store.inject(Fault("get", FaultMode.FAIL, prefix="registry/current"))

    store.on_call = blind
    store.inject(Fault("swap", FaultMode.LOSE_REPLY, prefix="registry/current"))
    outcome = shop.publish(1)
    assert outcome.how is Ruling.SHIP
    assert len(swapped) == 1
    assert entries(store) == [("ship", "done"), ("ship", "done")]


def test_a_store_that_stays_silent_keeps_the_announcement_and_cleans_nothing_up(shop, store):  # F7 F11
    shop.ship(0)
    shop.stage(1)

    def silence(verb, key):
        if verb == "swap" and key == pointer_key(TARGET):
            store.inject(Fault("get", FaultMode.FAIL, times=10**6), Fault("swap", FaultMode.FAIL, times=10**6))

    store.on_call = silence
    with pytest.raises(StoreUnavailableError):
        shop.publish(1)
    store.on_call = None
    store.heal()
    assert len(list(store.list(intent_prefix(TARGET)))) == 1
    assert shop.publish(1).how in {Ruling.SHIP, Ruling.UNCHANGED}


def test_a_swap_that_nobody_answers_is_an_unknown_outcome(shop, store):  # F7
    shop.ship(0)
    shop.stage(1)
    store.inject(Fault("swap", FaultMode.LOSE_REQUEST, times=10**6, prefix="registry/current"))
    with pytest.raises(OutcomeUnknownError):
        shop.publish(1)
    store.heal()
    assert shop.publish(1).how is Ruling.SHIP


def test_a_ship_whose_journal_is_unavailable_stands_and_is_reported_by_the_next(shop, store):
    shop.ship(0)
    shop.stage(1)

    def after_swap(verb, key):
        if verb == "swap" and key == pointer_key(TARGET):
            store.inject(Fault("create", FaultMode.FAIL, times=3, prefix="registry/journal"))

    store.on_call = after_swap
    outcome = shop.publish(1)
    store.on_call = None
    assert outcome.how is Ruling.SHIP
    assert outcome.entry.sequence == 0
    shop.publish(1)
    assert entries(store) == [("ship", "done"), ("ship", "recovered"), ("ship", "unchanged")]


def test_a_refusal_that_cannot_be_written_down_says_so(shop, store):
    shop.ship(0)
    store.inject(Fault("create", FaultMode.FAIL, times=9, prefix="registry/journal"))
    with pytest.raises(RefusedError) as refused:
        shop.publish(1)  # nothing is staged
    assert "the journal entry of this refusal could not be written" in refused.value.__notes__[0]


def test_a_publish_that_loses_judges_again_on_what_won(shop, store):
    shop.ship(0)
    shop.stage(1)
    rival = Shop(store, clock=shop.clock)
    done = []

    def overtake(verb, key):
        if verb == "swap" and key == pointer_key(TARGET) and not done:
            done.append(1)
            rival.ship(4)

    store.on_call = overtake
    outcome = shop.publish(1)
    assert outcome.how is Ruling.OLDER  # what won is newer: the fence is judged on it, not on what was read first
    assert live(store) == rival.publish(4).release.id


def test_a_publish_in_flight_loses_against_a_hold(shop, store):  # F34
    shipped = shop.ship(0).release.id
    shop.stage(1)
    done = []

    def hold_now(verb, key):
        if verb == "swap" and key == pointer_key(TARGET) and not done:
            done.append(1)
            place_hold(store, TARGET, by=ANN, now=shop.clock)

    store.on_call = hold_now
    outcome = shop.publish(1)
    assert (outcome.how, outcome.exit_code) == (Ruling.HELD, 1)
    assert list(store.list(intent_prefix(TARGET))) == [], "the swap that lost has left nothing to record"
    assert "release-hold" in outcome.message
    assert live(store) == shipped


def test_rivals_without_end_are_a_conflict_and_reported(shop, store):
    shop.ship(0)
    shop.stage(9)
    rival = Shop(store, clock=shop.clock)
    busy = []

    def overtake(verb, key):
        if verb == "swap" and key == pointer_key(TARGET) and not busy:
            busy.append(1)
            rival.ship(1, content=len(entries(store)))
            busy.clear()

    store.on_call = overtake
    with pytest.raises(ConflictError):
        shop.publish(9)
    store.on_call = None
    assert entries(store)[-1] == ("ship", "refused")


# --- what is wrong with the store ---


def test_a_store_that_ignores_conditions_gets_no_pointer(shop, store):  # F10
    shop.stage(0)
    store.inject(Fault("swap", FaultMode.IGNORE, times=10**6))
    with pytest.raises(UnsafeStoreError):
        shop.publish(0)
    assert live(store) is None


@pytest.mark.parametrize("verb", ["get", "create", "swap", "put", "stat", "delete"])
@pytest.mark.parametrize("how", [FaultMode.FAIL, FaultMode.DENY], ids=["F11 outage", "F50 forbidden"])
@pytest.mark.parametrize("prefix", ["", "registry/", "releases/", "artifacts/", "intents/", "staging/"])
def test_a_partial_outage_fails_cleanly_and_the_next_run_converges(shop, store, verb, how, prefix):
    shop.ship(0)
    shop.stage(1)
    store.inject(Fault(verb, how, times=10**6, prefix=prefix))
    error = attempt(shop, 1)
    assert error is None or "as requested" in str(error)
    store.heal()
    assert live(store) in {shop.publish(0, dry_run=True).release.id, shop.publish(1, dry_run=True).release.id}
    shop.publish(1)
    assert live(store) == shop.publish(1, dry_run=True).release.id
    assert sum(outcome in {"done", "recovered"} for _, outcome in entries(store)) == 2


def test_publishing_needs_no_listing(shop, store):  # F11
    store.inject(Fault("list", FaultMode.FAIL, times=10**6, prefix="a"))
    store.inject(Fault("list", FaultMode.FAIL, times=10**6, prefix="r"))
    store.inject(Fault("list", FaultMode.FAIL, times=10**6, prefix="i"))
    assert shop.ship(0).how is Ruling.SHIP
    assert shop.ship(1).how is Ruling.SHIP


def test_a_corrupt_pointer_stops_the_target_and_no_other(shop, store):  # F14
    shop.ship(0)
    store.put(pointer_key(TARGET), b"{}")
    shop.stage(1)
    with pytest.raises(CorruptObjectError, match=r"manifest\.json"):
        shop.publish(1)
    assert Shop(store, Target("shop", "search")).ship(1).how is Ruling.SHIP


def test_a_corrupt_record_is_named_and_never_shipped(shop, store):  # F14
    shipped = shop.ship(0).release.id
    shop.stage(1)
    release = shop.publish(1, dry_run=True).release
    store.put(release_key(TARGET, release.id), b"{}")
    with pytest.raises(CorruptObjectError, match=release.id):
        shop.publish(1)
    assert live(store) == shipped


def test_a_corrupt_journal_entry_stops_nobody(shop, store):  # F14
    shop.ship(0)
    shop.ship(1)
    newest = [item.key for item in store.list(journal_prefix(TARGET))][-1]
    store.put(newest, b"\x00")
    assert shop.ship(2).how is Ruling.SHIP
    assert [e[0] for e in entries(store)] == ["ship", "lost", "recover", "ship"]


def test_a_corrupt_announcement_stops_no_publish(shop, store):  # F14
    store.put(f"{intent_prefix(TARGET)}{'0' * 32}.json", b"{")
    assert shop.ship(0).how is Ruling.SHIP


def test_a_record_of_the_live_release_that_is_gone_stops_the_fence_unless_allowed(shop, store):
    shipped = shop.ship(0).release.id
    store.delete(release_key(TARGET, shipped))
    with pytest.raises(RefusedError, match="age is unknown"):
        shop.ship(1)
    assert shop.publish(1, allow_older=True).how is Ruling.SHIP


def test_a_pointer_that_is_gone_does_not_open_the_fence(shop, store):  # F39
    shop.ship(5)
    store.delete(pointer_key(TARGET))
    assert shop.ship(4).how is Ruling.OLDER
    assert live(store) is None
    assert shop.ship(6).how is Ruling.SHIP


# --- clocks ---


def test_pointer_times_only_grow_when_the_clock_jumps_back(shop, store):  # F16
    shop.ship(0)
    first = read_current(store, TARGET).updated_at
    shop.clock.at -= timedelta(hours=1)
    shop.ship(1)
    second = read_current(store, TARGET).updated_at
    assert second - first == timedelta(microseconds=1)
    store.delete(pointer_key(TARGET))
    shop.ship(2)
    assert read_current(store, TARGET).updated_at > second
    assert [e.sequence for e in journal.newest_first(store, TARGET)] == [3, 2, 1]


def test_the_journal_names_who_why_and_from_where_to_where(shop, store):
    first = shop.ship(0).release.id
    second = shop.ship(1).release.id
    newest = journal.tail(store, TARGET)
    assert (newest.actor, newest.reason, newest.run_id) == (BOT.name, BOT.reason, BOT.run_id)
    assert (newest.before, newest.after) == (first, second)
    assert newest.details["day"] == day(1).isoformat()
    assert newest.pointer_at == read_current(store, TARGET).pointer.updated_at


GOLDEN = "0ef6b7852e97aaed1d3e2eb1e564bff91a93f02555359dbaf8d1c90cb2c5b3a9"


def test_a_golden_artifact_proves_its_golden_version():
    rows = [{"item_id": "A", "count": 2}, *({"item_id": item, "count": 1} for item in "BCD")]
    on = date(2026, 1, 1)
    data, version = artifact(Target("demo", "home", "default"), "popularity", Window(on, on), rows)
    assert version == GOLDEN
    assert version_of(data, name="golden") == GOLDEN


def test_a_rival_of_the_same_instant_is_not_taken_for_the_swap_that_was_lost(shop, store):  # F7 F16
    shop.ship(0)
    for n in (1, 2):
        shop.stage(n)
    behind = datetime(2026, 1, 1, tzinfo=UTC)  # both write the first instant after that of the pointer
    store.inject(Fault("swap", FaultMode.LOSE_REQUEST, prefix=pointer_key(TARGET)))
    calls, done = [], []

    def ship_meanwhile(verb, key):
        calls.extend([verb] if key == pointer_key(TARGET) else [])
        if calls[-3:] == ["swap", "get", "get"]:
            store.on_call = None
            done.append(shop.publish(2, now=lambda: behind).how)

    store.on_call = ship_meanwhile
    outcome = shop.publish(1, now=lambda: behind)
    assert (done, outcome.how) == ([Ruling.SHIP], Ruling.OLDER)
