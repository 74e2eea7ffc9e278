"""recsys.toml: what is written is what is meant, or an error names the key, the allowed and the found."""

from datetime import date
from pathlib import Path
from typing import get_args, get_origin

import dagster as dg
import pytest
from pydantic import BaseModel

from recsys_assets.errors import ConfigurationError
from recsys_assets.kinds.registry import KINDS, check_params
from recsys_assets.settings.reading import load_settings, parse_settings
from recsys_assets.settings.settings import Settings

MINIMAL = b'[[targets]]\ntenant = "shop"\nsurface = "home"\n'
NEVER = ("60 1 * * *", "0 24 * * *", "0 1 0 * *", "0 1 * 13 *", "0 1 * * 8", "0 1 31 2 *", "*/0 1 * * *", "0 1 , * *")
SOMETIMES = ("0 1 * * *", "*/30 * * * 1-5", "0,30 1-3 * jan mon-fri", "5 0 1-15/2 * 0", "0 1 29 2 *", "0 1 * * 7")


def parse(text: bytes):
    return parse_settings(text, name="recsys.toml", base=Path("/base"))


def test_a_target_is_all_that_must_be_written():
    settings = parse(MINIMAL)
    assert [str(row.target) for row in settings.targets] == ["shop/home"]
    assert settings.partitions.start == date(2026, 1, 1)
    assert settings.resolve(settings.storage.root) == "/base/data/store"


def test_a_uri_is_not_resolved_against_the_file():
    assert parse(MINIMAL).resolve("s3://bucket/prefix") == "s3://bucket/prefix"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(b"", "targets", id="no targets"),
        pytest.param(
            MINIMAL + b"colour = 1\n",
            "line 4: targets.0.colour: unknown key; did you mean rollout? allowed here: artifacts, automation, engine,",
            id="F48 unknown key of a target",
        ),
        pytest.param(
            b"[raw]\nmax_bad_shared = 0.1\n" + MINIMAL,
            "line 2: raw.max_bad_shared: unknown key",
            id="F48 threshold typo",
        ),
        *(
            pytest.param(
                f'[raw]\ncatalog_encoding = "{name}"\n'.encode() + MINIMAL,
                "expected an encoding that contains ASCII",
                id=name,
            )
            for name in ("utf-16", "rot13", "utf-7", "cp500", "klingon", "")
        ),
        *(
            pytest.param(f"[raw]\ncatalog_delimiter = {text}\n".encode() + MINIMAL, "raw.catalog_delimiter", id=text)
            for text in ('""', '"\\""', '"\\n"', '"::"', '"é"')
        ),
        pytest.param(b"[raw]\nmax_bad_share = 2\n" + MINIMAL, "less than or equal to 1", id="share over one"),
        pytest.param(b"[limits]\nmax_events = 0\n" + MINIMAL, "limits.max_events", id="limit of nothing"),
        pytest.param(b"[artifacts]\ncooc = 5\n" + MINIMAL, "expected a table", id="kind without table"),
        pytest.param(MINIMAL + MINIMAL, "is listed twice", id="same target twice"),
        pytest.param(
            MINIMAL + b'[[targets]]\ntenant = "Shop"\nsurface = "home"\n', "", id="F48 same path but for case"
        ),
        pytest.param(b'[[targets]]\ntenant = "a b"\nsurface = "home"\n', "slug", id="name that Dagster cannot carry"),
        pytest.param(b'[[targets]]\ntenant = "../x"\nsurface = "home"\nslug = "x"\n', "/", id="F17 path in a name"),
        pytest.param(b"[raw\n", "not TOML", id="not TOML"),
        pytest.param(b"\xff", "UTF-8", id="not UTF-8"),
        pytest.param(b'base = "x"\n' + MINIMAL, "unknown key 'base'", id="internal field"),
        pytest.param(
            MINIMAL + MINIMAL.replace(b"home", b"cart") + b"[targets.gates]\nmin_event = 3\n",
            "line 8: targets.1.gates.min_event: unknown key; did you mean min_events? allowed here: ",
            id="F48 typo in an override",
        ),
        pytest.param(
            b'[automation]\ncron = "1 am"\n' + MINIMAL,
            "line 2: automation.cron: expected five fields, minute hour day month weekday",
            id="F48 no cron",
        ),
        pytest.param(
            MINIMAL + b'[targets.automation]\ntimezone = "Berlin"\n',
            'line 5: targets.0.automation.timezone: expected an IANA time zone, such as "UTC"',
            id="F48 no zone",
        ),
        *(
            pytest.param(f"[{table}]\n{rest}".encode() + MINIMAL, f"{table}.{key}: expected {to}:// with two", id=rest)
            for table, key, to, rest in (
                ("storage", "root", "gs", 'root = "gs:/shop/store"\n'),
                ("storage", "root", "s3", 'root = "s3:shop"\n'),
                ("raw", "exposures", "az", 'exposures = "az:/lake/{day}.jsonl"\n'),
                ("raw", "exposures", "gs", 'exposures = "delta:gs:/lake/events"\n'),
                ("raw", "catalog", "s3", 'catalog = "s3:/lake/catalog.csv"\n'),
                (
                    "imports.x",
                    "path",
                    "gs",
                    'path = "gs:/drop/{day}.jsonl"\nformat = "jsonl"\ncontract = { a = "string" }\n',
                ),
            )
        ),
        pytest.param(b"[freshness]\nmax_age_hours = 0\n" + MINIMAL, "greater than 0", id="always stale"),
        *(
            pytest.param(
                f'[automation]\ncron = "{cron}"\n'.encode() + MINIMAL, "line 2: automation.cron: expected", id=cron
            )
            for cron in NEVER
        ),
    ],
)
def test_a_wrong_configuration_is_refused_and_the_key_is_named(text, message):
    with pytest.raises(ConfigurationError) as refused:
        parse(text)
    assert message in str(refused.value)


