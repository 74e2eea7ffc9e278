"""One large blob as readers load it: gigabytes a second with the fixed cost apart, and the memory of forked workers."""

import gc
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from recsys_assets.artifact_format import head_of, seal
from recsys_assets.identity import ArtifactRef, Target, Window
from recsys_assets.release.layout import blob_key
from recsys_assets.serving.mapped_copy import MappedCopy
from recsys_assets.serving.served import form_of_kind, prove
from recsys_assets.serving.testing import DAY
from recsys_assets.storage.filesystem import FilesystemStore

TARGET = Target("shop", "home")
WORKERS = 8
ASKED = 20_000
COLUMNS = (
    "rows of the blob",
    "MB",
    "fixed cost ms",
    "into memory: MB a CPU-s",
    "held, blob = 1",
    "mapped, first process: MB a CPU-s",
    "mapped, any other: MB a CPU-s",
    f"{WORKERS} workers, each loads: RSS / PSS of all, blob = 1",
    "of one's own, blob = 1",
)


@dataclass(frozen=True)
class Shape:
    """Rows of one kind, all alike."""

    name: str
    kind: str
    items: int

    def blob(self, megabytes):
        """Return version and bytes of an artifact of about this size."""
        form = form_of_kind(self.kind)
        key, value = form.key, ("score" if self.kind == "implicit" else "count")
        items = ",".join(f'{{"item_id":"item-{n:08d}","{value}":{self.items - n}}}' for n in range(self.items))
        row = f'{{"{key}":"u%08d","items":[{items}]}}'.encode()
        body = b",".join(row % n for n in range(int(megabytes * 1e6 / (len(row) + 6))))
        window = Window.ending(DAY, days=1)
        data, version = seal(
            head_of(form.body, kind=self.kind, target=TARGET, window=window) + b"[" + body + b"]", window
        )
        return ArtifactRef(self.kind, version, len(data), hashlib.sha256(data).hexdigest()), data


SHAPES = (Shape("short rows", "implicit", 1), Shape("rows of 50", "cooc", 50))


def processor_seconds(work):
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def sizes():
    """Bytes of this process: all that is mapped and touched, its share of what is shared, and what is its own."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
    return found["Rss"], found["Pss"], found["Private_Dirty"]


def worker(copy, store, ref, *, ready, go, found, end):
    """In a forked child: load, ask, wait until all have, report the growth of memory, and stay until all have."""
    before = sizes()
    rows = copy.load(store, ref.kind, ref.version, max_bytes=ref.size).rows
    for n in range(0, len(rows), max(len(rows) // ASKED, 1)):
        rows.find(f"u{n:08d}")
    os.write(ready, b".")
    os.read(go, 1)
    growth = [now - then for now, then in zip(sizes(), before, strict=True)]
    os.write(found, f"{' '.join(map(str, growth))}\n".encode())
    os.read(end, 1)


def workers(copy, store, ref):
    """RSS and PSS of all workers, and the most that is one's own, beyond what they had before they loaded."""
    ready, go, found, end = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    children = []
    for _ in range(WORKERS):
        child = os.fork()
        if child == 0:
            os.close(end[1])
            worker(copy, store, ref, ready=ready[1], go=go[0], found=found[1], end=end[0])
            os._exit(0)
        children.append(child)
    for _ in children:
        os.read(ready[0], 1)
    os.write(go[1], b"." * WORKERS)  # all have loaded: now each looks at its own memory
    lines = b""
    while lines.count(b"\n") < WORKERS:
        lines += os.read(found[0], 10_000)
    os.close(end[1])
    for child in children:
        os.waitpid(child, 0)
    for one in (*ready, *go, *found, end[0]):
        os.close(one)
    numbers = [[int(word) for word in line.split()] for line in lines.splitlines()]
    return sum(n[0] for n in numbers), sum(n[1] for n in numbers), max(n[2] for n in numbers)


def fixed_cost(shape, folder):
    """Seconds of processor for a blob of next to nothing: files, locks, hashes and headers."""
    ref, data = shape.blob(0.001)
    store = FilesystemStore(folder / "small")
    store.create(blob_key(TARGET, ref.kind, ref.version), data)

    return min(processor_seconds(lambda: loaded(store, ref))[0] for _ in range(20))


def loaded(store, ref):
    """Return the artifact in this process's own memory."""
    key = blob_key(TARGET, ref.kind, ref.version)
    return prove(TARGET, ref.kind, ref.version, store.get(key, max_bytes=ref.size).data, name=key)


def measure(shape, megabytes, folder):
    """Print a line of the table."""
    fixed = fixed_cost(shape, folder)
    ref, data = shape.blob(megabytes)
    store = FilesystemStore(folder / "store")
    store.create(blob_key(TARGET, ref.kind, ref.version), data)
    del data
    plain, artifact = processor_seconds(lambda: loaded(store, ref))
    held = artifact.rows.held_bytes
    del artifact
    copy = MappedCopy(folder / "copy", TARGET, 600)

    first, again = (
        processor_seconds(lambda: copy.load(store, ref.kind, ref.version, max_bytes=ref.size))[0] for _ in range(2)
    )
    gc.collect()
    rss, pss, own = workers(copy, store, ref)
    into, first_speed, again_speed = (f"{ref.size / 1e6 / cost:,.0f}" for cost in (plain - fixed, first, again))
    cells = (
        shape.name,
        f"{ref.size / 1e6:.0f}",
        f"{fixed * 1e3:.1f}",
        into,
        f"{held / ref.size:.2f}",
        first_speed,
        again_speed,
        f"{rss / ref.size:.2f} / {pss / ref.size:.2f}",
        f"{own / ref.size:.3f}",
    )
    print(f"| {' | '.join(cells)} |", flush=True)


def table(megabytes, folder):
    """Print the table."""
    print(f"\n| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}")
    for shape in SHAPES:
        measure(shape, megabytes, folder / shape.kind)
