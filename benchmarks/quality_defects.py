"""Measures how many broken days the gates of a day refuse on default settings, and how many ordinary days.

    python benchmarks/quality_defects.py FOLDER... [--every 12] [--into docs/quality.md]

A folder holds one file of JSON lines a day (`YYYY-MM-DD*.jsonl.gz`). Each day is compared with the days before it that
were not refused; from the warm-up on, every so many days, each defect is made of the day and judged in its place.
"""

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from quality_broken_days import COLUMNS, DEFECTS, Before

from recsys_assets.events.day_profile import DayProfile, profile_day, with_past
from recsys_assets.events.events import ID_COLUMNS, Events
from recsys_assets.gates.day import day_gates
from recsys_assets.gates.day_comparison import Past
from recsys_assets.settings.gates import DaySettings

SETTINGS = DaySettings()
GATES = day_gates(SETTINGS)
BEGIN, END = "<!-- defects: begin -->", "<!-- defects: end -->"
Days = Mapping[str, pl.DataFrame]


@dataclass(frozen=True)
class Facts:
    """A day and what it is compared with."""

    profile: DayProfile | None
    past: Past


@dataclass
class Measured:
    """Refusals on one set: of ordinary days that were judged, and by defect of the broken ones."""

    name: str
    judged: int = 0
    refused: dict[str, list[str]] = field(default_factory=dict[str, list[str]])  # ordinary days, by gates
    broken: Counter[str] = field(default_factory=Counter[str])
    found: Counter[str] = field(default_factory=Counter[str])
    gates: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])


def read_days(folder: Path) -> Days:
    """Return the events of each day of a folder, in the columns that defects know."""
    days: dict[str, pl.DataFrame] = {}
    for file in sorted(folder.glob("*.jsonl*")):
        frame = pl.read_ndjson(file)
        absent = [pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in frame.columns]
        stamped = pl.col("ts").str.to_datetime(time_zone="UTC", time_unit="ns")
        days[file.name[:10]] = frame.with_columns(absent).select(COLUMNS).with_columns(stamped)
    return days


def profile_of(frame: pl.DataFrame, day: str, past: Sequence[DayProfile]) -> DayProfile:
    """Return the profile of a day's events as the canonical stage makes it, compared with the past."""
    distinct = frame.unique(maintain_order=True).sort("ts", "user_id", "session_id", "item_id")
    ids = {name: distinct[name].drop_nulls().unique().sort() for name in ID_COLUMNS}
    codes = distinct.select("ts", *((pl.col(name).rank("dense") - 1).cast(pl.UInt32) for name in ID_COLUMNS))
    return with_past(profile_day(Events(codes, ids), day=day, digest="", delivered=len(frame)), past)


def refusing(profile: DayProfile, past: Past) -> list[str]:
    """Return the gates that refuse a day."""
    facts = Facts(profile, past)
    return [finding.gate for gate in GATES if not (finding := gate.judge(facts)).ok]


def measure(name: str, days: Days, foreign: pl.DataFrame, *, every: int) -> Measured:
    """Judge every day of a set, and each defect of every so many of them."""
    measured = Measured(name)
    known: list[DayProfile] = []  # newest first
    for number, (day, frame) in enumerate(days.items()):
        past = Past(tuple(known[: SETTINGS.history_days]))
        profile = profile_of(frame, day, past.days)
        gates = refusing(profile, past)
        if len(known) >= SETTINGS.warm_up_days:
            measured.judged += 1
            if number % every == 0:
                earlier = [one for at, one in days.items() if at < day]
                _break(measured, day, frame, Before(earlier, foreign), past)
        if gates:
            measured.refused[day] = gates
        else:
            known.insert(0, profile)
    return measured


def _break(measured: Measured, day: str, frame: pl.DataFrame, before: Before, past: Past) -> None:
    for name, defect in DEFECTS.items():
        broken = defect(frame, before)
        if not len(broken):
            continue  # nothing is delivered: no day to judge
        gates = refusing(profile_of(broken, day, past.days), past)
        measured.broken[name] += 1
        measured.found[name] += bool(gates)
        measured.gates.setdefault(name, Counter()).update(gates)


def table(sets: Sequence[Measured], now: datetime) -> str:
    """Return what was measured as Markdown."""
    heads = [one.name for one in sets]
    lines = [f"Measured {now:%Y-%m-%d} by `make quality`, default settings, days that follow the warm-up.", ""]
    lines += [f"| | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    lines.append(f"| ordinary days refused | {' | '.join(f'{len(one.refused)} of {one.judged}' for one in sets)} |")
    for name in DEFECTS:
        cells = [f"{one.found[name]} of {one.broken[name]}" for one in sets]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(cells)} |")
    totals = [f"{one.found.total()} of {one.broken.total()}" for one in sets]
    return "\n".join([*lines, f"| all broken days refused | {' | '.join(totals)} |"])


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
        measure(name, days[name], next((one for at, one in largest.items() if at != name), largest[name]), every=every)
        for name in sets
        for every in [min(asked.every, max(len(days[name]) // 10, 1))]
    ]
    made = table(measured, datetime.now(UTC))
    print(made)
    if asked.into:
        text = asked.into.read_text(encoding="utf-8")
        marks = re.compile(f"{BEGIN}.*{END}", re.DOTALL)
        asked.into.write_text(marks.sub(lambda _: f"{BEGIN}\n{made}\n{END}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