def numbers(model, path=()):
    """Yield the place of each number of the configuration, and whether it is a whole one."""
    for name, field in model.model_fields.items():
        kinds = {field.annotation, *get_args(field.annotation)}
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        item = ("0",) if get_origin(field.annotation) is tuple else ()
        for kind in inner:
            yield from numbers(kind, (*path, name, *item))
        if float in kinds or int in kinds:
            yield (*path, name), float not in kinds


def written(path, value):
    """Return a file that sets one number, in its second line."""
    *table, key = path
    header = f"[[{table[0]}]]" if table[1:] == ["0"] else f"[{'.'.join(table)}]"
    return f"{header}\n{key} = {value}\n".encode() + MINIMAL


SETTINGS = [(path, whole) for path, whole in numbers(Settings) if path[0] != "targets"]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400"])
def test_no_number_of_the_configuration_is_endless(value):
    for path, _ in SETTINGS:
        with pytest.raises(ConfigurationError, match=rf"line 2: {'.'.join(path)}: "):
            parse(written(path, value))


def test_no_whole_number_of_the_configuration_overflows():
    for path, _ in [one for one in SETTINGS if one[1]]:
        with pytest.raises(ConfigurationError, match=rf"line 2: {'.'.join(path)}: "):
            parse(written(path, 10**40))
    assert {("freshness", "max_age_hours"), ("gates", "backtest", "seed"), ("retention", "raw_days")} <= {
        path for path, _ in SETTINGS
    }


@pytest.mark.parametrize("key", ["max_age_hours", "max_silence_hours"])
def test_a_duration_that_means_never_is_refused(key):
    with pytest.raises(ConfigurationError, match=f"line 2: freshness.{key}: Input should be less than or equal to"):
        parse(f"[freshness]\n{key} = 1e9\n".encode() + MINIMAL)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400", str(10**40)])
def test_no_parameter_of_a_kind_is_endless(value):
    for kind in KINDS.values():
        for path, whole in numbers(kind.params):
            written = f"[artifacts]\nkinds = ['{kind.name}']\n[artifacts.{kind.name}]\n{path[0]} = {value}\n"
            settings = parse(written.encode() + MINIMAL)
            if whole or value[-1] != "0":
                with pytest.raises(ConfigurationError, match=rf"artifacts.{kind.name}.{path[0]}: "):
                    check_params(settings, settings.targets)


