"""A day is scored on events that nothing was built from, beside the live release; the swap proves what came of it."""

from datetime import UTC, date, datetime, timedelta

import pytest

from recsys_assets.errors import ConfigurationError, RefusedError
from recsys_assets.evidence import Verdict
from recsys_assets.identity import Target
from recsys_assets.pipeline.arrivals import is_up_to_date
from recsys_assets.pipeline.backtest_arms import build_holdout
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.pipeline.run_backtest import BacktestResult, backtest_days
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.pipeline.warm_up import build_days
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.journal import Actor, newest_first
from recsys_assets.release.layout import canonical_key, canonical_record_key, raw_record_key, staged_gates_key
from recsys_assets.release.pointer import read_current
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.ring_world import RingDay, write_catalog, write_ring_day

TARGET = Target("shop", "home")
FIRST = date(2026, 1, 1)
SECOND, THIRD = FIRST + timedelta(days=1), FIRST + timedelta(days=2)
CONFIG = """
[artifacts]
window_days = 1
[raw]
exposures = "{day}.jsonl"
max_lost_share = 1
catalog = "catalog.jsonl"
[gates.rehearsal]
mode = "off"
[gates.backtest]
mode = "required"
min_samples = 100
rounds = 200
[[targets]]
tenant = "shop"
surface = "home"
"""
STRICT_DRIFT = """
[gates.drift]
mode = "required"
max_rows_factor = 1.3
max_unknown_share = 0.2
max_gini_rise = 0.2
"""


class Shop:
    """A store that days of the ring are built in, and shipped from.

    `built` holds what a build made of a store, by all that it depends on: shops of one folder share it.
    """

    def __init__(self, folder, config=CONFIG, *, built=None):
        self.folder, self.store = folder, MemoryStore()
        self.built = {} if built is None else built
        self.configure(config)
        write_catalog(folder)

    def configure(self, config):
        self.config = config
        self.settings = parse_settings(config.encode(), name="test", base=self.folder)
        self.row = self.settings.targets[0]

    def build(self, day, like=None):
        write_ring_day(self.folder, day, day.toordinal(), like)
        stored = frozenset((key, data) for key, (data, _) in self.store.objects.items())
        known = self.config, (self.folder / "catalog.jsonl").read_bytes(), stored, day, like
        if known not in self.built:
            build_days(self.settings, [day], store=self.store)
            self.built[known] = dict(self.store.objects)
        self.store.objects = dict(self.built[known])

    def ship(self, day, *, reason="the day's build", **options):
        by, now = Actor("nightly", reason), lambda: datetime.now(UTC)
        return ship_day(DayContext(self.store, self.settings, self.row, day, now=now), by=by, **options).outcome

    def report(self, day):
        """Return the back-test's report in the release that a day makes."""
        (report,) = self.ship(day).release.gates
        return report

    def refusal(self, day):
        with pytest.raises(RefusedError) as refused:
            self.ship(day)
        return str(refused.value)


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


@pytest.fixture(scope="module")
def open_live(tmp_path_factory):
    """A function that opens a shop of which the first day is live, shipped once for each configuration."""
    folder, built, shipped = tmp_path_factory.mktemp("live"), {}, {}

    def open_one(config):
        shop = Shop(folder, config, built=built)
        if config not in shipped:
            shop.build(FIRST)
            shop.ship(FIRST)
            shipped[config] = dict(shop.store.objects)
        shop.store.objects = dict(shipped[config])
        return shop

    return open_one


@pytest.fixture
def live(open_live):
    """A shop of which the first day is live."""
    return open_live(CONFIG)


def inputs_of(release):
    """Return names and digests of everything that a release's record says it was built from."""
    made = {(one.name, one.digest) for member in release.members for one in member.inputs}
    return {name for name, _ in made} | {digest for _, digest in made} | {day.digest for day in release.canonical}


def test_the_first_release_has_nothing_to_be_compared_with(shop):
    shop.build(FIRST)
    assert {(f.verdict, f.message) for f in shop.report(FIRST).findings} == {(Verdict.PASSED, "no baseline")}


def test_what_is_live_already_has_nothing_to_lose(live):
    report = live.report(FIRST)
    live.store.delete(staged_gates_key(TARGET, FIRST, "backtest"))
    assert report == live.report(FIRST) or {f.message for f in live.report(FIRST).findings} == {
        "this very release is live"
    }


def test_another_day_of_the_same_law_ships_on_the_last_part_of_its_own(live):
    live.build(SECOND)
    report = live.report(SECOND)
    assert report.passed
    assert report.facts["held_out"] == canonical_key(TARGET, SECOND)
    assert report.facts["hit_rate/cooc"] > 0.8  # nine steps of ten lead to the next item of the ring
    assert report.facts["sessions"] == 200


def test_with_a_next_day_it_is_scored_on_that_and_the_record_names_none_of_it(live):
    for day in (SECOND, THIRD):
        live.build(day)
    release = live.ship(SECOND).release
    facts = release.gates[0].facts
    assert facts["held_out"] == canonical_key(TARGET, THIRD)
    assert "held_out_since" not in facts
    assert {facts["held_out"], facts["held_out_digest"]}.isdisjoint(inputs_of(release))
    assert {facts["held_out"], facts["held_out_digest"]}.isdisjoint(inputs_of(live.ship(FIRST).release))


