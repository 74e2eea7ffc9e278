"""Dropped files as the daemon sees them: registered and tested when they settle, shipped where their day is built."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets_tests.small_shop import QUIET, day_lines, open_shop

CONFIG = """
[artifacts]
window_days = 1
kinds = ["popularity"]
[automation]
watch = true
settled_minutes = 0
look_back_days = 3
[imports.scores]
path = "drop/{day}.jsonl"
format = "jsonl"
contract = { item_id = "string" }
"""
ONE = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
YESTERDAY = datetime.now(UTC).date() - timedelta(days=1)


@pytest.fixture
def shop(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        opened = open_shop(tmp_path, instance)
        opened.configure(CONFIG, targets=ONE)
        (tmp_path / "drop").mkdir()
        yield opened


def drop(shop, text):
    (shop.folder / "drop" / f"{YESTERDAY}.jsonl").write_text(text)


def tick(shop, cursor=None):
    definitions = build_definitions(shop.settings)
    with dg.build_sensor_context(
        instance=shop.instance,
        cursor=cursor,
        repository_def=definitions.get_repository_def(),
    ) as context:
        return definitions.resolve_sensor_def("import_arrivals").evaluate_tick(context)


def run(shop, request):
    job = build_definitions(shop.settings).resolve_job_def(request.job_name)
    return job.execute_in_process(
        partition_key=request.partition_key,
        instance=shop.instance,
        raise_on_error=False,
        run_config=QUIET,
        asset_selection=request.asset_selection,
    )


@pytest.mark.slow
def test_a_file_is_registered_when_it_comes_and_shipped_when_its_day_is_built(shop):
    drop(shop, '{"item_id":"i1"}\n')
    first = tick(shop)
    (request,) = first.run_requests
    assert [key.path[-1] for key in request.asset_selection] == ["scores"]
    assert run(shop, request).success
    assert shop.live() is None  # the rest of its day is not built
    assert tick(shop, first.cursor).run_requests == []
    shop.write(YESTERDAY, day_lines(YESTERDAY))
    assert shop.build(YESTERDAY).success
    before = shop.live().versions
    drop(shop, '{"item_id":"i2"}\n')
    (request,) = tick(shop, first.cursor).run_requests
    assert [key.path[-1] for key in request.asset_selection] == ["scores", "manifest"]
    assert run(shop, request).success
    after = shop.live().versions
    assert after["popularity"] == before["popularity"]
    assert after["scores"] != before["scores"]
    drop(shop, '{"sku":"i2"}\n')  # breaks the contract
    (request,) = tick(shop, first.cursor).run_requests
    assert not run(shop, request).success
    assert shop.live().versions == after


def test_without_imports_the_sensor_says_so(shop):
    shop.configure('[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n', targets=ONE)
    found = tick(shop)
    assert found.run_requests == []
    assert "automation.watch" in found.skip_message
