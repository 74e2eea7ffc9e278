"""Writes one day of made-up events as JSON lines: Zipf items, sessions about one topic, a fixed seed per size.

    python benchmarks/generate.py --events 1000000 --folder /tmp/bench/1000000

Lines are about 200 bytes, in canonical order and without duplicates, so that an engine that neither sorts nor
deduplicates computes the same result. Ten million lines take well under a minute.
"""

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

TENANT = "bench"
SURFACE = "home"
DAY = date(2026, 1, 1)
SEED = 20260101
TOPICS = 200
ANONYMOUS_SHARE = 0.2
MEAN_SESSION_EVENTS = 11
MAX_SESSION_EVENTS = 120
STRAY_SHARE = 0.15
CHUNK = 1_000_000

Ints = NDArray[np.int64]
EXPOSURES = f"{DAY}.jsonl"
CATALOG = "catalog.csv"


@dataclass(frozen=True, slots=True)
class Day:
    """Events of a day in the order of time, as numbers."""

    at: Ints  # microseconds since midnight, each later than the one before
    session: Ints
    user: Ints  # -1 is anonymous
    item: Ints
    rank: Ints


def generate(events: int, folder: Path) -> Path:
    """Write the day and its catalog into `folder` unless they are there; return the former's path."""
    path = folder / EXPOSURES
    if path.exists() and (folder / CATALOG).exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    items = distinct_items(events)
    _write_catalog(folder / CATALOG, items)
    unfinished = path.with_suffix(".unfinished")
    write_lines(make_day(events, items=items, rng=np.random.default_rng([SEED, events])), DAY, unfinished)
    unfinished.rename(path)
    return path


def distinct_items(events: int) -> int:
    """Return how many items a day of so many events is about."""
    return 2_000 + int(20 * events**0.5)


def write_lines(day: Day, on: date, path: Path) -> None:
    """Write a day's events as lines of that date."""
    with path.open("wb") as file:
        for start in range(0, len(day.at), CHUNK):
            _frame(day, slice(start, start + CHUNK), on).write_ndjson(file)


def make_day(events: int, *, items: int, rng: np.random.Generator) -> Day:
    """Draw sessions until they hold `events` events, then put all events in the order of time."""
    lengths = _session_lengths(events, rng)
    session = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(events) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    at = _times(lengths, rng)
    item = _items(session, sessions=len(lengths), items=items, rng=rng)
    user = _users(len(lengths), rng)[session]
    order = np.argsort(at, kind="stable")
    steps = np.arange(events)
    # No two events share a microsecond, so the order of time is the whole canonical order.
    distinct = np.maximum.accumulate(at[order] - steps) + steps
    return Day(at=distinct, session=session[order], user=user[order], item=item[order], rank=place[order] % 20)


def _session_lengths(events: int, rng: np.random.Generator) -> Ints:
    """Lengths with a long tail, cut off so that they add up to `events`."""
    drawn = rng.lognormal(mean=np.log(MEAN_SESSION_EVENTS) - 0.5, sigma=1.0, size=events // 4 + 10)
    lengths = np.clip(drawn.astype(np.int64), 1, MAX_SESSION_EVENTS)
    last = int(np.searchsorted(np.cumsum(lengths), events))
    lengths = lengths[: last + 1]
    lengths[-1] -= lengths.sum() - events
    return lengths


def _times(lengths: Ints, rng: np.random.Generator) -> Ints:
    """Microseconds of each event: a session starts somewhere in 23 hours and goes on in steps of up to 29 s."""
    starts = rng.integers(0, 23 * 3600 * 1_000_000, size=len(lengths))
    steps = rng.integers(1, 29_000_000, size=int(lengths.sum()))
    total = np.cumsum(steps)
    first = np.cumsum(lengths) - lengths
    return np.repeat(starts - total[first], lengths) + total


def _items(session: Ints, *, sessions: int, items: int, rng: np.random.Generator) -> Ints:
    """Items by Zipf's law within the session's topic, now and then from another one."""
    size = items // TOPICS
    topic = _zipf(sessions, TOPICS, rng)[session]
    stray = rng.random(len(session)) < STRAY_SHARE
    topic[stray] = rng.integers(0, TOPICS, size=int(stray.sum()))
    return topic + TOPICS * _zipf(len(session), size, rng)


def _users(sessions: int, rng: np.random.Generator) -> Ints:
    """One user a session, some much more active than others."""
    user = _zipf(sessions, max(sessions // 2, 1), rng, exponent=0.4)
    user[rng.random(sessions) < ANONYMOUS_SHARE] = -1
    return user


def _zipf(count: int, size: int, rng: np.random.Generator, *, exponent: float = 1.0) -> Ints:
    """Draw `count` places of 0 to size - 1, place k in proportion to 1 / (k + 1) ** exponent."""
    weights = np.cumsum(1 / np.arange(1, size + 1) ** exponent)
    return np.searchsorted(weights, rng.random(count) * weights[-1], side="right")


def _frame(day: Day, rows: slice, on: date) -> pl.DataFrame:
    """Turn numbers into the columns that stand in a line, in the order in which they stand there."""
    midnight = int(datetime(on.year, on.month, on.day, tzinfo=UTC).timestamp() * 1_000_000)
    numbers = pl.DataFrame(
        {
            "at": day.at[rows] + midnight,
            "session": day.session[rows],
            "user": day.user[rows],
            "item": day.item[rows],
            "rank": day.rank[rows],
        }
    )
    user = pl.when(pl.col("user") >= 0).then(pl.format("user-{}", _padded("user")))
    # Strings are named by number, not by rank: nothing may hang on the order of ids being the order of popularity.
    item = pl.format("item-{}", (pl.col("item") * 7919 % 1_000_003).cast(pl.String).str.pad_start(7, "0"))
    return numbers.select(
        v=pl.lit(1),
        ts=pl.col("at").cast(pl.Datetime("us")).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"),
        tenant=pl.lit(TENANT),
        surface=pl.lit(SURFACE),
        session_id=pl.format("session-{}", _padded("session")),
        user_id=user.otherwise(pl.lit("")),
        item_id=item,
        request_id=pl.format("r-{}-{}", _padded("session"), pl.col("rank") // 5),
        rank="rank",
    )


def _padded(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.String).str.pad_start(9, "0")


def _write_catalog(path: Path, items: int) -> None:
    """Write one catalog row an item: its topic, its price range, and one of many brands."""
    numbers = pl.DataFrame({"item": np.arange(items)})
    rows = numbers.select(
        item_id=pl.format("item-{}", (pl.col("item") * 7919 % 1_000_003).cast(pl.String).str.pad_start(7, "0")),
        tags=pl.format(
            "topic-{}|brand-{}|price-{}",
            pl.col("item") % TOPICS,
            pl.col("item") * 31 % 997,
            pl.col("item") % 7,
        ),
        namespace=pl.lit(None, pl.String),  # blank; an empty text would be written with quotes
    )
    rows.write_csv(path)


def main(arguments: list[str]) -> None:
    """Parse the command line and generate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    print(generate(chosen.events, chosen.folder))


if __name__ == "__main__":
    main(sys.argv[1:])
