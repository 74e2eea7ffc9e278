"""A candidate is loaded as readers load it and asked what its day asked; the swap proves what came of it."""

import json
from datetime import UTC, date, datetime

import pytest

from recsys_assets.errors import RefusedError
from recsys_assets.evidence import GateReport, Verdict
from recsys_assets.gates.candidate import NotLoaded, RehearsalAnswers, Rehearsed
from recsys_assets.identity import Target
from recsys_assets.pipeline.candidate_gates import Questions, judge_whole, read_questions, rehearse
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.pipeline.warm_up import build_days
from recsys_assets.release.document_encoding import encode, read_document
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import blob_key, staged_gates_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import versions_of
from recsys_assets.serving.testing import publish_fixture
from recsys_assets.settings.gates import RehearsalSettings
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore

DAY = date(2026, 1, 1)
AT = datetime(2026, 1, 2, tzinfo=UTC)
TARGET = Target("shop", "home")
CONFIG = """
[raw]
exposures = "{day}.jsonl"
[artifacts]
window_days = 1
kinds = ["popularity", "cooc", "implicit"]
[[targets]]
tenant = "shop"
surface = "home"
"""
STRICT = '[gates.rehearsal]\nmode = "required"\nfull_list = 2\nmax_short_share = 0.5\n'
ROWS = {
    "popularity": {"tea": 7, "cup": 3},
    "cooc": {"tea": {"cup": 2, "pot": 2}, "cup": {"tea": 2}, "pot": {"tea": 2}},
    "implicit": {"ann": {"tea": 2, "cup": 1}, "bob": {}},
    "content_sim": {"tea": ["hot"]},
}


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def release(store):
    return publish_fixture(store, "shop", "home", ROWS).release


def asked(store, release, *, items=("tea", "cup", "mug"), users=("ann", "bob", "eve"), **limits):
    versions = versions_of(release)
    settings = RehearsalSettings(full_list=2, **limits)
    return rehearse(store, TARGET, versions, questions=Questions(items, users), settings=settings, at=AT)


def test_each_kind_is_asked_what_it_knows(store, release):
    found = asked(store, release)
    assert isinstance(found, Rehearsed)
    assert found.answers == {
        "popularity": RehearsalAnswers(1, 0, 0),
        "cooc": RehearsalAnswers(3, 1, 1),  # mug: nothing; cup: one neighbour
        "implicit": RehearsalAnswers(3, 2, 0),  # bob has an empty list, eve none
        "content_sim": RehearsalAnswers(3, 2, 0),  # tags are no items: any number is enough
    }
    assert found.blob_bytes == sum(member.ref.size for member in release.members) < found.held_bytes


@pytest.mark.parametrize("damage", ["gone", "other bytes"])
def test_f12_f13_a_blob_that_a_reader_would_refuse_is_reported(store, release, damage):
    key = blob_key(TARGET, "cooc", release.refs["cooc"].version)
    store.delete(key)
    if damage == "other bytes":
        store.create(key, b"{}")
    found = asked(store, release)
    assert isinstance(found, NotLoaded)
    assert key in found.fault


def test_f45_a_blob_that_readers_would_not_read_to_its_end_is_reported(store, release):
    found = asked(store, release, max_blob_bytes=300)
    assert isinstance(found, NotLoaded)
    assert "300" in found.fault


