"""A day that fails before its swap, seen from the command line: which step, which number, and what is left of it."""

import dagster as dg
import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.dagster_defs.assemble import BUILD_ALL, build_definitions
from recsys_assets.dagster_defs.attempts import attempt
from recsys_assets.dagster_defs.naming import daily_partitions
from recsys_assets.errors import ConflictError, InputError
from recsys_assets.release.journal import newest_first
from recsys_assets.release.layout import raw_record_key
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets_tests.small_shop import CART, FIRST, HOME, QUIET, after, day_lines, open_shop

QUICK = '[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n'


@pytest.fixture
def shop(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        opened = open_shop(tmp_path, instance)
        opened.configure(QUICK)
        opened.write(FIRST, day_lines(FIRST))
        yield opened


def journal(shop, target=HOME):
    return [
        (entry.action, entry.outcome, entry.details.get("step"), entry.details.get("error"))
        for entry in newest_first(shop.store, target)
    ]


def call(shop, *words):
    return CliRunner().invoke(
        recsys_assets, [*words, "--config", str(shop.folder / "recsys.toml")], env={"COLUMNS": "200"}
    )


def spoilt(day, *, every):
    lines = day_lines(day, targets=[HOME])
    return [line.replace('"v": 1', '"v": 9') if n % every == 0 else line for n, line in enumerate(lines)]


def test_every_way_in_which_a_day_fails_is_reported_by_status_and_log(shop):
    assert shop.run(FIRST).success
    shop.write(after(1), [*spoilt(after(1), every=1), *day_lines(after(1), targets=[CART])])
    assert not shop.build(after(1)).success
    shop.write(after(2), spoilt(after(2), every=2))
    assert not shop.build(after(2)).success
    assert journal(shop) == [
        ("build", "refused", "canonical", "gate"),
        ("build", "refused", "canonical", "InputError"),
        ("ship", "done", None, None),
    ]
    assert journal(shop, CART) == [("ship", "done", None, None)] * 2
    shown = call(shop, "status").output
    assert "last build refused " in shown
    assert f", build: canonical of {after(1)}: InputError: shop/home {after(1)}: all " in shown
    assert f", build: canonical of {after(2)}: gate bad_share refused: " in shown
    assert "raw.max_bad_share" in shown
    assert "max_bad_share" in call(shop, "log", "--tenant", "shop", "--surface", "home").output
    shop.write(after(1), day_lines(after(1)))
    shop.write(after(2), day_lines(after(2)))
    assert shop.run(after(2)).success
    assert shop.run(after(1)).success
    assert "failed" not in call(shop, "status").output


def test_a_kind_over_its_limit_and_a_damaged_raw_record_are_reported_with_the_setting_and_the_key(shop):
    shop.configure(QUICK + "[limits]\nmax_events = 2\n")
    shop.build(FIRST)
    assert journal(shop) == journal(shop, CART) == [("build", "refused", "canonical", "LimitExceededError")]
    shop.configure(QUICK)
    shop.store.put(raw_record_key(FIRST), b"{")
    assert shop.build(FIRST).success  # read again, and so fixed
    assert "limits.max_events" not in call(shop, "status").output


def test_raw_is_of_every_target_and_its_failure_is_reported_to_those_that_were_to_be_built(shop):
    config = shop.folder / "recsys.toml"
    config.write_text(config.read_text().replace("[raw]\n", '[raw]\nuser_key = "env:KEY_THAT_IS_NOT_SET"\n'))
    assert not shop.build(FIRST).success
    assert journal(shop) == journal(shop, CART) == [("build", "refused", "raw", "ConfigurationError")]
    alone = build_definitions(shop.settings, rows=shop.settings.targets[:1]).resolve_job_def(BUILD_ALL)
    alone.execute_in_process(partition_key=str(FIRST), instance=shop.instance, raise_on_error=False, run_config=QUIET)
    assert (len(journal(shop)), len(journal(shop, CART))) == (2, 1)


def run_step(shop, fail, *, store=None):
    """Run a partitioned asset whose body is `fail`, as a step of the first target's day."""
    opened, rows = store or shop.store, shop.settings.targets[:1]

    @dg.asset(partitions_def=daily_partitions(shop.settings.partitions))
    def cooc(context: dg.AssetExecutionContext):
        with attempt(context, opened, rows, step="cooc", retry_seconds=0):
            fail(context.retry_number)

    return dg.materialize(
        [cooc], partition_key=str(FIRST), instance=shop.instance, raise_on_error=False, run_config=QUIET
    )


@pytest.mark.parametrize(
    ("cured_by", "message"),
    [
        pytest.param(1, [], id="the first retry cures it"),
        pytest.param(None, [("build", "refused", "cooc", "ConflictError")], id="no retry does"),
    ],
)
def test_f33_what_a_retry_may_cure_is_reported_when_the_last_one_has_failed(shop, cured_by, message):
    def lose(retry):
        if retry != cured_by:
            raise ConflictError("another one won")

    assert run_step(shop, lose).success == (message == [])
    assert journal(shop) == message


def test_a_defect_is_reported_by_its_class(shop):
    run_step(shop, lambda retry: 1 // retry)
    assert journal(shop) == [("build", "refused", "cooc", "ZeroDivisionError")]


def test_a_journal_that_cannot_be_written_does_not_hide_the_failure(shop):
    store = MemoryStore()
    store.inject(Fault("create", FaultMode.FAIL, times=99))

    def refuse(_):
        raise InputError("all lines are bad")

    result = run_step(shop, refuse, store=store)
    assert "all lines are bad" in result.failure_data_for_node("cooc").user_failure_data.description
