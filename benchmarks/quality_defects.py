"""Measures how many broken days the gates of a day refuse on default settings, and how many ordinary days.

    python benchmarks/quality_defects.py FOLDER... [--days 10] [--into docs/quality.md]

A folder holds one file of JSON lines a day (`YYYY-MM-DD*.jsonl.gz`). Each day is compared with the days before it that
were not refused, and asks a live release that was built from them, with windows of one day and of 28; of some days
after the warm-up, as many of each set and at even distances, each defect is made and judged in the day's place. A
defect that changes nothing of a day (users that are lost where there are none) is not counted.
"""

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import combinations
from multiprocessing import cpu_count, get_context
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray
from quality_broken_days import COLUMNS, DEFECTS, Before

from recsys_assets.encoding.rows import Rows
from recsys_assets.events.day_profile import DayProfile, LiveScore, profile_day, with_past
from recsys_assets.events.events import ID_COLUMNS, Events
from recsys_assets.gates.canonical import day_gates
from recsys_assets.gates.day_comparison import FEWEST_EVENTS, Past
from recsys_assets.kinds.registry import KINDS
from recsys_assets.kinds.tallies import merge_tallies, tally_day
from recsys_assets.quality.live_score import score_live
from recsys_assets.settings.gates import DaySettings
from recsys_assets.settings.inputs import LimitSettings

SETTINGS = DaySettings()
GATES = day_gates(SETTINGS)
WINDOWS = (1, 28)
KINDS_ASKED = ("popularity", "cooc", "implicit", "session_seq")  # by default, those that rank items
BEGIN, END = "<!-- defects: begin -->", "<!-- defects: end -->"
Days = Mapping[str, pl.DataFrame]
Counts = NDArray[Any]


@dataclass(frozen=True)
class Facts:
    """A day and what it is compared with."""

    profile: DayProfile | None
    past: Past


@dataclass
class Measured:
    """Refusals on one set with one window: of ordinary days that were judged, and by defect of the broken ones."""

    name: str
    window: int
    halved: float  # share of days of which volume could show at best that half is lost
    judged: int = 0
    refused: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # ordinary days, by gates
    broken: Counter[str] = field(default_factory=Counter[str])
    found: Counter[str] = field(default_factory=Counter[str])
    large: int = 0  # broken days that were made of a day which is judged by more than its volume
    found_of_large: int = 0
    gates: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])

    @property
    def heading(self) -> str:
        return f"{self.name}, {self.window} day{'s' if self.window > 1 else ''}"


@dataclass
class Live:
    """What would be live: artifacts of the ordinary days before, of one window."""

    window: int
    tallies: dict[date, dict[str, Events]] = field(default_factory=dict[date, dict[str, Events]])
    rows: dict[str, Rows] = field(default_factory=dict[str, Rows])
    last: date | None = None

    def add(self, day: date, events: Events) -> None:
        """Build every kind of the window that ends with an ordinary day."""
        self.tallies[day] = {kind: tally_day(events, KINDS[kind].event_columns) for kind in KINDS_ASKED}
        self.tallies = {at: one for at, one in self.tallies.items() if (day - at).days < self.window}
        days = [self.tallies[at] for at in sorted(self.tallies)]
        for kind in KINDS_ASKED:
            merged = merge_tallies([one[kind] for one in days])
            rows = KINDS[kind].build(merged, KINDS[kind].params(), LimitSettings()).rows
            if isinstance(rows, Rows):
                self.rows[kind] = rows
        self.last = day

    def scores(self, day: date, events: Events) -> dict[str, LiveScore] | None:
        """Return what live is worth on a day."""
        if self.last is None:
            return None
        age = (day - self.last).days
        found = {
            kind: score_live(events, rows, window_days=self.window, age_days=age) for kind, rows in self.rows.items()
        }
        return {kind: one for kind, one in found.items() if one is not None}


