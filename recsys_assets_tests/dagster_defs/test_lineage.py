"""Lineage goes from a source to a pointer, and Dagster's staleness says what changed: code, data, or nothing."""

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.loader import LoadingContextForTest

from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets_tests.small_shop import FIRST, TARGETS, day_lines, open_shop

KIND = dg.AssetKey(["shop", "home", "content_sim"])
MANIFEST = dg.AssetKey(["shop", "home", "manifest"])


def external(*parts):
    return dg.AssetKey(["external", *parts])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A day with an imported kind, built once; and the graph."""
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path_factory.mktemp("shop"), instance)
        imported = '[imports.scores]\npath = "drop/{day}.jsonl"\nformat = "jsonl"\ntargets = ["shop/home"]\n'
        extra = f'{imported}[signals]\nwrite = true\n[api]\nurl = "https://recsys.example/"\n'
        shop.configure(f'[artifacts]\nkinds = ["popularity", "content_sim"]\n{extra}')
        shop.write(FIRST, day_lines(FIRST))
        (shop.folder / "drop").mkdir()
        (shop.folder / "drop" / f"{FIRST}.jsonl").write_text('{"item_id": "i1", "score": 1.5}\n')
        graph = build_definitions(shop.settings)
        assets = dg.AssetSelection.groups("raw", "shop/home") - dg.AssetSelection.assets(["shop", "home", "signals"])
        job = dg.define_asset_job("lineage", selection=assets)
        result = (
            dg.Definitions.merge(graph, dg.Definitions(jobs=[job]))
            .resolve_job_def("lineage")
            .execute_in_process(partition_key=FIRST.isoformat(), instance=instance, raise_on_error=False)
        )
        assert shop.live() is not None, result.all_events
        yield shop, graph.resolve_asset_graph(), instance


def last_metadata(instance, key):
    event = instance.get_latest_materialization_event(key)
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def observed(instance, key, partition=None):
    (record, *_) = instance.fetch_observations(dg.AssetRecordsFilter(key, asset_partitions=partition), limit=5).records
    observation = record.asset_observation
    return {name: value.value for name, value in observation.metadata.items()}, observation.tags


def reached(graph, key, step):
    """Return every asset that is reached from one by `parent_keys` or `child_keys`."""
    found = {key}
    while more := {other for one in found for other in getattr(graph.get(one), step)} - found:
        found |= more
    return found


def test_lineage_goes_from_a_raw_file_to_the_pointer_and_on_to_the_database(built):
    _, graph, _ = built
    above = reached(graph, MANIFEST, "parent_keys")
    assert {external("exposures"), external("catalog"), external("imports", "shop", "home", "scores")} <= above
    assert external("signals", "shop", "home") in reached(graph, MANIFEST, "child_keys")


def test_what_lies_outside_is_observed_with_files_digests_and_rows(built):
    _, _, instance = built
    seen, tags = observed(instance, external("exposures"), [FIRST.isoformat()])
    assert f"{FIRST}.jsonl" in seen["files"].replace("\\", "")
    assert seen["rows"] == 36
    assert tags["dagster/data_version"]
    seen, tags = observed(instance, external("catalog"))
    assert "catalog.jsonl" in seen["files"].replace("\\", "")
    seen, tags = observed(instance, external("imports", "shop", "home", "scores"), [FIRST.isoformat()])
    assert (seen["rows"], len(tags["dagster/data_version"]) > 60) == (1, True)


def test_assets_say_where_they_are_stored_how_many_rows_and_which_columns_they_have(built):
    shop, graph, instance = built
    for name, rows in (("canonical", 18), ("popularity", 4), ("content_sim", 6), ("scores", 1)):
        seen = last_metadata(instance, dg.AssetKey(["shop", "home", name]))
        assert seen["dagster/row_count"] == seen["dagster/partition_row_count"] == rows
        assert shop.store.stat(seen["dagster/uri"].removeprefix(f"{shop.store.root_uri}/")) is not None
    assert last_metadata(instance, MANIFEST)["dagster/uri"].endswith("registry/current/shop/home/manifest.json")
    columns = graph.get(dg.AssetKey(["shop", "home", "popularity"])).metadata["dagster/column_schema"].columns
    assert [(column.name, column.type) for column in columns] == [("item_id", "String"), ("count", "Int64")]


def test_every_asset_has_a_code_version_its_code_and_a_link_to_its_page(built):
    _, graph, _ = built
    ours = [node for node in graph.asset_nodes if not node.is_external]
    assert len(ours) > 8
    assert [node.key for node in ours if not node.code_version] == []
    assert [node.key for node in ours if "dagster/code_references" not in node.metadata] == []
    link = graph.get(KIND).metadata["read API"].value
    assert link == "https://recsys.example/targets/shop/home"


def staleness(shop, name):
    """Return what Dagster says of the first day of an asset, under the configuration as it is now."""
    graph = build_definitions(shop.settings).resolve_asset_graph()
    asked = dg.AssetKey(["shop", "home", name]), FIRST.isoformat()
    resolver = CachingStaleStatusResolver(shop.instance, graph, LoadingContextForTest(shop.instance))
    causes = {cause.category.value for cause in resolver.get_stale_causes(*asked)}
    return resolver.get_status(*asked).value, causes


def test_staleness_says_when_code_and_when_data_changed_and_when_neither_did(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        few = '[artifacts]\nkinds = ["popularity"]\n'
        one = TARGETS.split("[[targets]]\n")[1]
        shop.configure(few, targets=f"[[targets]]\n{one}")
        shop.write(FIRST, day_lines(FIRST))
        shop.build(FIRST)
        shop.configure(f"{few}[artifacts.popularity]\nmax_bytes = 9_000_000\n", targets=f"[[targets]]\n{one}")
        assert staleness(shop, "popularity") == ("FRESH", set()), "a limit does not change what is built"
        shop.configure(f"{few}[artifacts.popularity]\nmax_items = 3\n", targets=f"[[targets]]\n{one}")
        assert staleness(shop, "popularity") == ("STALE", {"CODE"})
        shop.configure(few, targets=f"[[targets]]\n{one}")
        shop.write(FIRST, day_lines(FIRST, shift=1))
        shop.build(
            FIRST, job="build_shop__home", selection=[dg.AssetKey("raw"), dg.AssetKey(["shop", "home", "canonical"])]
        )
        assert staleness(shop, "popularity") == ("STALE", {"DATA"})
