"""A file that another team built ships, is refused, replaced, rolled back and collected like what we build."""

import io
import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import numpy as np
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from recsys_assets.api.context import ApiContext
from recsys_assets.api.metrics import metrics_text
from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError, CorruptObjectError, InputError, LimitExceededError, RefusedError
from recsys_assets.evidence import Verdict
from recsys_assets.ingest.sources.discovery import named_file
from recsys_assets.observability.build_metrics import measure_tests
from recsys_assets.pipeline.arrivals import due_imports
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.imported import find_staged, import_day, judge_import, receive, register
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.pipeline.steps import import_step, journal_refusals
from recsys_assets.pipeline.warm_up import build_days
from recsys_assets.release.journal import Actor, newest_first, this_account
from recsys_assets.release.layout import blob_key, staged_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import read_release
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.shards import read_blob
from recsys_assets.serving.reader import Reader
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.status import status
from recsys_assets_tests.small_shop import HOME, after, day_lines, open_shop

BY = Actor("tester", "a test")
KINDS = '[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n[automation]\nsettled_minutes = 0\n'
ONE = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
VECTORS = """
[imports.vectors]
path = "drop/{day}.npz"
format = "npz"
contract = { ids = "string[n]", v = "float32[n,2]" }
"""


def now():
    return datetime.now(UTC)


def npz(rows, *, axis=2, **more):
    stream = io.BytesIO()
    np.savez(stream, ids=np.array([f"i{n}" for n in range(rows)]), v=np.full((rows, axis), rows, np.float32), **more)
    return stream.getvalue()


