"""Steps in a `dg` project of another team: the component scaffolded, checked, listed, launched, no warning of ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

from recsys_assets_tests.small_shop import HOME, day_lines
from recsys_assets_tests.walk.scene import NEWEST

FILES = {
    "pyproject.toml": '[project]\nname = "foreign"\nversion = "0"\n\n[tool.dg]\ndirectory_type = "project"\n\n'
    '[tool.dg.project]\nroot_module = "foreign"\ncode_location_name = "foreign"\n\n'
    '[tool.dg.cli]\nsuppress_warnings = ["project_and_activated_venv_mismatch"]\n',
    ".dagster/dagster.yaml": "telemetry:\n  enabled: false\n",
    "foreign/__init__.py": "",
    "foreign/definitions.py": "from pathlib import Path\n\nimport dagster as dg\n\n\n@dg.definitions\ndef defs():\n"
    "    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)\n",
    "foreign/defs/__init__.py": "",
    "foreign/defs/executor.py": "import dagster as dg\n\n\n@dg.definitions\ndef executor():\n"
    "    return dg.Definitions(executor=dg.in_process_executor)  # a process for each step takes minutes\n",
    "foreign/defs/orders.py": "import dagster as dg\n\n\n@dg.asset\ndef orders() -> None: ...\n",
}
# Dagster 1.13 passes this parameter itself wherever a component has checks, and then warns of it.
OF_DAGSTER = "BetaWarning: Parameter `execution_type` of function `AssetsDefinition.__init__`"


def component_in_a_foreign_project(walk):
    """A team adds the component beside its own asset, and builds a day by `dg launch`."""
    folder = walk.shop.folder / "project"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert "recsys_assets.RecsysTargets" in _dg(folder, "list", "components")
    _dg(folder, "scaffold", "defs", "recsys_assets.RecsysTargets", "shop")
    data = folder / "data" / "shop" / "raw"
    data.mkdir(parents=True)
    (data / f"{NEWEST}.jsonl").write_text("\n".join(day_lines(NEWEST, targets=[HOME])) + "\n")
    _dg(folder, "check", "defs")
    listed = json.loads(_dg(folder, "list", "defs", "--json"))
    keys = {one["key"] if "key" in one else one["asset_key"] for one in listed["assets"]}
    assert {"orders", "shop/home/manifest"} <= keys, keys
    _dg(folder, "launch", "--assets", "key:raw/shop or key:shop/home/*", "--partition", str(NEWEST))
    pointer = folder / "data" / "shop" / "store" / "registry" / "current" / "shop" / "home" / "manifest.json"
    assert json.loads(pointer.read_text())["surface"] == "home"


def _dg(folder, *words):
    given = {name: value for name, value in os.environ.items() if name not in {"RECSYS_CONFIG", "VIRTUAL_ENV"}}
    environment = {**given, "PYTHONPATH": str(folder), "DAGSTER_HOME": str(folder / ".dagster")}
    command = [str(Path(sys.executable).with_name("dg")), *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    warned = [line for line in said.splitlines() if "warning" in line.lower() and OF_DAGSTER not in line]
    assert not warned, warned[:5]
    return done.stdout