def read_days(folder: Path) -> Days:
    """Return the events of each day of a folder, in the columns that defects know."""
    days: dict[str, pl.DataFrame] = {}
    for file in sorted(folder.glob("[0-9]*.jsonl*")):
        frame = pl.read_ndjson(file)
        absent = [pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in frame.columns]
        stamped = pl.col("ts").str.to_datetime(time_zone="UTC", time_unit="ns")
        days[file.name[:10]] = frame.with_columns(absent).select(COLUMNS).with_columns(stamped)
    return days


def events_of(frame: pl.DataFrame) -> Events:
    """Return a day's distinct events as the canonical stage makes them."""
    distinct = frame.unique(maintain_order=True).sort("ts", "user_id", "session_id", "item_id")
    ids = {name: distinct[name].drop_nulls().unique().sort() for name in ID_COLUMNS}
    codes = distinct.select("ts", *((pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in ID_COLUMNS))
    return Events(codes, ids)


def profile_of(frame: pl.DataFrame, events: Events, day: str, past: Past, live: Live) -> DayProfile:
    """Return the profile of a day as the canonical stage makes it, compared with the past and asked of live."""
    profile = with_past(profile_day(events, day=day, digest="", delivered=len(frame)), past.days)
    return replace(profile, live=live.scores(date.fromisoformat(day), events))


def refusing(profile: DayProfile, past: Past) -> list[str]:
    """Return the gates that refuse a day."""
    facts = Facts(profile, past)
    return [finding.gate for gate in GATES if not (finding := gate.judge(facts)).ok]


def measure(name: str, folder: Path, other: Path, broken: int, window: int) -> Measured:
    """Judge every day of a set, and each defect of so many of them, on all weekdays; `other` is another shop."""
    days, foreign = read_days(folder), max(read_days(other).values(), key=len)
    every = max((len(days) - SETTINGS.warm_up_days) // broken, 1)
    every += every % 7 == 0  # else all would be of one weekday
    measured, live = Measured(name, window, most_by_volume(days)), Live(window)
    known: list[DayProfile] = []  # newest first
    in_a_row = 0
    for number, (day, frame) in enumerate(days.items()):
        past = Past(tuple(known[: SETTINGS.history_days]), in_a_row)
        events = events_of(frame)
        profile = profile_of(frame, events, day, past, live)
        gates = refusing(profile, past)
        if len(past.like(profile).days) >= SETTINGS.warm_up_days:
            measured.judged += 1
            if number % every == 0:
                earlier = [one for at, one in days.items() if at < day]
                _break(measured, day, frame, Before(earlier, foreign), past, live)
        if gates:
            measured.refused[day] = gates
            in_a_row += 1
        else:
            known.insert(0, profile)
            live.add(date.fromisoformat(day), events)
            in_a_row = 0
    return measured


def _break(measured: Measured, day: str, frame: pl.DataFrame, before: Before, past: Past, live: Live) -> None:
    for name, defect in DEFECTS.items():
        broken = defect(frame, before)
        if not len(broken) or broken.equals(frame):
            continue  # nothing is delivered, or nothing is broken: no day to judge
        gates = refusing(profile_of(broken, events_of(broken), day, past, live), past)
        measured.broken[name] += 1
        measured.found[name] += bool(gates)
        if len(frame) >= FEWEST_EVENTS:
            measured.large += 1
            measured.found_of_large += bool(gates)
        measured.gates.setdefault(name, Counter()).update(gates)


def most_by_volume(days: Days) -> float:
    """Return the share of days of which volume could show at best that half of their sessions are lost.

    Each is compared with what the days on both sides of it lead to expect, which no gate can know, and refused below
    the one limit that, of this very set, refuses one ordinary day in a hundred.
    """
    logs = np.log([frame["session_id"].n_unique() for frame in days.values()])
    weekdays = np.array([date.fromisoformat(day).weekday() for day in days])
    found: list[float] = []
    for nearer in (0.5, 0.7, 0.85):  # what a day farther away counts less
        left = np.array([logs[place] - _expected(logs, weekdays, place, nearer) for place in range(len(logs))])
        found.append(float(np.mean(left + np.log(0.5) < np.quantile(left, 0.01, method="higher"))))
    return max(found)


def _expected(logs: Counts, weekdays: Counts, place: int, nearer: float) -> float:
    """Return what all other days within three weeks lead to expect: their level, and what the weekday has beside it."""
    others = np.array([at for at in range(max(place - 21, 0), min(place + 22, len(logs))) if at != place])
    effects = np.zeros(7)
    for _ in range(4):
        level = np.median(logs[others] - effects[weekdays[others]])
        for weekday in set(weekdays[others]):
            effects[weekday] = np.median((logs[others] - level)[weekdays[others] == weekday])
    rest, weights = logs[others] - effects[weekdays[others]], nearer ** np.abs(others - place)
    middle = np.median(rest)
    return float(np.average(np.clip(rest, middle - 1, middle + 1), weights=weights) + effects[weekdays[place]])


def table(sets: Sequence[Measured], now: datetime) -> str:
    """Return what was measured as Markdown: a column by set, and by window where windows differ."""
    lines = [f"Measured {now:%Y-%m-%d} by `make quality`, default settings, days that follow the warm-up.", ""]
    lines += [f"| | {' | '.join(one.heading for one in sets)} |", f"|---|{'---:|' * len(sets)}"]
    lines.append(f"| ordinary days refused | {' | '.join(f'{len(one.refused)} of {one.judged}' for one in sets)} |")
    for name in DEFECTS:
        cells = [f"{one.found[name]} of {one.broken[name]}" if one.broken[name] else "-" for one in sets]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
        if name == "half_of_the_sessions":
            lines.append(f"| (the most that volume could find) | {' | '.join(f'{one.halved:.0%}' for one in sets)} |")
    totals = [_share(one.found.total(), one.broken.total()) for one in sets]
    lines.append(f"| all broken days refused | {' | '.join(totals)} |")
    large = [_share(one.found_of_large, one.large) for one in sets]
    lines.append(f"| of those made of days of {FEWEST_EVENTS} events and more | {' | '.join(large)} |")
    broken, found = sum(one.broken.total() for one in sets), sum(one.found.total() for one in sets)
    judged, refused = sum(one.judged for one in sets), sum(len(one.refused) for one in sets)
    said = f"{_share(found, broken)} broken days are refused, and {_share(refused, judged, 1)} ordinary ones"
    return "\n".join([*lines, "", f"Over all sets and both windows {said}.{_of_four(sets)}"])


def _of_four(sets: Sequence[Measured]) -> str:
    """Say how many broken days are refused on the four sets on which the fewest are, where there are more."""
    found, broken = Counter[str](), Counter[str]()
    for one in sets:
        found[one.name] += one.found.total()
        broken[one.name] += one.broken.total()
    fours = [tuple(sum(part[name] for name in names) for part in (found, broken)) for names in combinations(found, 4)]
    fewest = min(fours, key=lambda four: four[0] / four[1], default=None)
    return f" On the four sets on which the fewest are, it is {_share(*fewest, 1)}." if fewest else ""


def _share(found: int, broken: int, digits: int = 0) -> str:
    return f"{found:,} of {broken:,} ({found / max(broken, 1):.{digits}%})"


def main() -> None:
    """Measure each folder, print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--days", type=int, default=10, help="days of each set that are broken")
    parser.add_argument("--into", type=Path, help="document that holds the table between its marks")
    asked = parser.parse_args()
    sets = {folder.parent.name if folder.name == "exposures" else folder.name: folder for folder in asked.folders}
    jobs = [
        (name, folder, next((one for one in sets.values() if one != folder), folder), asked.days, window)
        for name, folder in sets.items()
        for window in WINDOWS
    ]
    with ProcessPoolExecutor(cpu_count(), mp_context=get_context("spawn")) as pool:
        measured = list(pool.map(measure, *zip(*jobs, strict=True)))
    made = table(measured, datetime.now(UTC))
    print(made)
    for one in measured:
        for day, gates in one.refused.items():
            print(f"ordinary, {one.heading}: {day} refused by {', '.join(gates)}")
    if asked.into:
        text = asked.into.read_text(encoding="utf-8")
        marks = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
        asked.into.write_text(marks.sub(lambda _: f"{BEGIN}\n{made}\n{END}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
