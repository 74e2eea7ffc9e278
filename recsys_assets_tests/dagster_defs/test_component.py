"""The component in another team's `dg` project: scaffolded, used twice, beside assets and resources of their own."""

import json
import sys

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException
from dagster.components.testing import create_defs_folder_sandbox

import recsys_assets
from recsys_assets.dagster_defs.component import RecsysTargets
from recsys_assets_tests import warm_processes

# Dagster reads YAML by a function of pydantic that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")

PROJECT = """\
[project]
name = "foreign"
version = "0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "foreign"
"""
DEFINITIONS = """\
from pathlib import Path
import dagster as dg

defs = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
MINE = "import dagster as dg\n\n@dg.asset(required_resource_keys={'store'})\ndef orders(): ...\n"
RESOURCES = """\
import dagster as dg

@dg.definitions
def resources():
    store = dg.ResourceDefinition.hardcoded_resource("theirs")
    return dg.Definitions(resources={"store": store}, executor=dg.multiprocess_executor)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with an asset and a resource of its own, and two components: one scaffolded, one by hand."""
    folder = tmp_path_factory.mktemp("project")
    files = {
        "pyproject.toml": PROJECT,
        "foreign/__init__.py": "",
        "foreign/definitions.py": DEFINITIONS,
        "foreign/defs/mine.py": MINE,
        "foreign/defs/things.py": RESOURCES,
        "foreign/defs/garden/defs.yaml": (
            "type: recsys_assets.RecsysTargets\n"
            "attributes:\n  config: ../../../garden.toml\n  targets: [garden/start]\n"
        ),
        "garden.toml": '[storage]\nroot="garden"\n[artifacts]\nkinds=["popularity"]\n[[targets]]\ntenant="garden"\n'
        'surface="start"\n[[targets]]\ntenant="garden"\nsurface="offers"\n',
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    dg_command(folder, "scaffold", "defs", "recsys_assets.RecsysTargets", "books")
    return folder


def dg_command(folder, *words):
    command = [sys.executable, "-c", "from dagster_dg_cli.cli import main; main()", *words]
    done = warm_processes.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_two_components_stand_beside_a_team_s_own_assets_without_a_warning(project):
    done = dg_command(project, "list", "defs", "--json")
    assert "warning" not in (done.stdout + done.stderr).lower()
    found = json.loads(done.stdout)
    names = {kind: {one.get("asset_key", one.get("name")) for one in some} for kind, some in found.items()}
    assert {"orders", "raw/books", "books/home/manifest", "raw/garden", "garden/start/manifest"} <= names["assets"]
    assert not any(key.startswith("garden/offers") for key in names["assets"])
    assert {"books_build_all", "garden_build_all", "books_roll_back", "garden_roll_back"} <= names["jobs"]
    assert {"books_raw_arrivals", "garden_raw_arrivals"} <= names["sensors"]
    assert names["resources"] == {"store"}


def test_a_component_builds_into_the_store_of_its_own_configuration(tmp_path):
    (tmp_path / "recsys.toml").write_text(
        '[storage]\nroot="store"\n[raw]\nexposures="{day}.jsonl"\n[artifacts]\nkinds=["popularity"]\n'
        '[[targets]]\ntenant="shop"\nsurface="home"\n'
    )
    event = {"v": 1, "ts": "2026-01-01T10:00:00Z", "tenant": "shop", "surface": "home", "item_id": "tea"}
    lines = [json.dumps({**event, "session_id": f"s{n}", "request_id": f"r{n}", "rank": 0}) for n in range(5)]
    (tmp_path / "2026-01-01.jsonl").write_text("\n".join(lines))
    attributes = {"config": str(tmp_path / "recsys.toml"), "name": "tea"}
    yaml = {"type": "recsys_assets.RecsysTargets", "attributes": attributes}
    with create_defs_folder_sandbox() as sandbox, dg.DagsterInstance.ephemeral() as instance:
        path = sandbox.scaffold_component(RecsysTargets, defs_path="drinks", defs_yaml_contents=yaml)
        assert 'tenant = "drinks"' in (path / "recsys.toml").read_text()
        with sandbox.load_component_and_build_defs(path) as (_, defs):
            job = defs.resolve_job_def("tea_build_all")
            assert job.execute_in_process(instance=instance, partition_key="2026-01-01").success
    assert (tmp_path / "store/registry/current/shop/home/manifest.json").exists()


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        pytest.param({"targets": ["books/hoem"]}, "did you mean books/home?", id="target"),
        pytest.param({"name": "my books"}, "expected letters, digits and underscores", id="name"),
        pytest.param({"config": "nowhere.toml"}, "nowhere.toml", id="configuration"),
    ],
)
def test_a_component_with_a_slip_says_what_is_wrong(attributes, message):
    yaml = {"type": "recsys_assets.RecsysTargets", "attributes": attributes}
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(RecsysTargets, defs_path="books", defs_yaml_contents=yaml)
        with pytest.raises(ComponentTreeException) as caught, sandbox.load_component_and_build_defs(path):
            pass
    causes, error = [], caught.value
    while error is not None:
        causes.append(str(error))
        error = error.__cause__
    assert message in "\n".join(causes)


def test_only_the_component_is_found_in_the_package_itself():
    assert recsys_assets.RecsysTargets is RecsysTargets
    assert "RecsysTargets" in dir(recsys_assets)
    with pytest.raises(AttributeError, match="RecsysTarget"):
        _ = recsys_assets.RecsysTarget
