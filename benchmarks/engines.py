"""Who takes part: each engine's command, its environment, the size it is worth running up to, where its result lies."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from generate import CATALOG, DAY, EXPOSURES, SURFACE, TENANT
from result import KINDS, MAX_NEIGHBORS, MIN_SUPPORT
from workspace import DID, PLENTY, SEGMENT, open_workspace, version_digests

HERE = Path(__file__).parent
REFERENCE = "recsys-pipelines"
REFERENCE_VARIABLE = "RECSYS_PIPELINES_BINARY"  # its path, where PATH does not lead to it
REFERENCE_CONFIG_VARIABLE = "RECSYS_PIPELINES_CONFIG"  # JSON put over what is written here; {catalog} is the CSV's path
SPARK_IS_HERE = find_spec("pyspark") is not None and shutil.which("java") is not None  # group test-spark, and a Java
REFERENCE_LAYOUT_VARIABLE = "RECSYS_PIPELINES_RAW_LAYOUT"
REFERENCE_LAYOUT = "{tenant}/{surface}/{day}.jsonl"


@dataclass(frozen=True, slots=True)
class Engine:
    """One contender. `prepare` gets the data folder and returns the command; `collect` finds digests afterwards."""

    name: str
    message: str
    prepare: Callable[[Path], Sequence[str]]
    max_events: int
    one_round_from: int = PLENTY  # events from which it takes so long that it runs in the first round only
    collect: Callable[[Path], dict[str, str]] = field(default=lambda _data: {})
    environment: Callable[[Path], Mapping[str, str | None]] = field(default=lambda _data: {})
    did: Mapping[str, str] = field(default_factory=dict[str, str])  # of a command; scripts say it themselves


def all_engines() -> list[Engine]:
    """Return every engine that can run here; the reference only if its binary is found."""
    engines = [
        Engine("ours", "this project, functions in a warm process", _script("ours.py"), PLENTY),
        Engine(
            "ours-warm-day",
            "this project, the command's own function in a warm process",
            _script("ours_warm_day.py"),
            PLENTY,
        ),
        Engine(
            "ours-command",
            "this project, `recsys-assets run` from a cold start",
            lambda data: _prepare_command(data, "ours-command"),
            PLENTY,
            collect=lambda data: version_digests(data / "ours-command" / "store" / "registry"),
            environment=lambda _data: {"DAGSTER_HOME": None},
            did=DID,
        ),
        Engine(
            "ours-recorded",
            "the same with DAGSTER_HOME: Dagster and its event log included",
            lambda data: _prepare_command(data, "ours-recorded"),
            PLENTY,
            collect=lambda data: version_digests(data / "ours-recorded" / "store" / "registry"),
            environment=lambda data: {"DAGSTER_HOME": str((data / "ours-recorded" / "home").absolute())},
            did={**DID, "recorded": "Dagster on SQLite"},
        ),
        Engine("duckdb", "DuckDB SQL", _script("peer_duckdb.py"), 10_000_000),  # of 30 million: 18 GB
        Engine("polars", "Polars, lazy, streaming engine", _script("peer_polars.py"), 10_000_000),
        Engine("pandas", "pandas", _script("peer_pandas.py"), 1_000_000, one_round_from=1_000_000),
        Engine("implicit", "implicit, ItemItemRecommender", _script("peer_implicit.py"), 30_000_000),
    ]
    if SPARK_IS_HERE:
        spark = Engine("spark", "PySpark, local[*]", _script("peer_spark.py"), 1_000_000, one_round_from=100_000)
        engines.append(spark)
    if reference_binary():
        engines.append(
            Engine(
                "reference",
                f"{REFERENCE} run",
                _prepare_reference,
                10_000_000,
                one_round_from=1_000_000,
                collect=lambda data: version_digests(data / "reference" / "out" / "registry"),
                did={
                    "lines checked": "all",
                    "day stored": "JSON lines",
                    "kinds": "5 of 5",
                    "JSON": "documents",
                    "hashed": "SHA-256",
                    "gated": "day and kinds, in memory",
                    "shipped": "written",
                },
            )
        )
    return engines


def reference_binary() -> str | None:
    """Return the reference's program: the one that the environment names, else the one on PATH, if any."""
    return os.environ.get(REFERENCE_VARIABLE) or shutil.which(REFERENCE)


def _script(name: str) -> Callable[[Path], Sequence[str]]:
    return lambda data: [sys.executable, str(HERE / name), str(data / EXPOSURES)]


def _prepare_command(data: Path, name: str) -> Sequence[str]:
    folder = open_workspace(data, name)
    (folder / "home").mkdir()
    (folder / "home" / "dagster.yaml").write_bytes((HERE.parent / "dagster.yaml").read_bytes())
    command = [str(Path(sys.executable).with_name("recsys-assets")), "run", "--config", str(folder / "recsys.toml")]
    return [*command, "--tenant", TENANT, "--surface", SURFACE, "--start", str(DAY), "--end", str(DAY)]


def _prepare_reference(data: Path) -> Sequence[str]:
    """Write its configuration as its documentation describes, with the cuts that the others have.

    That documentation does not name the key of the catalog: where it is not `catalog`, RECSYS_PIPELINES_CONFIG says it.
    """
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
        "artifact_kinds": [*KINDS],
        "catalog": {"path": str((data / CATALOG).absolute()), "format": "csv"},
    }
    over = os.environ.get(REFERENCE_CONFIG_VARIABLE, "{}").replace("{catalog}", str((data / CATALOG).absolute()))
    path = folder / "reference.json"
    path.write_text(json.dumps({**config, **json.loads(over)}), encoding="utf-8")
    command = [str(reference_binary()), "run", "--config", str(path), "--tenant", TENANT, "--surface", SURFACE]
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
        "max_items_per_user",
    )
    cuts = {"max_neighbors_per_item": MAX_NEIGHBORS, "min_cooc_support": MIN_SUPPORT}
    return dict.fromkeys(unlimited, PLENTY) | cuts