def test_nothing_is_said_of_users_who_are_hashed_by_two_keys(tmp_path, monkeypatch):
    """Whoever is looked up under another key has no answer: that is no reason to refuse, nor to ship."""
    shop = Shop(tmp_path, CONFIG.replace("[raw]", '[raw]\nuser_key = "env:TEST_USER_KEY"'))
    monkeypatch.setenv("TEST_USER_KEY", "k" * 32)
    shop.build(FIRST)
    shop.ship(FIRST)
    shop.build(SECOND)
    assert all("key" not in found.message for found in shop.report(SECOND).findings), "one key is no reason"
    monkeypatch.setenv("TEST_USER_KEY", "o" * 32)
    shop.build(THIRD)
    findings = shop.report(THIRD).findings
    assert {found.verdict for found in findings} == {Verdict.ADVISED}
    assert "not hashed by one key" in findings[0].message


def test_a_stand_in_knows_no_held_out_event(live):
    """Of a day that is cut at noon: its artifacts are those of a day of which the afternoon never was."""
    live.build(SECOND)
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    holdout = build_holdout(DayContext(live.store, live.settings, live.row, SECOND), until=noon, go_on=lambda: None)
    path = live.folder / f"{SECOND}.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.partition('"ts":"')[2] < f"{noon:%Y-%m-%dT%H:%M:%SZ}"))
    build_days(live.settings, [SECOND], store=live.store)
    live.configure(CONFIG.replace('mode = "required"', 'mode = "off"'))
    morning = live.ship(SECOND).release.refs
    for kind in ("popularity", "cooc", "implicit", "session_seq"):
        assert holdout.versions[kind] == morning[kind].version


@pytest.mark.parametrize("window", [1, 3])
def test_a_holdout_build_of_a_longer_window_is_made_of_every_other_day_whole(tmp_path, window):
    shop = Shop(tmp_path, f"[artifacts.cooc]\nwindow_days = {window}\n{CONFIG}")
    for day in (FIRST, SECOND):
        shop.build(day)
    end = datetime(2026, 1, 3, tzinfo=UTC)  # nothing is cut: the holdout build is the artifact itself
    holdout = build_holdout(DayContext(shop.store, shop.settings, shop.row, SECOND), until=end, go_on=lambda: None)
    assert holdout.versions["cooc"] == shop.ship(SECOND).release.refs["cooc"].version


def test_a_live_release_that_has_seen_the_events_is_no_baseline(live):
    live.build(FIRST, RingDay(sessions=900))
    report = live.report(FIRST)
    assert {f.verdict for f in report.findings} == {Verdict.ADVISED}
    assert all("has not seen" in f.message for f in report.findings)


def test_too_few_sessions_are_refused_only_where_the_policy_says_so(live):
    live.build(SECOND, RingDay(sessions=300))
    assert {f.verdict for f in live.report(SECOND).findings} == {Verdict.ADVISED}
    live.configure(CONFIG.replace("min_samples = 100", 'min_samples = 100\ninconclusive = "required"'))
    live.build(THIRD, RingDay(sessions=300))
    assert "inconclusive against the live release" in live.refusal(THIRD)


SPOILT = [
    pytest.param("", RingDay(shuffled=True), "backtest_cooc", id="labels shuffled"),
    pytest.param("", RingDay(shuffled=True), "backtest_popularity", id="labels shuffled, by popularity"),
    pytest.param("", RingDay(prefix="other"), "backtest_blend", id="F20 another tenant's events"),
    pytest.param("", RingDay(sessions=500), "backtest_session_seq", id="F27 half a day, by whom it knows"),
    pytest.param(STRICT_DRIFT, RingDay(sessions=500), "implicit: gate drift_rows", id="F27 half a day"),
    pytest.param(STRICT_DRIFT, RingDay(prefix="other"), "cooc: gate drift_unknown", id="F20 its items"),
    pytest.param(STRICT_DRIFT, RingDay(robot_clicks=15_000), "popularity: gate drift_gini", id="a robot on one item"),
]


@pytest.mark.parametrize(("drift", "like", "gate"), SPOILT)
def test_a_spoilt_candidate_is_refused_by_the_gate_that_sees_it(open_live, drift, like, gate):
    """The next day is there: the law that live knows holds, and the candidate does not know it."""
    shop = open_live(drift + CONFIG)
    first = read_current(shop.store, TARGET).release_id
    shop.build(THIRD)
    shop.build(SECOND, like)
    assert f"{gate} refused" in shop.refusal(SECOND)
    live = read_current(shop.store, TARGET)
    assert live is not None
    assert live.release_id == first
    assert next(iter(newest_first(shop.store, TARGET))).outcome == "refused"


