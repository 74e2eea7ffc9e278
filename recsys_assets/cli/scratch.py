"""A scratch shop for drills: a folder with a configuration, a catalog, and days of made-up events, good or bad."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from recsys_assets.identity import Target

TARGET = Target("drill", "home")
BAD_ITEM = "undefined"
_SESSIONS, _ITEMS_SEEN, _ITEMS = 40, 6, 12
_CONFIG = """\
[storage]
root = "store"
[raw]
exposures = "raw/{{day}}*.jsonl"
catalog = "catalog.jsonl"
[partitions]
start = {first_day}
[[targets]]
tenant = "{target.tenant}"
surface = "{target.surface}"
"""


@dataclass(frozen=True, slots=True)
class ScratchShop:
    """Where the shop lies; everything that it holds is below that folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "recsys.toml"

    @property
    def store(self) -> Path:
        """The root of the store."""
        return self.folder / "store"

    def send(self, day: date, *, is_bad: bool = False) -> None:
        """Write the events of a day, in place of what was sent before; a bad day's items have lost their ids."""
        lines = (json.dumps(event) + "\n" for event in _events(day, is_bad=is_bad))
        (self.folder / "raw" / f"{day}.jsonl").write_text("".join(lines), encoding="utf-8")


def open_scratch_shop(folder: Path, *, first_day: date) -> ScratchShop:
    """Return a new shop in an empty folder, with a catalog and no day yet."""
    (folder / "raw").mkdir(parents=True)
    shop = ScratchShop(folder)
    shop.config.write_text(_CONFIG.format(first_day=first_day, target=TARGET), encoding="utf-8")
    rows = ({"item_id": f"item-{n}", "tags": [f"shelf-{n % 3}", f"colour-{n % 4}"]} for n in range(_ITEMS))
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return shop


def _events(day: date, *, is_bad: bool) -> Iterator[dict[str, object]]:
    """Yield events that every gate lets pass, the bad ones too: nothing in them is malformed."""
    for session in range(_SESSIONS):
        for place in range(_ITEMS_SEEN):
            number = (session + place * (1 + day.day % 3)) % _ITEMS
            yield {
                "v": 1,
                "ts": f"{day}T{8 + session % 12:02d}:{session:02d}:{place:02d}Z",
                "tenant": TARGET.tenant,
                "surface": TARGET.surface,
                "session_id": f"session-{session}",
                "user_id": f"user-{session % 10}",
                "item_id": BAD_ITEM if is_bad and place % 2 else f"item-{number}",
                "rank": place,
            }
