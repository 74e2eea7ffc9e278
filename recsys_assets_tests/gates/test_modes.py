"""Every gate of quality is required, advisory or off as the policy says; gates of integrity are always required."""

import pytest

from recsys_assets.errors import ConfigurationError
from recsys_assets.evidence import Verdict
from recsys_assets.gates.canonical import CanonicalFacts
from recsys_assets.gates.policy import artifact_policy, backtest_policy, canonical_policy, rehearsal_policy
from recsys_assets.kinds.registry import read_params
from recsys_assets.settings.reading import parse_settings

TARGET = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
FACTS = CanonicalFacts("d", rows=0, events=1, bad=1, duplicates=1, rejects={}, contract=())


def settings(text, tmp_path):
    found = parse_settings(
        (text + "\n" + ("" if "[[targets]]" in text else TARGET)).encode(), name="test", base=tmp_path
    )
    return found, found.targets[0]


def verdicts(text, tmp_path):
    report = canonical_policy(*settings(text, tmp_path)).judge("d", FACTS)
    return {finding.gate: finding.verdict for finding in report.findings}


@pytest.mark.parametrize("gate", ["volume", "bad_share", "duplicate_share"])
@pytest.mark.parametrize(
    ("mode", "verdict"),
    [("required", Verdict.REFUSED), ("advisory", Verdict.ADVISED), ("off", None)],
)
def test_the_mode_says_what_becomes_of_a_refusal(tmp_path, gate, mode, verdict):
    assert verdicts(f'[gates.modes]\n{gate} = "{mode}"', tmp_path).get(gate) == verdict


def test_a_target_has_its_own_modes(tmp_path):
    text = '[gates.modes]\nvolume = "off"\nbad_share = "advisory"'
    found, row = settings(f'{text}\n{TARGET}[targets.gates.modes]\nvolume = "required"\n', tmp_path)
    gates = canonical_policy(found, row).gates
    assert "mode" not in gates["volume"].params
    assert gates["bad_share"].params["mode"] == "advisory"


@pytest.mark.parametrize(("kind", "judged"), [("content_sim", True), ("cooc", False)])
def test_only_what_is_made_of_the_catalog_is_judged_by_its_gates(tmp_path, kind, judged):
    found, row = settings("", tmp_path)
    gates = artifact_policy(found, row, kind, read_params(found, row, kind)).gates
    assert {"bad_catalog_share" in gates, "catalog_lost" in gates} == {judged}


@pytest.mark.parametrize("gate", ["not_empty", "days", "left_out_share", "drift_rows"])
def test_gates_of_an_artifact_have_modes_too(tmp_path, gate):
    for mode in ("off", "advisory"):
        found, row = settings(f'[gates.modes]\n{gate} = "{mode}"', tmp_path)
        gates = artifact_policy(found, row, "cooc", read_params(found, row, "cooc")).gates
        assert (gates[gate].mode if gate in gates else "off") == mode


@pytest.mark.parametrize(
    ("policy", "gate"), [(rehearsal_policy, "rehearsal_empty"), (backtest_policy, "backtest_cooc")]
)
def test_a_single_gate_is_on_where_its_sort_is_off(tmp_path, policy, gate):
    off = '[gates.rehearsal]\nmode = "off"\n[gates.backtest]\nmode = "off"\n'
    assert policy(*settings(off, tmp_path)).gates == {}
    gates = policy(*settings(f'{off}[gates.modes]\n{gate} = "required"', tmp_path)).gates
    assert set(gates) - {"rehearsal_loads"} == {gate}
    assert gates[gate].params["mode"] == "required"


@pytest.mark.parametrize("gate", ["contract", "envelope", "size", "rehearsal_loads", "hash"])
def test_f48_integrity_can_be_neither_off_nor_advisory(tmp_path, gate):
    with pytest.raises(ConfigurationError, match=f"{gate} is not a gate with a choice of modes"):
        settings(f'[gates.modes]\n{gate} = "off"', tmp_path)


def test_f48_a_back_test_of_what_orders_nothing_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="backtest_content_sim would never judge"):
        backtest_policy(*settings('[gates.modes]\nbacktest_content_sim = "required"', tmp_path))


def test_f32_another_mode_is_another_policy(tmp_path):
    digests = {
        canonical_policy(*settings(text, tmp_path)).digest
        for text in (
            "",
            '[gates.modes]\nvolume = "required"',
            '[gates.modes]\nvolume = "advisory"',
            '[gates.modes]\nvolume = "off"',
        )
    }
    assert len(digests) == 3  # what is required anyway changes nothing
