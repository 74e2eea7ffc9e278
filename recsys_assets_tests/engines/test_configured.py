"""Engines as people choose them: in recsys.toml, for all, for a kind, for a target; the same releases from each."""

import json
from datetime import date

import pytest

from recsys_assets.engines.engine import PolarsEngine
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.errors import ConfigurationError, LimitExceededError
from recsys_assets.kinds.registry import KINDS as BUILTIN
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.settings.artifacts import EngineSettings
from recsys_assets.settings.reading import parse_settings
from recsys_assets.storage.memory import MemoryStore
from recsys_assets_tests.small_shop import CONFIG, HOME, after, day_lines

KINDS = ("popularity", "cooc", "implicit", "content_sim", "session_seq")
HOME_ROW = '\n[[targets]]\ntenant = "shop"\nsurface = "home"\n'
WINDOWS = "".join(f"[artifacts.{kind}]\nwindow_days = 2\n" for kind in KINDS if kind != "content_sim")
LAST = after(1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Two canonical days in a store, and the folder of their files."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "raw").mkdir()
    tags = [{"item_id": f"i{n}", "tags": ["Red" if n % 2 else "blue"]} for n in range(6)]
    (folder / "catalog.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tags))
    store, settings = MemoryStore(), configured(folder)
    for day in (after(0), LAST):
        (folder / "raw" / f"{day}.jsonl").write_text("".join(f"{line}\n" for line in day_lines(day, targets=[HOME])))
        build_raw(store, settings, day)
        build_canonical(DayContext(store, settings, settings.targets[0], day))
    return folder, store


def configured(folder, extra="", *, row=HOME_ROW):
    scratch = f'[engines]\nscratch = "{folder}/scratch"\n[engines.duckdb]\nmemory_limit = "500MB"\nthreads = 1\n'
    return parse_settings((CONFIG + scratch + extra + row).encode(), name="recsys.toml", base=folder)


def build(shop, settings, kind, day: date = LAST):
    _, store = shop
    return build_artifact(DayContext(store, settings, settings.targets[0], day, run_id="test"), kind).staged


@pytest.mark.parametrize("engine", ["polars", "duckdb"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_stages_what_the_native_one_stages(shop, engine, kind):
    folder, store = shop
    native = build(shop, configured(folder, f"[artifacts]\nwindow_days = 1\n{WINDOWS}"), kind)
    settings = configured(folder, f'[artifacts]\nwindow_days = 1\nengine = "{engine}"\n{WINDOWS}')
    made = build(shop, settings, kind)
    assert made.ref == native.ref
    assert made.inputs == native.inputs
    assert {**made.facts} == {**native.facts, "engine": engine}
    assert not judge_artifact(DayContext(store, settings, settings.targets[0], LAST), kind).refusals


@pytest.mark.parametrize(
    ("extra", "row", "expected"),
    [
        pytest.param('[artifacts]\nwindow_days = 1\nengine = "polars"\n', "", "polars", id="all"),
        pytest.param('[artifacts.cooc]\nengine = "duckdb"\n', "", "duckdb", id="a kind"),
        pytest.param("", 'engine = "polars"\n', "polars", id="a target"),
        pytest.param('[artifacts]\nengine = "polars"\n', 'engine = "native"\n', None, id="a target before all"),
        pytest.param(
            '[artifacts.cooc]\nengine = "duckdb"\n', 'engine = "polars"\n', "duckdb", id="a kind before a target"
        ),
        pytest.param(
            '[artifacts.cooc]\nengine = "duckdb"\n',
            '[targets.artifacts.cooc]\nengine = "polars"\n',
            "polars",
            id="a target's kind before all",
        ),
    ],
)
def test_the_engine_is_that_of_the_kind_of_the_target_or_of_all(shop, extra, row, expected):
    settings = configured(shop[0], extra, row=HOME_ROW + row)
    assert build(shop, settings, "cooc").facts.get("engine") == expected


def test_an_engine_that_nobody_knows_is_refused_with_the_known_ones(shop):
    with pytest.raises(ConfigurationError, match=r"native.*polars.*duckdb.*spark"):
        configured(shop[0], '[artifacts]\nwindow_days = 1\nengine = "dask"\n')


def test_settings_that_only_the_native_engine_knows_are_refused_by_name(shop):
    settings = configured(shop[0], '[artifacts.popularity]\nengine = "polars"\nhalf_life_days = 3\n')
    with pytest.raises(ConfigurationError, match="half_life_days"):
        build(shop, settings, "popularity")


def test_an_artifact_over_max_bytes_is_refused_while_it_is_encoded(shop):
    settings = configured(shop[0], '[artifacts.implicit]\nengine = "polars"\nmax_bytes = 300\n')
    with pytest.raises(LimitExceededError, match="max_bytes"):
        build(shop, settings, "implicit")


def test_nothing_is_left_in_the_scratch_folder(shop):
    folder, _ = shop
    build(shop, configured(folder, '[artifacts]\nwindow_days = 1\nengine = "duckdb"\n'), "cooc")
    assert [path for path in (folder / "scratch").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("root", "work", "files", "expected"),
    [
        pytest.param("/store", None, None, "spark", id="folders"),
        pytest.param("s3://bucket/store", None, None, "arrow", id="a bucket"),
        pytest.param("/store", "s3://bucket/work", None, "arrow", id="results in a bucket"),
        pytest.param("s3://bucket/store", "/work", None, "arrow", id="days in a bucket"),
        pytest.param("s3://bucket/store", None, "spark", "spark", id="as configured"),
    ],
)
def test_spark_goes_one_way_to_all_files(tmp_path, root, work, files, expected):
    message = {"scratch": str(tmp_path), "work": work, "spark": {"files": files}}
    seen = []

    def opened(settings, _connect):
        seen.append(settings.spark.files)
        return PolarsEngine()

    EngineRegistry(EngineSettings.model_validate(message), root, openers={"spark": opened}).open(
        "spark", BUILTIN["popularity"]
    )
    assert seen == [expected]


class InPlace(PolarsEngine):
    in_place = True


@pytest.mark.parametrize(
    ("root", "work"), [("gs://bucket/store", None), ("az://bucket/store", "/work"), ("/store", "gs://bucket/work")]
)
def test_spark_refuses_a_place_that_it_does_not_read(root, work):
    registry = EngineRegistry(EngineSettings(work=work), root, openers={"spark": lambda *_: InPlace()})
    with pytest.raises(ConfigurationError, match=r"not (gs|az)://bucket/.*: use duckdb or polars"):
        registry.open("spark", BUILTIN["popularity"])
