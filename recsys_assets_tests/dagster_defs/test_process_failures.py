"""F33 F48: runs repeated, doubled, overlapping, killed, edited under; a Dagster that forgets: the pointer is right."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets.release.fault_points import VARIABLE
from recsys_assets.release.journal import changes
from recsys_assets.release.releases import read_release
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests import warm_processes
from recsys_assets_tests.small_shop import CART, FIRST, HOME, SmallShop, after, day_lines, open_shop

pytestmark = pytest.mark.slow

DAYS = 3
ONE_TARGET = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
ONE_KIND = '[artifacts]\nkinds = ["popularity"]\n'
REPORTED = 2 * 2 * (1 + 1 + 1)  # of two days of two targets: the canonical day, the manifest, the kind
MANIFEST, OTHER = dg.AssetKey(["shop", "home", "manifest"]), dg.AssetKey(["shop", "cart", "manifest"])
OPEN_HOME = Path(__file__).parents[2] / "examples" / "demo" / "open_home.py"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder to work in, and three copies of a shop over a Dagster that other processes share, by the days built.

    Two processes that open a fresh Dagster at once can break it: its tables are made here.
    """
    folder = tmp_path_factory.mktemp("shop")
    copies = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder / "dagster"))
        open_home(folder / "dagster")
        for built in range(DAYS):
            with dg.DagsterInstance.get() as instance:
                opened = open_shop(folder, instance)
                opened.configure(ONE_KIND)
                for n in range(DAYS):
                    opened.write(after(n), day_lines(after(n), shift=n))
                if built:
                    assert opened.build(after(built - 1)).success
            copies.append(shutil.copytree(folder, folder.with_name(f"{folder.name}-{built}-built")))
    return folder, copies


@pytest.fixture
def home(folders, monkeypatch):
    """The folder of Dagster."""
    folder, _ = folders
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "dagster"))
    return folder / "dagster"


@pytest.fixture
def shop(request, folders, home):
    """The shop with three days of events, of which as many are built as the test asks for: none, if it does not."""
    folder, copies = folders
    shutil.rmtree(folder)
    shutil.copytree(copies[getattr(request, "param", 0)], folder)
    assert home.is_dir()
    with dg.DagsterInstance.get() as instance:
        yield SmallShop(folder, instance)


one_day_built = pytest.mark.parametrize("shop", [1], indirect=True, ids=["one day built"])
two_days_built = pytest.mark.parametrize("shop", [2], indirect=True, ids=["two days built"])


def open_home(folder):
    runpy.run_path(str(OPEN_HOME))["main"](folder)


