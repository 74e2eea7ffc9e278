"""Targets split over code locations: each in one, in one graph of distinct keys, each able to build a day alone."""

import dagster as dg
import pytest
import yaml
from dagster._core.code_pointer import CodePointer

from recsys_assets.cli.main import recsys_assets
from recsys_assets.dagster_defs import slices
from recsys_assets.dagster_defs.naming import job_name
from recsys_assets.settings.reading import load_settings
from recsys_assets_tests.small_shop import CART, CONFIG, FIRST, HOME, QUIET, day_lines, open_shop


def many_targets(folder, *, count):
    rows = "".join(f'\n[[targets]]\ntenant = "t{n // 10}"\nsurface = "s{n % 10}"\n' for n in range(count))
    (folder / "recsys.toml").write_text(CONFIG + rows)
    (folder / "catalog.jsonl").write_text('{"item_id":"i1","tags":["red"]}\n')
    return folder / "recsys.toml"


def written_locations(config, folder, *, parts):
    """Load what the command's workspace names, as Dagster does."""
    workspace = folder / "workspace.yaml"
    words = ["workspace", "--config", str(config), "--locations", str(parts), "--output", str(workspace)]
    assert recsys_assets.main(words, standalone_mode=False) == 0
    found = [location["python_module"] for location in yaml.safe_load(workspace.read_text())["load_from"]]
    return [
        CodePointer.from_module(one["module_name"], one["attribute"], working_directory=None).load_target()
        for one in found
    ]


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_every_target_stands_in_exactly_one_slice(tmp_path, parts):
    rows = load_settings(many_targets(tmp_path, count=40)).targets
    chosen = [slices.choose_part(rows, part=part, parts=parts) for part in range(1, parts + 1)]
    assert sorted(str(row.target) for part in chosen for row in part) == sorted(str(row.target) for row in rows)


def test_a_target_that_comes_moves_no_other_to_another_slice(tmp_path):
    rows = load_settings(many_targets(tmp_path, count=40)).targets
    before = slices.choose_part(rows[1:], part=1, parts=3)
    assert [row for row in slices.choose_part(rows, part=1, parts=3) if row != rows[0]] == list(before)


@pytest.mark.parametrize("name", ["part_0_of_2", "part_3_of_2", "part_1", "definitions"])
def test_a_slice_that_cannot_be_is_no_attribute(name):
    with pytest.raises(AttributeError, match="part_1_of_4"):
        getattr(slices, name)


def test_dagster_loads_every_location_of_the_workspace_that_is_written(tmp_path, monkeypatch):
    config = many_targets(tmp_path, count=4)
    monkeypatch.setenv("RECSYS_CONFIG", str(config))
    jobs = [job.name for one in written_locations(config, tmp_path, parts=2) for job in one.resolve_all_job_defs()]
    expected = {job_name(row) for row in load_settings(config).targets}
    assert sorted(expected & set(jobs)) == sorted(name for name in jobs if name in expected) == sorted(expected)


def test_a_hundred_targets_are_one_location_and_one_more_makes_two(tmp_path, capsys):
    for count, parts in ((100, 1), (101, 2)):
        config = many_targets(tmp_path, count=count)
        assert recsys_assets.main(["workspace", "--config", str(config)], standalone_mode=False) == 0
        assert len(yaml.safe_load(capsys.readouterr().out)["load_from"]) == parts


def test_no_key_stands_in_two_locations(tmp_path, monkeypatch):
    config = many_targets(tmp_path, count=12)
    monkeypatch.setenv("RECSYS_CONFIG", str(config))
    graphs = [one.resolve_asset_graph() for one in written_locations(config, tmp_path, parts=3)]
    keys = [key for graph in graphs for key in graph.materializable_asset_keys]
    assert len(set(keys)) == len(keys)
    assert {key.to_user_string() for key in keys if key.path[0] == "raw"} == {f"raw/part_{n}_of_3" for n in (1, 2, 3)}


def test_each_location_builds_its_targets_of_a_day_and_whichever_comes_second_finds_the_files_read(
    tmp_path, monkeypatch
):
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure('[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n')
        shop.write(FIRST, day_lines(FIRST))
        config = shop.folder / "recsys.toml"
        monkeypatch.setenv("RECSYS_CONFIG", str(config))
        reused = []
        for target, location in zip((CART, HOME), written_locations(config, tmp_path, parts=2), strict=True):
            job = location.resolve_job_def(f"build_{target.tenant}__{target.surface}")
            assert shop.live(target) is None
            result = job.execute_in_process(instance=instance, partition_key=str(FIRST), run_config=QUIET)
            assert result.success
            assert shop.live(target) is not None
            (raw,) = [e for e in result.get_asset_materialization_events() if e.asset_key.path[0] == "raw"]
            reused.append(raw.step_materialization_data.materialization.metadata["reused"].value)
        assert reused == [False, True]


def test_a_slice_without_a_target_is_an_empty_location(tmp_path, monkeypatch):
    config = many_targets(tmp_path, count=1)
    monkeypatch.setenv("RECSYS_CONFIG", str(config))
    sizes = [
        len(one.resolve_asset_graph().get_all_asset_keys()) for one in written_locations(config, tmp_path, parts=4)
    ]
    assert sorted(map(bool, sizes)) == [False, False, False, True]
