"""The jobs that on-call people start: they do what the commands do, and show on the manifest asset."""

import dagster as dg
import pytest

from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.dagster_defs.reindex import report_to_dagster
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import StagedArtifact
from recsys_assets.release.journal import newest_first
from recsys_assets.release.labels import Labelled, find_label, find_tag
from recsys_assets.release.layout import pointer_key, staged_key
from recsys_assets.release.releases import earlier_releases, read_release
from recsys_assets.release.shards import read_blob
from recsys_assets_tests.small_shop import CART, HOME, after, build_two_days, day_lines, set_back

MANIFEST = dg.AssetKey(["shop", "home", "manifest"])
BUILD_HOME = "build_shop__home"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    return folder, build_two_days(folder)


@pytest.fixture
def shop(built):
    with set_back(*built) as opened:
        yield opened


def ask(**more):
    return {"target": "shop/home", "actor": "Ann", "reason": "ranking looks wrong", **more}


def test_rolling_back_shows_on_the_manifest_asset_with_its_reason(shop):
    left = shop.live()
    result = shop.operate("roll_back", "roll_back_target", ask())
    assert result.success
    assert shop.live().release_id != left.release_id
    newest = shop.instance.fetch_materializations(MANIFEST, limit=1).records[0]
    assert newest.partition_key == "2026-01-01"
    assert "ranking looks wrong" in newest.asset_materialization.description
    shown = newest.asset_materialization.metadata
    assert shown["release"].value == shop.live().release_id
    assert shown["bytes"].value > 0
    assert shown["rows/popularity"].value == 4, "plots show the newest event of a day: it has the numbers of its build"
    entry = next(newest_first(shop.store, HOME))
    assert (entry.action, entry.run_id, entry.actor) == ("roll_back", result.run_id, "Ann")


@pytest.mark.parametrize("job", ["roll_back", "hold", "release_hold", "block_item"])
def test_a_job_that_changes_what_is_served_asks_who_launches_it(shop, job):
    op = f"{job}_target"
    before, unnamed = shop.live(), {name: value for name, value in ask().items() if name != "actor"}
    with pytest.raises(dg.DagsterInvalidConfigError, match="actor"):
        shop.operate(job, op, unnamed)
    assert shop.live() == before


def test_the_ship_job_ships_a_day_again_only_where_it_is_allowed_to_be_older(shop):
    newest = shop.live()
    older = {"day": str(after(0))}
    assert shop.operate("ship", "ship_target", ask(**older)).success
    assert shop.live() == newest
    assert shop.operate("ship", "ship_target", ask(**older, allow_older=True)).success
    assert shop.live() != newest
    record = shop.instance.fetch_materializations(MANIFEST, limit=1).records[0]
    assert record.partition_key == str(after(0))
    assert not shop.operate("ship", "ship_target", ask(day="yesterday")).success


def test_a_night_under_the_hold_of_a_rollback_is_green_and_the_next_newer_day_ships(shop):
    shop.operate("roll_back", "roll_back_target", ask())
    rolled_back = shop.live()
    again = shop.build(after(1), job=BUILD_HOME)
    assert not again.success or shop.live().release_id == rolled_back.release_id
    shop.write(after(2), day_lines(after(2), shift=2))
    assert shop.build(after(2), job=BUILD_HOME).success
    assert shop.live().release_id != rolled_back.release_id


def test_a_build_under_a_hold_by_hand_is_recorded_and_not_shipped(shop):
    assert shop.operate("hold", "hold_target", ask()).success
    held = shop.live()
    shop.write(after(2), day_lines(after(2), shift=2))
    result = shop.build(after(2), job=BUILD_HOME)
    assert result.success
    assert shop.live() == held
    assert shop.operate("release_hold", "release_hold_target", ask()).success
    assert shop.build(after(2), job=BUILD_HOME).success
    assert shop.live().release_id != held.release_id


