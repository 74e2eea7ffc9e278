"""The gate before an engine: what is wrong in its rows is seen on the canary, named, and nothing is built."""

import sys

import narwhals as nw
import pytest

from recsys_assets.engines.building import canary_params, canary_source, definition_of
from recsys_assets.engines.duckdb_engine import DuckDbEngine
from recsys_assets.engines.engine import PolarsEngine
from recsys_assets.engines.registry import EngineRegistry
from recsys_assets.engines.relation import KindRelation
from recsys_assets.errors import ConfigurationError, EngineRefusedError
from recsys_assets.kinds.contracts import check_rows
from recsys_assets.kinds.registry import KINDS
from recsys_assets.settings.artifacts import EngineSettings
from recsys_assets.settings.inputs import LimitSettings


class Wrong(PolarsEngine):
    """An engine with a fault of the sort that engines have; everything else is right."""

    name = "wrong"
    identity = "wrong 1.0"

    def __init__(self, fault):
        self._fault = fault

    def finish(self, answer, folder):
        return super().finish(self._fault(answer), folder)


def by_utf16(answer):
    """Compare ids as a JVM's strings do."""
    rows = answer.ordered.to_native().collect()
    order = sorted(range(len(rows)), key=lambda n: (rows["negated"][n], rows["member"][n].encode("utf-16-be")))
    return KindRelation(nw.from_native(rows[order].with_row_index("at").lazy()), ("at",), answer.counts)


def without_last_row(answer):
    return KindRelation(answer.ordered.head(29), answer.order, answer.counts)


def cut_at_nul(answer):
    member = nw.col("member").str.replace_all("\x00y", "\x00", literal=True)
    return KindRelation(answer.rows.with_columns(member.alias("member")), answer.order, answer.counts)


def one_more(answer):
    return KindRelation(answer.rows.with_columns((nw.col("value") + 1).alias("value")), answer.order, answer.counts)


def other_counts(answer):
    return KindRelation(answer.rows, answer.order, answer.counts.with_columns(distinct_items=nw.lit(7)))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(by_utf16, "row .* is .*, expected", id="order of UTF-16"),
        pytest.param(without_last_row, r"row 29 is missing, expected .* \(29 rows of 30\)", id="a row lost"),
        pytest.param(one_more, "row 0 is", id="another count"),
        pytest.param(cut_at_nul, "expected", id="ids cut"),
        pytest.param(other_counts, "numbers: expected .*36.*found .*7", id="right rows and wrong numbers"),
    ],
)
def test_a_wrong_engine_is_refused_with_the_first_row_that_differs(fault, message, tmp_path):
    room = EngineRegistry(
        EngineSettings(scratch=str(tmp_path)), str(tmp_path), openers={"wrong": lambda *_: Wrong(fault)}, proven=set()
    )
    with pytest.raises(EngineRefusedError, match=message) as refused:
        room.open("wrong", KINDS["popularity"])
    assert "wrong 1.0" in str(refused.value)
    assert "nothing was built" in str(refused.value)


def test_an_engine_is_proven_once_for_each_kind(tmp_path):
    asked = []

    class Counted(PolarsEngine):
        def finish(self, answer, folder):
            asked.append(folder)
            return super().finish(answer, folder)

    room = EngineRegistry(
        EngineSettings(scratch=str(tmp_path)), str(tmp_path), openers={"polars": lambda *_: Counted()}, proven=set()
    )
    for kind in ("popularity", "cooc", "popularity"):
        room.open("polars", KINDS[kind])
    assert len(asked) == 2


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.definition])
def test_the_canary_meets_every_cut_and_limit_of_a_kind(kind):
    built = KINDS[kind].build(canary_source(kind), canary_params(kind), LimitSettings())
    assert len(built.rows) > 10
    assert check_rows(built.rows, canary_params(kind)) == ()
    assert not built.left_out.what or built.left_out.groups == 1
    assert built.numbers.get("cut_items", 1)


@pytest.mark.parametrize(("engine", "library"), [("duckdb", "duckdb"), ("spark", "pyspark")])
def test_an_engine_whose_library_is_not_installed_names_the_extra(engine, library, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigurationError, match=rf"recsys-assets\[{engine}\]"):
        EngineRegistry(EngineSettings(scratch=str(tmp_path)), str(tmp_path)).open(engine, KINDS["cooc"])


def test_duckdb_goes_on_past_its_memory_by_its_folder(tmp_path):
    """Three million rows of 32 bytes in a tenth of the memory that they take."""
    engine = DuckDbEngine(memory_limit="60MB", threads=1, scratch=str(tmp_path / "spill"))
    big = engine._database.sql(
        "select (i * 7919 % 3000000)::varchar || repeat('x', 24) as item_id from range(3000000) t(i)"
    )
    finished = engine.finish(
        definition_of(KINDS["popularity"]).answer(
            nw.from_native(big).lazy(), KINDS["popularity"].params(), engine.keep
        ),
        str(tmp_path),
    )
    assert finished.counts["distinct_items"] == 3_000_000
