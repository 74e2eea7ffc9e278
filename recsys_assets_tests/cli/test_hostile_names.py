"""F17: hostile names go through configuration, command and store: refused before anything is touched, or kept apart."""

import json

import msgspec
import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target
from recsys_assets.settings.reading import load_settings
from recsys_assets.storage.filesystem import FilesystemStore
from recsys_assets_tests.hostile_names import ODD, PAIRS, REFUSED
from recsys_assets_tests.release.staging import Shop

WHY = ["--reason", "a bad night"]


def write_config(folder, names):
    """Configure one target a name, as tenant and as surface."""
    rows = [
        f"[[targets]]\ntenant = {text}\nsurface = {text}\nslug = 's{n}'\n"
        for n, text in enumerate(msgspec.json.encode(name).decode() for name in names)
    ]
    path = folder / "recsys.toml"
    path.write_text("[storage]\nroot = 'store'\n" + "".join(rows), encoding="utf-8")
    return path


def call(capsys, config, command, name, *words):
    """Call one command on the target of that name; return its document."""
    line = [command, "--config", str(config), f"--tenant={name}", f"--surface={name}", *words, "--json"]
    assert recsys_assets.main(line, standalone_mode=False) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def odd(tmp_path):
    """Two releases for each odd name."""
    store = FilesystemStore(tmp_path / "store")
    for name in ODD:
        shop = Shop(store, target=Target(name, name))
        shop.ship(0)
        shop.ship(1)
    return write_config(tmp_path, ODD)


@pytest.mark.parametrize("name", [pytest.param(name, id=f"{name[:20]!a}") for name in REFUSED])
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["status"], id="status"),
        pytest.param(["rollback", "--to", "previous", *WHY], id="rollback"),
        pytest.param(["hold", *WHY], id="hold"),
        pytest.param(["ship", "--day", "2026-03-01", *WHY], id="ship"),
        pytest.param(["collect", "--apply"], id="collect"),
    ],
)
def test_a_command_on_a_hostile_name_is_refused_and_touches_nothing(tmp_path, capsys, words, name):
    config = write_config(tmp_path, ["plain"])
    with pytest.raises(ConfigurationError, match="no target"):
        call(capsys, config, words[0], name, *words[1:])
    assert [path.name for path in tmp_path.iterdir()] == ["recsys.toml"]


@pytest.mark.parametrize("name", [pytest.param(name, id=f"{name[:20]!a}") for name in REFUSED])
def test_a_configuration_with_a_hostile_name_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError):
        load_settings(write_config(tmp_path, [name]))


@pytest.mark.parametrize("pair", PAIRS, ids=["case", "NFC and NFD", "ligature"])
def test_a_configuration_with_names_that_some_stores_hold_as_one_is_refused(tmp_path, pair):
    with pytest.raises(ConfigurationError, match="differ only"):
        load_settings(write_config(tmp_path, pair))


def test_odd_names_are_held_rolled_back_and_reported_each_for_itself(odd, capsys):
    for n, name in enumerate(ODD):
        assert call(capsys, odd, "hold", name, *WHY, "--actor", f"ada{n}")["hold"]["actor"] == f"ada{n}"
        call(capsys, odd, "rollback", name, "--to", "previous", *WHY)
    for n, name in enumerate(ODD):
        (row,) = call(capsys, odd, "status", name)
        assert (row["tenant"], row["surface"], row["data_through"]) == (name, name, "2026-03-01")
        (log,) = call(capsys, odd, "log", name)
        message = [(entry["action"], entry["actor"]) for entry in log["entries"]]
        assert ("hold", f"ada{n}") in message
        assert sum(action == "hold" for action, _ in message) == 1
