"""Gates of a day against its past: ordinary days pass, each kind of broken day is refused by name."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from recsys_assets.events.day_profile import DayProfile, LiveScore, profile_day, with_past
from recsys_assets.events.events import ID_COLUMNS, Events
from recsys_assets.evidence import Finding, Verdict
from recsys_assets.gates.canonical import day_gates
from recsys_assets.gates.day_comparison import FEWEST_EVENTS, Past, check_distance
from recsys_assets.settings.gates import DaySettings, Mode

FIRST = date(2026, 1, 5)
ITEMS, SESSIONS, LENGTH, DAYS = 150, 200, 6, 14
REQUIRED = DaySettings(mode=Mode.REQUIRED)


@dataclass(frozen=True)
class Facts:
    profile: DayProfile | None
    past: Past


@cache
def ordinary(number: int) -> pl.DataFrame:
    """Return a day: sessions by day, items by Zipf's law, one user for two sessions."""
    random = np.random.default_rng(number)
    shares = 1 / np.arange(1, ITEMS + 1)
    items = random.choice(ITEMS, (SESSIONS, LENGTH), p=shares / shares.sum()).ravel()
    starts = np.repeat(random.normal(14 * 3600, 3 * 3600, SESSIONS).clip(3600, 22 * 3600), LENGTH)
    seconds = (starts + np.tile(np.arange(LENGTH) * 20, SESSIONS)).astype(int)
    midnight = datetime.combine(FIRST + timedelta(days=number), datetime.min.time(), UTC)
    sessions = np.repeat(np.arange(SESSIONS), LENGTH)
    return pl.DataFrame(
        {
            "ts": [midnight + timedelta(seconds=int(one)) for one in seconds],
            "user_id": [f"u{one // 2}" for one in sessions],
            "session_id": [f"{number}-{one}" for one in sessions],
            "item_id": [f"i{one:03}" for one in items],
            "request_id": [f"r{n}" for n in range(len(items))],
            "event": ["view"] * len(items),
        }
    ).with_columns(pl.col("ts").cast(pl.Datetime("ns", "UTC")))


