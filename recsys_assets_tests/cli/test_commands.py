"""The commands as people and cron meet them: exit codes, one JSON document, dry runs, no Dagster where not needed."""

import hashlib
import json
import sys

import pytest

from recsys_assets_tests import warm_processes
from recsys_assets_tests.small_shop import CART, FIRST, HOME, after, build_two_days, day_lines, set_back

BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"dagster", "dagster_aws", "polars", "numba", "pandera", "pyarrow"}:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Blocked())
from recsys_assets.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    return folder, build_two_days(folder)


@pytest.fixture
def shop(built):
    with set_back(*built, recorded=False) as opened:
        yield opened


def call(shop, *arguments, code="from recsys_assets.cli.main import main; main()"):
    config = ["--config", str(shop.folder / "recsys.toml")] if arguments[0] != "--help" else []
    return warm_processes.run(
        [sys.executable, "-c", code, arguments[0], *config, *arguments[1:]],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


TARGET = ("--tenant", "shop", "--surface", "home")
WHY = ("--reason", "ranking looks wrong", "--actor", "ada")


def fingerprint(shop):
    files = sorted(path for path in (shop.folder / "store").rglob("*") if path.is_file() and ".locks" not in path.parts)
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_rollback_hold_status_log_verify_and_collect_work_without_dagster_and_polars(shop):
    left = shop.live().release_id
    assert call(shop, "rollback", *TARGET, *WHY, "--to", "previous", code=BLOCKED).returncode == 0
    assert shop.live().release_id != left
    message = call(shop, "log", *TARGET, code=BLOCKED)
    assert "ada" in message.stdout
    assert "roll_back" in message.stdout
    for command in (("status",), ("verify",), ("collect",), ("at", "2026-11-21T00:00:00Z"), ("probe",)):
        done = call(shop, *command, code=BLOCKED)
        assert done.returncode == 0, done.stderr
    assert call(shop, "hold", *TARGET, *WHY, code=BLOCKED).returncode == 0
    assert call(shop, "release-hold", *TARGET, *WHY, code=BLOCKED).returncode == 0


@pytest.mark.slow
def test_status_says_why_a_target_is_stale(shop):
    message = call(shop, "status").stdout
    assert "input_missing" in " ".join(message.split())
    (home, _) = json.loads(call(shop, "status", "--json").stdout)
    assert (home["freshness"]["fresh"], home["freshness"]["cause"]) == (False, "input_missing")
    assert home["freshness"]["data_through"] == "2026-01-02"
    assert call(shop, "status", "--fail-on-stale").returncode == 1
    assert call(shop, "status").returncode == 0


def test_status_as_json_is_one_document_with_a_row_per_target(shop):
    done = call(shop, "status", "--json")
    rows = json.loads(done.stdout)
    assert [(row["tenant"], row["surface"]) for row in rows] == [("shop", "home"), ("shop", "cart")]
    assert rows[0].keys() >= {"tenant", "surface", "release", "data_through", "hold", "last"}
    assert rows[0]["release"] == shop.live(HOME).release_id
    assert rows[1]["data_through"] == "2026-01-02"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("rollback", *TARGET, *WHY, "--to", "previous", "--dry-run"), id="rollback"),
        pytest.param(("ship", *TARGET, *WHY, "--day", str(FIRST), "--allow-older", "--dry-run"), id="ship"),
        pytest.param(("hold", *TARGET, *WHY, "--dry-run"), id="hold"),
        pytest.param(("release-hold", *TARGET, *WHY, "--dry-run"), id="release-hold"),
        pytest.param(("restore-pointer", *TARGET, *WHY, "--dry-run"), id="restore-pointer"),
        pytest.param(("reindex", "--dry-run"), id="reindex"),
        pytest.param(("collect",), id="collect"),
    ],
)
def test_a_dry_run_leaves_the_store_as_it_is(shop, command):
    before = fingerprint(shop)
    done = call(shop, *command)
    assert done.returncode == 0, done.stderr
    assert fingerprint(shop) == before


