"""Small operations on a local store: ship, ship again without changes, roll back over 1,000 releases, load a reader.

    python benchmarks/bench_pointer.py --releases 1000

Prints a Markdown table. The artifacts are tiny, so that what is measured is the price of being safe: conditions, fsync,
proofs and the journal. `rollback` is measured as the command too, in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the builder of tiny days is the tests' own

from recsys_assets.release.rollback import roll_back  # noqa: E402
from recsys_assets.serving.reader import Reader  # noqa: E402
from recsys_assets.serving.state import RefreshOutcome  # noqa: E402
from recsys_assets.storage.open import open_store  # noqa: E402
from recsys_assets.storage.store import ObjectStore  # noqa: E402
from recsys_assets_tests.release.staging import BOT, TARGET, Shop  # noqa: E402

CONFIG = """
[storage]
root = "store"
[[targets]]
tenant = "shop"
surface = "home"
"""


def main(arguments: list[str]) -> None:
    """Measure on a fresh store and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        print("| operation | median ms | slowest ms |")
        print("|---|---:|---:|")
        for message, seconds in measure(Path(folder), releases=chosen.releases, rounds=chosen.rounds):
            print(f"| {message} | {median(seconds) * 1000:,.1f} | {max(seconds) * 1000:,.1f} |")


def measure(folder: Path, *, releases: int, rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Yield what was done and how long each time took."""
    (folder / "recsys.toml").write_text(CONFIG, encoding="utf-8")
    store = open_store(str(folder / "store"))
    shop = Shop(store)
    yield f"ship, {releases:,} releases one after the other", [_ship(shop, n) for n in range(releases)]
    last = releases - 1
    yield "ship again without changes", [_timed(lambda: shop.publish(last)) for _ in range(rounds)]
    yield "load a reader", [_timed(lambda: _load(store)) for _ in range(rounds)]
    reader = _load(store)
    yield "poll of a reader, nothing new", [_timed(reader.refresh) for _ in range(rounds)]
    command = [
        _timed(lambda: _command(folder, "rollback", "--to", "previous", "--reason", "measured")) for _ in range(5)
    ]
    yield f"`recsys-assets rollback --to previous`, {releases:,} releases", command
    back = [
        _timed(lambda: roll_back(store, TARGET, to="previous", by=BOT, now=shop.clock, hold=False))
        for _ in range(rounds)
    ]
    yield "roll back in a warm process", back
    yield "`recsys-assets status`", [_timed(lambda: _command(folder, "status")) for _ in range(5)]


def _ship(shop: Shop, n: int) -> float:
    shop.stage(n, content=n)
    return _timed(lambda: shop.publish(n))


def _load(store: ObjectStore) -> Reader:
    reader = Reader(store, TARGET.tenant, TARGET.surface)
    found = reader.refresh()
    if found.outcome is not RefreshOutcome.CHANGED:
        raise RuntimeError(f"the reader loaded nothing: {found}")
    return reader


def _timed(action: Callable[[], object]) -> float:
    started = perf_counter()
    action()
    return perf_counter() - started


def _command(folder: Path, name: str, *arguments: str) -> None:
    program = str(Path(sys.executable).with_name("recsys-assets"))
    target = ["--tenant", TARGET.tenant, "--surface", TARGET.surface]
    done = subprocess.run(
        [program, name, "--config", str(folder / "recsys.toml"), *target, "--json", *arguments],
        check=True,
        capture_output=True,
    )
    json.loads(done.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
