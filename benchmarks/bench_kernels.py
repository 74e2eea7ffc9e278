"""Times each kernel, its encoding, its decoding and its contract on coded events in memory, and their peak of memory.

    python benchmarks/bench_kernels.py --events 1000000 [--kind cooc] [--rounds 3]

Each kind runs in a process of its own, so that one's peak is not another's; the first round, which compiles or loads
what is compiled, is not counted. Times are the best of the rounds, in seconds; memory is anonymous, above the events'.
"""

import argparse
import gc
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
import polars as pl
from generate import DAY, SEED, SURFACE, TENANT, make_day

from recsys_assets.encoding.codec import encode
from recsys_assets.encoding.decoder import decode
from recsys_assets.events.events import Events
from recsys_assets.identity import Target, Window
from recsys_assets.kinds.contracts import check_rows
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.inputs import LimitSettings

UNCUT = 1_000_000_000
CUTS = {"max_items": UNCUT, "max_bytes": UNCUT}


def main(arguments: list[str]) -> None:
    """Print one row per kind and step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--kind", choices=[k.name for k in KINDS.values() if not k.from_catalog])
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    if chosen.kind:
        print(json.dumps(measure_kind(chosen.kind, chosen.events, chosen.rounds)))
        return
    for kind in (kind.name for kind in KINDS.values() if not kind.from_catalog):
        command = [sys.executable, __file__, "--kind", kind, *arguments]
        message = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{kind:12}", *(f"{name} {value:<10}" for name, value in message.items()))


def measure_kind(name: str, count: int, rounds: int) -> dict[str, Any]:
    """Run build, encode, decode and check `rounds` times after a warm-up."""
    kind = KINDS[name]
    params = kind.params(**{key: value for key, value in CUTS.items() if key in kind.params.model_fields})
    events = coded_day(count, kind.event_columns)
    target, window = Target(TENANT, SURFACE), Window.ending(DAY, days=1)
    limits = LimitSettings(max_events=UNCUT, max_distinct_items=UNCUT, max_users=UNCUT)
    best: dict[str, Any] = {}
    for round_ in range(rounds + 1):
        built = timed(best, round_, "build", partial(kind.build, events, params, limits))
        write = partial(encode, built.rows, kind=name, target=target, window=window, max_bytes=UNCUT)
        blob = timed(best, round_, "encode", write)
        best |= {"members": len(built.rows.members), "bytes": len(blob.data), "version": blob.ref.version[:8]}
        del built, write
        _, rows = timed(best, round_, "decode", partial(decode, blob.data, kind.shape))
        best["broken"] = len(timed(best, round_, "check", partial(check_rows, rows, params)))
        del blob, rows
    return best


def timed(best: dict[str, Any], round_: int, step: str, work: Callable[[], Any]) -> Any:
    """Run a step, note its time, and the most memory it added, in MB."""
    gc.collect()
    with Peak() as peak:
        started = perf_counter()
        result = work()
        took = perf_counter() - started
    if round_:
        best[step] = round(min(took, best.get(step, took)), 3)
        best[f"{step}_mb"] = round(max(peak.added / 1e6, best.get(f"{step}_mb", 0)))
    return result


class Peak:
    """Watches this process's anonymous memory from another thread."""

    def __enter__(self) -> Self:
        self.before, self.added, self.done = anonymous(), 0, threading.Event()
        self.watch = threading.Thread(target=self._run)
        self.watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.watch.join()

    def _run(self) -> None:
        while not self.done.wait(0.005):
            self.added = max(self.added, anonymous() - self.before)


def anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


def coded_day(count: int, columns: tuple[str, ...]) -> Events:
    """Return the generator's day as coded events, with the columns asked for."""
    day = make_day(count, items=2_000 + int(20 * count**0.5), rng=np.random.default_rng([SEED, count]))
    numbers = {"user_id": day.user, "session_id": day.session, "item_id": day.item}
    codes, ids = {}, {}
    for name in columns:
        if name == "event":
            codes[name], ids[name] = (
                pl.Series([None], dtype=pl.UInt32).new_from_index(0, count),
                pl.Series([], dtype=pl.String),
            )
            continue
        known, code = np.unique(numbers[name], return_inverse=True)
        anonymous_too = int(known[0] < 0)
        series = pl.Series(code - anonymous_too).cast(pl.Int64)
        codes[name] = series.set(series < 0, None).cast(pl.UInt32)
        ids[name] = pl.Series(known[anonymous_too:]).cast(pl.String).str.pad_start(9, "0")
        ids[name] = f"{name}-" + ids[name]
    return Events(pl.DataFrame(codes), ids)


if __name__ == "__main__":
    main(sys.argv[1:])
