"""A broken day is refused on default settings, and the next good day ships without it: nothing waits for anybody."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec import UNSET
from msgspec.structs import replace

from recsys_assets.errors import RefusedError
from recsys_assets.events.day_profile import PROFILE_FORMAT
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.day_profile import read_past
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import CanonicalRecord, StagedArtifact
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import canonical_key, canonical_record_key, staged_key
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.gates.test_day import FIRST, ordinary, permuted
from recsys_assets_tests.release.staging import change_canonical

ORDINARY = 20
BROKEN, NEXT = (FIRST + timedelta(days=ORDINARY + n) for n in range(2))
CONFIG = """
[artifacts]
kinds = ["popularity"]
window_days = {window}
[raw]
exposures = "{{day}}.jsonl"
[[targets]]
tenant = "shop"
surface = "home"
"""


class Shop:
    """A store of ordinary days, of which the last is live, in front of a day with shuffled ids."""

    def __init__(self, folder, window, objects):
        self.folder, self.store = folder, MemoryStore(objects=objects)
        self.settings = parse_settings(CONFIG.format(window=window).encode(), name="test", base=folder)
        self.target = self.settings.targets[0].target

    def fill(self):
        for number in range(ORDINARY):
            self.events(FIRST + timedelta(days=number), ordinary(number))
        self.artifacts(FIRST + timedelta(days=ORDINARY - 1))
        self.ship(FIRST + timedelta(days=ORDINARY - 1))
        self.events(BROKEN, permuted(ordinary(ORDINARY)))

    def context(self, day):
        return DayContext(self.store, self.settings, self.settings.targets[0], day, now=lambda: datetime.now(UTC))

    def events(self, day, frame):
        named = frame.drop_nulls().with_columns(frame["ts"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        lines = [{"v": 1, "tenant": "shop", "surface": "home", "rank": 1, **row} for row in named.iter_rows(named=True)]
        (self.folder / f"{day}.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, lines)) + b"\n")
        build_raw(self.store, self.settings, day)
        build_canonical(self.context(day))
        return judge_canonical(self.context(day))

    def artifacts(self, day):
        build_artifact(self.context(day), "popularity")
        judge_artifact(self.context(day), "popularity")

    def ship(self, day, **options):
        return ship_day(self.context(day), by=Actor("ann", "a campaign"), **options).outcome

    def built(self, number):
        day = FIRST + timedelta(days=number)
        self.events(day, ordinary(number))
        self.artifacts(day)
        return day

    def staged(self, day):
        return read_document(self.store, staged_key(self.target, day, "popularity"), StagedArtifact)

    def used(self, day):
        return canonical_key(self.target, BROKEN) in {one.name for one in self.staged(day).inputs}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A function that opens a shop of a window's length, with objects of its own that are made once for each length."""
    filled = {}

    def open_one(window):
        if window not in filled:
            made = Shop(tmp_path_factory.mktemp("shop"), window, {})
            made.fill()
            filled[window] = made.folder, made.store.objects
        folder, objects = filled[window]
        return Shop(folder, window, dict(objects))

    return open_one


@pytest.fixture(params=[1, 28], ids=["a window of a day", "a window of four weeks"])
def shop(opened, request):
    return opened(request.param)


@pytest.fixture
def long(opened):
    return opened(28)


def test_a_shuffled_day_is_refused_by_name_and_the_next_ordinary_day_ships(shop):  # F63
    shop.artifacts(BROKEN)
    with pytest.raises(
        RefusedError, match=r"day_item_mix refused: rank correlation .* the windows of later days exclude"
    ):
        shop.ship(BROKEN)
    following = shop.built(ORDINARY + 1)
    outcome = shop.ship(following)
    assert outcome.live == outcome.release.id
    assert not shop.used(following)
    assert str(BROKEN) not in {one.day for one in outcome.release.canonical}


def test_a_day_that_is_left_out_is_named_and_is_not_ordinary(long):
    following = long.built(ORDINARY + 1)
    facts = long.staged(following).facts
    assert (facts["refused_days"], facts["days"]) == (str(BROKEN), ORDINARY + 1)
    past = read_past(long.store, long.target, following, most=28)
    assert (str(BROKEN) in {one.day for one in past.days}, past.refused_in_a_row) == (False, 1)


