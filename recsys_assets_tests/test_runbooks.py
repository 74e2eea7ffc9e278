"""Every runbook, followed to the letter on a shop that is broken in just that way."""

import logging
from functools import partial
from pathlib import Path

import pytest

from recsys_assets_tests.pages import Meanwhile, follow, read_page
from recsys_assets_tests.situations import HOME_ONLY, SITUATIONS, built_day, roomy_disk
from recsys_assets_tests.small_shop import HOME, after, open_shop

RUNBOOKS = Path(__file__).parents[1] / "docs" / "runbooks"
PARTS = ["## Symptom", "## Safe check", "## Remedy", "## Verification"]


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A shop with one target and one good day live, the variables of the runbooks set to it."""
    level = logging.getLogger("dagster").level
    opened = open_shop(tmp_path)
    opened.configure(targets=HOME_ONLY)
    built_day(0)(opened)
    monkeypatch.setenv("RECSYS_CONFIG", str(tmp_path / "recsys.toml"))
    monkeypatch.setenv("TENANT", HOME.tenant)
    monkeypatch.setenv("SURFACE", HOME.surface)
    monkeypatch.setenv("STORE", str(tmp_path / "store"))
    monkeypatch.setenv("KEYS", str(tmp_path))
    yield opened
    roomy_disk(opened)
    logging.getLogger("dagster").setLevel(level)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.page)
@pytest.mark.slow
def test_following_a_runbook_fixes_what_it_is_for(shop, situation, monkeypatch, capsys):
    situation.spoil(shop)
    monkeypatch.setenv("DAY", after(situation.day).isoformat())
    home = shop.folder / "dagster"
    monkeypatch.setenv("DAGSTER_HOME", str(home)) if home.exists() else monkeypatch.delenv(
        "DAGSTER_HOME", raising=False
    )
    meanwhile = {event: partial(act, shop) for event, act in situation.meanwhile.items()}
    follow(RUNBOOKS / f"{situation.page}.md", capsys, meanwhile=meanwhile)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.page)
def test_a_runbook_has_its_four_parts_and_stands_in_the_list(situation):
    text = (RUNBOOKS / f"{situation.page}.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("## ")] == PARTS
    assert f"({situation.page}.md)" in (RUNBOOKS / "index.md").read_text(encoding="utf-8")


def test_no_runbook_stands_there_untested():
    assert {page.stem for page in RUNBOOKS.glob("*.md")} == {one.page for one in SITUATIONS} | {"index"}


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.page)
def test_whatever_happens_meanwhile_is_described_in_the_page(situation):
    steps = read_page(RUNBOOKS / f"{situation.page}.md")
    assert {step.event for step in steps if isinstance(step, Meanwhile)} == set(situation.meanwhile)
