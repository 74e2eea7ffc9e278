"""Gates of all artifacts together are proven by the swap as those of each are, and stand in the record (F32)."""

import pytest
from msgspec.structs import replace

from recsys_assets.errors import RefusedError
from recsys_assets.evidence import Finding, Verdict
from recsys_assets.release import journal
from recsys_assets.release.candidate import Requirement
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.layout import staged_gates_key
from recsys_assets.release.pointer import read_current, release_id_of
from recsys_assets.release.releases import read_release
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.release.staging import KINDS, POLICY, REQUIREMENTS, TARGET, Shop, day, report_of

WHOLE = "rehearsal"
REFUSED = Finding("size", Verdict.REFUSED, 3, {"limit": 2}, "3 is over 2", count=1)


@pytest.fixture
def shop():
    requirements = {**REQUIREMENTS, WHOLE: Requirement(POLICY, frozenset({"contract", "size"}), whole=True)}
    return Shop(MemoryStore(), requirements=requirements)


def stage(shop, n, *, content=0, **change):
    """Stage a day and what was said of it as a whole."""
    refs = shop.stage(n, content)
    release_id = release_id_of(TARGET, {kind: refs[kind].version for kind in KINDS})
    report = replace(report_of(WHOLE, release_id), **change)
    shop.store.put(staged_gates_key(TARGET, day(n), WHOLE), encode(report))
    return report


def test_what_was_said_of_the_whole_stands_in_the_record(shop):
    report = stage(shop, 1)
    release = shop.publish(1).release
    assert read_release(shop.store, TARGET, release.id).gates == (report,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"version": "0" * 64}, "its gates evaluated rehearsal 000000000000", id="another candidate"),
        pytest.param({"policy": "q" * 64}, "other limits", id="other limits"),
        pytest.param({"subject": "backtest"}, "its gates evaluated backtest", id="another subject"),
        pytest.param({"findings": ()}, "gate contract did not run", id="no finding"),
        pytest.param({"findings": (REFUSED,)}, "gate size refused: 3 is over 2", id="refused"),
    ],
)
def test_a_report_of_the_whole_that_proves_nothing_ships_nothing(shop, change, message):
    stage(shop, 1, **change)
    with pytest.raises(RefusedError, match=message):
        shop.publish(1)
    assert read_current(shop.store, TARGET) is None


def test_a_candidate_that_nobody_judged_as_a_whole_ships_nothing(shop):
    shop.stage(1)
    with pytest.raises(RefusedError, match="rehearsal: gates contract, size did not run, or crashed"):
        shop.publish(1)


def test_a_report_of_yesterdays_content_does_not_ship_todays(shop):
    stage(shop, 1)
    shop.stage(1, content=5)
    with pytest.raises(RefusedError, match="its gates evaluated rehearsal"):
        shop.publish(1)


def test_an_overridden_refusal_of_the_whole_is_reported_in_record_and_journal(shop):
    passed = stage(shop, 1).findings[0]
    stage(shop, 1, findings=(passed, REFUSED))
    shop.requirements[WHOLE] = replace(shop.requirements[WHOLE], overridden={"size": "it is a sale"})
    outcome = shop.publish(1)
    message = read_release(shop.store, TARGET, outcome.release.id).gates[0].findings[1]
    assert (message.verdict, message.params["overridden"]) == (Verdict.ADVISED, "it is a sale")
    entry = next(iter(journal.newest_first(shop.store, TARGET)))
    assert entry.details["overridden"] == "rehearsal: size"
