"""Targets that a bad line counts against when it does not name one."""

import json
from datetime import date

import pytest

from recsys_assets.identity import Target
from recsys_assets.ingest.parse import parse_day
from recsys_assets.ingest.sources.files import find_files
from recsys_assets.settings.reading import parse_settings

DAY = date(2026, 1, 1)
HOME, CART = Target("shop", "home"), Target("shop", "cart")
CONFIG = b"""
[raw]
exposures = "{day}.jsonl"
[[targets]]
tenant = "shop"
surface = "home"
[[targets]]
tenant = "shop"
surface = "cart"
"""


def line(surface, **changes):
    event = {"v": 1, "ts": "2026-01-01T12:00:00Z", "tenant": "shop", "surface": surface, "session_id": "s"}
    return json.dumps({**event, "item_id": "i", **changes})


def read(folder, *lines):
    (folder / f"{DAY}.jsonl").write_text("".join(f"{text}\n" for text in lines))
    settings = parse_settings(CONFIG, name="recsys.toml", base=folder)
    files = find_files(settings, DAY)
    report = parse_day(files, day=DAY, targets=[HOME, CART], keep_part=lambda *_: None, keep_rejects=lambda _: None)
    return report.targets


@pytest.mark.parametrize(
    "nameless", ["not json", "", '{"v":1,"tenant":"shop"}'], ids=["no json", "blank", "half named"]
)
def test_a_nameless_bad_line_counts_against_those_that_the_file_holds_anything_of(tmp_path, nameless):
    found = read(tmp_path, line("home"), nameless)
    assert [(found[target].events, found[target].bad) for target in (HOME, CART)] == [(1, 1), (0, 0)]


def test_a_file_of_nothing_but_nameless_lines_counts_against_all_its_targets(tmp_path):
    found = read(tmp_path, "not json", "neither")
    assert [(found[target].events, found[target].bad) for target in (HOME, CART)] == [(0, 2)] * 2


def test_a_target_of_which_only_bad_lines_came_has_no_quiet_day(tmp_path):
    found = read(tmp_path, line("home"), line("cart", v=2), "not json")
    assert (found[CART].events, found[CART].bad) == (0, 2)


def test_a_target_of_which_only_late_events_came_has_a_quiet_day(tmp_path):
    found = read(tmp_path, line("home"), line("cart", ts="2025-12-31T12:00:00Z"), "not json")
    assert (found[CART].events, found[CART].bad, dict(found[CART].late)) == (0, 0, {"2025-12-31": 1})


def test_a_bad_line_of_an_unknown_target_counts_against_nobody(tmp_path):
    found = read(tmp_path, line("home"), line("elsewhere", v=2), '{"v":1,"tenant":"nobody"}')
    assert (found[HOME].bad, found[CART].bad) == (0, 0)
