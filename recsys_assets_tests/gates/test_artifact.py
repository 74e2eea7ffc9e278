"""Gates of a catalog against live's: small changes pass, a cut, re-tagged or foreign catalog is refused by name."""

from dataclasses import dataclass

import polars as pl
import pytest

from recsys_assets.evidence import NO_BASELINE, Verdict
from recsys_assets.gates.artifact import CatalogChange, catalog_gates, compare_catalogs
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.gates import CatalogSettings
from recsys_assets.settings.inputs import LimitSettings

ITEMS = {f"i{n:03}": ["red", f"sort{n % 7}"] for n in range(100)}
EVENTS = pl.DataFrame({"item_id": list(ITEMS), "count": [1 + n % 5 for n in range(100)]}).cast({"count": pl.Int64})


@dataclass(frozen=True)
class Facts:
    catalog: CatalogChange | None


def rows(items):
    frame = pl.DataFrame(
        {"item_id": list(items), "tags": list(items.values())}, schema_overrides={"item_id": pl.String}
    )
    return KINDS["content_sim"].build(frame, KINDS["content_sim"].params(), LimitSettings()).rows


def refused(items, *, live=ITEMS, events=EVENTS):
    facts = Facts(compare_catalogs(rows(items), rows(live), events))
    return [found.gate for gate in catalog_gates(CatalogSettings()) if not (found := gate.judge(facts)).ok]


def some(share):
    return dict(list(ITEMS.items())[: int(len(ITEMS) * share)])


@pytest.mark.parametrize(
    ("items", "gates"),
    [
        pytest.param(ITEMS, [], id="the same"),
        pytest.param({item: tags[::-1] for item, tags in ITEMS.items()}, [], id="tags in another order"),
        pytest.param(some(0.9) | {"new": ["blue"]}, [], id="a tenth gone"),
        pytest.param(some(0.5), ["catalog_lost", "catalog_unknown"], id="half gone"),
        pytest.param({item: ["x"] for item in ITEMS}, ["catalog_changed"], id="all tags changed"),
        pytest.param(
            {f"x{item}": tags for item, tags in ITEMS.items()}, ["catalog_lost", "catalog_unknown"], id="other ids"
        ),
    ],
)
def test_a_catalog_is_refused_by_what_is_wrong_with_it(items, gates):  # F63
    assert refused(items) == gates


def test_items_that_live_does_not_know_either_are_no_loss():
    known = some(0.5)
    assert refused(known, live=known) == []


def test_a_catalog_of_few_items_and_the_first_one_are_not_judged():
    assert refused({"i000": ["x"]}, live=some(0.1), events=EVENTS.head(3)) == []
    findings = [gate.judge(Facts(None)) for gate in catalog_gates(CatalogSettings())]
    assert {(one.verdict, one.message) for one in findings} == {(Verdict.PASSED, NO_BASELINE)}


def test_changed_entries_are_called_what_the_kind_calls_them():
    facts = Facts(compare_catalogs(rows({item: ["x"] for item in ITEMS}), rows(ITEMS), EVENTS))
    (changed,) = [found for gate in catalog_gates(CatalogSettings()) if not (found := gate.judge(facts)).ok]
    assert "tags" in changed.message
