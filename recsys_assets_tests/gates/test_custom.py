"""Gates that a team writes itself judge like ours: counted, recorded, by mode, and proven again before the swap."""

import polars as pl
import pytest

from recsys_assets.errors import ConfigurationError, RefusedError
from recsys_assets.events.contract import check_events
from recsys_assets.events.events import ID_COLUMNS
from recsys_assets.events.rules import only_polars
from recsys_assets.evidence import NOT_COMPARED, Verdict
from recsys_assets.gates import custom
from recsys_assets.gates.canonical import CanonicalFacts
from recsys_assets.gates.policy import canonical_policy
from recsys_assets.kind_descriptions import _all_entry_points
from recsys_assets.pipeline.artifact import judge_artifact
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.journal import Actor
from recsys_assets_tests.events.rows import events, row
from recsys_assets_tests.gates.test_modes import settings
from recsys_assets_tests.small_shop import FIRST, after, day_lines, open_shop

with only_polars():  # every process that collects tests would import pandas and PySpark too
    import pandera.polars as pa
    from pandera.config import ValidationDepth, config_context

GATES = """
import pandera.polars as pa
import polars as pl

class Known(pa.DataFrameModel):
    item_id: str = pa.Field(str_startswith="i")

FEW = pa.DataFrameSchema({"rank": pa.Column(pl.Int64, pa.Check.less_than(2))})
BROKEN = pa.DataFrameSchema({}, checks=[pa.Check(lambda data: 1 / 0)])
WRONG = {"rank": int}
"""
NPZ = '[imports.m]\npath = "m"\nformat = "npz"\n'
DAY = events([row(n, item="ix"[n % 2] + "1", rank=n) for n in range(4)])
FACTS = CanonicalFacts("d", rows=4, events=4, bad=0, duplicates=0, rejects={}, contract=(), content=DAY)


def judge(rule, tmp_path, *, more="", facts=FACTS):
    (tmp_path / "gates.py").write_text(GATES)
    text = f'[gates.custom.own]\nkinds = ["canonical"]\n{rule}\n{more}'
    policy = canonical_policy(*settings(text, tmp_path))
    found = {finding.gate: finding for finding in policy.judge("d", facts).findings}
    return found.get("custom_own")


@pytest.mark.parametrize(
    ("rule", "count", "message"),
    [
        pytest.param('pandera = "gates.py:Known"', 2, "2 of 4 rows fail", id="a model"),
        pytest.param('pandera = "gates.py:FEW"', 2, "less_than(2) (2)", id="a schema"),
        pytest.param('sql = "SELECT * FROM rows WHERE rank > 0"', 3, "3 of 4 rows break the rule", id="SQL"),
        pytest.param('sql = "SELECT * FROM rows WHERE rank > 9"', 0, "4 rows keep the rule", id="SQL that finds none"),
    ],
)
def test_offending_rows_are_counted_and_shown(tmp_path, rule, count, message):
    found = judge(rule, tmp_path)
    assert (found.ok, found.count, found.value) == (not count, count, count)
    assert message in found.message
    assert len(found.sample) == count


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        pytest.param('pandera = "gates.py:BROKEN"', "division by zero", id="its check raises"),
        pytest.param('pandera = "gates.py:NONE"', "AttributeError", id="no such name"),
        pytest.param('pandera = "gates.py:WRONG"', "not a DataFrameSchema or DataFrameModel", id="no schema"),
        pytest.param('sql = "SELECT * FROM orders"', "orders", id="SQL of another table"),
        pytest.param("sql = \"SELECT * FROM read_csv('/etc/hostname')\"", "disabled", id="SQL that reads files"),
        pytest.param(
            'max_seconds = 0.2\nsql = "SELECT count(*) FROM range(10000000) a, range(10000000) b"',
            "max_seconds = 0.2",
            id="SQL without an end",
        ),
    ],
)
def test_a_gate_that_crashes_refuses_and_says_with_what(tmp_path, rule, error):
    found = judge(rule, tmp_path)
    assert found.verdict is Verdict.REFUSED
    assert error in found.message


def test_a_crash_in_a_team_s_code_is_nothing_that_an_override_answers_for(tmp_path):
    assert NOT_COMPARED in judge('sql = "SELECT"', tmp_path).params


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ('mode = "advisory"', Verdict.ADVISED),
        ('mode = "off"', None),
        ('targets = ["shop/home"]', Verdict.REFUSED),
        ('[[targets]]\ntenant = "a"\nsurface = "b"\n[targets.gates.custom.own]\nmode = "off"', None),
        ('[gates.modes]\ncustom_own = "advisory"', Verdict.ADVISED),
    ],
)
def test_mode_and_target_say_whom_it_judges(tmp_path, more, verdict):
    found = judge('sql = "FROM rows"', tmp_path, more=more)
    assert (found and found.verdict) == verdict


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "either pandera"),
        ('pandera = "a.py:B"\nsql = "FROM rows"', "either pandera"),
        ('pandera = "none.py:B"', "cannot read"),
        ('pandera = "nobody"', "no installed package"),
        ('sql = "FROM rows"\ntargets = ["a/b"]', "known: shop/home"),
        ('sql = "FROM rows"\n[gates.modes]\ncustom_other = "off"', ".gates.custom.other. is missing"),
        ('sql = "FROM rows"\n[gates.custom."a-b"]\nsql = "FROM rows"\nkinds = ["cooc"]', "letters, digits and _"),
        ('sql = "FROM rows"\n[gates.custom.x]\nsql = "FROM rows"\nkinds = ["coc"]', "coc is not built or imported"),
        (
            'sql = "FROM rows"\nmode = "off"\n[gates.custom.x]\nsql = "FROM rows"\nkinds = ["m"]\n' + NPZ,
            "m is npz, which has no rows",
        ),
    ],
)
def test_a_gate_that_could_not_judge_is_an_error_of_the_configuration(tmp_path, text, message):
    with pytest.raises(ConfigurationError, match=message):
        judge(text, tmp_path)


