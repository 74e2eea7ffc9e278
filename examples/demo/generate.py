"""Writes the demo's input: a seeded week of two shops as JSON lines (plain, .gz, .zst), a catalog and a recsys.toml.

    python examples/demo/generate.py FOLDER [TODAY]

Prints the first and the last day of the week. It lies so that the last day of the scene that follows it is yesterday;
the events are the same every time, but for their dates. On the gap day there is no file; on the quiet day one target
has no events; on the crawl day a robot reads a whole shop in one session.
"""

import gzip
import io
import json
import random
import shutil
import sys
import tomllib
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import zstandard
from faults import spoil
from shop import Shop, catalog_rows, open_shops
from traffic import Event, crawl, events, visits

DAYS = 7
SCENE_DAYS = 4
# Days count from the first one, a Monday by its traffic whatever the calendar says.
QUIET_DAY = 1
GAP_DAY = 3
CRAWL_DAY = 5
WEEKEND = (5, 6)
QUIET_TARGET = ("garden", "offers")
SESSIONS_PER_DAY = 170
SEED = 20251124
SEED_DAY = date(2025, 11, 24)


def main(folder: Path, today: date) -> None:
    """Fill `folder` with recsys.toml, catalog.jsonl and raw/; the scene after the week ends on the day before today."""
    raw = folder / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    shops = open_shops()
    first = today - timedelta(days=DAYS + SCENE_DAYS)
    template = Path(__file__).with_name("recsys.toml").read_text(encoding="utf-8")
    (folder / "recsys.toml").write_text(template.replace(str(SEED_DAY), str(first)), encoding="utf-8")
    rows = [json.dumps(row, separators=(",", ":")) for shop in shops for row in catalog_rows(shop)]
    (folder / "catalog.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    for n in range(DAYS):
        if n != GAP_DAY:
            write_good_day(folder, first + timedelta(days=n))
    print(first, first + timedelta(days=DAYS - 1))


def first_day(folder: Path) -> date:
    """Return the first day of the week that was generated below `folder`."""
    start: date = tomllib.loads((folder / "recsys.toml").read_text(encoding="utf-8"))["partitions"]["start"]
    return start


def write_good_day(folder: Path, day: date) -> None:
    """Write the files of a day as it is, its few faults included."""
    number, rng = _seeded(folder, day)
    _write_day(folder / "raw", day, spoil(_day_events(open_shops(), day, number, rng), rng))


def write_broken_day(folder: Path, day: date) -> None:
    """Write the files of a day on which a third of the lines is cut off and most items are called undefined."""
    number, rng = _seeded(folder, day)
    events = [
        {**event, "item_id": "undefined"} if n % 4 else event
        for n, event in enumerate(_day_events(open_shops(), day, number, rng))
    ]
    lines = [line[: len(line) // 2] if n % 3 == 0 else line for n, line in enumerate(spoil(events, rng))]
    _write_day(folder / "raw", day, lines)


def write_shuffled_day(folder: Path, day: date) -> None:
    """Write the files of a day on which every item has the id of another one: each line is valid, and all are wrong."""
    number, rng = _seeded(folder, day)
    names: dict[str, str] = {}
    for shop in open_shops():
        items = [item.item_id for item in shop.items]
        names |= dict(zip(items, rng.sample(items, len(items)), strict=True))
    events = _day_events(open_shops(), day, number, rng)
    _write_day(folder / "raw", day, spoil([{**one, "item_id": names[str(one["item_id"])]} for one in events], rng))


def _seeded(folder: Path, day: date) -> tuple[int, random.Random]:
    """Return the number of a day, counted from the first one, and its chance, which depends on the number alone."""
    number = (day - first_day(folder)).days
    return number, random.Random(f"{SEED}/{SEED_DAY + timedelta(days=number)}")  # noqa: S311 - made-up shoppers


def _day_events(shops: tuple[Shop, ...], day: date, number: int, rng: random.Random) -> list[Event]:
    """Return the events of every target of a day; weekends are busier."""
    count = SESSIONS_PER_DAY + (60 if number % 7 in WEEKEND else 0)
    found: list[Event] = []
    for shop in shops:
        for surface in shop.surfaces:
            if (number, shop.tenant, surface) == (QUIET_DAY, *QUIET_TARGET):
                continue
            sessions = list(visits(shop, surface, day, count=count, rng=rng))
            found += (event for visit in sessions for event in events(visit, rng))
            if number == CRAWL_DAY and surface == "home":
                found += crawl(sessions[0])
    return found


def _write_day(raw: Path, day: date, lines: list[str]) -> None:
    """Deal the lines out to three files, as three servers would write them."""
    third = len(lines) // 3
    web, app, mail = (
        "".join(f"{line}\n" for line in part).encode()
        for part in (lines[:third], lines[third : 2 * third], lines[2 * third :])
    )
    (raw / f"{day}-web.jsonl").write_bytes(web)
    # No name and no time in the gzip header, or the bytes would differ from run to run.
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as file:
        file.write(app)
    (raw / f"{day}-app.jsonl.gz").write_bytes(packed.getvalue())
    (raw / f"{day}-mail.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(mail))


if __name__ == "__main__":
    main(Path(sys.argv[1]), date.fromisoformat(sys.argv[2]) if sys.argv[2:] else datetime.now(UTC).date())
