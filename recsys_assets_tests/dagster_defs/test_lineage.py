"""Lineage goes from a source to a pointer, and Dagster's staleness says what changed: code, data, or nothing."""

import importlib
import linecache
import sys
import warnings

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster_graphql.test.utils import execute_dagster_graphql

from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.kind_descriptions import _all_entry_points, installed_descriptions
from recsys_assets.kinds.registry import installed_kinds
from recsys_assets.pipeline import code_version
from recsys_assets.serving.served import form_of_kind
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


STALE = """query Stale($key: AssetKeyInput!, $day: String!) {
  assetNodes(assetKeys: [$key]) {
    staleStatus(partition: $day)
    staleCauses(partition: $day) { category key { path } dependency { path } }
  }
}"""
LOADED = """
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.settings.reading import load_settings

defs = build_definitions(load_settings({config!r}))
"""
KERNEL = """
from recsys_assets.kind_descriptions import POPULARITY_SHAPE, KindDescription
from recsys_assets.kinds.popularity import PopularityParams, build_popularity
from recsys_assets.kinds.registry import Kind

ABOUT = KindDescription("trending", "What is seen most.", POPULARITY_SHAPE)


def build_trending(events, params):
    return build_popularity(events, params)


def unrelated():
    return 1


KIND = Kind(description=ABOUT, params=PopularityParams, event_columns=("item_id",), kernel=build_trending)
"""


FOUND_ONCE = (_all_entry_points, installed_kinds, installed_descriptions, form_of_kind)


@pytest.fixture
def trending(tmp_path, monkeypatch):
    """A function that writes the module of a kind of another package, as an installer of its next version does."""

    def write(text):
        (tmp_path / "acme_trending.py").write_text(text)
        for cached in (*FOUND_ONCE, code_version._code, code_version._nodes):
            cached.cache_clear()
        linecache.clearcache()
        sys.modules.pop("acme_trending", None)
        importlib.invalidate_caches()

    metadata = tmp_path / "acme_trending-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-trending\nVersion: 1.0\n")
    groups = (f"[recsys_assets.{group}]\ntrending = acme_trending:{name}\n" for group, name in GROUPS.items())
    (metadata / "entry_points.txt").write_text("".join(groups))
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])  # the first place is taken away while files are loaded
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(KERNEL)
    yield write
    write("")
    (metadata / "entry_points.txt").write_text("")
    write("")


GROUPS = {"kinds": "KIND", "kind_descriptions": "ABOUT"}


@pytest.fixture
def ask(tmp_path):
    """A function that asks GraphQL how stale assets of the first day are, with the code and configuration of now."""

    def answer(instance, *names):
        sys.modules.pop("definitions_of_now", None)  # a location that is loaded again runs its file again
        file = tmp_path / "definitions_of_now.py"
        file.write_text(LOADED.format(config=str(tmp_path / "recsys.toml")))
        origin = InProcessCodeLocationOrigin(LoadableTargetOrigin(python_file=str(file)), "here")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Dagster reads a property of its own that it has deprecated
            with WorkspaceProcessContext(instance, InProcessWorkspaceLoadTarget(origin)) as process:
                context = process.create_request_context()
                for one in context.get_code_location_entries().values():
                    assert one.load_error is None, one.load_error.to_string()
                return [_stale(context, name) for name in names]

    return answer


def _stale(context, name):
    """Return the status of an asset, and the causes: what changed, and where."""
    key = {"path": ["shop", "home", name]}
    found = execute_dagster_graphql(context, STALE, {"key": key, "day": FIRST.isoformat()})
    assert not found.errors, found.errors
    (node,) = found.data["assetNodes"]
    causes = {(one["category"], (one["dependency"] or one["key"])["path"][-1]) for one in node["staleCauses"]}
    return node["staleStatus"], causes


@pytest.mark.slow
def test_graphql_says_when_code_and_when_data_changed_and_when_neither_did(tmp_path, trending, ask):
    one = TARGETS.split("[[targets]]\n")[1]
    few = '[artifacts]\nkinds = ["popularity", "trending"]\n'

    def configure(extra=""):
        shop.configure(few + extra, targets=f"[[targets]]\n{one}")

    (tmp_path / "history").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "history")) as instance:
        shop = open_shop(tmp_path, instance)
        configure()
        shop.write(FIRST, day_lines(FIRST))
        assert shop.build(FIRST).success
        fresh = ("FRESH", set())
        assert ask(instance, "popularity", "trending") == [fresh, fresh]

        configure("[artifacts.popularity]\nmax_bytes = 9_000_000\n")
        trending(KERNEL.replace("unrelated", "renamed"))
        assert ask(instance, "popularity", "trending") == [fresh, fresh], "neither changes what is built"

        configure("[artifacts.popularity]\nmax_items = 3\n")
        trending(KERNEL.replace("(events, params)\n", "(events, params) or None\n"))
        assert ask(instance, "popularity", "trending") == [
            ("STALE", {("CODE", "popularity")}),
            ("STALE", {("CODE", "trending")}),
        ]

        configure()
        trending(KERNEL)
        shop.write(FIRST, day_lines(FIRST, shift=1))
        upstream = [dg.AssetKey("raw"), dg.AssetKey(["shop", "home", "canonical"])]
        shop.build(FIRST, job="build_shop__home", selection=upstream)
        stale = ("STALE", {("DATA", "canonical")})
        assert ask(instance, "popularity", "trending", "canonical") == [stale, stale, fresh]
