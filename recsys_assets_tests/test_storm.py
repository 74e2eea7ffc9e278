"""A short storm with a fixed seed: `make storm` runs it for minutes."""

import json
import os
import subprocess
import sys

import pytest

from recsys_assets_tests.release.acting import ROOT

SECONDS = "5" if os.environ.get("THOROUGH") else "2"  # `make check` is thorough


@pytest.mark.slow
def test_f55_f56_a_short_storm_breaks_no_invariant(tmp_path):  # F1 F2 F5 F6 F7
    line = [
        sys.executable,
        "-m",
        "recsys_assets_tests.storm",
        tmp_path / "store",
        "--seconds",
        SECONDS,
        "--workers",
        "3",
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout)
    assert counts["violations"] == []
    assert counts["commands"] > counts["kills"] + counts["stops"] > 0
