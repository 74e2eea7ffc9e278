"""The benchmark of instructions: what it lets pass, and what it stops."""

from pathlib import Path
from runpy import run_path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
BEFORE = {"parse": 1000, "canonical": 1000, "cooc": 1000, "encode": 1000}


@pytest.mark.parametrize(
    ("counted", "other_versions", "code", "shown"),
    [
        pytest.param({"cooc": 1049}, {}, 0, "+4.9%", id="within"),
        pytest.param({"cooc": 1051}, {}, 1, "+5.1%", id="more"),
        pytest.param({"cooc": 500}, {}, 0, "-50.0%", id="less"),
        pytest.param({"cooc": 2000}, {"numba": "0"}, 0, "nothing is compared", id="of other libraries"),
    ],
)
def test_a_phase_may_take_five_percent_more_instructions(counted, other_versions, code, shown, capsys):
    program = run_path(str(BENCHMARKS / "instructions.py"))
    known = {"versions": {**program["versions"](), **other_versions}, "instructions": BEFORE}
    assert program["compare"](known, {**BEFORE, **counted}) == code
    assert shown in capsys.readouterr().out


def test_counts_are_stored_of_every_phase_and_of_the_versions_that_decide():
    program = run_path(str(BENCHMARKS / "instructions.py"))
    known = program["json"].loads(program["KNOWN"].read_text())
    assert set(known["instructions"]) == set(program["PHASES"])
    assert set(known["versions"]) == set(program["versions"]())
