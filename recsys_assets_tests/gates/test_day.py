"""Gates of a day against its past: ordinary days pass, each kind of broken day is refused by name."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
import polars as pl
import pytest

from recsys_assets.events.day_profile import DayProfile, profile_day, with_past
from recsys_assets.events.events import ID_COLUMNS, Events
from recsys_assets.evidence import Verdict
from recsys_assets.gates.day import day_gates
from recsys_assets.gates.day_comparison import Past
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


def test_a_target_whose_days_vary_is_advised_and_not_refused_for_a_quiet_day():
    days = [
        replace(one, events=one.events // (1 + n % 5), sessions=one.sessions // (1 + n % 5))
        for n, one in enumerate(past().days)
    ]
    facts = Facts(profile(DAY.head(len(DAY) // 40), DAYS), Past(tuple(days)))
    volume = day_gates(REQUIRED)[0].judge(facts)
    assert volume.verdict is Verdict.ADVISED
    assert "a quiet day looks like one with lost events" in volume.message


def test_a_profile_names_no_user():
    assert "u1" not in repr(profile(DAY, DAYS))