def start(shop, command, *words, fault=None):
    """Begin one command as a process of its own."""
    environment = os.environ | ({VARIABLE: fault} if fault else {})
    line = [sys.executable, "-c", "from recsys_assets.cli.main import main; main()", command]
    line += ["--config", str(shop.folder / "recsys.toml"), *words]
    return warm_processes.start(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(shop, first, last, *words, **more):
    return start(shop, "run", "--start", str(after(first)), "--end", str(after(last)), *words, **more)


def finish(process):
    """Wait for a process; return its exit code and all that it said."""
    output, errors = process.communicate(timeout=280)
    return process.returncode, output + errors


def reindexed(shop, *words):
    """Run the command; return how many events it reported to Dagster."""
    process = start(shop, "reindex", "--json", *words)
    output, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    return json.loads(output)["dagster_events"]


def check_pointer(shop, *, day, targets=(HOME, CART)):
    """What is live is of that day, proves itself, and was reached by one unbroken chain of reported swaps."""
    for target in targets:
        live = shop.live(target)
        assert read_release(shop.store, target, live.release_id).data_through == str(day)
        assert verify(shop.store, target).ok
        message = list(changes(shop.store, target))
        assert message[0].pointer_at == live.pointer.updated_at
        assert [newer.before for newer in message] == [*(older.after for older in message[1:]), None]
        assert all(newer.pointer_at > older.pointer_at for newer, older in pairwise(message))


def shipped_days(instance, manifest=MANIFEST):
    """The days that were shipped by what Dagster's own tables say."""
    return sorted(instance.get_materialized_partitions(manifest))


@one_day_built
def test_f33_a_run_retried_after_success_changes_nothing_and_says_so(shop):
    before = shop.live()
    code, said = finish(run(shop, 0, 0))
    assert (code, said.count("outcome=unchanged")) == (0, 2), said
    assert shop.live() == before
    check_pointer(shop, day=FIRST)


def test_f33_two_backfills_of_the_same_days_at_once_end_on_the_newest_day(shop):
    shop.configure(ONE_KIND, targets=ONE_TARGET)
    both = run(shop, 0, 1), run(shop, 1, 2)
    ended = [finish(process) for process in both]
    assert [code for code, _ in ended] == [0, 0], ended
    check_pointer(shop, day=after(2), targets=[HOME])
    assert shipped_days(shop.instance) == [str(after(n)) for n in range(DAYS)]


def test_f33_the_same_run_launched_twice_ships_once(shop):
    shop.configure(ONE_KIND, targets=ONE_TARGET)
    both = run(shop, 0, 0), run(shop, 0, 0)
    ended = [finish(process) for process in both]
    assert [code for code, _ in ended] == [0, 0], ended
    check_pointer(shop, day=FIRST, targets=[HOME])
    assert len(list(changes(shop.store, HOME))) == 1


@one_day_built
@pytest.mark.parametrize("point", ["before_swap", "after_swap"])
def test_f33_a_run_that_was_killed_is_run_again_and_the_registry_is_fixed(shop, point):
    code, said = finish(run(shop, 1, 1, fault=f"ship.{point}"))
    assert code == -signal.SIGKILL, said
    assert shipped_days(shop.instance) == [str(FIRST)], "nothing was reported to Dagster before the end came"

    assert shop.build(after(1)).success

    check_pointer(shop, day=after(1))
    assert shipped_days(shop.instance) == [str(FIRST), str(after(1))]
    for target in (HOME, CART):
        assert len(list(changes(shop.store, target))) == 2


@one_day_built
def test_f33_a_run_that_was_killed_after_its_swap_is_shown_by_reindex_without_a_rerun(shop):
    finish(run(shop, 1, 1, fault="ship.after_swap"))
    assert reindexed(shop) == 1
    days = [shipped_days(shop.instance, manifest) for manifest in (MANIFEST, OTHER)]
    both = [str(FIRST), str(after(1))]
    assert sorted(days) == [both[:1], both], "the run was killed at the first of its two targets"


@two_days_built
def test_f33_a_lost_event_database_is_rebuilt_from_the_store_once(shop, home):
    live = shop.live()
    shutil.rmtree(home)
    open_home(home)
    with dg.DagsterInstance.get() as fresh:
        assert reindexed(shop, "--dry-run") == REPORTED
        assert shipped_days(fresh) == []

        assert reindexed(shop) == REPORTED

        for name in ("manifest", "canonical", "popularity"):
            assert shipped_days(fresh, dg.AssetKey(["shop", "home", name])) == [str(FIRST), str(after(1))]
        newest = fresh.fetch_materializations(MANIFEST, limit=1).records[0].asset_materialization
        assert newest.metadata["release"].value == live.release_id
        assert reindexed(shop) == 0
        assert replace(shop, instance=fresh).build(after(2)).success
    check_pointer(shop, day=after(2))


@two_days_built
def test_f33_a_wiped_asset_is_rebuilt_and_the_others_are_left_alone(shop):
    live = shop.live()
    before = shop.instance.fetch_materializations(OTHER, limit=9).records
    shop.instance.wipe_assets([MANIFEST])
    assert shipped_days(shop.instance) == []

    assert reindexed(shop) == 2

    assert shipped_days(shop.instance) == [str(FIRST), str(after(1))]
    again = shop.instance.fetch_materializations(OTHER, limit=9).records
    assert [record.storage_id for record in again] == [record.storage_id for record in before]
    assert shop.live() == live


def test_f48_a_configuration_that_is_edited_during_a_run_counts_from_the_next_run_on(shop):
    pinned = shop.settings.digest
    running = run(shop, 0, 0, "--tenant", "shop", "--surface", "home", fault="ship.after_read:STOP")
    os.waitid(os.P_PID, running.pid, os.WSTOPPED)
    shop.configure(f"{ONE_KIND}[gates]\nmin_events = 1000\n")
    assert shop.settings.digest != pinned
    running.send_signal(signal.SIGCONT)
    code, said = finish(running)
    assert code == 0, said
    live = shop.live()
    release = read_release(shop.store, HOME, live.release_id)
    assert {release.build.config, *(member.build.config for member in release.members)} == {pinned}

    shop.build(after(1))

    assert shop.live() == live, "the new limit refuses the next day"