def test_a_blocked_item_is_in_no_artifact_of_the_next_build(shop):
    def named():
        refs = read_release(shop.store, HOME, shop.live().release_id).refs
        return {kind for kind, ref in refs.items() if b'"i1"' in read_blob(shop.store, HOME, ref)}

    before = named()
    assert {"popularity", "cooc", "content_sim"} <= before
    assert shop.operate("block_item", "block_item_target", ask(item="i1")).success
    assert named() == before, "nothing is shipped by a block"
    shop.write(after(2), day_lines(after(2), shift=1))
    assert shop.build(after(2), job=BUILD_HOME).success
    assert named() == set()
    staged = read_document(shop.store, staged_key(HOME, after(2), "cooc"), StagedArtifact)
    assert staged.facts["blocked_items"] == 1
    assert shop.operate("unblock_item", "unblock_item_target", ask(item="i1")).success
    shop.write(after(3), day_lines(after(3), shift=1))
    assert shop.run(after(3), only=HOME).success
    assert named() == before


def test_a_dry_run_changes_nothing(shop):
    before = shop.live()
    for job in ("roll_back", "hold", "release_hold"):
        assert shop.operate(job, f"{job}_target", ask(dry_run=True)).success
    assert shop.live() == before


def test_a_rollback_to_nowhere_fails_and_leaves_what_is_live(shop):
    before = shop.live()
    result = shop.operate("roll_back", "roll_back_target", ask(to="deadbeef"))
    assert not result.success
    assert shop.live() == before


def test_a_target_that_is_not_configured_is_refused(shop):
    with pytest.raises(dg.DagsterInvalidConfigError, match="shop/elsewhere"):
        shop.operate("hold", "hold_target", ask(target="shop/elsewhere"))


@pytest.mark.parametrize(
    ("job", "more", "message"),
    [
        pytest.param("hold", {"reason": " "}, "reason is empty", id="no reason"),
        pytest.param("hold", {"until": "tomorrow"}, "'tomorrow'", id="no instant"),
        pytest.param("ship", {"day": "the 3rd"}, "'the 3rd' is not a day: expected", id="no day"),
        pytest.param("pin", {"release": "abcdef01"}, "release abcdef01 is not recorded", id="no release"),
        pytest.param("import_file", {"file": "x", "kind": "tags", "day": "2026-01-01"}, "[imports.tags]", id="no kind"),
        pytest.param("test_file", {"file": "x", "kind": "tags"}, "[imports.tags]", id="no kind to test"),
        pytest.param("retire", {"target": "shop/home"}, "is still configured", id="configured"),
        pytest.param("retire", {"target": "shop"}, "expected tenant/surface", id="no target"),
    ],
)
def test_a_slip_in_the_launchpad_is_answered_by_a_sentence(shop, job, more, message):
    result = shop.operate(job, f"{job}_target", ask(**more))
    error = result.failure_data_for_node(f"{job}_target")
    assert message in error.user_failure_data.description
    assert error.error.cls_name == "Failure"


def test_a_launchpad_opens_with_a_dry_run_on_a_menu_of_targets(shop):
    job = build_definitions(shop.settings).resolve_job_def("roll_back")
    prefilled = job.run_config["ops"]["roll_back_target"]["config"]
    assert (prefilled["dry_run"], prefilled["to"], prefilled["target"]) == (True, "previous", "shop/home")
    kinds = [t for t in job.run_config_schema.config_type.type_iterator() if isinstance(t, dg.Enum)]
    assert [value.config_value for kind in kinds for value in kind.enum_values] == ["shop/home", "shop/cart"]


def test_no_launchpad_can_send_a_run_to_another_store(shop):
    defs = build_definitions(shop.settings)
    names = {t.given_name for t in defs.resolve_job_def("roll_back").run_config_schema.config_type.type_iterator()}
    assert not any(name and "store" in name.lower() for name in names)
    assert not defs.resources


def test_pinning_marking_and_restoring_by_jobs(shop):
    live = shop.live().release_id
    other = next(earlier_releases(shop.store, HOME, live))
    assert shop.operate("pin", "pin_target", ask(release=other[:8], dry_run=True)).success
    assert find_label(shop.store, HOME, Labelled.PINNED, other) is None
    assert shop.operate("pin", "pin_target", ask(release=other[:8])).success
    assert find_label(shop.store, HOME, Labelled.PINNED, other) is not None
    assert shop.operate("mark_bad", "mark_bad_target", ask(release=other)).success
    assert find_label(shop.store, HOME, Labelled.BAD, other) is not None
    assert shop.operate("mark_bad", "mark_bad_target", ask(release=other, on=False)).success
    assert find_label(shop.store, HOME, Labelled.BAD, other) is None
    assert shop.operate("tag", "tag_target", ask(name="champion", release=other)).success
    assert find_tag(shop.store, HOME, "champion").release == other
    shop.store.delete(pointer_key(HOME))
    assert shop.operate("restore_pointer", "restore_pointer_target", ask()).success
    assert shop.live().release_id == live
    assert shop.operate("reindex", "reindex_targets", {"dry_run": False}).success


