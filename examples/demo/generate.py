"""Writes the demo's input: a seeded week of two shops as JSON lines (plain, .gz, .zst), a catalog and a recsys.toml.

    python examples/demo/generate.py FOLDER

The same bytes every time. On the gap day there is no file; on the quiet day one target has no events; on the crawl day
a robot reads a whole shop in one session.
"""

import gzip
import io
import json
import random
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path

import zstandard
from faults import spoil
from shop import Shop, catalog_rows, open_shops
from traffic import Event, crawl, events, visits

FIRST_DAY = date(2025, 11, 24)
DAYS = 7
GAP_DAY = date(2025, 11, 27)
QUIET_DAY = date(2025, 11, 25)
QUIET_TARGET = ("garden", "offers")
CRAWL_DAY = date(2025, 11, 29)
SESSIONS_PER_DAY = 170
SEED = 20251124


def main(folder: Path) -> None:
    """Fill `folder` with recsys.toml, catalog.jsonl and raw/."""
    raw = folder / "raw"
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    shops = open_shops()
    shutil.copyfile(Path(__file__).with_name("recsys.toml"), folder / "recsys.toml")
    rows = [json.dumps(row, separators=(",", ":")) for shop in shops for row in catalog_rows(shop)]
    (folder / "catalog.jsonl").write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    for day in (FIRST_DAY + timedelta(days=n) for n in range(DAYS)):
        if day != GAP_DAY:
            write_good_day(folder, day)


def write_good_day(folder: Path, day: date) -> None:
    """Write the files of a day as it is, its few faults included."""
    rng = _seeded(day)
    _write_day(folder / "raw", day, spoil(_day_events(open_shops(), day, rng), rng))


def write_broken_day(folder: Path, day: date) -> None:
    """Write the files of a day on which a third of the lines is cut off and most items are called undefined."""
    rng = _seeded(day)
    events = [
        {**event, "item_id": "undefined"} if n % 4 else event
        for n, event in enumerate(_day_events(open_shops(), day, rng))
    ]
    lines = [line[: len(line) // 2] if n % 3 == 0 else line for n, line in enumerate(spoil(events, rng))]
    _write_day(folder / "raw", day, lines)


def write_shuffled_day(folder: Path, day: date) -> None:
    """Write the files of a day on which every item has the id of another one: each line is valid, and all are wrong."""
    rng = _seeded(day)
    names: dict[str, str] = {}
    for shop in open_shops():
        items = [item.item_id for item in shop.items]
        names |= dict(zip(items, rng.sample(items, len(items)), strict=True))
    events = _day_events(open_shops(), day, rng)
    _write_day(folder / "raw", day, spoil([{**one, "item_id": names[str(one["item_id"])]} for one in events], rng))


def _seeded(day: date) -> random.Random:
    return random.Random(f"{SEED}/{day}")  # noqa: S311 - made-up shoppers, not secrets


def _day_events(shops: tuple[Shop, ...], day: date, rng: random.Random) -> list[Event]:
    """Return the events of every target of a day; weekends are busier."""
    count = SESSIONS_PER_DAY + (60 if day.isoweekday() > 5 else 0)  # noqa: PLR2004 - Saturday and Sunday
    found: list[Event] = []
    for shop in shops:
        for surface in shop.surfaces:
            if (day, shop.tenant, surface) == (QUIET_DAY, *QUIET_TARGET):
                continue
            sessions = list(visits(shop, surface, day, count=count, rng=rng))
            found += (event for visit in sessions for event in events(visit, rng))
            if day == CRAWL_DAY and surface == "home":
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
    main(Path(sys.argv[1]))
