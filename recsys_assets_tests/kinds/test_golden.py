"""Every version that the reference pipeline computed for a golden case is reproduced, byte for byte."""

import pytest

from recsys_assets.encoding.codec import encode
from recsys_assets.encoding.decoder import decode
from recsys_assets.kinds.contracts import check_rows
from recsys_assets.kinds.registry import KINDS
from recsys_assets_tests.kinds.golden_cases import KINDS_OF_CASES, find_case

MAX_BYTES = 10**9


CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name, kinds in KINDS_OF_CASES.items() for kind in kinds]


def build(name, kind, limits):
    golden = find_case(name) or pytest.skip(f"{name} is in a folder beside the project, which is not laid out here")
    built = KINDS[kind].build(golden.source(kind), golden.params(kind), limits)
    return (
        golden,
        built.rows,
        encode(built.rows, kind=kind, target=golden.target, window=golden.window, max_bytes=10**9),
    )


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_golden_case_has_the_version_that_the_reference_gave_it(name, kind, unlimited):
    golden, rows, blob = build(name, kind, unlimited)
    assert blob.ref.version == golden.case["versions"][kind]
    assert len(rows) == golden.case["rows"][kind]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_golden_blob_reads_back_within_its_contract(name, kind, unlimited):
    golden, built, blob = build(name, kind, unlimited)
    envelope, rows = decode(blob.data, KINDS[kind].shape)
    assert (envelope.tenant, envelope.surface, envelope.segment) == ("demo", "home", "default")
    assert rows.frame().equals(built.frame())
    assert check_rows(rows, golden.params(kind)) == ()


def test_the_versions_of_the_reference_are_all_tried():
    for name, kinds in KINDS_OF_CASES.items():
        golden = find_case(name)
        assert golden is None or set(golden.case["versions"]) == set(kinds)