def test_the_second_refused_day_says_that_it_is(long):
    report = long.events(NEXT, permuted(ordinary(ORDINARY + 1)))
    assert any("1 day in a row was refused before this one" in one for one in report.refused_because)


def test_a_day_that_somebody_answers_for_is_ordinary_and_is_used(long):
    long.artifacts(BROKEN)
    long.ship(BROKEN, override=["day_item_mix"])
    for again in (False, True):
        if again:
            judge_canonical(long.context(BROKEN))
        following = long.built(ORDINARY + 1)
        assert read_past(long.store, long.target, following, most=28).days[0].day == str(BROKEN)
        assert long.used(following)
        assert long.ship(following).live


def test_artifacts_that_hold_a_day_refused_since_do_not_ship_until_they_are_built_again(long):
    key = canonical_record_key(long.target, BROKEN)
    refused = long.store.get(key, max_bytes=10**6).data
    change_canonical(long.store, long.target, BROKEN, gates=UNSET)
    following = long.built(ORDINARY + 1)
    assert long.used(following)
    long.store.put(key, refused)
    with pytest.raises(RefusedError, match=f"contain events of {BROKEN}: build them again, which excludes that day"):
        long.ship(following)
    long.artifacts(following)
    assert long.ship(following).live


def test_artifacts_without_a_day_that_was_accepted_since_do_not_ship(long):
    following = long.built(ORDINARY + 1)
    long.events(BROKEN, ordinary(ORDINARY))
    with pytest.raises(RefusedError, match=f"{BROKEN} was added or accepted after it was built"):
        long.ship(following)


@pytest.mark.parametrize("change", [{"policy": "other"}, {"version": "other"}, {"findings": ()}])
def test_a_day_is_left_out_only_by_a_report_that_refuses_these_bytes_by_these_limits(long, change):
    following = long.built(ORDINARY + 1)
    by = Actor("ann", "a test")
    report = read_document(long.store, canonical_record_key(long.target, BROKEN), CanonicalRecord).gates
    change_canonical(long.store, long.target, BROKEN, gates=replace(report, **change))
    with pytest.raises(RefusedError, match=f"{BROKEN} was added or accepted after it was built"):
        ship_day(long.context(following), by=by, dry_run=True)


def scores_of(shop, day):
    return read_past(shop.store, shop.target, day + timedelta(days=1), most=1).days[0].live


def test_live_is_scored_on_a_day_that_it_has_not_seen_and_that_score_stays(long):
    following = long.built(ORDINARY + 1)
    before = scores_of(long, following)
    assert (before["popularity"].window_days, before["popularity"].age_days) == (28, 2)
    assert before["popularity"].lift > 3 * before["popularity"].error
    long.ship(following)
    judge_canonical(long.context(following))
    assert scores_of(long, following) == before
    judge_canonical(long.context(FIRST))
    assert scores_of(long, FIRST) is None


def test_profiles_of_before_are_compared_with_and_those_of_a_newer_version_are_not(long):
    last = FIRST + timedelta(days=ORDINARY - 1)
    stored = msgspec.json.decode(
        read_document(long.store, canonical_record_key(long.target, last), CanonicalRecord).profile
    )

    def write(profile):
        change_canonical(long.store, long.target, last, profile=msgspec.Raw(msgspec.json.encode(profile)))

    assert stored["v"] == PROFILE_FORMAT
    live = {"questions": 9, "answered": 8, "gain": 0.2, "chance": 0.1, "error": 0.01, "window_days": 1, "age_days": 1}
    write({**stored, "v": 2, "live": {"implicit": live}})
    assert not read_past(long.store, long.target, BROKEN, most=1).days[0].live["implicit"].by_user
    later = {"repeats", "session_sizes", "user_sizes", "recent_correlation", "revisited_share", "live", "v"}
    write({name: one for name, one in stored.items() if name not in later})
    assert read_past(long.store, long.target, BROKEN, most=1).days[0].repeats is None
    assert long.ship(long.built(ORDINARY + 1)).live
    write({**stored, "v": PROFILE_FORMAT + 1})
    assert read_past(long.store, long.target, BROKEN, most=1).days[0].day == str(last - timedelta(days=1))
