"""Names of earlier versions that are stored or configured somewhere: cursors of sensors, the run queue, the slices."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from recsys_assets.dagster_defs import queue as queue_now
from recsys_assets.dagster_defs import slices as slices_now
from recsys_assets.dagster_defs.arrivals import ArrivalsCursor, read_cursor, write_cursor
from recsys_assets.dagster_defs.freshness import FreshnessCursor, RecordedFreshness
from recsys_assets.defs import queue, slices

ROOT = Path(__file__).parents[2]
AT = datetime(2026, 1, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize("field", ["told", "message", "recorded"])
def test_a_cursor_is_read_under_every_name_that_its_field_had(field):
    stored = {"next": 3, field: {"shop__home": {"cause": "fresh", "day": "2026-01-01", "at": "2026-01-02T03:00:00Z"}}}
    stored["alerted"] = {"shop__home": None}
    found = read_cursor(json.dumps(stored), FreshnessCursor)
    assert found == FreshnessCursor(3, {"shop__home": RecordedFreshness("fresh", "2026-01-01", AT)}), (
        "alerts are in a document of their own"
    )
    assert read_cursor(write_cursor(found), FreshnessCursor) == found


def test_a_sensor_that_never_ran_begins_with_the_first_target():
    assert read_cursor(None, ArrivalsCursor) == ArrivalsCursor(0, {})
    assert read_cursor('{"next":2,"seen":{"a":{"f":"x"}}}', ArrivalsCursor) == ArrivalsCursor(2, {"a": {"f": "x"}})


def test_the_run_queue_is_found_under_its_former_address_with_a_warning_that_names_the_new_one():
    with pytest.warns(FutureWarning, match=r"write recsys_assets\.dagster_defs\.queue"):
        found = queue.TargetQueue
    assert found is queue_now.TargetQueue
    with pytest.raises(AttributeError, match="no attribute 'OtherQueue'"):
        _ = queue.OtherQueue


def test_a_slice_is_found_under_its_former_address(tmp_path, monkeypatch):
    (tmp_path / "recsys.toml").write_text(
        '[storage]\nroot="store"\n[raw]\nexposures="raw/{day}.jsonl"\n[partitions]\nstart=2026-01-01\n'
        '[artifacts]\nkinds=["popularity"]\n[[targets]]\ntenant="shop"\nsurface="home"\n'
    )
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    with pytest.warns(FutureWarning, match="recsys-assets workspace"):
        found = slices.part_1_of_1
    assert isinstance(found, dg.Definitions)
    keys = found.resolve_asset_graph().get_all_asset_keys()
    assert keys == slices_now.part_1_of_1.resolve_asset_graph().get_all_asset_keys()


@pytest.mark.slow
def test_what_dg_scaffolds_is_loaded_beside_the_targets(tmp_path):
    shutil.copytree(ROOT / "recsys_assets", tmp_path / "recsys_assets")
    for name in ("pyproject.toml", "recsys.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    call = [Path(sys.executable).with_name("dg"), "scaffold", "defs", "dagster.asset", "mine.py"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "RECSYS_CONFIG": str(tmp_path / "recsys.toml")}
    subprocess.run(call, cwd=tmp_path, env=environment, check=True, capture_output=True)
    names = "from recsys_assets.definitions import defs\nprint(defs.resolve_asset_graph().get_all_asset_keys())"
    done = subprocess.run(
        [sys.executable, "-c", names], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert "['mine']" in done.stdout
    assert "'manifest']" in done.stdout
