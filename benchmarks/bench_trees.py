"""Artifact trees as they grow: opening, paging, filtering and subtrees with many nodes; printed as a table.

    python benchmarks/bench_trees.py FOLDER --nodes 100000

Nodes are saved into memory and written to FOLDER/store as plain files, which spares a sync for each; what is measured
reads them as every reader does. With --s3 s3://bucket/prefix the same objects are put there first.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from recsys_assets.storage.memory import MemoryStore
from recsys_assets.storage.open import open_store
from recsys_assets.trees.documents import Hierarchy
from recsys_assets.trees.log import Filter
from recsys_assets.trees.tree import ArtifactTree

HIERARCHY = Hierarchy("ml_pipeline", ("experiment", "model", "predictions"))
CHILDREN = 100  # of each experiment, and ten of each model


class Counting:
    """A store that counts its calls."""

    def __init__(self, store: Any) -> None:
        self._store, self.calls = store, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found):
            return found

        def counted(*args: Any, **named: Any) -> Any:
            self.calls += 1
            return found(*args, **named)

        return counted


def fill(nodes: int) -> MemoryStore:
    """Save experiments of 100 models, each of which has 9 predictions, until there are so many nodes."""
    store = MemoryStore()
    tree, made = ArtifactTree(store, HIERARCHY), 0
    while made < nodes:
        experiment = tree.save({"name": f"experiment {made}", "owner": "ranking"}).id
        made += 1
        for n in range(min(CHILDREN, nodes - made)):
            metadata = {"status": "success" if n % 10 else "failed", "duration_seconds": float(n)}
            model = tree.save({"type": "ml_training", "metadata": metadata}, parent=experiment).id
            made += 1
            for k in range(min(9, nodes - made)):
                tree.save({"day": k}, parent=model)
                made += 1
    return store


def write(objects: dict[str, tuple[bytes, float]], folder: Path) -> None:
    """Write objects as files."""
    for key, (data, _) in objects.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def main() -> None:
    """Fill, then measure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--s3", help="s3://bucket/prefix to put the same objects to")
    options = parser.parse_args()
    root = options.s3 or str(options.folder / "store")
    if options.s3 or not (options.folder / "store").exists():
        start = time.perf_counter()
        objects = fill(options.nodes).objects
        print(f"filled in {time.perf_counter() - start:.0f} s, {len(objects):,} objects")
        if options.s3:
            target = open_store(root)
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda item: target.put(item[0], item[1][0]), objects.items()))
        else:
            write(objects, options.folder / "store")
    measure(root)


def measure(root: str) -> None:
    """Print how long each question takes, and how many calls of the store."""
    store = Counting(open_store(root))
    tree = ArtifactTree(store, HIERARCHY)  # type: ignore[arg-type]

    def timed(name: str, ask: Callable[[], Any]) -> Any:
        before, start = store.calls, time.perf_counter()
        found = ask()
        print(f"| {name} | {(time.perf_counter() - start) * 1000:,.0f} ms | {store.calls - before:,} |")
        return found

    print("| question | time | store calls |\n|---|---:|---:|")
    _, total = timed("open, and the first page of 50", tree.page)
    timed("the last page of 50", lambda: tree.page(start=total - 50))
    timed("a page in the middle", lambda: tree.page(start=total // 2))
    timed("a field, `status:failed`", lambda: tree.page(Filter(metadata=("status", "failed"))))
    roots = timed("all roots", tree.children)
    timed("a subtree, 1,000 nodes of it", lambda: tree.tree(roots[0].id))
    timed("a subtree to depth 1", lambda: tree.tree(roots[0].id, max_depth=1))
    model = timed("children of one node", lambda: tree.children(roots[0].id))[0]
    timed("one node", lambda: tree.find(model.id))
    timed("save a node", lambda: tree.save({"n": 1}, parent=model.id))
    print(f"\n{total:,} nodes")


if __name__ == "__main__":
    main()
