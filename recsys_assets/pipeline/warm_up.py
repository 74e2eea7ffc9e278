"""Warm-up after an installation: compiles all kernels by running a tiny day through every stage.

    python -m recsys_assets.pipeline.warm_up

Compiled code is cached next to the sources. A later call finds it there and takes a second or two. The package's
bytecode is written as well. Otherwise an interpreter that does not write any (PYTHONDONTWRITEBYTECODE, as in many
images) would parse all modules at every start.
"""

import json
from collections.abc import Mapping, Sequence
from compileall import compile_dir
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from recsys_assets.compiled.interning import grown, new_tables
from recsys_assets.gates.drift_distance import Baseline, measure_drift
from recsys_assets.identity import Target
from recsys_assets.kind_descriptions import DESCRIPTIONS, Shape
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.stored_artifact import read_rows
from recsys_assets.release.staged import read_staged_location
from recsys_assets.settings.reading import parse_settings
from recsys_assets.settings.settings import Settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.store import ObjectStore

# All kinds of this package whose content is rows, also those that are off by default. Kinds of vectors have no compiled
# code of ours.
OF_ROWS = tuple(name for name, kind in DESCRIPTIONS.items() if isinstance(kind.shape, Shape))
DAYS = (date(2026, 1, 1), date(2026, 1, 2))
CONFIG = """
[raw]
exposures = "{day}.jsonl"
catalog = "catalog.jsonl"
max_bad_share = 1.0
[[targets]]
tenant = "warm"
surface = "up"
"""


def warm_up() -> None:
    """Write bytecode, then build and judge days of six events in a temporary folder.

    Windows are one and two days long.
    """
    compile_dir(Path(__file__).parents[1], quiet=2)
    # Days of six events never grow their tables.
    grown(new_tables(1, capacity=1, text_bytes=1), capacity=2, text_bytes=2)
    with TemporaryDirectory() as folder:
        base = Path(folder)
        for day in DAYS:
            (base / f"{day}.jsonl").write_text(_events(day), encoding="utf-8")
        (base / "catalog.jsonl").write_text('{"item_id":"i0","tags":["t"]}\n', encoding="utf-8")
        for days in (1, 2):
            build_days(parse_settings((_windows(days) + CONFIG).encode(), name="warm-up", base=base), DAYS)


def build_days(settings: Settings, days: Sequence[date], *, store: ObjectStore | None = None) -> None:
    """Build and judge the events of these days, and every kind of the last one. Without `store`, in memory."""
    store, row = store or MemoryStore(), settings.targets[0]
    for day in days:
        build_raw(store, settings, day)
        build_canonical(DayContext(store, settings, row, day))
        judge_canonical(DayContext(store, settings, row, day))
    for kind in settings.artifacts.kinds:
        build_artifact(DayContext(store, settings, row, days[-1], run_id="warm-up"), kind)
        judge_artifact(DayContext(store, settings, row, days[-1]), kind)
        _measure_drift(store, row.target, kind, days[-1])


def _measure_drift(store: ObjectStore, target: Target, kind: str, day: date) -> None:
    """Compare an artifact with itself, as its gates compare it with the live one if there is one."""
    ref = read_staged_location(store, target, day, kind).artifact.ref
    rows = read_rows(store, target, ref, KINDS[kind].row_shape)[1]
    measure_drift(rows, Baseline("", rows, rows.member_ids), top_items=1)


def _events(day: date) -> str:
    lines: list[str] = []
    for number in range(6):
        event = {"v": 1, "ts": f"{day}T08:00:0{number}Z", "tenant": "warm", "surface": "up", "rank": number}
        ids = {
            "session_id": f"s{number % 2}",
            "user_id": f"u{number % 2}",
            "item_id": f"i{number % 3}",
            "event": "click",
        }
        lines.append(json.dumps(event | ids, separators=(",", ":")))
    return "\n".join([*lines, "{"]) + "\n"


def _windows(days: int) -> str:
    """Return the settings of all kinds. The longer window also sets the parameters that need other compiled code."""
    tables = "".join(f"[artifacts.{kind}]\n{_lines(KINDS[kind].compiles)}" for kind in OF_ROWS) if days > 1 else ""
    return f"[artifacts]\nwindow_days = {days}\nkinds = {[*OF_ROWS]}\n{tables}"


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


if __name__ == "__main__":
    warm_up()
