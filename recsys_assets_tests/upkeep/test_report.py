"""A release's report says on one page what changed, in words, and what its gates, inputs and bytes are."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from recsys_assets.evidence import NO_BASELINE, Finding, GateReport, Verdict
from recsys_assets.identity import Target
from recsys_assets.release.journal import Actor
from recsys_assets.release.labels import Labelled, put_label
from recsys_assets.release.layout import blob_key, release_key
from recsys_assets.serving.testing import DAY, publish_fixture
from recsys_assets.storage.memory import MemoryStore
from recsys_assets.upkeep.diff import KindDiff
from recsys_assets.upkeep.report import describe_change, report_release
from recsys_assets.upkeep.report_document import to_markdown

TARGET = Target("shop", "home")
BEFORE = {"popularity": {"tea": 9, "cup": 8, "pot": 7, "jug": 1}, "cooc": {"tea": {"cup": 3}}}
AFTER = {"popularity": {"jug": 9, "tea": 8, "cup": 7, "tin": 1}, "cooc": {"tea": {"cup": 4}, "jug": {"tea": 2}}}


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def releases(store):
    """Two releases, the second one live."""
    days = enumerate((BEFORE, AFTER))
    return [publish_fixture(store, "shop", "home", rows, day=DAY + timedelta(days=n)).release for n, rows in days]


def section(page, title):
    return next(one for one in page.sections if one.title == title)


def report(store, release):
    return report_release(store, TARGET, release, live=True)


def test_the_report_says_in_words_what_changed(store, releases):
    assert section(report(store, releases[1]), "What changed").message == (
        "cooc, from 1 to 2 rows: 1 item entered the lists of what is seen together, 1 item changed. New: jug.",
        (
            "popularity, from 4 to 4 rows: 1 item entered the top list, 1 item left it, 3 items changed place. "
            "New: tin. Gone: pot. Risen most: jug (4 to 1). Fallen most: tea (1 to 2), cup (2 to 3)."
        ),
    )


def test_the_first_release_has_nothing_to_be_compared_with(store, releases):
    page = report(store, releases[0])
    assert section(page, "What changed").message == ("This is the first release: nothing was live to compare it with.",)
    assert dict(page.facts)["live before it"] == "nothing"


def test_what_drift_had_nothing_to_compare_with_has_not_passed(store, releases):
    member = releases[1].members[0]
    findings = (
        Finding("size", Verdict.PASSED, None, {}, "fine"),
        Finding("drift_rows", Verdict.PASSED, None, {}, NO_BASELINE),
        Finding("drift_rank", Verdict.PASSED, None, {}, "too few shared items"),
    )
    gates = GateReport("popularity", member.ref.version, findings)
    page = report(store, msgspec.structs.replace(releases[1], members=(msgspec.structs.replace(member, gates=gates),)))
    assert section(page, "Drift from live").rows == (("drift_rows", "no baseline"), ("drift_rank", "not compared"))
    assert section(page, "Gates").rows == (("size", "passed"),)
    assert dict(page.facts)["gates"].endswith("0 refused, 1 without a baseline")


def test_a_release_that_is_marked_bad_says_so_and_by_whom(store, releases):
    put_label(
        store, TARGET, Labelled.BAD, releases[0].id, by=Actor("ann", "prices"), now=datetime(2026, 3, 9, tzinfo=UTC)
    )
    page = report_release(store, TARGET, releases[0], live=False)
    assert dict(page.facts)["state"] == "not live, marked bad at 2026-03-09T00:00:00Z by ann: prices"


@pytest.mark.parametrize("gone", ["record", "blob", "damaged record"])
def test_what_the_comparison_needs_and_is_gone_is_said(store, releases, gone):
    if gone == "blob":
        store.delete(blob_key(TARGET, "popularity", releases[0].refs["popularity"].version))
    else:
        key = release_key(TARGET, releases[0].id)
        store.delete(key)
        if gone == "damaged record":
            store.create(key, b"{}")
    page = report(store, releases[1])
    (message,) = section(page, "What changed").message
    assert "can no longer be compared" in message
    assert section(page, "Artifacts").rows[0][:2] == ("popularity", releases[1].refs["popularity"].version[:12])


def test_the_report_shows_every_artifact_with_its_size_beside_the_one_before(store, releases):
    sizes = [release.refs["cooc"].size for release in (releases[1], releases[0])]
    row = section(report(store, releases[1]), "Artifacts").rows[1]
    assert row == ("cooc", releases[1].refs["cooc"].version[:12], "2026-01-02", len(AFTER["cooc"]), *sizes)


def test_the_report_names_the_inputs_and_what_their_gates_said(store, releases):
    (row,) = section(report(store, releases[1]), "Inputs").rows
    assert row[0] == "2026-01-02"
    assert row[2:] == (1, len(json.dumps(AFTER, sort_keys=True)), "1 passed")


def finding(gate, verdict, value):
    return Finding(gate, verdict, value, {}, f"{gate} says {verdict.value}")


def test_gates_stand_by_kind_and_what_did_not_pass_is_reported_in_full(store, releases):
    member = releases[1].members[0]
    findings = (
        finding("size", Verdict.PASSED, 5),
        finding("days", Verdict.ADVISED, 0.25),
        finding("drift_rows", Verdict.ADVISED, 9),
    )
    gates = GateReport("popularity", member.ref.version, findings)
    whole = GateReport(
        "rehearsal", "v", (finding("rehearsal_empty", Verdict.PASSED, 0.5),), facts={"asked/cooc": 7, "seconds": 2}
    )
    changed = msgspec.structs.replace(
        releases[1],
        members=(msgspec.structs.replace(member, gates=gates), releases[1].members[1]),
        gates=(whole,),
    )
    page = report(store, changed)
    assert dict(page.facts)["gates"] == "4 passed, 2 advised, 0 refused"
    gate = section(page, "Gates")
    assert gate.columns == ("gate", "popularity", "cooc")
    assert gate.rows == (("size", 5, None), ("days", "0.25 (advised)", None), ("fixture", None, 1))
    assert gate.message == ("popularity: days advised: days says advised",)
    assert section(page, "Drift from live").rows == (("drift_rows", "9 (advised)", None),)
    rehearsal = section(page, "Rehearsal")
    assert rehearsal.message == ("rehearsal_empty passed: rehearsal_empty says passed",)
    assert rehearsal.columns == ("number", "all", "cooc")
    assert rehearsal.rows == (("asked", None, 7), ("seconds", 2, None))
    assert "popularity: days advised: days says advised" in to_markdown(page)


ALL_MOVED = {"entered": 0, "left": 0, "moved": 8}
SAME = KindDiff("cooc", "a", "b", 3, 3, counts={"entered": 0, "left": 0, "moved": 0})


MOVED = (("a", 9, 1), ("b", 1, 2), ("c", 4, 3), ("d", 8, 4), ("e", 7, 5), ("f", 2, 8), ("g", 3, 9), ("h", 5, 7))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        pytest.param(
            KindDiff(
                "popularity", "a", "b", 9, 9, moved=MOVED, counts={"entered": 0, "left": 0, "moved": 8}, is_ranking=True
            ),
            "popularity, from 9 to 9 rows: 8 items changed place. Risen most: a (9 to 1), d (8 to 4), e (7 to 5). "
            "Fallen most: g (3 to 9), f (2 to 8), h (5 to 7).",
            id="the first three movers each way",
        ),
        pytest.param(SAME, "cooc: the same rows as before, in different bytes.", id="other bytes"),
        pytest.param(KindDiff("cooc", "a", "a", message="the same"), "cooc: the same.", id="the same"),
        pytest.param(replace(SAME, before=None), "cooc is new, with 3 items.", id="new"),
        pytest.param(replace(SAME, after=None, rows_before=1), "cooc was removed; it had 1 item.", id="gone"),
        pytest.param(
            KindDiff(
                "trending", "a", "b", 0, 2000, ("x", "y", "z", "q"), counts={"entered": 2000, "left": 0, "moved": 0}
            ),
            "trending, from 0 to 2,000 rows: 2,000 rows entered the artifact. New: x, y, z and 1,997 more.",
            id="a kind without words of its own",
        ),
    ],
)
def test_every_kind_of_change_has_its_sentence(found, message):
    assert describe_change(found) == message