@pytest.mark.parametrize("cron", [*NEVER, *SOMETIMES])
def test_a_cron_is_taken_if_dagster_takes_it(cron):
    try:
        dg.ScheduleDefinition(job_name="build", cron_schedule=cron)
        taken = True
    except dg.DagsterInvalidDefinitionError:
        taken = False
    assert taken is (cron in SOMETIMES)
    if taken:
        parse(f'[automation]\ncron = "{cron}"\n'.encode() + MINIMAL)


def test_two_targets_with_one_slug_are_refused():
    rows = [f'[[targets]]\ntenant = "{tenant}"\nsurface = "h"\nslug = "x"\n' for tenant in ("a b", "a c")]
    with pytest.raises(ConfigurationError, match="same slug"):
        parse("".join(rows).encode())


def test_a_target_overrides_single_gate_limits():
    settings = parse(
        b"[gates]\nmin_events = 10\nmax_left_out_share = 0.2\n" + MINIMAL + b"[targets.gates]\nmin_events = 3\n"
    )
    gates = settings.gates_for(settings.targets[0])
    assert (gates.min_events, gates.max_left_out_share) == (3, 0.2)


def test_a_target_overrides_when_it_is_built_and_when_it_is_stale():
    settings = parse(
        MINIMAL + b'[targets.automation]\ncron = "*/5 * * * *"\nwatch = true\n[targets.freshness]\nmax_age_hours = 2\n'
    )
    row = settings.targets[0]
    assert (settings.automation_for(row).cron, settings.automation_for(row).timezone) == ("*/5 * * * *", "UTC")
    assert (settings.automation_for(row).watch, settings.automation_for(row).nightly) == (True, False)
    assert (settings.freshness_for(row).max_age_hours, settings.freshness_for(row).max_silence_hours) == (2, 30)


def test_an_unknown_target_is_answered_with_the_known_ones():
    with pytest.raises(ConfigurationError, match="known are shop/home"):
        parse(MINIMAL).find("shop", "cart")


def test_a_missing_file_names_the_ways_to_name_one(tmp_path, monkeypatch):
    monkeypatch.delenv("RECSYS_CONFIG", raising=False)
    with pytest.raises(ConfigurationError, match="--config"):
        load_settings(tmp_path / "none.toml")


def test_the_file_named_by_the_environment_is_read_and_hashed(tmp_path, monkeypatch):
    file = tmp_path / "mine.toml"
    file.write_bytes(MINIMAL)
    monkeypatch.setenv("RECSYS_CONFIG", str(file))
    settings = load_settings()
    assert settings.base == tmp_path
    assert len(settings.digest) == 64


@pytest.mark.parametrize(
    ("table", "message"),
    [
        pytest.param("[gates.drift.kinds.nope]\nmax_churn = 0.5", "gates.drift.kinds.nope", id="drift"),
        pytest.param(
            "[gates.rehearsal.kinds.nope]\nmax_empty_share = 0.5", "gates.rehearsal.kinds.nope", id="rehearsal"
        ),
        pytest.param('[gates.backtest]\nrequired = ["coo"]', "gates.backtest.required coo", id="back-test"),
        pytest.param('[gates.backtest]\noff = ["coo"]', "gates.backtest.off coo", id="back-test off"),
        pytest.param('[gates.modes]\nbacktest_coo = "required"', "gates.modes.backtest_coo", id="mode"),
    ],
)
def test_f48_a_gate_of_a_kind_that_nobody_builds_is_an_error(table, message):
    targets = '[[targets]]\ntenant = "shop"\nsurface = "home"\n'
    with pytest.raises(ConfigurationError, match=message) as caught:
        parse(f"{table}\n{targets}".encode())
    assert "known: blend, content_sim, cooc" in str(caught.value)