def test_forgetting_a_user_by_a_job(shop):
    before = shop.live().release_id
    assert shop.operate("forget", "forget_target", ask(user="u1", dry_run=True)).success
    assert shop.live().release_id == before
    shop.operate("forget", "forget_target", ask(user="u1"))
    assert next(newest_first(shop.store, HOME)).action == "forget"


def test_collecting_is_a_dry_run_by_default(shop):
    assert shop.operate("collect_garbage", "collect_targets", {}).success
    assert shop.live() is not None


def test_the_tune_job_names_the_best_option_and_changes_nothing_that_is_served(shop):
    before = shop.live()
    result = shop.operate("tune", "tune_target", {"target": "shop/home", "days": 1})
    assert result.success
    assert {name.partition(":")[0] for name in result.output_for_node("tune_target")} == {"cooc", "sequential_rules"}
    assert shop.live() == before


def test_f38_f47_a_target_whose_collection_refuses_fails_the_job_after_the_others(shop):
    shop.store.delete(pointer_key(HOME))  # the first target of the configuration
    result = shop.operate("collect_garbage", "collect_targets", {"dry_run": False})
    assert not result.success
    assert "nothing is live" in result.failure_data_for_node("collect_targets").error.message
    assert next(newest_first(shop.store, CART)).action == "collect"


def test_f33_a_lost_event_log_is_rebuilt_from_the_store_once(shop):
    with dg.DagsterInstance.ephemeral() as fresh:
        targets = [row.target for row in shop.settings.targets]

        def reindexed(*, dry_run):
            return report_to_dagster(fresh, shop.store, shop.settings, targets=targets, dry_run=dry_run)

        message = 2 * 2 * (1 + 1 + 5)  # of two days of two targets: the canonical day, the manifest, five kinds
        assert reindexed(dry_run=True) == message
        assert reindexed(dry_run=False) == message
        assert reindexed(dry_run=False) == 0
        found = fresh.fetch_materializations(MANIFEST, limit=9).records
        assert sorted(r.partition_key for r in found) == ["2026-01-01", "2026-01-02"]
        built = fresh.fetch_materializations(dg.AssetKey(["shop", "home", "cooc"]), limit=9).records
        versions = {r.asset_materialization.tags["dagster/data_version"] for r in built}
        assert shop.live().versions["cooc"] in versions
        assert sorted(r.partition_key for r in built) == ["2026-01-01", "2026-01-02"]


def test_a_range_is_built_in_one_run_with_results_of_each_day(shop):
    shop.write(after(2), day_lines(after(2), shift=2))
    lines = day_lines(after(3))
    shop.write(after(3), [line.replace('"v": 1', '"v": 9') if n % 2 else line for n, line in enumerate(lines)])
    shop.write(after(5), day_lines(after(5), shift=3))
    asked = ask(first_day="2026-01-01", last_day=str(after(5)))
    assert shop.operate("backfill", "backfill_target", {**asked, "dry_run": True}).success
    result = shop.operate("backfill", "backfill_target", asked)
    error = result.failure_data_for_node("backfill_target").user_failure_data.description
    assert "5 of 6 days done" in error
    assert "1 day failed: 2026-01-04 shop/home/canonical gates: gate bad_share refused" in error
    records = shop.instance.fetch_materializations(MANIFEST, limit=99).records
    shipped = {one.partition_key for one in records if one.run_id == result.run_id}
    assert shipped >= {str(after(2)), str(after(5))}
    assert str(after(3)) not in shipped
    built = shop.instance.get_latest_data_version_record(dg.AssetKey(["shop", "home", "cooc"]))
    assert built.asset_materialization.tags["dagster/data_version"] == shop.live().versions["cooc"]
    check = dg.AssetCheckKey(dg.AssetKey(["shop", "home", "canonical"]), "gates")
    history = shop.instance.event_log_storage.get_asset_check_execution_history(check, limit=9)
    found = {one.partition: one.status.value for one in history if one.run_id == result.run_id}
    assert (found[str(after(2))], found[str(after(3))]) == ("SUCCEEDED", "FAILED")
