"""Broken days: each defect is a function of a day's events and what came before it, with a name for the table.

Frames hold `ts` (Datetime), `user_id`, `session_id`, `item_id`, `request_id`, `event` (String, absent as null).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl

COLUMNS = ("ts", "user_id", "session_id", "item_id", "request_id", "event")


@dataclass(frozen=True)
class Before:
    """What a defect may draw on: the days before, oldest first, and a day of another shop."""

    days: Sequence[pl.DataFrame]
    foreign: pl.DataFrame


Defect = Callable[[pl.DataFrame, Before], pl.DataFrame]


def _renamed(frame: pl.DataFrame, column: str, names: Mapping[str, str]) -> pl.DataFrame:
    return frame.with_columns(pl.col(column).replace(dict(names)))


def shuffled_ids(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Name every item as another item of the day, by one permutation."""
    items = day["item_id"].unique().sort()
    return _renamed(day, "item_id", dict(zip(items, items.shuffle(seed=1), strict=True)))


def shuffled_rows(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Give the items of all events to the events at random."""
    return day.with_columns(pl.col("item_id").shuffle(seed=1))


def remapped_ids(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Name every item by a number that nothing else uses."""
    items = day["item_id"].unique().sort()
    return _renamed(day, "item_id", {item: f"{900_000 + n}" for n, item in enumerate(items)})


def another_shop(day: pl.DataFrame, past: Before) -> pl.DataFrame:
    """Deliver the events of another shop."""
    shift = day["ts"].min().date() - past.foreign["ts"].min().date()  # type: ignore[union-attr,operator]
    return past.foreign.with_columns((pl.col("ts") + shift).cast(day.schema["ts"]))


def inverted_popularity(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Name the most seen item as the least seen one, and so on."""
    items = day["item_id"].value_counts().sort("count", "item_id")["item_id"].to_list()
    return _renamed(day, "item_id", dict(zip(items, reversed(items), strict=True)))


def half_of_the_sessions(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Lose every second session."""
    return _sample(day, 0.5)


def random_fifth(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Keep a fifth of the events at random."""
    return day.sample(fraction=0.2, seed=1).sort("ts")


def stops_at_noon(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """End the day at its middle instant between first and last event."""
    first, last = day["ts"].min(), day["ts"].max()
    return day.filter(pl.col("ts") <= first + (last - first) / 2)  # type: ignore[operator]


def yesterday_again(day: pl.DataFrame, past: Before) -> pl.DataFrame:
    """Deliver yesterday's events under today's date."""
    return _moved(past.days[-1], day)


def weeks_old(day: pl.DataFrame, past: Before) -> pl.DataFrame:
    """Deliver the events of two weeks ago, or of the oldest day, under today's date."""
    return _moved(past.days[max(len(past.days) - 12, 0)], day)


def bot_farm(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Add as many events again by robots, each of which looks at the same thirty items."""
    items = day["item_id"].unique().sort().sample(min(30, day["item_id"].n_unique()), seed=1)
    visits = max(len(day) // len(items), 1)
    bots = [
        day.head(1)
        .select("event", "request_id", session_id=pl.lit(f"bot{n}"), user_id=pl.lit(f"bot{n % 20}"))
        .join(pl.DataFrame({"item_id": items}), how="cross")
        .with_columns(ts=day["ts"][n * len(day) // visits])
        for n in range(visits)
    ]
    return pl.concat([day, *(bot.select(day.columns).cast(dict(day.schema)) for bot in bots)]).sort("ts")


def one_item(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Name every item by the first."""
    return day.with_columns(item_id=pl.lit(day["item_id"][0]))


def near_duplicates(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Deliver every event three times, each time under another request."""
    return pl.concat(
        [day.with_columns(request_id=pl.lit(f"r{n}-") + pl.int_range(pl.len()).cast(pl.String)) for n in range(3)]
    )


def exact_duplicates(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Deliver every event three times."""
    return pl.concat([day] * 3)


def shifted_hours(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Move all instants by seven hours; what leaves the day goes to the file of another one."""
    moved = day.with_columns((pl.col("ts") + timedelta(hours=7)).cast(day.schema["ts"]))
    return moved.filter(pl.col("ts").dt.date() == day["ts"].min().date())  # type: ignore[union-attr]


def one_user(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Give all events to one user and session."""
    return day.with_columns(user_id=pl.lit("u"), session_id=pl.lit("s"))


def single_events(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Make a session of each event."""
    return day.with_columns(session_id=pl.lit("x") + pl.int_range(pl.len()).cast(pl.String))


def cut_ids(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Keep the first half of the characters of each item's id."""
    return day.with_columns(pl.col("item_id").str.head((pl.col("item_id").str.len_chars() + 1) // 2))


def no_users(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Lose all users."""
    return day.with_columns(user_id=pl.lit(None, pl.String))


def renamed_users(day: pl.DataFrame, _: Before) -> pl.DataFrame:
    """Name every user otherwise, as another salt of a hash does."""
    return day.with_columns(user_id=pl.lit("r") + pl.col("user_id"))


DEFECTS: Mapping[str, Defect] = {
    one.__name__: one
    for one in (
        shuffled_ids,
        shuffled_rows,
        remapped_ids,
        another_shop,
        inverted_popularity,
        half_of_the_sessions,
        random_fifth,
        stops_at_noon,
        yesterday_again,
        weeks_old,
        bot_farm,
        one_item,
        near_duplicates,
        exact_duplicates,
        shifted_hours,
        one_user,
        single_events,
        cut_ids,
        no_users,
        renamed_users,
    )
}


def _sample(day: pl.DataFrame, share: float) -> pl.DataFrame:
    sessions = day["session_id"].unique().sort()
    kept = np.random.default_rng(1).random(len(sessions)) < share
    return day.filter(pl.col("session_id").is_in(sessions.filter(pl.Series(kept)).implode()))


def _moved(old: pl.DataFrame, day: pl.DataFrame) -> pl.DataFrame:
    shift = day["ts"].min().date() - old["ts"].min().date()  # type: ignore[union-attr,operator]
    return old.with_columns((pl.col("ts") + shift).cast(day.schema["ts"]))
