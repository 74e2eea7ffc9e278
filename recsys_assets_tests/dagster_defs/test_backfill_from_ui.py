"""Backfills as the UI starts them: of a group without raw, of a gap, and again after the input was fixed."""

import dagster as dg
import pytest

from recsys_assets.dagster_defs.assemble import BUILD_ALL, build_definitions
from recsys_assets_tests.dagster_defs.test_graph import failure_of, key, materialized, skipped_because
from recsys_assets_tests.small_shop import FIRST, HOME, QUIET, after, day_lines, open_shop

GROUP = [key("shop", "home", name) for name in ("canonical", "popularity", "manifest")]


@pytest.fixture
def shop(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        opened = open_shop(tmp_path, instance)
        opened.configure('[artifacts]\nkinds = ["popularity"]\n')
        yield opened


def test_a_target_alone_is_built_where_raw_was_never_selected(shop):
    shop.write(FIRST, day_lines(FIRST))
    result = shop.build(FIRST, selection=GROUP)
    assert result.success
    assert materialized(result) == {"shop/home/canonical", "shop/home/popularity", "shop/home/manifest"}
    assert shop.live(HOME) is not None


def test_a_day_without_a_file_in_a_backfill_of_a_group_is_a_skip(shop):
    shop.write(FIRST, day_lines(FIRST))
    result = shop.build(after(1), selection=GROUP)
    assert result.success
    assert materialized(result) == set()
    assert skipped_because(result, key("shop", "home", "canonical")) == "no_input"
    assert states_of_checks(shop) == {
        ("canonical", str(after(1)), "SUCCEEDED"),
        ("popularity", str(after(1)), "SUCCEEDED"),
    }


def states_of_checks(shop):
    """Return what the asset graph counts: the state of each day of each check of the target."""
    keys = [dg.AssetCheckKey(key("shop", "home", name), "gates") for name in ("canonical", "popularity")]
    found = shop.instance.event_log_storage.get_asset_check_partition_info(keys)
    return {(one.check_key.asset_key.path[-1], one.partition_key, one.latest_execution_status.value) for one in found}


def test_a_day_without_a_file_for_anybody_leaves_no_check_unreported(shop):
    shop.write(FIRST, day_lines(FIRST))
    assert shop.build(after(1)).success
    assert {state for _, _, state in states_of_checks(shop)} == {"SUCCEEDED"}


def test_a_kind_alone_builds_what_is_missing_before_it(shop):
    shop.write(FIRST, day_lines(FIRST))
    assert shop.build(FIRST, selection=[key("shop", "home", "popularity")]).success
    result = shop.build(FIRST, selection=[key("shop", "home", "manifest")])
    assert result.success
    assert shop.live(HOME) is not None


def test_a_kind_alone_is_skipped_on_a_day_without_a_file(shop):
    shop.write(FIRST, day_lines(FIRST))
    result = shop.build(after(1), selection=[key("shop", "home", "popularity")])
    assert result.success
    assert materialized(result) == set()
    assert skipped_because(result, key("shop", "home", "popularity")) == "no_input"


def test_a_kind_alone_is_refused_by_the_gate_that_refuses_its_day(shop):
    lines = day_lines(FIRST)
    shop.write(FIRST, [*lines, *(line.replace('"v": 1', '"v": 9') for line in lines)])
    result = shop.build(FIRST, selection=[key("shop", "home", "popularity")])
    assert not result.success
    step = next(e.step_key for e in result.all_events if e.event_type_value == "STEP_FAILURE")
    assert "canonical of 2026-01-01: gate bad_share refused" in failure_of(result, step)
    assert "--override bad_share" in failure_of(result, step)


def build_all():
    """Return the job over the configuration that $RECSYS_CONFIG names, as Dagster makes it again for each run."""
    return build_definitions().resolve_job_def(BUILD_ALL)


def execute(shop, *, failed=None, from_failure=False):
    options = None
    if failed is not None and from_failure:
        options = dg.ReexecutionOptions.from_failure(failed.run_id, shop.instance)
    elif failed is not None:
        options = dg.ReexecutionOptions(failed.run_id)
    return dg.execute_job(
        dg.reconstructable(build_all),
        instance=shop.instance,
        run_config=QUIET,
        tags={"dagster/partition": str(FIRST)},
        reexecution_options=options,
    )


@pytest.mark.slow
def test_a_fixed_input_is_named_by_a_re_execution_from_failure_and_read_by_one_of_all_steps(tmp_path, monkeypatch):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure('[artifacts]\nkinds = ["popularity"]\n')
        monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
        lines = day_lines(FIRST)
        shop.write(FIRST, [*lines, *(line.replace('"v": 1', '"v": 9') for line in day_lines(FIRST, targets=[HOME]))])
        failed = execute(shop)
        assert not failed.success
        step = next(e.step_key for e in failed.all_events if e.event_type_value == "STEP_FAILURE")

        unchanged = execute(shop, failed=failed, from_failure=True)
        assert not unchanged.success
        shop.write(FIRST, lines)
        old = execute(shop, failed=failed, from_failure=True)
        assert not old.success
        assert "inputs changed since this day was built (" in failure_of(old, step)
        assert f"{FIRST}.jsonl" in failure_of(old, step)
        assert "re-execute all steps" in failure_of(old, step)
        assert "inputs changed" not in str([e.message for e in unchanged.all_events])
        assert execute(shop, failed=failed).success
        assert shop.live(HOME) is not None
