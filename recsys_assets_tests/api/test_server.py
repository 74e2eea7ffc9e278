"""The command on a real port: without Dagster and kernels, fuzzed by its own description."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets.trees.content import json_content
from recsys_assets.trees.tree import open_trees
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.api.serving_api import RUN, served
from recsys_assets_tests.serving.releases import Shop

THOROUGH = bool(os.environ.get("THOROUGH"))  # `make check` is thorough
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"dagster", "dagster_aws", "dagster_webserver", "pandera", "numba"}:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("api")
    settings_in(found)
    config = found / "recsys.toml"
    config.write_text(f'{config.read_text()}[hierarchies.ml_pipeline]\nlevels = ["experiment", "model"]\n')
    return found


@pytest.fixture(scope="module")
def shop(folder):
    shop = Shop(FilesystemStore(folder / "store"))
    for n in range(3):
        shop.ship(n, popularity={f"item {n}": 7, "<script>alert(1)</script>": 3})
    return shop


@pytest.fixture(scope="module")
def node(folder):
    settings = load_settings(str(folder / "recsys.toml"))
    tree = open_trees(FilesystemStore(folder / "store"), settings)["ml_pipeline"]
    return tree.save({"name": "e1"}, content=json_content([{"a": 1}]))


@pytest.fixture(scope="module")
def server(folder, shop):
    assert shop
    with served(folder / "recsys.toml", code=BLOCKED + RUN) as (url, _):
        yield url


@pytest.mark.slow
def test_it_serves_without_dagster_and_kernels_and_ends_on_a_signal(folder, shop):
    assert shop
    with served(folder / "recsys.toml", code=BLOCKED + RUN) as (url, process):
        assert httpx.get(f"{url}/v1/targets").json()["items"][0]["surface"] == "home"
        process.terminate()
        process.wait(timeout=20)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False], ids=["names that there are", "any names"])
def test_no_question_that_can_be_asked_breaks_it_and_every_answer_is_as_described(server, folder, node, known):
    live = httpx.get(f"{server}/v1/targets/shop/home").json()
    names = {
        "tenant": "shop",
        "surface": "home",
        "version": live["versions"]["cooc"],
        "release": "live",
        "kind": "cooc",
        "id": node.id,
        "hierarchy": "ml_pipeline",
    }
    config = folder / f"schemathesis-{known}.toml"
    rows = [f'{name} = "{value}"' for name, value in names.items()] if known else []
    accepted = '[checks]\npositive_data_acceptance.expected-statuses = ["2xx", "304", "404", "409", "416"]\n'
    config.write_text(accepted + "[parameters]\n" + "\n".join(rows))
    program = Path(sys.executable).with_name("schemathesis")
    command = [program, "--config-file", config, "run", f"{server}/openapi.json", "--seed", "1", "--no-color"]
    phases = "coverage,fuzzing" if THOROUGH else "coverage" if known else "fuzzing"
    command += ["--max-examples", "10" if THOROUGH else "3", "--phases", phases, "--checks", "all"]
    command += ["--include-method", "GET"]  # without a token nothing else is taken
    command += [] if known else ["--exclude-checks", "positive_data_acceptance"]  # a hostile name is a string too
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    described = httpx.get(f"{server}/openapi.json").json()["paths"].values()
    assert f"Tested: {sum('get' in methods for methods in described)}" in done.stdout