def settings_in(folder, extra="", *, sessions=4):
    """Sessions of three items each; every other user is nobody."""
    lines = [
        {
            "v": 1,
            "ts": f"{DAY}T08:{session:02}:{place:02}Z",
            "tenant": "shop",
            "surface": "home",
            "session_id": f"s{session}",
            "item_id": item,
            **({"user_id": f"u{session}"} if session % 2 else {}),
        }
        for session in range(sessions)
        for place, item in enumerate(("a", "b", f"i{session}"))
    ]
    (folder / f"{DAY}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return parse_settings((extra + CONFIG).encode(), name="test", base=folder)


@pytest.fixture
def build(store, tmp_path):
    def built(extra=""):
        settings = settings_in(tmp_path, extra)
        build_days(settings, [DAY], store=store)
        return settings

    return built


def ship(store, settings, **options):
    by = Actor("nightly", "the day's build")
    return ship_day(
        DayContext(store, settings, settings.targets[0], DAY, now=lambda: datetime.now(UTC)), by=by, **options
    )


def report_of(store):
    return read_document(store, staged_gates_key(TARGET, DAY, "rehearsal"), GateReport)


def test_the_questions_are_the_days_events_at_even_distances(store, build):
    build()
    whole = read_questions(store, TARGET, DAY, limit=100)
    assert len(whole.items) == 12
    assert sorted(set(whole.users)) == ["u1", "u3"]
    some = read_questions(store, TARGET, DAY, limit=4)
    assert (some.items, some.users) == ([whole.items[n] for n in (0, 3, 6, 9)], ["u1", "u1", "u3", "u3"])
    assert read_questions(store, TARGET, DAY, limit=4) == some


def test_a_day_that_was_never_built_asks_nothing(store):
    assert read_questions(store, TARGET, DAY, limit=4) == Questions((), ())


def test_the_release_record_carries_the_rehearsal(store, build):
    release = ship(store, build()).outcome.release
    (report,) = release.gates
    assert (report.subject, report.version, report.passed) == ("rehearsal", release.id, True)
    assert report.facts["empty/cooc"] == pytest.approx(4 / 12)  # i0 to i3 were seen once each
    assert {finding.gate for finding in report.findings} == {
        "rehearsal_loads",
        "rehearsal_seconds",
        "rehearsal_memory",
        "rehearsal_empty",
        "rehearsal_short",
    }


def test_a_candidate_beyond_a_required_limit_does_not_ship(store, build):
    """a and b have one neighbour each: two thirds of the answers are shorter than two items."""
    settings = build(STRICT)
    with pytest.raises(RefusedError, match="rehearsal: gate rehearsal_short refused"):
        ship(store, settings)
    assert read_current(store, TARGET) is None


def test_beyond_an_advisory_limit_it_ships_and_the_record_says_so(store, build):
    release = ship(store, build(STRICT.replace("required", "advisory"))).outcome.release
    (message,) = [finding for finding in release.gates[0].findings if finding.verdict is Verdict.ADVISED]
    assert (message.gate, message.value) == ("rehearsal_short", pytest.approx(8 / 12))


def test_without_a_rehearsal_nothing_is_asked_and_nothing_missed(store, build):
    settings = build('[gates.rehearsal]\nmode = "off"\n')
    assert judge_whole(DayContext(store, settings, settings.targets[0], DAY)) == []
    assert ship(store, settings).outcome.release.gates == ()


def test_f32_a_report_under_other_limits_is_made_again_before_a_ship_by_hand(store, build):
    settings = build()
    judge_whole(DayContext(store, settings, settings.targets[0], DAY))
    stricter = build(STRICT)
    with pytest.raises(RefusedError, match="rehearsal_short refused"):
        ship(store, stricter)
    assert [finding.gate for finding in report_of(store).refusals] == ["rehearsal_short"]


def test_a_dry_run_judges_nothing_and_says_what_is_missing(store, build):
    settings = build()
    with pytest.raises(RefusedError, match=r"rehearsal: gates rehearsal_empty, .*did not run"):
        ship(store, settings, dry_run=True)


def test_a_report_that_stands_is_not_made_again(store, build):
    settings = build()
    (report,) = judge_whole(DayContext(store, settings, settings.targets[0], DAY))
    assert judge_whole(DayContext(store, settings, settings.targets[0], DAY), only_missing=True) == []
    store.put(staged_gates_key(TARGET, DAY, "rehearsal"), b"{")
    (again,) = judge_whole(DayContext(store, settings, settings.targets[0], DAY), only_missing=True)
    assert (again.version, again.policy) == (report.version, report.policy)


def test_a_day_that_is_not_whole_is_not_judged(store, build):
    settings = build()
    store.delete(f"staging/shop/home/{DAY}/cooc.json")
    assert judge_whole(DayContext(store, settings, settings.targets[0], DAY)) == []
    store.put(f"staging/shop/home/{DAY}/cooc.json", encode(report_of_nothing()))
    assert judge_whole(DayContext(store, settings, settings.targets[0], DAY)) == []


def report_of_nothing():
    return GateReport("cooc", "v", ())