@pytest.fixture
def shop(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure(KINDS + VECTORS, targets=ONE)
        (tmp_path / "drop").mkdir()
        yield shop


def row(shop):
    return shop.settings.find("shop", "home")


def drop(shop, day, data):
    (shop.folder / "drop" / f"{day}.npz").write_bytes(data)


def build(shop, n, data=None):
    day = after(n)
    shop.write(day, day_lines(day, shift=n))
    if data is not None:
        drop(shop, day, data)
    return shop.run(day)


def import_one(shop, n, data):
    """Register and judge a file by hand, as the command does."""
    place = shop.folder / "by hand.npz"
    place.write_bytes(data)
    received = receive(named_file(str(place)), shop.settings.imports["vectors"], kind="vectors")
    register(DayContext(shop.store, shop.settings, row(shop), after(n), run_id="test"), received, dropped_on=after(n))
    return judge_import(DayContext(shop.store, shop.settings, row(shop), after(n)), "vectors")


def refused(report):
    return {finding.gate for finding in report.findings if not finding.ok}


def live_version(shop):
    return read_current(shop.store, HOME).versions["vectors"]


@pytest.mark.slow
def test_a_file_ships_rolls_back_and_is_collected_with_the_release(shop):
    assert build(shop, 0, npz(3)).success
    first = live_version(shop)
    assert build(shop, 1, npz(4)).success
    with Reader(shop.store, "shop", "home") as reader, reader.snapshot() as release:
        assert release.content("vectors") == npz(4)
        assert release.arrays("vectors")["v"].shape == (4, 2)
    roll_back(shop.store, HOME, to="previous", by=BY, now=now)
    assert live_version(shop) == first
    with Reader(shop.store, "shop", "home") as reader, reader.snapshot() as release:
        assert release.arrays("vectors")["v"].shape == (3, 2)
    roll_back(shop.store, HOME, to=read_current(shop.store, HOME).release_id, by=BY, now=now, hold=False)
    later = datetime.now(UTC) + timedelta(days=3)
    import_one(shop, -400, npz(9))  # named by nothing that may still ship
    found = collect(shop.store, HOME, by=BY, now=lambda: later, retention=Retention(keep=7), apply=True)
    assert [item.key.rpartition(".")[2] for item in found.taken] == ["npz"]
    assert read_blob(
        shop.store, HOME, read_release(shop.store, HOME, read_current(shop.store, HOME).release_id).refs["vectors"]
    )


@pytest.mark.slow
def test_a_breaking_file_is_refused_with_its_fields_and_live_stays_live(shop):
    assert build(shop, 0, npz(3, extra=np.arange(2))).success
    before = live_version(shop)
    assert not build(shop, 1, npz(3, axis=5)).success
    assert live_version(shop) == before
    with pytest.raises(RefusedError, match=r"vectors: gate contract refused: .*v is float32\[3,5\]"):
        ship_day(
            DayContext(shop.store, shop.settings, row(shop), after(1), now=now), by=BY
        )  # alone, after the failed gate: F32
    assert refused(import_one(shop, 1, npz(3))) == {"compatible"}  # `extra` is gone
    assert refused(import_one(shop, 1, npz(5, extra=np.arange(9), more=np.arange(1)))) == set()
    ship_day(DayContext(shop.store, shop.settings, row(shop), after(1), now=now), by=BY)
    assert live_version(shop) != before


@pytest.mark.slow
def test_a_change_that_is_meant_ships_when_the_configuration_says_so(shop):
    assert build(shop, 0, npz(3, extra=np.arange(2))).success
    shop.configure(KINDS + VECTORS + "allow_breaking = true\n", targets=ONE)
    report = import_one(shop, 1, npz(3))
    assert {f.gate: f.verdict for f in report.findings}["compatible"] is Verdict.ADVISED


def test_a_day_without_a_file_names_the_place_and_the_setting(shop):
    with pytest.raises(InputError, match=r"no file of vectors for 2026-01-01: drop one at drop/.*max_age_days"):
        import_day(DayContext(shop.store, shop.settings, row(shop), after(0), run_id="test"), "vectors")


def test_an_older_file_stands_in_as_long_as_it_may(shop):
    shop.configure(KINDS + VECTORS + "max_age_days = 2\n", targets=ONE)
    drop(shop, after(0), npz(3))
    built = import_day(DayContext(shop.store, shop.settings, row(shop), after(2), run_id="test"), "vectors")
    assert (built.staged.window_first, built.staged.window_last) == ("2026-01-01", "2026-01-03")
    with pytest.raises(InputError, match="nor of the 2 days before"):
        import_day(DayContext(shop.store, shop.settings, row(shop), after(3), run_id="test"), "vectors")


def test_what_was_imported_by_hand_stands_where_no_file_is_dropped(shop):
    import_one(shop, 0, npz(3))
    built = import_day(DayContext(shop.store, shop.settings, row(shop), after(0), run_id="test"), "vectors")
    assert built.reused
    assert built.staged.facts["rows"] == 3


def test_a_file_that_is_replaced_is_another_version_and_the_first_one_stays(shop):
    drop(shop, after(0), npz(3))
    first = import_day(DayContext(shop.store, shop.settings, row(shop), after(0), run_id="test"), "vectors").staged.ref
    drop(shop, after(0), npz(4))
    second = import_day(DayContext(shop.store, shop.settings, row(shop), after(0), run_id="test"), "vectors").staged.ref
    assert first.version != second.version
    assert read_blob(shop.store, HOME, first) == npz(3)


def test_a_damaged_blob_is_found_out_and_fixed_by_importing_it_again(shop):  # F13
    import_one(shop, 0, npz(3))
    drop(shop, after(0), npz(3))
    ref = import_day(DayContext(shop.store, shop.settings, row(shop), after(0), run_id="test"), "vectors").staged.ref
    shop.store.put(blob_key(HOME, "vectors", ref.version), npz(3)[:-1] + b"?")
    with pytest.raises(CorruptObjectError, match="digest"):
        judge_import(DayContext(shop.store, shop.settings, row(shop), after(0)), "vectors")
    import_day(DayContext(shop.store, shop.settings, row(shop), after(0), run_id="test"), "vectors")
    assert judge_import(DayContext(shop.store, shop.settings, row(shop), after(0)), "vectors").passed


def test_a_damaged_reference_is_written_again_by_the_next_import(shop):  # F14
    import_one(shop, 0, npz(3))
    shop.store.put(staged_key(HOME, after(0), "vectors"), b"{")
    assert find_staged(shop.store, row(shop), "vectors", after(0)) is None
    ref = import_one(shop, 0, npz(3)).version
    assert find_staged(shop.store, row(shop), "vectors", after(0)).version == ref


@pytest.mark.parametrize(
    ("extra", "data", "error", "message"),
    [
        pytest.param("max_bytes = 10\n", npz(3), LimitExceededError, "imports.vectors.max_bytes allows 10", id="F22"),
        pytest.param(
            "max_unpacked_bytes = 10\n", npz(3), LimitExceededError, "max_unpacked_bytes allows 10", id="bomb"
        ),
        pytest.param("", b"", InputError, "is empty", id="empty"),
        pytest.param("", b"\x80\x04K\x01.", InputError, "not an npz", id="a pickle"),
    ],
)
def test_a_file_that_cannot_be_is_not_registered(shop, extra, data, error, message):
    shop.configure(KINDS + VECTORS + extra, targets=ONE)
    drop(shop, after(0), data)
    with pytest.raises(error, match=message):
        import_day(DayContext(shop.store, shop.settings, row(shop), after(0), run_id="test"), "vectors")
    assert list(shop.store.list("artifacts/")) == []


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param(VECTORS.replace("vectors", "popularity"), "that is not a built kind", id="name of a built kind"),
        pytest.param(VECTORS.replace("imports.vectors", 'imports."a b"'), "letters, digits", id="name for Dagster"),
        pytest.param(VECTORS + 'targets = ["shop/hmoe"]\n', "known: shop/home", id="unknown target"),
        pytest.param(VECTORS.replace('"npz"', '"bytes"'), "a contract needs a format", id="bytes promise nothing"),
        pytest.param(VECTORS + "kind = 1\n", "unknown key", id="F48 unknown key"),
    ],
)
def test_a_wrong_table_is_reported_by_key(shop, table, message):
    shop.configure(KINDS + table, targets=ONE)
    with pytest.raises(ConfigurationError, match=message):
        _ = shop.settings


