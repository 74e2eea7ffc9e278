"""A day, a rollback and an idle reader on an S3 server that answers each request 20 ms late.

    python benchmarks/bench_store_latency.py [--milliseconds 20] [--targets 50]

Prints a Markdown table: the requests of each, the most at once, the seconds in which at least one was under way (so at
most what was waited for the store), and the wall clock. The server is SeaweedFS on this machine (`weed`, a development
dependency) behind `latency_proxy.py`; days are tiny, so that what is measured is the way to the store and back.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # days, and the start of the server, are the tests' own

import boto3  # noqa: E402
from botocore.config import Config  # noqa: E402
from latency_proxy import Counts, RunningProxy, running_proxy  # noqa: E402

from recsys_assets.identity import Target  # noqa: E402
from recsys_assets.pipeline.run_day import run_day  # noqa: E402
from recsys_assets.release.journal import Actor  # noqa: E402
from recsys_assets.release.rollback import roll_back  # noqa: E402
from recsys_assets.serving.reader import Reader  # noqa: E402
from recsys_assets.settings.reading import parse_settings  # noqa: E402
from recsys_assets.settings.settings import Settings  # noqa: E402
from recsys_assets.storage.memory import MemoryStore  # noqa: E402
from recsys_assets.storage.s3 import S3Store  # noqa: E402
from recsys_assets.storage.store import ObjectStore  # noqa: E402
from recsys_assets_tests.conftest import S3Server, running_weed  # noqa: E402
from recsys_assets_tests.small_shop import CONFIG, after, day_lines, open_shop  # noqa: E402

BY = Actor("bench", "measured")
NIGHTLY = 1000  # targets
WINDOWS = "[artifacts]\nwindow_days = 1\n"


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table."""

    name: str
    counts: Counts
    seconds: float

    def __str__(self) -> str:
        """The row as Markdown."""
        counts = self.counts
        waited = f"{counts.seconds_waited:.2f} | {self.seconds:.2f}"
        return f"| {self.name} | {counts.total} | {counts.most_at_once} | {waited} |"


def main(arguments: list[str]) -> None:
    """Measure on a server of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--milliseconds", type=float, default=20, help="that each request waits")
    parser.add_argument("--targets", type=int, default=50, help="of the nightly; 0: none")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "weed").mkdir()
        _run_days(MemoryStore(), _settings(folder / "warm", 1))  # compiled functions are loaded
        with (
            running_weed(folder / "weed") as server,
            running_proxy(int(server.endpoint.rpartition(":")[2]), milliseconds=chosen.milliseconds) as proxy,
        ):
            print("| what | requests | most at once | seconds waited at most | wall seconds |")
            print("|---|---:|---:|---:|---:|")
            for row in _measure(folder, server, proxy, targets=chosen.targets):
                print(row, flush=True)


def _measure(folder: Path, server: S3Server, proxy: RunningProxy, *, targets: int) -> Iterator[Measured]:
    def measured(name: str, action: Callable[[], object]) -> Measured:
        proxy.counts()
        started = perf_counter()
        action()
        return Measured(name, proxy.counts(), perf_counter() - started)

    settings = _settings(folder / "one", 1)
    target, store = settings.targets[0].target, _open(server, proxy)
    _run(store, settings, after(0))
    again = _open(server, proxy, store)  # nothing is remembered of the day before
    yield measured("second day of five kinds", lambda: _run(again, settings, after(1)))
    reader = Reader(_open(server, proxy, store), target.tenant, target.surface)
    yield measured("first load of a reader", reader.refresh)
    yield measured("idle reader, a minute (one poll)", reader.refresh)
    again = _open(server, proxy, store)
    yield measured(
        "rollback of five kinds",
        lambda: roll_back(again, target, to="previous", by=BY, now=lambda: datetime.now(UTC)),
    )
    if targets:
        settings, store = _settings(folder / "many", targets), _open(server, proxy)
        _run(store, settings, after(0))
        nightly = measured(f"second day of {targets} targets", lambda: _run(store, settings, after(1)))
        yield nightly
        print(f"\n{NIGHTLY:,} targets at that rate: {nightly.seconds * NIGHTLY / targets:,.0f} s in one process")


def _open(server: S3Server, proxy: RunningProxy, beside: S3Store | None = None) -> S3Store:
    """Return a store behind the proxy: a new one, or another client's view of one that is there."""
    client = boto3.client(
        "s3",
        endpoint_url=proxy.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=50),
    )
    prefix = server.new_prefix() if beside is None else beside.root_uri.partition(f"{server.bucket}/")[2]
    return S3Store(client, bucket=server.bucket, prefix=prefix)


def _settings(folder: Path, targets: int) -> Settings:
    """Return the configuration of so many targets, after writing two days of each, and the catalog."""
    folder.mkdir()
    shop = open_shop(folder, None)  # pyright: ignore[reportArgumentType] - for files; nothing runs in Dagster here
    named = [Target(f"shop{n:04d}", "home") for n in range(targets)]
    for n in range(2):
        shop.write(after(n), day_lines(after(n), targets=named, shift=n))
    rows = [f'[[targets]]\ntenant = "{one.tenant}"\nsurface = "{one.surface}"\n' for one in named]
    return parse_settings((CONFIG + WINDOWS + "".join(rows)).encode(), name="bench", base=folder)


def _run_days(store: ObjectStore, settings: Settings) -> None:
    for n in range(2):
        _run(store, settings, after(n))


def _run(store: ObjectStore, settings: Settings, day: date) -> None:
    lines = list(run_day(store, settings, settings.targets, day))
    failed = [line.text for line in lines if line.state != "ok"]
    if failed:
        raise RuntimeError("\n".join(failed[:5]))


if __name__ == "__main__":
    main(sys.argv[1:])
