"""The relational definitions are the specification: on any engine they give what the coded kernels give."""

from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys_assets.engines.duckdb_engine import DuckDbEngine
from recsys_assets.engines.engine import PolarsEngine
from recsys_assets.errors import ConfigurationError
from recsys_assets.events.dictionaries import merge_days
from recsys_assets.kinds.registry import KINDS
from recsys_assets_tests.engines.made import by_kernel, on_engine, window_of
from recsys_assets_tests.kinds.event_rows import ITEMS, event_rows, events_of, row
from recsys_assets_tests.kinds.golden_cases import KINDS_OF_CASES, find_case
from recsys_assets_tests.kinds.test_kernel_laws import OF_EVENTS, params_of
from recsys_assets_tests.thoroughness import THOROUGH

CASES = [pytest.param(name, kind, id=f"{name}-{kind}") for name, kinds in KINDS_OF_CASES.items() for kind in kinds]
ENGINES = ("polars", "duckdb")
EXAMPLES = 15 if THOROUGH else 6
DEFINED = [case for case in OF_EVENTS if KINDS[case.id].definition]


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    scratch = tmp_path_factory.mktemp("scratch")
    return {"polars": PolarsEngine(), "duckdb": DuckDbEngine(memory_limit="1GB", threads=2, scratch=str(scratch))}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_golden_case_has_the_same_version_on_every_engine(engines, engine, name, kind, tmp_path):
    golden = find_case(name) or pytest.skip(f"{name} is in a folder beside the project, which is not laid out here")
    source, params = golden.source(kind), golden.params(kind)
    expected = by_kernel(kind, source, params, target=golden.target, window=golden.window)
    made = on_engine(engines[engine], kind, [source], params, tmp_path, target=golden.target, window=golden.window)
    assert made.blob.ref.version == golden.case["versions"][kind]
    assert made == expected


def test_every_kind_of_the_project_has_a_definition():
    defined = {name for name, kind in KINDS.items() if kind.definition}
    assert defined >= {
        "popularity",
        "cooc",
        "implicit",
        "session_seq",
        "content_sim",
        "item_seq",
        "sequential_rules",
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", DEFINED)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), rows=event_rows)
def test_a_definition_agrees_with_the_kernel_on_rows_counts_and_what_is_left_out(engines, engine, kind, data, rows):
    params, events = data.draw(params_of(kind)), events_of(rows)
    with TemporaryDirectory() as folder:
        assert on_engine(engines[engine], kind.name, [events], params, folder) == by_kernel(kind.name, events, params)


catalogs = st.lists(
    st.tuples(
        st.sampled_from(ITEMS),
        st.lists(st.sampled_from(["Red", " red\u2003", "", " ", "\u0130x", "\u03a3", "b&w", None])),
    ),
    max_size=20,
)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(catalog=catalogs, max_items=st.integers(1, 6))
def test_the_definition_of_tags_agrees_with_the_kernel(engines, engine, catalog, max_items):
    frame = pl.DataFrame(catalog, schema={"item_id": pl.String, "tags": pl.List(pl.String)}, orient="row")
    params = KINDS["content_sim"].params(max_items=max_items)
    with TemporaryDirectory() as folder:
        made = on_engine(engines[engine], "content_sim", [frame], params, folder)
    assert made == by_kernel("content_sim", frame, params)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", DEFINED)
def test_several_days_are_one_window_in_order(engines, engine, kind, tmp_path):
    """The first event of a user may be in any day, and a session in several."""
    days = [
        [row(10 * day + n, "u1", "s1", item) for n, item in enumerate(items)]
        for day, items in enumerate(("ba", "ab", "cab"))
    ]
    sources = [events_of(day) for day in days]
    params = kind.params()
    expected = by_kernel(kind.name, merge_days(sources), params, window=window_of(3))
    assert on_engine(engines[engine], kind.name, sources, params, tmp_path) == expected


@pytest.mark.parametrize(
    ("kind", "params", "named"),
    [
        pytest.param("cooc", {"score": "cosine"}, "score and half_life_days", id="score"),
        pytest.param("popularity", {"half_life_days": 7}, "half_life_days", id="decay"),
    ],
)
def test_a_setting_that_only_the_native_engine_knows_is_refused(engines, kind, params, named, tmp_path):
    with pytest.raises(ConfigurationError, match=f"only the native engine supports {named} of {kind}: remove it"):
        on_engine(engines["polars"], kind, [events_of([])], KINDS[kind].params(**params), tmp_path)