def test_a_dropped_file_is_due_once_until_it_changes(shop):
    drop(shop, after(0), npz(3))  # not among the last days
    recent = datetime.now(UTC).date() - timedelta(days=1)
    drop(shop, recent, npz(3))
    later = datetime.now(UTC) + timedelta(minutes=1)
    (due,) = due_imports(shop.store, shop.settings, row(shop), seen={}, now=later)
    assert (due.kind, due.day, due.can_ship) == ("vectors", recent, False)
    seen = {due.place: due.appearance}
    assert list(due_imports(shop.store, shop.settings, row(shop), seen=seen, now=later)) == []
    import_day(DayContext(shop.store, shop.settings, row(shop), recent, run_id="test"), "vectors")
    assert list(due_imports(shop.store, shop.settings, row(shop), seen={}, now=later)) == []
    drop(shop, recent, npz(4))
    assert [one.kind for one in due_imports(shop.store, shop.settings, row(shop), seen=seen, now=later)] == ["vectors"]


def test_the_command_tests_without_writing_and_registers_without_shipping(shop):
    place = shop.folder / "by hand.npz"
    place.write_bytes(npz(3))
    call = ["import", str(place), "--config", str(shop.folder / "recsys.toml"), "--kind", "vectors"]
    call += ["--tenant", "shop", "--surface", "home", "--day", "2026-01-01"]
    dry = CliRunner().invoke(recsys_assets, [*call, "--dry-run"], standalone_mode=False)
    assert (dry.return_value, dry.exception) == (0, None)
    assert "would be registered" in dry.output
    assert list(shop.store.list("artifacts/")) == []
    done = CliRunner().invoke(recsys_assets, call, standalone_mode=False)
    assert done.return_value == 0
    assert "live when the day ships" in done.output
    place.write_bytes(npz(3, axis=9))
    assert CliRunner().invoke(recsys_assets, call, standalone_mode=False).return_value == 1


