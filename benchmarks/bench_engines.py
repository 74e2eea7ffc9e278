"""What an engine costs: one kind of one canonical day, each run in a process of its own, against the native kernel.

    python benchmarks/bench_engines.py --events 1000000 --engines native polars duckdb spark

Spark runs in local mode on all cores; `seconds` are those of a session that stands and has proven itself, `start` is
what came before. Memory is that of the process and, for Spark, of its JVM. Versions are compared with the native one's.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
from generate import DAY, SURFACE, TENANT, generate
from process import run_process
from result import MEASURED
from workspace import open_workspace

from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline.artifact import build_artifact
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.settings.artifacts import SparkSettings
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.open import open_store

KINDS_OF_EVENTS = ("popularity", "cooc", "implicit", "session_seq")
SPARK = """
[engines.spark]
master = "local[*]"
conf = {{ "spark.driver.memory" = "{memory}", "spark.ui.enabled" = "false", "spark.sql.shuffle.partitions" = "8" }}
"""


def main() -> None:
    """Lay out the day once, then measure every engine and kind, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--engines", nargs="+", default=["native", "polars", "duckdb", "spark"])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS_OF_EVENTS))
    parser.add_argument("--driver-memory", default="6g")
    parser.add_argument("--files", choices=["spark", "arrow"], default="spark", help="who reads and writes for Spark")
    parser.add_argument("--one", nargs=3, metavar=("FOLDER", "ENGINE", "KIND"))
    message = parser.parse_args()
    if message.one:
        _measure(Path(message.one[0]), message.one[1], message.one[2], files=message.files)
        return
    data = generate(message.events, Path("data/bench") / str(message.events)).parent
    folder = data / "engines"
    if not (folder / "store").exists():
        _lay_out(open_workspace(data, "engines"), memory=message.driver_memory)
    versions: dict[str, str] = {}
    for kind in message.kinds:
        for engine in message.engines:
            command = [sys.executable, __file__, "--events", str(message.events), "--files", message.files]
            command += ["--one", str(folder), engine, kind]
            run = run_process(command, environment=_environment())
            expected = versions.setdefault(kind, run.digests["version"])
            same = "same" if run.digests["version"] == expected else "OTHER"
            memory = max(run.anon_mb, float(run.facts["jvm_mb"]))
            print(f"{message.events:>11,} {kind:12} {engine:7}", end="")
            print(
                f" {run.seconds['build']:8.2f} s  start {run.seconds['start']:6.2f} s {memory:8.0f} MB  {same}",
                flush=True,
            )


def _lay_out(folder: Path, *, memory: str) -> None:
    """Build the canonical day, and return where Spark is."""
    config = folder / "recsys.toml"
    text = config.read_text(encoding="utf-8")
    head, mark, targets = text.partition("[[targets]]")
    config.write_text(head + SPARK.format(memory=memory) + mark + targets, encoding="utf-8")
    settings = load_settings(config)
    store = open_store(settings.resolve(settings.storage.root))
    build_raw(store, settings, DAY)
    build_canonical(DayContext(store, settings, settings.find(TENANT, SURFACE), DAY))


def _measure(folder: Path, engine: str, kind: str, *, files: str) -> None:
    started = perf_counter()
    settings = load_settings(folder / "recsys.toml")
    table = {**settings.artifacts.tables.get(kind, {}), "engine": engine}
    artifacts = type(settings.artifacts).model_validate({**settings.artifacts.model_dump(), kind: table})
    settings = settings.model_copy(update={"artifacts": artifacts})
    row, store = settings.find(TENANT, SURFACE), open_store(settings.resolve(settings.storage.root))
    spark = SparkSettings.model_validate({**settings.engines.spark.model_dump(), "files": files})
    room = EngineRegistry(settings.engines.model_copy(update={"spark": spark}), store.root_uri)
    if engine != "native":
        room.open(engine, KINDS[kind])
    else:
        build_artifact(DayContext(store, settings, row, DAY, run_id="warm"), kind)  # what is compiled is loaded
    ready = perf_counter()
    built = build_artifact(DayContext(store, settings, row, DAY, run_id="benchmark", engines=room), kind)
    done = perf_counter()
    jvm = [child for child in psutil.Process().children(recursive=True) if child.name() == "java"]
    facts = {"jvm_mb": str(max((child.memory_info().rss / 2**20 for child in jvm), default=0.0))}
    print(MEASURED, flush=True)
    seconds: dict[str, Any] = {"start": ready - started, "build": done - ready}
    print(json.dumps({"seconds": seconds, "digests": {"version": built.staged.ref.version}, "facts": facts}))


def _environment() -> dict[str, str]:
    return {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"}


if __name__ == "__main__":
    sys.exit(main())
