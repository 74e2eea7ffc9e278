"""Measures how many broken days the gates of a day refuse on default settings, and how many ordinary days.

    python benchmarks/quality_defects.py FOLDER... [--every 12] [--into docs/quality.md]

A folder holds one file of JSON lines a day (`YYYY-MM-DD*.jsonl.gz`). Each day is compared with the days before it that
were not refused, and asks a live release that was built from them, with windows of one day and of 28; from the warm-up
on, every so many days, each defect is made of the day and judged in its place. A defect that changes nothing of a day
(users that are lost where there are none) is not counted.
"""

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
from quality_broken_days import COLUMNS, DEFECTS, Before

from recsys_assets.encoding.rows import Rows
from recsys_assets.events.day_profile import DayProfile, LiveScore, profile_day, with_past
from recsys_assets.events.events import ID_COLUMNS, Events
from recsys_assets.gates.day import day_gates
from recsys_assets.gates.day_comparison import Past
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
    judged: int = 0
    refused: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # ordinary days, by gates
    broken: Counter[str] = field(default_factory=Counter[str])
    found: Counter[str] = field(default_factory=Counter[str])
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
            self.rows[kind] = KINDS[kind].build(merged, KINDS[kind].params(), LimitSettings()).rows
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
    for file in sorted(folder.glob("*.jsonl*")):
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


def measure(name: str, days: Days, foreign: pl.DataFrame, *, every: int, window: int) -> Measured:
    """Judge every day of a set, and each defect of every so many of them."""
    measured, live = Measured(name, window), Live(window)
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
        measured.gates.setdefault(name, Counter()).update(gates)


def table(sets: Sequence[Measured], now: datetime) -> str:
    """Return what was measured as Markdown: a column by set, and by window where windows differ."""
    lines = [f"Measured {now:%Y-%m-%d} by `make quality`, default settings, days that follow the warm-up.", ""]
    lines += [f"| | {' | '.join(one.heading for one in sets)} |", f"|---|{'---:|' * len(sets)}"]
    lines.append(f"| ordinary days refused | {' | '.join(f'{len(one.refused)} of {one.judged}' for one in sets)} |")
    for name in DEFECTS:
        cells = [f"{one.found[name]} of {one.broken[name]}" if one.broken[name] else "-" for one in sets]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    totals = [_share(one.found.total(), one.broken.total()) for one in sets]
    return "\n".join([*lines, f"| all broken days refused | {' | '.join(totals)} |"])


def _share(found: int, broken: int) -> str:
    return f"{found} of {broken} ({found / max(broken, 1):.0%})"


def main() -> None:
    """Measure each folder, print the table, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--every", type=int, default=12, help="days from one that is broken to the next")
    parser.add_argument("--into", type=Path, help="document that holds the table between its marks")
    asked = parser.parse_args()
    sets = {folder.parent.name if folder.name == "exposures" else folder.name: folder for folder in asked.folders}
    days = {name: read_days(folder) for name, folder in sets.items()}
    largest = {name: max(found.values(), key=len) for name, found in days.items()}
    measured = [
        measure(name, days[name], foreign, every=every, window=window)
        for name in sets
        for foreign in [next((one for at, one in largest.items() if at != name), largest[name])]
        for every in [min(asked.every, max(len(days[name]) // 10, 1))]
        for window in WINDOWS
    ]
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
