"""Outcomes of stored days: from raw events to the report, the asset, the command and what is kept."""

import json
from datetime import timedelta

import dagster as dg
import pytest
from click.testing import CliRunner

from recsys_assets.cli.outcomes import run_outcomes
from recsys_assets.identity import rfc3339, tag_request
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.outcome_reports import report_outcomes, rollout_steps
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.quality.outcome_report import ALL, OutcomeReport
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.hold import place_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import outcomes_key
from recsys_assets.release.rollout import Plan
from recsys_assets.release.rollout_transitions import abort, advance
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.verify import strays
from recsys_assets_tests.release.staging import TARGET, Shop
from recsys_assets_tests.small_shop import FIRST, HOME, after, open_shop

ANN = Actor("ann", "a test")
RELEASE = "ab" * 32


def lines(day):
    """A day on which u1 and u2 each see two items; u2 was there the day before, and clicks one."""
    for user in ("u1", "u2", None) if day > FIRST else ("u2",):
        own = tag_request(RELEASE, "cooc", f"{user}-{day}")
        who = {"user_id": user} if user else {}
        about = {"v": 1, "tenant": "shop", "surface": "home", "session_id": f"s-{user}", **who}
        for n in range(2):
            yield json.dumps(about | {"ts": f"{day}T10:00:0{n}Z", "item_id": f"i{n}", "rank": n, "request_id": own})
        if user == "u2" and day > FIRST:
            clicked = {"ts": f"{day}T10:01:00Z", "item_id": "i1", "rank": 1, "request_id": own, "event": "click"}
            yield json.dumps(about | clicked)
        yield json.dumps(about | {"ts": f"{day}T10:02:00Z", "item_id": "i5", "rank": 0, "event": "impression"})


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    with dg.DagsterInstance.ephemeral() as instance:
        opened = open_shop(tmp_path_factory.mktemp("shop"), instance)
        opened.configure("[outcomes]\nenabled = true\nmin_keys = 2\n")
        assets = [dg.AssetKey("raw"), *(dg.AssetKey(["shop", "home", name]) for name in ("canonical", "outcomes"))]
        for n in range(2):
            opened.write(after(n), lines(after(n)))
        build_raw(opened.store, opened.settings, FIRST)
        build_canonical(DayContext(opened.store, opened.settings, opened.settings.find("shop", "home"), FIRST))
        found = opened.build(after(1), selection=assets)
        assert found.success
        yield opened, found


def test_a_day_is_reported_by_release_kind_and_visitor(shop):
    opened, built = shop
    report = read_document(opened.store, outcomes_key(HOME, after(1)), OutcomeReport)
    assert (report.exposures, report.untagged, report.unmatched, report.rollouts) == (9, 3, 0, ())
    rows = {(row.kind, row.visitor): row for row in report.rows}
    assert set(rows) == {(kind, who) for kind in ("", "cooc") for who in (ALL, "new", "returning", "anonymous")}
    returning = rows["cooc", "returning"]
    assert (returning.keys, returning.click.hits, returning.click.of, returning.release) == (1, 1, 2, RELEASE[:16])
    assert (rows["", ALL].keys, rows["", ALL].click.of, rows["cooc", "new"].click.hits) == (3, 6, 0)
    shown = next(e for e in built.get_asset_materialization_events() if e.asset_key.path[-1] == "outcomes")
    assert shown.materialization.metadata["clicks"].value == 1
    assert list(strays(opened.store, HOME)) == []


def test_the_command_reports_days_together_and_writes_its_decision(shop, tmp_path):
    opened, _ = shop
    common = ["--config", str(opened.folder / "recsys.toml"), "--tenant", "shop", "--surface", "home"]
    days = ["--start", str(FIRST), "--end", str(after(1)), "--decision", str(tmp_path / "decision.json")]
    done = CliRunner().invoke(run_outcomes, [*common, *days], standalone_mode=False)
    assert (done.exception, done.return_value) == (None, 0)
    assert "no rollout in these days" in done.output
    written = json.loads((tmp_path / "decision.json").read_bytes())
    assert (written["exposures"], written["start"], written["end"]) == (12, "2026-01-01", "2026-01-02")


def test_days_without_events_have_nothing_to_report(shop):
    opened, _ = shop
    found = report_outcomes(opened.store, HOME, opened.settings.outcomes, start=after(40), end=after(41))
    assert (found.exposures, found.rows) == (0, ())


def test_steps_of_a_rollout_begin_and_end_as_the_journal_says():
    shop = Shop(MemoryStore())
    first = shop.ship(0).release.id
    plan = Plan(steps=(5, 25, 100), bake_minutes=0)
    begun = shop.ship(1, plan=plan).release.id
    advance(shop.store, TARGET, by=ANN, now=shop.clock)
    abort(shop.store, TARGET, by=ANN, now=shop.clock)
    promoted = shop.ship(2, plan=plan).release.id
    for _ in range(2):
        advance(shop.store, TARGET, by=ANN, now=shop.clock)
    held = shop.ship(3, plan=plan).release.id
    place_hold(shop.store, TARGET, by=ANN, now=shop.clock)
    today = shop.clock.at.date()
    steps = rollout_steps(shop.store, TARGET, since=today)
    assert [(one.release, one.against, one.share) for one in steps] == [
        (begun, first, 5),
        (begun, first, 25),
        (promoted, first, 5),
        (promoted, first, 25),
        (held, promoted, 5),
    ]
    assert all(one.until is not None and one.since < one.until for one in steps)
    assert rollout_steps(shop.store, TARGET, since=today + timedelta(days=1)) == []
    assert rfc3339(steps[1].since) == rfc3339(steps[0].until)
