"""Output of commands for people: at most 80 columns, short hashes, ages with a zone, colours only where wanted."""

import json
import re
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import main, recsys_assets
from recsys_assets.identity import Target, utc_now
from recsys_assets.messages import name_known, plural
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.rollout import Plan
from recsys_assets.serving.reader import Reader
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.api.conftest import settings_in
from recsys_assets_tests.serving.releases import Shop

HASH = re.compile(r"[0-9a-f]{64}")
COMMANDS = [("status",), ("log", "--limit", "6"), ("at", "2100-01-01T00:00:00Z"), ("verify",), ("collect",)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    settings_in(folder, targets=[("shop", "home")])
    shop = Shop(FilesystemStore(folder / "store"))
    for day in range(7):
        shop.ship(day, popularity={"ash": 9 + day, "birch": 5})
    return folder


def test_marks_are_listed_with_who_and_why(tmp_path):
    settings_in(tmp_path, targets=[("shop", "home")])
    shop = Shop(FilesystemStore(tmp_path / "store"))
    release = shop.ship(0).id
    on = ("--tenant", "shop", "--surface", "home", "--reason", "for the audit", "--actor", "ann")
    pinned = call(tmp_path, "pin", *on, "--release", release[:8], "--until", "2100-01-01T00:00:00Z")
    assert "is pinned until 2100-01-01T00:00:00" in pinned
    for words in (("mark-bad", "--release", release), ("tag", "champion", "--release", release)):
        assert call(tmp_path, words[0], *on, *words[1:]).startswith("shop/home: ")
    found = json.loads(call(tmp_path, "marks", "--json"))
    assert [(one["mark"], one["release"], one["actor"]) for one in found] == [
        (name, release, "ann") for name in ("champion", "bad", "pinned")
    ]
    printed = " ".join(call(tmp_path, "marks", COLUMNS="80").split())
    assert "for the audit" in printed
    for words in (("unpin", "--release", release), ("unmark-bad", "--release", release), ("untag", "champion")):
        call(tmp_path, words[0], *on, *words[1:])
    assert json.loads(call(tmp_path, "marks", "--json")) == []


def call(folder, *words, **environment):
    config = ("--config", str(folder / "recsys.toml"))
    name = 2 if words[0] == "rollout" else 1
    return CliRunner(env=environment).invoke(recsys_assets, [*words[:name], *config, *words[name:]]).output


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_a_terminal_of_80_columns_is_enough(shop, words):
    printed = call(shop, *words, COLUMNS="80")
    assert max(map(len, printed.splitlines())) <= 80
    assert not HASH.search(printed)


@pytest.fixture
def answering(tmp_path):
    """A shop of its own, which a reader served from a moment ago: one answer of four was empty."""
    settings_in(tmp_path, targets=[("shop", "home")])
    shop = Shop(FilesystemStore(tmp_path / "store"), clock=utc_now)
    shop.ship(0)
    reader = Reader(shop.store, "shop", "home", heartbeat="web-1")
    reader.refresh()
    with reader.snapshot() as release:
        for user in ("user", "user", "user", "nobody"):
            release.for_user(user)
    reader.beat()
    return tmp_path


def test_status_shows_the_share_of_empty_answers(answering):
    assert "25.0% of 4 answers empty" in call(answering, "status")
    (row,) = json.loads(call(answering, "status", "--json"))
    assert [(one["kind"], one["asked"], one["unknown"]) for one in row["answers"]] == [("implicit", 4, 1)]


def test_blocked_items_are_listed_with_who_honours_them(answering):
    why = ("--reason", "recall 2026-114", "--actor", "ann")
    assert "is blocked until it is unblocked" in call(answering, "block-item", "--item", "other", *why)
    printed = call(answering, "blocked-items")
    assert "1 blocked" in printed
    assert "recall 2026-114" in printed
    assert "0 of 1 live consumers honour the list; not yet, or unknown: web-1" in printed
    assert "blocked other" in call(answering, "status")
    (row,) = json.loads(call(answering, "blocked-items", "--json"))
    assert [(one["item"], one["actor"]) for one in row["items"]] == [("other", "ann")]
    assert "is no longer blocked" in call(answering, "unblock-item", "--item", "other", *why)
    assert "0 blocked" in call(answering, "blocked-items")


@pytest.mark.parametrize("words", [("status",), ("log",), ("verify",)], ids=lambda words: words[0])
def test_wide_output_has_every_digit(shop, words):
    assert HASH.search(call(shop, *words, "--wide"))


def test_six_entries_of_the_log_fit_a_screen_and_say_how_long_ago_each_was(shop):
    lines = call(shop, "log", "--limit", "6", COLUMNS="80").splitlines()
    assert len(lines) <= 24
    headings = [line for line in lines if line.startswith("#")]
    assert len(headings) == 6
    assert all(re.fullmatch(r"#\d+ ship  done  .+ \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)", line) for line in headings)


def test_nothing_is_wrapped_where_no_terminal_is(shop):
    lines = call(shop, "status").splitlines()
    assert any("release" in line and "with data through" in line for line in lines)
    assert all(line == line.rstrip() for line in lines)


def test_colours_are_for_terminals_and_can_be_refused(shop):
    assert "\x1b[" not in call(shop, "status")
    assert "\x1b[33mstale" in call(shop, "status", FORCE_COLOR="1", TERM="xterm")
    assert "\x1b[33m" not in call(shop, "status", FORCE_COLOR="1", TERM="xterm", NO_COLOR="1")


@pytest.mark.parametrize(
    ("words", "question"),
    [
        pytest.param(["statsu"], "Did you mean 'status'?", id="command"),
        pytest.param(["status", "--tennant", "shop"], "Did you mean '--tenant'?", id="option"),
    ],
)
def test_a_slip_is_answered_with_what_was_meant(words, question):
    assert question in CliRunner().invoke(recsys_assets, words).output


def test_of_many_known_names_the_nearest_are_listed():
    many = [f"shop{n}/home" for n in range(1000)]
    found = name_known("shop77/hmoe", many)
    assert found.startswith("did you mean shop77/home? known are shop77/home, ")
    assert found.endswith(" and 980 more")
    assert name_known("?", ["a", "b"]) == "known are a, b"
    assert name_known("?", []) == "known are none"


def test_counts_have_their_nouns():
    counted = [plural(1, "day"), plural(2, "day"), plural(3, "entry"), plural(0, "match"), plural(1200, "loss")]
    assert counted == ["1 day", "2 days", "3 entries", "0 matches", "1,200 losses"]


HOSTILE = "\x1b[2J\x1b]0;mine\x07\x9b31m\u202egood"


@pytest.mark.parametrize("words", [*COMMANDS, ("release-hold", "--reason", "x"), ("pin", "--reason", "x"), ("report",)])
@pytest.mark.parametrize("as_json", [False, True])
def test_what_others_wrote_reaches_a_terminal_spelled(shop, words, as_json):
    """Reasons, actors and messages come from anybody who may write to the store."""
    name, *rest = words
    store = FilesystemStore(shop / "store")
    by = Actor(HOSTILE, HOSTILE)
    target = Target("shop", "home")
    place_hold(store, target, by=by, now=lambda: datetime(2100, 1, 1, tzinfo=UTC))
    arguments = [name, "--config", str(shop / "recsys.toml"), *rest, *(["--json"] if as_json else [])]
    found = CliRunner().invoke(recsys_assets, arguments, color=True)
    shown = found.output + str(found.exception or "")
    assert not [mark for mark in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e") if mark in shown]
    if name in {"log", "status"}:
        assert "mine" in shown


def test_an_error_is_spelled_too(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["recsys-assets", "status", "--config", f"nowhere{HOSTILE}.toml"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert "nowhere\\u001b[2J" in said
    assert "\x1b" not in said


def test_a_rollout_is_shown_advanced_and_aborted_by_command(answering):
    shop = Shop(FilesystemStore(answering / "store"), clock=utc_now)
    why = ("--reason", "a test")
    assert "no rollout yet" in call(answering, "rollout", "status")
    shop.ship(1, plan=Plan(steps=(5, 25, 100), bake_minutes=60))
    shown = call(answering, "rollout", "status")
    assert "running" in shown
    assert "at 5 %" in shown
    assert "wait: at 5 %" in call(answering, "rollout", "decide", *why)
    assert "served to 25 % of requests" in call(answering, "rollout", "advance", *why)
    assert "is no longer served" in call(answering, "rollout", "abort", *why)
    assert "aborted" in call(answering, "rollout", "status")