def test_a_stale_catalog_is_refused_by_the_items_that_live_does_not_know(tmp_path):
    shop = Shop(tmp_path, STRICT_DRIFT + CONFIG)
    write_catalog(tmp_path, first=0)
    shop.build(FIRST)
    shop.ship(FIRST)
    write_catalog(tmp_path, prefix="old")  # what was sold last year
    shop.build(SECOND)
    assert "content_sim: gate drift_unknown refused" in shop.refusal(SECOND)


def test_the_true_model_ships_beside_the_spoilt_ones(open_live):
    shop = open_live(STRICT_DRIFT + CONFIG)
    for day in (THIRD, SECOND):
        shop.build(day)
    assert shop.ship(SECOND).live == shop.ship(SECOND).release.id


def test_an_advisory_back_test_ships_and_says_so_in_the_record(live):
    live.build(THIRD)
    live.build(SECOND, RingDay(shuffled=True))
    live.configure(CONFIG.replace('mode = "required"', 'mode = "advisory"'))
    found = {f.gate: f.verdict for f in live.report(SECOND).findings}
    assert found["backtest_cooc"] is Verdict.ADVISED


def test_past_its_time_it_counts_as_refused(live):
    live.build(SECOND)
    live.configure(CONFIG.replace("rounds", "max_seconds = 0.000001\nrounds"))
    assert "backtest_blend refused: there was no back-test: it took longer than gates.backtest" in live.refusal(SECOND)


def test_f13_a_live_blob_that_is_damaged_counts_as_refused(live):
    live.build(SECOND)
    current = read_current(live.store, TARGET)
    assert current is not None
    key = f"artifacts/shop/home/cooc/{current.versions['cooc']}.json"
    live.store.put(key, b"{}")
    refusal = live.refusal(SECOND)
    assert refusal.count("there was no back-test") == 1, "one cause is reported once, however many gates it stops"
    assert "--override" not in refusal


def test_f32_without_its_report_nothing_ships(live):
    live.build(SECOND)
    with pytest.raises(RefusedError, match=r"backtest: gates backtest_blend, .*did not run"):
        live.ship(SECOND, dry_run=True)


def test_an_override_stands_in_record_and_journal_and_is_known_afterwards(live):
    live.build(THIRD)
    live.build(SECOND, RingDay(shuffled=True))
    gates = [f"backtest_{name}" for name in ("blend", "cooc", "implicit", "popularity", "session_seq")]
    shipped = live.ship(SECOND, override=gates, reason="a new shop front")
    assert shipped.live == shipped.release.id
    answered = {f.gate: f.params.get("overridden") for f in shipped.release.gates[0].findings}
    assert answered["backtest_cooc"] == "a new shop front"
    assert "backtest: backtest_cooc" in str(next(iter(newest_first(live.store, TARGET))).details["overridden"])
    assert is_up_to_date(DayContext(live.store, live.settings, live.row, SECOND))
    assert live.ship(SECOND, dry_run=True).release.id == shipped.release.id  # what signals ask
    assert live.ship(SECOND).live == shipped.release.id


@pytest.mark.parametrize("gate", ["contract", "size", "envelope", "rehearsal_loads", "hash", "nonsense"])
def test_what_proves_integrity_cannot_be_overridden(live, gate):
    live.build(SECOND)
    with pytest.raises(ConfigurationError, match=f"{gate} cannot be overridden"):
        live.ship(SECOND, override=[gate])


def test_a_gate_that_judges_nothing_here_cannot_be_overridden(live):
    live.build(SECOND)
    with pytest.raises(ConfigurationError, match="rehearsal_empty is not a gate of this target"):
        live.ship(SECOND, override=["rehearsal_empty"])


def test_past_days_are_compared_with_what_has_not_seen_the_day_after_them(live):
    live.build(SECOND, RingDay(shuffled=True))
    live.build(THIRD)
    live.configure(CONFIG.replace('mode = "required"', 'mode = "off"'))
    for day in (SECOND, THIRD):
        live.ship(day)
    tested = list(backtest_days(live.store, live.settings, live.row, [FIRST, SECOND, THIRD, THIRD + timedelta(days=1)]))
    assert [one.against for one in tested] == ["live", str(FIRST), str(SECOND), ""]
    verdicts = (
        {each.name: each.verdict for each in tested[1].found.compared}
        if isinstance(tested[1].found, BacktestResult)
        else {}
    )
    assert verdicts["cooc"] == "worse"
    assert "nothing was read of" in tested[3].found.message


def test_only_a_day_that_has_events_is_said_to_want_building(live):
    unbuilt, empty = FIRST + timedelta(days=5), FIRST + timedelta(days=6)
    record = read_document(live.store, canonical_record_key(TARGET, FIRST), CanonicalRecord)
    live.store.put(canonical_record_key(TARGET, unbuilt), encode(record))
    raw = RawRecord(
        day=str(empty),
        template="",
        files=(),
        targets=(),
        quarantine=(),
        unknown_fields={},
        foreign={},
        rejects=0,
        rejects_kept=0,
    )
    live.store.put(raw_record_key(empty), encode(raw))
    message = [one.found.message for one in backtest_days(live.store, live.settings, live.row, [unbuilt, empty])]
    assert message == [f"{unbuilt} has not staged every kind: build it", f"{empty} has no events of shop/home"]
