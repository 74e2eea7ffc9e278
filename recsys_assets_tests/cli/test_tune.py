"""The command tune: a table, a diff of the configuration, and with --write that change alone, comments and all."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext, open_configured_store
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.settings.editing import with_parameters
from recsys_assets.settings.reading import load_settings, parse_settings
from recsys_assets_tests.pipeline.test_tune import CONFIG, FIRST, build_shop, receipts

FILE = "# our shop\n" + CONFIG.decode().replace('"home"', '"home"  # the first page') + '[storage]\nroot = "store"\n'


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Three days of receipts in a store on a disk."""
    folder = tmp_path_factory.mktemp("shop")
    _, _, known = build_shop(folder, receipts, days=3)
    (folder / "recsys.toml").write_text(FILE)
    settings = load_settings(folder / "recsys.toml")
    store = open_configured_store(settings)
    for day in known:
        build_raw(store, settings, day)
        build_canonical(DayContext(store, settings, settings.targets[0], day))
    return folder


def call(folder, *arguments):
    place = ["--config", str(folder / "recsys.toml"), "--tenant", "shop", "--surface", "home", "--days", "1"]
    return CliRunner().invoke(recsys_assets, ["tune", *place, *arguments], standalone_mode=False)


def test_the_best_lines_are_shown_and_written_only_when_asked(shop):
    shown = call(shop)
    assert shown.exit_code == 0, shown.output
    assert "[targets.artifacts.cooc]" in shown.stdout
    assert "significantly better" in shown.stdout
    assert "option 1 of at most" in shown.stderr
    assert (shop / "recsys.toml").read_text() == FILE
    document = json.loads(call(shop, "--json", "--write").stdout)
    (best,) = (one for one in document["options"] if one["best"])
    written = (shop / "recsys.toml").read_text()
    chosen = tomllib.loads(written)["targets"][0]["artifacts"]["cooc"]
    assert chosen["score"] == best["score"] != "count"
    assert [line for line in FILE.splitlines() if line not in written.splitlines()] == []
    assert json.loads(call(shop, "--json").stdout)["diff"] == ""  # what was written is what is configured now


def test_days_before_the_first_are_an_error_with_its_cure(shop):
    found = call(shop, "--end", str(FIRST))
    assert "build two days" in str(found.exception)


TWO = """# all
[artifacts]
kinds = [
    "popularity",  # the list
]

[[targets]]
tenant = "shop"
surface = "home"

# the other one
[[targets]]
tenant = "other"
surface = "start"
[targets.artifacts.cooc]
min_support = 3  # kept
"""


@pytest.mark.parametrize(("place", "kept"), [(0, {}), (1, {"min_support": 3})])
def test_an_edit_sets_one_target_and_keeps_all_other_lines(place, kept):
    row = parse_settings(TWO.encode(), name="test", base=Path()).targets[place]
    edited = with_parameters(TWO, row, "cooc", {"score": "jaccard", "shrinkage": 3}, kinds=["popularity", "cooc"])
    found = tomllib.loads(edited)
    assert found["targets"][place]["artifacts"] == {"cooc": {**kept, "score": "jaccard", "shrinkage": 3}}
    assert found["targets"][1 - place] == tomllib.loads(TWO)["targets"][1 - place]
    assert found["artifacts"]["kinds"] == ["popularity", "cooc"]
    assert [line for line in TWO.splitlines() if line not in edited.splitlines()] == []
    assert edited.index("# the other one") < edited.index('tenant = "other"')
    assert edited.index('surface = "home"') < edited.index("# the other one")


def test_an_edit_of_inline_tables_stays_inline():
    text = 'targets = [{tenant = "shop", surface = "home"}]\n'
    row = parse_settings(text.encode(), name="test", base=Path()).targets[0]
    edited = with_parameters(text, row, "cooc", {"min_support": 1})
    assert tomllib.loads(edited)["targets"][0]["artifacts"] == {"cooc": {"min_support": 1}}
