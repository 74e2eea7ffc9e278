"""Cases whose versions the reference pipeline computed: their events, their catalog, their parameters."""

import csv
import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from recsys_assets.identity import Target, Window
from recsys_assets.ingest.white_space import trim
from recsys_assets.kinds.registry import KINDS
from recsys_assets_tests.kinds.event_rows import Row, events_of

OWN = Path(__file__).parent / "golden"
SHARED = Path(__file__).parents[3] / "shared" / "golden"  # beside the project's folder, where it is laid out so
OF_EVENTS = ("popularity", "cooc", "implicit", "session_seq")
OF_ALL = (*OF_EVENTS, "content_sim")
KINDS_OF_CASES = {
    "edge": OF_ALL,
    "ties": OF_EVENTS,
    "tiny": OF_EVENTS,
    "ecommerce-mini": OF_ALL,
    "online-retail-day": OF_EVENTS,
}


@dataclass(frozen=True)
class Golden:
    folder: Path
    case: dict

    @property
    def target(self):
        return Target(self.case["tenant"], self.case["surface"], self.case["segment"])

    @property
    def window(self):
        return Window.ending(date.fromisoformat(self.case["day"]), days=1)

    def params(self, kind):
        limits = self.case["limits"]
        named = {
            "popularity": {"max_items": limits["max_items_per_artifact"]},
            "cooc": {
                "min_support": limits["min_cooc_support"],
                "max_neighbors": limits["max_neighbors_per_item"],
                "max_items": limits["max_items_per_artifact"],
                "max_items_per_session": limits["max_items_per_session"],
            },
            "implicit": {"max_items_per_user": limits["max_items_per_user"]},
            "session_seq": {"max_items_per_user": limits["max_items_per_user"]},
            "content_sim": {"max_items": limits["max_items_per_artifact"]},
        }
        return KINDS[kind].params(**named[kind])

    def source(self, kind):
        return self.catalog() if KINDS[kind].from_catalog else self.events()

    def events(self):
        lines = (self.folder / "exposures.jsonl").read_text(encoding="utf-8").split("\n")
        return events_of(_event(json.loads(line)) for line in lines if line)

    def catalog(self):
        with (self.folder / "catalog.csv").open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if trim(row["namespace"]) in {"", self.case["surface"]}]
        return pl.DataFrame(
            {
                "item_id": [trim(row["item_id"]) for row in rows],
                "tags": [re.split("[,;|]", row["tags"]) for row in rows],
            },
            schema={"item_id": pl.String, "tags": pl.List(pl.String)},
        )


def find_case(name):
    """Return a case of the project's own or of the shared folder, or None where the shared folder is not laid out."""
    folder = next((root / name for root in (OWN, SHARED) if (root / name).is_dir()), None)
    return folder and Golden(folder, json.loads((folder / "case.json").read_text(encoding="utf-8")))


def _event(line):
    def text(key):
        return trim(line.get(key) or "") or None

    return Row(
        _nanoseconds(line["ts"]),
        text("user_id"),
        text("session_id"),
        line.get("rank", 0),
        text("item_id"),
        text("request_id"),
        text("event"),
    )


def _nanoseconds(ts):
    """Read RFC 3339 with up to nine digits of a second, which datetime cannot hold."""
    whole, fraction, zone = re.fullmatch(r"(.{19})(?:\.(\d+))?(.+)", ts).groups()
    since = datetime.fromisoformat(whole + zone).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return int(since.total_seconds()) * 10**9 + int((fraction or "0").ljust(9, "0"))
