"""A day of many targets as jobs in turn: every asset and gate once, raw first, each target whole."""

import pytest

from recsys_assets.cli.recorded_run import SequentialJobs
from recsys_assets.dagster_defs.assemble import BUILD_ALL, build_definitions
from recsys_assets_tests.small_shop import TARGETS, open_shop

ONE_MORE = '[[targets]]\ntenant = "small"\nsurface = "home"\n'


@pytest.fixture
def shop(tmp_path):
    opened = open_shop(tmp_path)
    opened.configure('[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n', targets=TARGETS + ONE_MORE)
    return opened


def steps(job):
    return sorted(node.name for node in job.nodes)


def test_the_jobs_in_turn_do_once_each_what_the_job_of_all_does(shop):
    whole = build_definitions(shop.settings).resolve_job_def(BUILD_ALL)
    parts = list(SequentialJobs(shop.settings, shop.settings.targets))
    assert sorted(step for part in parts for step in steps(part)) == steps(whole)
    assert steps(parts[0]) == ["raw"]
    assert [{step.partition("__")[0] for step in steps(part)} for part in parts[1:]] == [{"shop"}, {"shop"}, {"small"}]


def test_one_target_is_one_job_with_its_raw_files(shop):
    (job,) = SequentialJobs(shop.settings, shop.settings.targets[:1])
    assert {"raw", "shop__home__manifest"} <= set(steps(job))


def test_a_second_day_has_the_same_jobs(shop):
    jobs = SequentialJobs(shop.settings, shop.settings.targets)
    assert [steps(job) for job in jobs] == [steps(job) for job in jobs]
