"""What serving costs: time and memory to load, lookups a second, an idle poll, lookups while a release is reloaded.

    python benchmarks/bench_serving.py [--megabytes 10] [--large 250]

Blobs are of the given sizes each, with short rows (the worst case for an index) and with long ones. How late a lookup
is while a release is reloaded stands beside how late it is while a thread hashes, which needs a core and never holds
the interpreter: what that costs is the machine's, and no library can go below it.
"""

import argparse
import gc
import hashlib
import itertools
import random
import tempfile
import threading
import time
import tracemalloc
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import serving_blob

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
    "lookups a CPU-s",
    "of them the floor",
    "with a blocked item",
    "idle poll us",
    "a lookup us: median / 99 %",
    "beside a thread that hashes",
    "while reloading: median / 99 % / worst",
    "99 %: reloading / hashing",
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


def random_ids(total, count):
    chance = random.Random(1)  # noqa: S311 - a seed, no secret
    return [f"u{chance.randrange(total):08d}" for _ in range(count)]


def lookups(reader, kind, count=100_000):
    with reader.snapshot() as release:
        total = len(release.artifacts[kind].rows)
    ids = random_ids(total, count)
    begin = time.process_time()
    for one in ids:
        with reader.snapshot() as release:
            ask(release, kind)(one)
    return count / (time.process_time() - begin)


def floor(reader, kind, count=100_000):
    """Lookups a second if one were no more than a call of a method, a look into a dictionary, and a row's decoding."""
    rows = reader.snapshot().artifacts[kind].rows
    decode, texts = rows.form.decoder.decode, {f"u{n:08d}": rows.array(n, n + 1)[1:-1] for n in range(len(rows))}

    class Least:
        __slots__ = ()

        def find(self, key):
            return decode(texts[key])

    least, ids = Least(), random_ids(len(texts), count)
    begin = time.process_time()
    for one in ids:
        least.find(one)
    return count / (time.process_time() - begin)


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


def beside(work, reader, case, *, seconds=3):
    """Latencies while another thread does some work again and again."""
    done = threading.Event()

    def repeat():
        while not done.is_set():
            work()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        return latencies(reader, case.kind, seconds=seconds)
    finally:
        done.set()
        thread.join()


def beside_hashing(reader, case):
    """Latencies while another thread burns a core without the interpreter's lock."""
    data = bytes(20_000_000)
    return beside(lambda: hashlib.sha256(data), reader, case)


def during_reload(store, reader, case, pointers):
    """Latencies while another thread loads one release after the other."""
    turns = itertools.cycle(reversed(pointers))

    def reload():
        store.put(pointer_key(TARGET), next(turns))
        reader.refresh(accept_older=True)

    return beside(reload, reader, case)


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
    quiet = latencies(reader, case.kind, seconds=2)
    hashing = beside_hashing(reader, case)
    busy = during_reload(store, reader, case, pointers)
    cells = (
        f"{case.name}, {len(artifact.rows):,} of {case.kind}",
        f"{size / 1e6:.1f}",
        f"{seconds:.3f}",
        f"{held / size:.2f}",
        f"{peak / size:.2f}",
        f"{(speed := lookups(reader, case.kind)):,.0f}",
        f"{speed / floor(reader, case.kind):.0%}",
        f"{with_blocked(reader.snapshot(), case.kind):+.1%}",
        f"{idle_poll(reader):.0f}",
        f"{quiet[len(quiet) // 2]:.0f} / {p99(quiet):.0f}",
        f"{hashing[len(hashing) // 2]:.0f} / {p99(hashing):.0f}",
        f"{busy[len(busy) // 2]:.0f} / {p99(busy):.0f} / {busy[-1]:.0f}",
        f"{p99(busy) / p99(hashing):.2f}",
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
    parser.add_argument("--large", type=float, default=250, help="megabytes of the blobs of the second table")
    asked = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}")
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            measure(case, asked.megabytes, Path(folder) / case.kind)
        small = Path(folder) / "small"
        shipped(FilesystemStore(small), CASES[1], 0.1, 0)
        serving_blob.table(asked.large, Path(folder) / "large")
        hundred_readers(small)


if __name__ == "__main__":
    main()
