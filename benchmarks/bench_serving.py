"""What serving costs: time and memory to load, lookups a second, an idle poll, lookups while a release is reloaded.

    python benchmarks/bench_serving.py [--megabytes 10]

Blobs are of the given size each, with short rows (the worst case for an index) and with long ones.
"""

import argparse
import gc
import random
import tempfile
import threading
import time
import tracemalloc
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from recsys_assets.identity import Target
from recsys_assets.release.layout import pointer_key
from recsys_assets.serving.reader import Reader
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets.storage.filesystem import FilesystemStore

TARGET = Target("shop", "home")
ROUNDS = 3
COLUMNS = (
    "rows of the blob",
    "MB",
    "load s",
    "held, blob = 1",
    "peak, blob = 1",
    "lookups/s",
    "with a blocked item",
    "idle poll us",
    "a lookup us: median / 99 %",
    "while reloading: median / 99 % / worst",
)
PACE_SECONDS = 0.0005


@dataclass(frozen=True)
class Case:
    """A release of one kind: rows, and how to ask for one."""

    name: str
    kind: str
    row_bytes: int
    list_length: int

    def rows(self, megabytes, salt):
        count = int(megabytes * 1e6 / self.row_bytes)
        items = {f"item-{salt}{n:07d}": 1 + n for n in range(self.list_length)}
        return {self.kind: {f"u{n:08d}": items for n in range(count)}}


CASES = (Case("short rows", "implicit", 66, 1), Case("rows of 50", "cooc", 1800, 50))


def shipped(store, case, megabytes, n):
    publish_fixture(store, TARGET.tenant, TARGET.surface, case.rows(megabytes, n), day=DAY + timedelta(days=n))


def loaded(store):
    reader = Reader(store, TARGET.tenant, TARGET.surface)
    begin = time.perf_counter()
    refresh = reader.refresh()
    seconds = time.perf_counter() - begin
    assert refresh.release_id, refresh.why  # noqa: S101 - a benchmark of nothing would be fast
    return reader, seconds


def memory(store):
    """Bytes held after loading, and the most that was held on the way."""
    gc.collect()
    tracemalloc.start()
    reader = loaded(store)[0]
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held, peak, reader


def ask(snapshot, kind):
    return snapshot.for_user if kind == "implicit" else snapshot.neighbors


def lookups(reader, kind, count=100_000):
    with reader.snapshot() as release:
        total = len(release.artifacts[kind].rows)
    chance = random.Random(1)  # noqa: S311 - a seed, no secret
    ids = [f"u{chance.randrange(total):08d}" for _ in range(count)]
    begin = time.perf_counter()
    for one in ids:
        with reader.snapshot() as release:
            ask(release, kind)(one)
    return count / (time.perf_counter() - begin)


def latencies(reader, kind, *, seconds):
    """Microseconds from the moment at which a request was due to its answer, sorted: the wait for a turn counts too."""
    taken = []
    due = time.perf_counter()
    end = due + seconds
    while due < end:
        time.sleep(max(0.0, due - time.perf_counter()))
        with reader.snapshot() as release:
            ask(release, kind)("u00000042")
        answered = time.perf_counter()
        taken.append((answered - due) * 1e6)
        due = max(due + PACE_SECONDS, answered)
    return sorted(taken)


def during_reload(store, reader, case, pointers):
    """Latencies while another thread loads one release after the other."""
    done = threading.Event()

    def reload():
        n = 0
        while not done.is_set():
            n += 1
            store.put(pointer_key(TARGET), pointers[n % 2])
            reader.refresh(accept_older=True)

    thread = threading.Thread(target=reload)
    thread.start()
    try:
        return latencies(reader, case.kind, seconds=5)
    finally:
        done.set()
        thread.join()


def with_blocked(snapshot, kind, rounds=15):
    """How much longer a lookup takes while an item is blocked, as the median of rounds in turn; no row names it."""
    blocked, ids = snapshot.without(frozenset({"blocked"})), [f"u{n:08d}" for n in range(2000)] * 5
    ratios = []
    for _ in range(rounds):
        taken = []
        for release in (snapshot, blocked):
            find, begin = ask(release, kind), time.process_time()
            for one in ids:
                find(one)
            taken.append(time.process_time() - begin)
        ratios.append(taken[1] / taken[0])
    return sorted(ratios)[rounds // 2] - 1


def idle_poll(reader, count=2000):
    begin = time.perf_counter()
    for _ in range(count):
        reader.refresh()
    return (time.perf_counter() - begin) / count * 1e6


def p99(sorted_values):
    return sorted_values[int(len(sorted_values) * 0.99)]


def measure(case, megabytes, folder):
    store = FilesystemStore(folder)
    pointers = []
    for n in range(2):
        shipped(store, case, megabytes, n)
        pointers.append(store.get(pointer_key(TARGET), max_bytes=10**6).data)
    held, peak, reader = memory(store)
    artifact = reader.snapshot().artifacts[case.kind]
    size = len(artifact.data)
    seconds = min(loaded(store)[1] for _ in range(ROUNDS))
    quiet = latencies(reader, case.kind, seconds=3)
    busy = during_reload(store, reader, case, pointers)
    cells = (
        f"{case.name}, {len(artifact.rows):,} of {case.kind}",
        f"{size / 1e6:.1f}",
        f"{seconds:.3f}",
        f"{held / size:.2f}",
        f"{peak / size:.2f}",
        f"{lookups(reader, case.kind):,.0f}",
        f"{with_blocked(reader.snapshot(), case.kind):+.1%}",
        f"{idle_poll(reader):.0f}",
        f"{quiet[len(quiet) // 2]:.0f} / {p99(quiet):.0f}",
        f"{busy[len(busy) // 2]:.0f} / {p99(busy):.0f} / {busy[-1]:.0f}",
    )
    print(f"| {' | '.join(cells)} |")


def hundred_readers(folder):
    store = FilesystemStore(folder)
    readers = [Reader(store, TARGET.tenant, TARGET.surface) for _ in range(100)]
    begin = time.perf_counter()
    for reader in readers:
        reader.refresh()
    loading = time.perf_counter() - begin
    begin = time.perf_counter()
    for reader in readers:
        reader.refresh()
    polling = time.perf_counter() - begin
    print(f"\n100 readers on one folder: first load {loading:.2f} s, then a round of idle polls {polling:.4f} s.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=10)
    asked = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            measure(case, asked.megabytes, Path(folder) / case.kind)
        small = Path(folder) / "small"
        shipped(FilesystemStore(small), CASES[1], 0.1, 0)
        hundred_readers(small)


if __name__ == "__main__":
    main()
