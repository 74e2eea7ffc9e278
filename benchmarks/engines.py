"""Who takes part: each engine's command, its environment, the size it is worth running up to, where its result lies."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from generate import DAY, EXPOSURES, SURFACE, TENANT
from result import MAX_ITEMS_PER_USER, MAX_NEIGHBORS, MIN_SUPPORT
from workspace import PLENTY, SEGMENT, open_workspace, version_digests

HERE = Path(__file__).parent
REFERENCE_VARIABLE = "RECSYS_PIPELINES_BINARY"
REFERENCE_LAYOUT_VARIABLE = "RECSYS_PIPELINES_RAW_LAYOUT"
REFERENCE_LAYOUT = "{tenant}/{surface}/{day}.jsonl"


@dataclass(frozen=True, slots=True)
class Engine:
    """One contender. `prepare` gets the data folder and returns the command; `collect` finds digests afterwards."""

    name: str
    message: str
    prepare: Callable[[Path], Sequence[str]]
    max_events: int
    collect: Callable[[Path], dict[str, str]] = field(default=lambda _data: {})
    environment: Callable[[Path], Mapping[str, str]] = field(default=lambda _data: {})


def all_engines() -> list[Engine]:
    """Return every engine that can run here; the reference only if its binary is named."""
    engines = [
        Engine("ours", "this project, functions in a warm process", _script("ours.py"), PLENTY),
        Engine(
            "ours-command",
            "this project, `recsys-assets run` from a cold start, Dagster and its event log included",
            _prepare_command,
            PLENTY,
            collect=lambda data: version_digests(data / "ours-command" / "store" / "registry"),
            environment=lambda data: {"DAGSTER_HOME": str((data / "ours-command" / "home").absolute())},
        ),
        Engine("duckdb", "DuckDB SQL", _script("peer_duckdb.py"), 10_000_000),  # of 30 million: 18 GB
        Engine("pandas", "pandas", _script("peer_pandas.py"), 1_000_000),
        Engine("implicit", "implicit, ItemItemRecommender", _script("peer_implicit.py"), 30_000_000),
    ]
    if os.environ.get(REFERENCE_VARIABLE):
        engines.append(
            Engine(
                "reference",
                "recsys-pipelines run",
                _prepare_reference,
                10_000_000,
                collect=lambda data: version_digests(data / "reference" / "out" / "registry"),
            )
        )
    return engines


def _script(name: str) -> Callable[[Path], Sequence[str]]:
    return lambda data: [sys.executable, str(HERE / name), str(data / EXPOSURES)]


def _prepare_command(data: Path) -> Sequence[str]:
    folder = open_workspace(data, "ours-command")
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_bytes((HERE.parent / "dagster.yaml").read_bytes())
    command = [str(Path(sys.executable).with_name("recsys-assets")), "run", "--config", str(folder / "recsys.toml")]
    return [*command, "--tenant", TENANT, "--surface", SURFACE, "--start", str(DAY), "--end", str(DAY)]


def _prepare_reference(data: Path) -> Sequence[str]:
    """Write its configuration as its documentation describes, with the cuts that the others have."""
    folder = open_workspace(data, "reference").absolute()
    layout = os.environ.get(REFERENCE_LAYOUT_VARIABLE, REFERENCE_LAYOUT)
    raw = folder / "raw" / layout.format(tenant=TENANT, surface=SURFACE, day=DAY)
    raw.parent.mkdir(parents=True)
    raw.symlink_to((data / EXPOSURES).absolute())
    out = folder / "out"
    config = {
        "out_dir": str(out),
        "raw_events_dir": str(folder / "raw"),
        "raw_source": {"type": "fs", "dir": str(folder / "raw")},
        "canonical_dir": str(out / "canonical"),
        "checkpoint_dir": str(out / "checkpoints"),
        "artifacts_dir": str(out / "artifacts"),
        "object_store_dir": str(out / "objectstore"),
        "object_store": {"type": "fs", "dir": str(out / "objectstore")},
        "registry_dir": str(out / "registry"),
        "limits": _reference_limits(),
    }
    path = folder / "reference.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = [os.environ[REFERENCE_VARIABLE], "run", "--config", str(path), "--tenant", TENANT, "--surface", SURFACE]
    return [*command, "--segment", SEGMENT, "--start", str(DAY), "--end", str(DAY)]


def _reference_limits() -> dict[str, int]:
    unlimited = (
        "max_days_backfill",
        "max_events_per_run",
        "max_sessions_per_run",
        "max_items_per_session",
        "max_distinct_items_per_run",
        "max_items_per_artifact",
        "max_users_per_run",
    )
    cuts = {
        "max_neighbors_per_item": MAX_NEIGHBORS,
        "min_cooc_support": MIN_SUPPORT,
        "max_items_per_user": MAX_ITEMS_PER_USER,
    }
    return dict.fromkeys(unlimited, PLENTY) | cuts