def import_by_command(shop, n, data, *more):
    place = shop.folder / "by hand.npz"
    place.write_bytes(data)
    call = ["import", str(place), "--config", str(shop.folder / "recsys.toml"), "--kind", "vectors", "--actor", "ada"]
    call += ["--tenant", "shop", "--surface", "home", "--day", str(after(n)), *more]
    return CliRunner().invoke(recsys_assets, call, standalone_mode=False).return_value


def message(shop):
    """The journal as `log` shows it, oldest first."""
    return [(entry.action, entry.outcome) for entry in newest_first(shop.store, HOME)][::-1]


def judge_by_command(shop, data, *more):
    place = shop.folder / "candidate.npz"
    place.write_bytes(data)
    call = ["test", str(place), "--config", str(shop.folder / "recsys.toml"), "--kind", "vectors", "--actor", "ada"]
    return CliRunner().invoke(recsys_assets, [*call, "--tenant", "shop", "--surface", "home", *more])


def samples(shop):
    """What Prometheus reads of tests, by metric and outcome, and of counts by actor."""
    text = "".join(path.read_text() for path in (shop.folder / "metrics").glob("*.tests.prom"))
    return by_labels(one for family in text_string_to_metric_families(text) for one in family.samples)


def by_labels(samples):
    names = ("outcome", "actor")
    return {(one.name, *(one.labels[name] for name in names if name in one.labels)): one.value for one in samples}


def test_a_test_registers_nothing_and_is_kept_with_who_and_how_it_ended(shop):
    shop.configure(KINDS + VECTORS + '[metrics]\nfolder = "metrics"\n', targets=ONE)
    assert judge_by_command(shop, npz(3)).exit_code == 0
    refused = json.loads(judge_by_command(shop, npz(3, axis=5), "--json", "--reason", "axis").output)
    assert (refused["passed"], refused["registered"], refused["entry"]["actor"]) == (False, False, "ada")
    assert "contract" in refused["message"]
    unreadable = judge_by_command(shop, b"not an npz")
    assert isinstance(unreadable.exception, InputError)
    assert message(shop) == [("test", "done"), ("test", "refused"), ("test", "refused")]
    assert [item.key.partition("/")[0] for item in shop.store.list("") if "/shop/" in item.key] == ["registry"] * 3
    assert samples(shop)["recsys_build_tests", "passed", "ada"] == 1
    assert samples(shop)["recsys_build_tests", "refused", "ada"] == 2
    assert samples(shop)["recsys_build_last_test", "refused"] == 1
    (found,) = status(shop.store, [HOME], now=now())
    assert (found.last, found.failed) == (None, ()), "a test is no attempt at what is live"


def test_a_refused_import_by_hand_reaches_the_metrics(shop):
    shop.configure(KINDS + VECTORS + '[metrics]\nfolder = "metrics"\n', targets=ONE)
    assert import_by_command(shop, 0, npz(3, axis=5)) == 1
    assert samples(shop)["recsys_build_last_test", "refused"] == 1
    assert import_by_command(shop, 0, npz(3)) == 0
    assert samples(shop)["recsys_build_last_test", "passed"] == 1
    drop(shop, after(1), npz(3, axis=5))
    of_day = DayContext(shop.store, shop.settings, row(shop), after(1), run_id="test")
    list(import_step("vectors").build(of_day))
    assert journal_refusals(of_day, judge_import(of_day, "vectors")) == []
    found = by_labels(measure_tests(shop.store, shop.settings, row(shop), now=now()))
    nightly = this_account().partition("@")[0]
    assert found["recsys_build_tests", "refused", nightly] == 1, "a build's registration and its gates are one test"
    assert (found["recsys_build_tests", "refused", "ada"], found["recsys_build_tests", "passed", "ada"]) == (1, 1)
    text = metrics_text(ApiContext(shop.store, shop.settings))
    for actor, outcome in ((nightly, "refused"), ("ada", "refused"), ("ada", "passed")):
        labels = f'actor="{actor}",kind="vectors",outcome="{outcome}",surface="home",tenant="shop"'
        assert f"recsys_target_tests{{{labels}}} 1.0" in text