def test_a_package_brings_a_schema_by_entry_point(tmp_path, monkeypatch):
    (tmp_path / "acme_gates.py").write_text(GATES)
    metadata = tmp_path / "acme-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[recsys_assets.gates]\nfew = acme_gates:FEW\n")
    monkeypatch.syspath_prepend(tmp_path)
    custom._entry_points.cache_clear()
    _all_entry_points.cache_clear()
    found = judge('pandera = "few"', tmp_path)
    custom._entry_points.cache_clear()
    _all_entry_points.cache_clear()
    assert found.count == 2


def test_an_edited_schema_is_another_policy(tmp_path):
    text = '[gates.custom.own]\nkinds = ["canonical"]\npandera = "gates.py:FEW"\n'
    digests = []
    for source in (GATES, GATES.replace("less_than(2)", "less_than(3)")):
        (tmp_path / "gates.py").write_text(source)
        digests.append(canonical_policy(*settings(text, tmp_path)).digest)
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    "switched_off", [{"validation_enabled": False}, {"validation_depth": ValidationDepth.SCHEMA_ONLY}]
)
def test_the_environment_cannot_switch_a_contract_off(tmp_path, switched_off):
    with config_context(**switched_off):
        (found,) = check_events(type(DAY)(DAY.codes.with_columns(rank=pl.col("rank") - 9), DAY.ids), day=FIRST)
        assert (found.gate, found.count) == ("rank_not_negative", 4)
        assert judge('pandera = "gates.py:FEW"', tmp_path).count == 2


def test_pandera_judges_what_passes_too(monkeypatch):
    judged = []
    validate = pa.DataFrameSchema.validate

    def record(self, frame, **options):
        judged.append((set(frame.lazy().collect_schema()), options["lazy"]))
        return validate(self, frame, **options)

    monkeypatch.setattr(pa.DataFrameSchema, "validate", record)
    (found,) = check_events(DAY, day=FIRST)
    assert found.ok
    assert judged == [({str(number) for number in range(1 + len(ID_COLUMNS))}, True)]  # the rows and each dictionary


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """One day that shipped under a custom gate on a kind and one on the events."""
    opened = open_shop(tmp_path_factory.mktemp("shop"))
    gates = '[gates.custom.few]\nsql = "FROM rows WHERE rank > 99"\nkinds = ["canonical"]\n'
    gates += '[gates.custom.known]\npandera = "gates.py:Known"\nkinds = ["popularity"]\ntargets = ["shop/home"]\n'
    opened.configure(f'[artifacts]\nkinds = ["popularity"]\n{gates}')
    (opened.folder / "gates.py").write_text(GATES)
    opened.write(FIRST, day_lines(FIRST))
    assert opened.run(FIRST).success
    return opened


def test_reports_and_releases_record_custom_gates(shop):
    context = DayContext(shop.store, shop.settings, shop.settings.find("shop", "home"), FIRST)
    release = ship_day(context, by=Actor("ada", "again")).outcome.release
    (member,) = release.members
    named = {finding.gate: finding.params for finding in member.gates.findings}
    assert named["custom_known"]["schema"] == "gates.py:Known"
    assert "custom_few" in {finding.gate for finding in release.canonical[0].gates.findings}


def test_a_day_judged_by_an_older_gate_does_not_ship_until_it_is_judged_again(shop):
    context = DayContext(shop.store, shop.settings, shop.settings.find("shop", "home"), FIRST)
    gates = shop.folder / "gates.py"
    gates.write_text(GATES.replace('startswith="i"', 'startswith="i0"'))
    with pytest.raises(RefusedError, match="used other limits"):
        ship_day(context, by=Actor("ada", "again"))
    report = judge_artifact(context, "popularity")
    assert [finding.gate for finding in report.refusals] == ["custom_known"]
    with pytest.raises(RefusedError, match="--override custom_known"):
        ship_day(context, by=Actor("ada", "again"))
    shipped = ship_day(context, by=Actor("ada", "new items are meant"), override=["custom_known"])
    assert shipped.outcome.live
    gates.write_text(GATES)
    shop.write(after(1), day_lines(after(1)))
    assert shop.run(after(1)).success