def profile(frame: pl.DataFrame, number: int) -> DayProfile:
    distinct = frame.unique(maintain_order=True).sort("ts", "user_id", "session_id", "item_id")
    ids = {name: distinct[name].drop_nulls().unique().sort() for name in ID_COLUMNS}
    codes = distinct.select("ts", *((pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in ID_COLUMNS))
    day = (FIRST + timedelta(days=number)).isoformat()
    return profile_day(Events(codes, ids), day=day, digest="d", delivered=len(frame))


@cache
def past(days: int = DAYS) -> Past:
    found: list[DayProfile] = []
    for number in range(days):
        found.append(with_past(profile(ordinary(number), number), found))
    return Past(tuple(reversed(found)))


def refusals(frame: pl.DataFrame, number: int = DAYS, *, known: Past | None = None) -> dict[str, str]:
    before = past() if known is None else known
    facts = Facts(with_past(profile(frame, number), before.days), before)
    findings = [gate.judge(facts) for gate in day_gates(REQUIRED)]
    return {one.gate: one.message for one in findings if not one.ok}


def renamed(frame: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    return frame.with_columns(pl.col("item_id").replace(names))


def permuted(frame: pl.DataFrame) -> pl.DataFrame:
    items = frame["item_id"].unique().sort()
    return renamed(frame, dict(zip(items, items.shuffle(seed=1), strict=True)))


def moved(frame: pl.DataFrame, **by: int) -> pl.DataFrame:
    return frame.with_columns((pl.col("ts") + timedelta(**by)).cast(pl.Datetime("ns", "UTC")))


def with_bots(frame: pl.DataFrame) -> pl.DataFrame:
    bots = frame.with_columns(
        session_id=pl.lit("bot") + pl.col("session_id"),
        user_id=pl.lit("bot"),
        item_id=pl.lit("i1") + (pl.int_range(pl.len()) % 20 + 10).cast(pl.String),
    )
    return pl.concat([frame, bots])


DAY = ordinary(DAYS)
BROKEN = [
    pytest.param(permuted(DAY), "day_item_mix", "ids shuffled", id="shuffled ids"),
    pytest.param(renamed(DAY, {f"i{n:03}": f"x{n}" for n in range(ITEMS)}), "day_new_items", "renamed", id="renamed"),
    pytest.param(DAY.filter(pl.col("ts").dt.hour() < 13), "day_hours", "hours without any event", id="stops early"),
    pytest.param(moved(DAY.filter(pl.col("ts").dt.hour() < 16), hours=7), "day_hours", "moved by -", id="shifted"),
    pytest.param(moved(ordinary(DAYS - 1), days=1), "day_replay", str(FIRST + timedelta(DAYS - 1)), id="yesterday"),
    pytest.param(moved(ordinary(2), days=DAYS - 2), "day_replay", str(FIRST + timedelta(2)), id="weeks old"),
    pytest.param(DAY.head(len(DAY) // 2), "day_volume", "sessions, as a share", id="half of the sessions"),
    pytest.param(with_bots(DAY), "day_item_mix", "robots", id="bot farm"),
    pytest.param(
        moved(ordinary(3), days=DAYS - 3, minutes=17), "day_replay", "by user and item", id="replay at other times"
    ),
    pytest.param(pl.concat([DAY] * 3), "day_duplicates", "exact duplicates", id="exact duplicates"),
    pytest.param(
        pl.concat([DAY, DAY.with_columns(request_id=pl.lit("again") + pl.col("request_id"))]),
        "day_duplicates",
        "near duplicates",
        id="near duplicates",
    ),
    pytest.param(DAY.with_columns(item_id=pl.lit("i001")), "day_concentration", "one item", id="one item"),
    pytest.param(DAY.with_columns(user_id=pl.lit("u")), "day_concentration", "one user", id="one user"),
    pytest.param(DAY.with_columns(user_id=pl.lit(None, pl.String)), "day_concentration", "without", id="no users"),
    pytest.param(
        DAY.with_columns(session_id=pl.col("request_id")), "day_shape", "events per session", id="single events"
    ),
]


def test_an_ordinary_day_is_not_refused():
    assert {number: found for number in range(DAYS, DAYS + 20) if (found := refusals(ordinary(number), number))} == {}


@pytest.mark.parametrize(("frame", "gate", "message"), BROKEN)
def test_a_broken_day_is_refused_by_name(frame, gate, message):  # F63
    found = refusals(frame)
    assert gate in found
    assert message in found[gate]


def test_a_new_target_is_in_its_warm_up_and_says_so():
    few = past(4)
    findings = [gate.judge(Facts(profile(permuted(DAY), DAYS), few)) for gate in day_gates(REQUIRED)]
    assert {one.verdict for one in findings} == {Verdict.PASSED}
    assert "warm-up: 4 ordinary days before this one, judged from 5 on" in {one.message for one in findings}


def test_a_replay_is_refused_from_the_second_day_on():
    assert list(refusals(moved(ordinary(0), days=1), 1, known=past(1))) == ["day_replay"]


def test_a_refusal_says_how_many_days_in_a_row_were_refused():
    found = refusals(permuted(DAY), known=replace(past(), refused_in_a_row=3))
    assert "3 days in a row were refused before this one" in found["day_item_mix"]


def resized(one: DayProfile, factor: float) -> DayProfile:
    return replace(one, events=round(one.events * factor), sessions=round(one.sessions * factor))


def volume_of(day: DayProfile, days: list[DayProfile], *, warm_up_days: int = 5) -> Finding:
    gates = day_gates(DaySettings(mode=Mode.REQUIRED, warm_up_days=warm_up_days))
    return gates[0].judge(Facts(day, Past(tuple(reversed(days)))))


def week_of(number: int, *, weekend: float = 0.3, level: float = 1.0) -> DayProfile:
    """Return a profile of a day whose weekends are small; day 0 is a Monday."""
    return resized(past().days[number % DAYS], level * (weekend if number % 7 >= 5 else 1.0))


def dated(days: list[DayProfile]) -> list[DayProfile]:
    return [replace(one, day=(FIRST + timedelta(days=n)).isoformat()) for n, one in enumerate(days)]


def test_a_target_whose_days_vary_is_advised_and_not_refused_for_a_quiet_day():
    *days, day = dated([resized(one, 1 / (1 + n % 3)) for n, one in enumerate([*past().days, past().days[0]])])
    volume = volume_of(resized(day, 0.075), days)
    assert volume.verdict is Verdict.ADVISED
    assert "a quiet day looks like one with lost events" in volume.message
    assert volume_of(resized(day, 0.01), days).verdict is Verdict.REFUSED


@pytest.mark.parametrize(("day", "share", "ok"), [(21, 1, True), (21, 0.45, False), (26, 1, True), (26, 0.45, False)])
def test_volume_is_compared_with_what_the_weekday_is_expected_to_have(day, share, ok):
    *days, new = dated([week_of(n) for n in range(day + 1)])
    assert volume_of(resized(new, share), days).ok is ok


def test_volume_follows_the_level_of_the_last_days():
    *days, new = dated([week_of(n, weekend=1, level=1.0 + (n > 7)) for n in range(26)])
    assert not volume_of(resized(new, 0.45), days).ok
    assert volume_of(resized(new, 0.45), days[:8]).ok


def test_volume_is_judged_after_two_days_if_asked_so():
    *days, new = dated([week_of(n) for n in range(3)])
    assert volume_of(resized(new, 0.6), days, warm_up_days=2).ok
    assert not volume_of(resized(new, 0.01), days, warm_up_days=2).ok


def test_a_quiet_day_passes_where_one_that_lost_as_many_events_at_random_does_not():
    days = dated([resized(one, 1 / (1 + n % 3)) for n, one in enumerate(past().days)])
    sessions = DAY["session_id"].unique(maintain_order=True)
    quiet = DAY.filter(pl.col("session_id").is_in(sessions.head(len(sessions) // 4).implode()))
    assert volume_of(profile(quiet, DAYS), days).ok
    found = volume_of(profile(DAY.sample(fraction=0.25, seed=1), DAYS), days)
    assert not found.ok
    assert "events alone in their session" in found.message


def test_hours_are_compared_with_those_of_a_shifted_day():
    found = refusals(moved(DAY.filter(pl.col("ts").dt.hour() < 20), hours=3))
    assert "all were moved by -3 h" in found["day_hours"]


def test_a_profile_names_no_user():
    assert "u1" not in repr(profile(DAY, DAYS))


def score(lift, *, answered=2000, error=0.01, window_days=28, age_days=1, one_list=False):
    return LiveScore(answered, answered, lift + 0.02, 0.02, error, window_days, age_days, one_list)


def of_users(new, *, questions=1000, age_days=1):
    """Return a score of user lists on a day with this share of visits by users that live does not know."""
    return LiveScore(questions, round(questions * (1 - new)), 0.1, 0.02, 0.01, 28, age_days, by_user=True)


@pytest.mark.parametrize(
    ("usual", "new", "age_days", "ok"),
    [(0.3, 0.35, 1, True), (0.3, 1.0, 1, False), (0.3, 0.8, 1, False), (0.3, 0.8, 4, True), (0.95, 1.0, 1, True)],
)
def test_users_that_live_does_not_know_are_compared_with_ordinary_days(usual, new, age_days, ok):  # F63
    before = [replace(one, live={"implicit": of_users(usual - n % 3 / 50)}) for n, one in enumerate(past().days)]
    day = replace(profile(DAY, DAYS), live={"implicit": of_users(new, age_days=age_days)})
    gate = next(gate for gate in day_gates(REQUIRED) if gate.name == "day_new_users")
    found = gate.judge(Facts(day, Past(tuple(before))))
    assert found.ok is ok
    assert ok or "visits by users that the live implicit does not know" in found.message


def judged_by_live(scores, *, known=None, days=DAYS, refused=0):
    """Judge a day by what live was worth on it, after ordinary days on which it was worth 0.09 to 0.11."""
    usual = {"cooc": 0.1} if known is None else known
    before = [
        replace(one, live={kind: score(lift * (0.9 + 0.1 * (n % 3))) for kind, lift in usual.items()})
        for n, one in enumerate(past(days).days)
    ]
    facts = Facts(replace(profile(DAY, DAYS), live=scores), Past(tuple(before), refused))
    return next(gate for gate in day_gates(REQUIRED) if gate.name == "day_live").judge(facts)


@pytest.mark.parametrize(
    ("lift", "ok"),
    [(0.1, True), (0.06, True), (0.035, False), (0.0, False), (-0.02, False), (0.13, True), (0.2, False)],
)
def test_live_is_worth_two_fifths_to_one_and_a_half_of_the_usual_on_an_ordinary_day(lift, ok):  # F63
    assert judged_by_live({"cooc": score(lift)}).ok is ok


def test_what_live_is_worth_is_refused_by_name_and_number():
    message = judged_by_live({"cooc": score(0.0)}).message
    assert (
        "worth of the live cooc on the day over chance (1: as usual; 0: ids shuffled, renamed or foreign) is 0"
        in message
    )
    assert "at least 0.4" in message


def test_what_is_surely_not_chance_is_ordinary_though_live_was_worth_half():
    assert judged_by_live({"cooc": score(0.045, error=0.005)}).ok
    assert not judged_by_live({"cooc": score(0.015, error=0.005)}).ok


def test_a_small_day_is_refused_where_live_is_worth_less_than_chance():
    assert judged_by_live({"cooc": score(0.01, error=0.028)}).ok
    assert not judged_by_live({"cooc": score(-0.02, error=0.028)}).ok


def test_a_day_with_few_answers_is_not_judged_by_live_and_says_what_it_would_take():
    found = judged_by_live({"cooc": score(0.0, answered=20, error=0.1)})
    assert found.verdict is Verdict.PASSED
    assert "not judged: too few events to separate the usual worth from chance; a day of about" in found.message


def test_two_kinds_that_are_unsure_alone_refuse_together():
    unsure = {kind: score(0.0, error=0.033, answered=300) for kind in ("cooc", "implicit")}
    usual = {"cooc": 0.1, "implicit": 0.1}
    assert judged_by_live({"cooc": unsure["cooc"]}, known=usual).ok
    found = judged_by_live(unsure, known=usual)
    assert "all live lists together" in found.message
    assert not found.ok


def test_other_windows_of_live_are_no_measure_and_the_warm_up_says_so():
    found = judged_by_live({"cooc": score(0.0, window_days=1)})
    assert (found.verdict, found.message) == (
        Verdict.PASSED,
        "warm-up: 0 ordinary days on which such a release was live",
    )


def test_an_older_live_release_may_be_worth_less():
    lifts = {"cooc": 0.035}
    assert not judged_by_live({kind: score(lift) for kind, lift in lifts.items()}).ok
    assert judged_by_live({kind: score(lift, age_days=4) for kind, lift in lifts.items()}).ok


def test_a_refusal_by_live_never_keeps_later_days_out():
    assert not judged_by_live({"cooc": score(0.0)}, refused=2).ok
    found = judged_by_live({"cooc": score(0.0, age_days=9)}, refused=8)
    assert found.ok
    assert "not judged: live has not seen the 8 days before" in found.message


def test_one_list_for_everybody_may_be_worth_any_more():
    bestseller = {"popularity": score(0.3, one_list=True)}
    assert judged_by_live(bestseller, known={"popularity": 0.1}).ok
    assert not judged_by_live({"cooc": score(0.3)}).ok


def test_a_day_that_nothing_live_can_judge_passes_and_says_so():
    assert "nothing is live that has not seen the day" in judged_by_live(None).message


def test_items_that_are_new_since_the_last_ordinary_day_are_allowed_for_but_not_renamed_ones():
    days = tuple(replace(one, new_item_share=0.3) for one in past().days)
    gate = next(gate for gate in day_gates(REQUIRED) if gate.name == "day_new_items")

    def judge(share, refused):
        return gate.judge(Facts(replace(profile(DAY, DAYS), new_item_share=share), Past(days, refused))).ok

    assert [judge(0.8, 0), judge(0.8, 2), judge(1.0, 0), judge(1.0, 30)] == [False, True, False, False]


def test_days_of_few_events_are_no_measure_of_large_ones():
    small = tuple(replace(one, sessions=3, events=20) for one in past().days)
    findings = [gate.judge(Facts(profile(permuted(DAY), DAYS), Past(small))) for gate in day_gates(REQUIRED)]
    assert "warm-up: 0 ordinary days before this one of at least a fifth of its 200 sessions" in findings[2].message


def test_one_overridden_day_makes_the_next_one_like_it_ordinary():
    strange = DAY.with_columns(session_id=pl.col("request_id"))
    assert "day_shape" in refusals(strange)
    answered = Past((with_past(profile(strange, DAYS), past().days), *past().days))
    assert "day_shape" not in refusals(strange, DAYS + 1, known=answered)


DAY_PROFILE = profile(DAY, DAYS)


def found_by(gate: str, day: DayProfile, known: Past, *, warm_up_days: int = 5) -> Finding:
    gates = day_gates(DaySettings(mode=Mode.REQUIRED, warm_up_days=warm_up_days))
    return next(one for one in gates if one.name == gate).judge(Facts(day, known))


def test_a_day_of_a_fifth_of_the_sessions_is_like_another():
    known = [replace(past().days[0], sessions=sessions) for sessions in (2, 3)]
    assert [one.sessions for one in Past(tuple(known)).like(replace(past().days[0], sessions=15)).days] == [3]


def test_the_fewest_events_are_judged():
    strange = with_past(profile(permuted(DAY), DAYS), past().days)
    assert not found_by("day_item_mix", replace(strange, delivered=FEWEST_EVENTS), past()).ok
    assert found_by("day_item_mix", replace(strange, delivered=FEWEST_EVENTS - 1), past()).ok


def test_three_days_that_have_a_distribution_are_enough_to_be_far_from():
    days = [replace(one, user_sizes=(9, 0)) for one in past().days[:3]]
    far = replace(days[0], user_sizes=(0, 9))

    def distance_of(day, known):
        return check_distance("x", day, Past(tuple(known)), lambda one: one.user_sizes, least_limit=0.4, independent=90)

    assert (distance_of(far, days).value, distance_of(far, days).ok) == (1, False)
    assert distance_of(days[0], days).ok
    assert distance_of(far, days[:2]) is None
    assert distance_of(replace(far, user_sizes=None), days) is None


def test_a_day_is_refused_by_its_distances_from_the_sizes_and_hours_that_are_usual():
    day = profile(DAY, DAYS)
    sizes = tuple(reversed(day.session_sizes))
    assert "sessions of other sizes" in found_by("day_shape", replace(day, session_sizes=sizes), past()).message
    hours = tuple(day.hours[hour - 12] for hour in range(24))
    assert "at other hours" in found_by("day_hours", replace(day, hours=hours), past()).message


def test_repeats_within_sessions_are_compared_with_ordinary_days():
    day = profile(DAY, DAYS)
    found = found_by("day_shape", replace(day, repeats=round(0.9 * day.events)), past())
    assert "events that repeat an item of their session" in found.message
    assert not found.ok


def test_a_weekday_that_is_not_known_yet_may_differ_as_weekdays_do():
    levels = (1.0, 0.2, 1.0, 0.2, 1.0, 1.0, 1.0)
    days = dated([resized(past().days[n % DAYS], levels[n % 7]) for n in range(19)])
    known = [one for n, one in enumerate(days) if n % 7 < 5]
    friday, saturday = (replace(resized(past().days[0], 0.2), day=f"2026-01-{day}") for day in (23, 24))
    assert not volume_of(friday, known).ok
    assert volume_of(saturday, known).ok


def test_hours_of_silence_that_an_ordinary_day_had_are_ordinary():
    quiet = replace(
        DAY_PROFILE, hours=tuple(0 if hour >= 14 else count for hour, count in enumerate(DAY_PROFILE.hours))
    )
    assert "usual activity in hours without any event" in found_by("day_hours", quiet, past()).message
    assert not found_by("day_hours", quiet, past()).ok
    assert found_by("day_hours", quiet, Past((quiet, *past().days))).ok


def test_a_shift_is_seen_after_three_days_if_asked_so():
    shifted = profile(moved(DAY.filter(pl.col("ts").dt.hour() < 20), hours=3), DAYS)
    message = found_by("day_hours", shifted, past(3), warm_up_days=3).message
    assert "all were moved by -3 h" in message


def test_counts_on_the_fewest_shared_items_are_compared():
    strange = replace(with_past(DAY_PROFILE, past().days), item_correlation=-1.0)
    enough, few = (Past(tuple(replace(one, shared_items=items) for one in past().days)) for items in (10, 9))
    assert not found_by("day_item_mix", strange, enough).ok
    assert "counts with earlier days" not in found_by("day_item_mix", strange, few).message


def test_live_is_judged_from_the_day_on_that_ends_the_warm_up():
    assert not judged_by_live({"cooc": score(0.0)}, days=5).ok
    days = Past(tuple(replace(one, live={"implicit": of_users(0.3)}) for one in past(5).days))
    assert not found_by("day_new_users", replace(DAY_PROFILE, live={"implicit": of_users(1.0)}), days).ok


def test_a_kind_that_was_never_worth_anything_judges_no_day():
    found = judged_by_live({"cooc": score(0.0)}, known={"cooc": 0.0})
    assert (found.verdict, "not judged" in found.message) == (Verdict.PASSED, True)


def test_a_few_wrong_answers_that_hardly_differ_are_as_unsure_as_few_answers_are():
    assert judged_by_live({"cooc": score(0.0, answered=20, error=0.001)}).ok
    assert not judged_by_live({"cooc": score(0.0, answered=2000, error=0.001)}).ok