def test_the_job_shows_what_each_gate_found_and_fails_for_a_refused_file(shop):
    (shop.folder / "candidate.npz").write_bytes(npz(3, axis=5))
    asked = {"target": "shop/home", "actor": "ada", "reason": "new model", "kind": "vectors"}
    result = shop.operate("test_file", "test_file_target", {**asked, "file": str(shop.folder / "candidate.npz")})
    failure = result.failure_data_for_node("test_file_target").user_failure_data
    assert "contract" in failure.description
    assert failure.metadata["refused"].value == 1
    (entry,) = newest_first(shop.store, HOME)
    assert (entry.action, entry.outcome, entry.actor, entry.run_id) == ("test", "refused", "ada", result.run_id)


@pytest.mark.slow
def test_a_week_of_imports_is_logged_tested_as_a_whole_and_kept_for_seven_releases(shop):
    gates = '[gates.drift]\nrequired = ["drift_rows"]\n[gates.rehearsal]\nmode = "required"\nmax_held_bytes = 20_000\n'
    shop.configure(KINDS + VECTORS + gates, targets=ONE)
    versions = []
    for n in range(9):
        shop.write(after(n), day_lines(after(n), targets=[HOME], shift=n))
        build_days(shop.settings, [after(n)], store=shop.store)
        assert import_by_command(shop, n, npz(3 + n)) == 0
        assert import_by_command(shop, n, npz(3 + n)) == 0  # no news
        ship_day(DayContext(shop.store, shop.settings, row(shop), after(n), now=now), by=BY)
        versions.append(live_version(shop))
    assert message(shop) == [("import", "done"), ("ship", "done")] * 9
    newest = next(entry for entry in newest_first(shop.store, HOME) if entry.action == "import")
    assert (newest.actor, newest.details["version"], newest.changed) == ("ada", versions[-1], False)

    shop.write(after(9), day_lines(after(9), targets=[HOME]))
    build_days(shop.settings, [after(9)], store=shop.store)
    assert import_by_command(shop, 9, npz(500)) == 1  # eleven rows are live
    assert message(shop)[-1] == ("import", "refused")
    assert "drift_rows" in next(newest_first(shop.store, HOME)).details["message"]
    assert import_by_command(shop, 9, npz(50, padding=np.zeros((1, 20_000), np.uint8))) == 0
    with pytest.raises(RefusedError, match="rehearsal_memory"):  # it is loaded with all others before it is pointed at
        ship_day(DayContext(shop.store, shop.settings, row(shop), after(9), now=now), by=BY)
    assert live_version(shop) == versions[-1]

    page = (
        CliRunner()
        .invoke(
            recsys_assets,
            ["report", "--config", str(shop.folder / "recsys.toml"), "--tenant", "shop", "--surface", "home"],
            standalone_mode=False,
        )
        .output
    )
    assert "| drift_rows |" in page
    assert versions[-1][:12] in page

    later = datetime.now(UTC) + timedelta(days=3)
    collect(shop.store, HOME, by=BY, now=lambda: later, retention=Retention(keep=7), apply=True)
    kept = {item.key.rpartition("/")[2] for item in shop.store.list("artifacts/shop/home/vectors/")}
    assert kept >= set(versions[2:])
    assert not kept & set(versions[:2])