@pytest.mark.slow
def test_ship_forces_an_older_day_past_the_fence_only_when_asked(shop):
    newest = shop.live()
    older = (*TARGET, *WHY, "--day", str(FIRST), "--json")
    kept = json.loads(call(shop, "ship", *older).stdout)
    assert kept["how"] == "older"
    assert shop.live() == newest

    forced = json.loads(call(shop, "ship", *older, "--allow-older").stdout)

    assert forced["how"] == "done"
    assert shop.live().release_id == forced["release"]["id"] != newest.release_id
    message = json.loads(call(shop, "log", *TARGET, "--json").stdout)[0]["entries"][0]
    assert (message["action"], message["actor"], message["reason"]) == ("ship", "ada", "ranking looks wrong")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        pytest.param(("rollback", *TARGET, *WHY, "--to", "deadbeef"), 1, "deadbeef", id="no such release"),
        pytest.param(("rollback", *TARGET, "--to", "previous"), 2, "--reason", id="no reason"),
        pytest.param(("ship", *TARGET, *WHY, "--day", "2026-01-09"), 1, "was not built", id="nothing staged"),
        pytest.param(("hold", *WHY), 2, "select one target", id="no target"),
        pytest.param(("hold", *TARGET, "--reason", " \t"), 2, "'--reason': it is blank", id="F48 blank reason"),
        pytest.param(("hold", *TARGET, *WHY, "--actor", ""), 2, "'--actor': it is blank", id="F48 blank actor"),
        pytest.param(("collect", "--actor", " "), 2, "'--actor': it is blank", id="F48 blank actor of a collection"),
        pytest.param(("import", "--reason", "", "x"), 2, "'--reason': it is blank", id="F48 blank reason of an import"),
        pytest.param(("hold", *TARGET, "--reason", "\udcff"), 2, r"b'\xff', is not UTF-8", id="F48 reason not UTF-8"),
        pytest.param(("status", "--tenant", "\udcfc"), 2, r"b'\xfc', is not UTF-8", id="F48 tenant not UTF-8"),
        pytest.param(("sta\udcfctus",), 2, "is not UTF-8", id="F48 command not UTF-8"),
        pytest.param(("status", "--tenant", "shop"), 2, "both", id="half a target"),
        pytest.param(("status", "--tenant", "../x", "--surface", "home"), 2, "no target", id="F17 hostile name"),
        pytest.param(("at", "yesterday"), 2, "RFC 3339", id="no time"),
        pytest.param(("run", "--start", "2026-01-09", "--end", "2026-01-02"), 2, "before", id="days the wrong way"),
        pytest.param(("run", "--start", "2025-12-31"), 2, "partitions.start", id="a day before the first"),
        pytest.param(("run", "--start", "2199-01-01"), 2, "not ended", id="a day to come"),
    ],
)
def test_a_wrong_call_ends_with_its_code_and_says_what_is_wrong(shop, command, code, message):
    before = shop.live()
    done = call(shop, *command)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert shop.live() == before


@pytest.mark.slow
def test_f48_a_wrong_configuration_ends_with_2_and_names_the_key(shop):
    shop.configure("[gates]\nmin_event = 3\n")
    done = call(shop, "status")
    assert done.returncode == 2
    assert "gates.min_event" in done.stderr


@pytest.mark.slow
def test_run_names_the_bad_day_ships_the_others_and_ends_with_1(shop):
    bad = [line.replace('"v": 1', '"v": 9') for line in day_lines(after(3), targets=[HOME])]
    shop.write(after(3), day_lines(after(3), targets=[CART]) + bad)
    shop.write(after(4), day_lines(after(4), shift=3))
    done = call(shop, "run", "--start", "2026-01-03", "--end", "2026-01-05")
    assert done.returncode == 1
    assert "2026-01-03 raw" in done.stdout
    assert "no raw file" in done.stdout
    assert "2026-01-04 shop/home/canonical" in done.stderr
    assert "2026-01-05" not in done.stderr
    assert "without gating" not in done.stderr, "a day without a file is no reason to warn of its checks"
    message = call(shop, "status", "--json")
    assert message.returncode == 0, message.stderr
    assert {row["data_through"] for row in json.loads(message.stdout)} == {"2026-01-05"}


@pytest.mark.slow
def test_running_a_day_again_ends_with_0_and_changes_nothing(shop):
    before = shop.live()
    done = call(shop, "run", *TARGET, "--start", str(FIRST), "--end", "2026-01-02")
    assert done.returncode == 0, done.stderr
    assert shop.live() == before
    assert "outcome=unchanged" in done.stdout
    assert "outcome=older" in done.stdout


def test_a_report_is_markdown_about_the_live_release_or_the_one_that_is_named(shop):
    live = shop.live().release_id
    message = call(shop, "report", *TARGET, code=BLOCKED)
    assert message.returncode == 0, message.stderr
    assert message.stdout.startswith(f"# Release {live[:12]} of shop/home\n")
    first = json.loads(call(shop, "report", *TARGET, "--json").stdout)["facts"]
    parent = dict(first)["live before it"]
    older = call(shop, "report", *TARGET, "--release", parent)
    assert older.stdout.startswith(f"# Release {parent} of shop/home\n")
    assert "- state: not live\n" in older.stdout


def test_a_report_of_a_release_that_is_not_there_says_so(shop):
    message = call(shop, "report", *TARGET, "--release", "00000000")
    assert (message.returncode, "release 00000000 does not exist" in message.stderr) == (1, True)
