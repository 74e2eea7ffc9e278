"""The rehearsal's gates: each passes at its limit, advises or refuses beyond it; what no reader takes is refused."""

import pytest

from recsys_assets.evidence import Verdict
from recsys_assets.gates.candidate import NotLoaded, RehearsalAnswers, Rehearsed, rehearsal_gates
from recsys_assets.gates.gate import Policy
from recsys_assets.settings.gates import RehearsalSettings

KINDS = ("popularity", "cooc")
LIMITS = {
    "max_load_seconds": 2,
    "max_held_bytes": 1000,
    "max_empty_share": 0.5,
    "max_short_share": 0.25,
    "full_list": 3,
    "kinds": {"popularity": {"max_empty_share": 0}},
}
AT_THE_LIMIT = Rehearsed(
    seconds=2,
    blob_bytes=500,
    held_bytes=1000,
    answers={"popularity": RehearsalAnswers(1, 0, 0), "cooc": RehearsalAnswers(8, 4, 2)},
)


def judged(found, **change):
    settings = RehearsalSettings.model_validate({**LIMITS, **change})
    return {name: gate.judge(found) for name, gate in rehearsal_gates(settings, KINDS, {}).items()}


def beyond(**change):
    values = {name: getattr(AT_THE_LIMIT, name) for name in ("seconds", "blob_bytes", "held_bytes", "answers")}
    return Rehearsed(**{**values, **change})


BEYOND = [
    pytest.param(beyond(seconds=2.01), "rehearsal_seconds", "2.01", id="slow"),
    pytest.param(beyond(held_bytes=1001), "rehearsal_memory", "1,001", id="large"),
    pytest.param(beyond(answers={"cooc": RehearsalAnswers(8, 5, 0)}), "rehearsal_empty", "look at cooc", id="empty"),
    pytest.param(
        beyond(answers={"cooc": RehearsalAnswers(8, 0, 3)}), "rehearsal_short", "fewer than 3 items", id="short"
    ),
    pytest.param(
        beyond(answers={"popularity": RehearsalAnswers(1, 1, 0)}),
        "rehearsal_empty",
        "look at popularity",
        id="a kind's own limit",
    ),
]


def test_what_people_watch_over_days_are_shares_of_what_was_asked():
    answers = {"cooc": RehearsalAnswers(8, 4, 2), "popularity": RehearsalAnswers(0, 0, 0)}
    assert Rehearsed(seconds=1.5, blob_bytes=100, held_bytes=250, answers=answers).numbers == {
        "load_seconds": 1.5,
        "held_bytes": 250,
        "bytes_per_blob_byte": 2.5,
        "asked/cooc": 8,
        "empty/cooc": 0.5,
        "short/cooc": 0.25,
        "asked/popularity": 0,
    }


def test_a_candidate_at_every_limit_passes():
    assert {one.verdict for one in judged(AT_THE_LIMIT, mode="required").values()} == {Verdict.PASSED}


@pytest.mark.parametrize(("found", "gate", "message"), BEYOND)
@pytest.mark.parametrize(("mode", "verdict"), [("required", Verdict.REFUSED), ("advisory", Verdict.ADVISED)])
def test_beyond_a_limit_its_own_gate_says_no(found, gate, message, mode, verdict):
    findings = judged(found, mode=mode)
    assert {name for name, one in findings.items() if one.verdict is not Verdict.PASSED} == {gate}
    assert findings[gate].verdict is verdict
    assert message in findings[gate].message


@pytest.mark.parametrize("mode", ["advisory", "required"])
def test_what_no_reader_takes_is_refused_whatever_the_mode(mode):
    findings = judged(NotLoaded("cooc is gone"), mode=mode)
    assert (findings["rehearsal_loads"].verdict, findings["rehearsal_loads"].ok) == (Verdict.REFUSED, False)
    assert "cooc is gone" in findings["rehearsal_loads"].message


def test_nothing_asked_is_no_reason_to_refuse():
    findings = judged(beyond(answers={"cooc": RehearsalAnswers(0, 0, 0)}), mode="required")
    assert findings["rehearsal_empty"].value is None
    assert findings["rehearsal_empty"].ok


def test_a_rehearsal_that_is_off_has_no_gates():
    assert rehearsal_gates(RehearsalSettings.model_validate({"mode": "off"}), KINDS, {}) == {}


def test_every_limit_stands_in_the_policy():
    """A report under other limits proves nothing, so each limit must change the policy's digest."""

    def digest(change):
        gates = rehearsal_gates(RehearsalSettings.model_validate(LIMITS | change), KINDS, {})
        return Policy("rehearsal", gates).digest

    for change in (
        {"mode": "required"},
        {"questions": 7},
        {"full_list": 4},
        {"max_load_seconds": 3},
        {"max_held_bytes": 1001},
        {"max_empty_share": 0.6},
        {"max_short_share": 0.6},
        {"kinds": {"popularity": {"max_empty_share": 0.1}}},
    ):
        assert digest(change) != digest({}), change
