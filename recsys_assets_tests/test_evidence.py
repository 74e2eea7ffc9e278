"""Messages of gate results for people: each cause once, behind the gates that it stopped."""

from recsys_assets.evidence import Finding, GateReport, Verdict


def finding(gate, message, verdict=Verdict.REFUSED):
    return Finding(gate, verdict, None, {}, message)


def test_gates_that_refuse_for_one_cause_are_named_together():
    report = GateReport(
        "backtest",
        "v",
        (
            finding("a", "live is damaged"),
            finding("b", "too small"),
            finding("c", "live is damaged"),
            finding("d", "fine", Verdict.PASSED),
        ),
    )
    assert report.refused_because == ("gates a, c refused: live is damaged", "gate b refused: too small")


def test_a_report_that_passes_gives_no_reason():
    assert GateReport("size", "v", (finding("a", "fine", Verdict.ADVISED),)).refused_because == ()
