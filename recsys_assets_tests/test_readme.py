"""Commands of the README exist and are understood; its links lead somewhere; its configuration is valid."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from recsys_assets.cli.main import recsys_assets
from recsys_assets.ingest.line_reader import RawEvent, read_line
from recsys_assets.kinds.registry import KINDS, find_kind, read_params
from recsys_assets.settings.artifacts import ArtifactSettings
from recsys_assets.settings.reading import load_settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks(README, "sh") for line in block.splitlines() if line]


def links(text):
    """Yield targets of links and pictures inside this repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith("#"):
            yield target.partition("#")[0]


def understand(arguments, *, program=recsys_assets):
    """Have click parse a command line to the end without running it."""
    name, *rest = arguments
    with click.Context(program) as group:
        command = program.get_command(group, name)
        assert command is not None, f"there is no command {name}"
        if isinstance(command, click.Group):
            return understand(rest, program=command)
        return command.make_context(name, rest, parent=group)


def test_the_readme_shows_the_two_commands_first():
    assert COMMANDS[:2] == ["make demo", "make ui"]


@pytest.mark.filterwarnings("ignore:'click.utils:DeprecationWarning")  # of dg itself
@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_is_understood(line):
    program, *arguments = shlex.split(line)
    if program == "make":
        subprocess.run(["make", "--dry-run", *arguments], check=True, capture_output=True, cwd=ROOT)
    elif program == ".venv/bin/dg":
        from dagster_dg_cli.cli import create_dg_cli  # noqa: PLC0415 - half a second, and a warning

        understand(arguments, program=create_dg_cli())
    elif program != "export":
        assert program == ".venv/bin/recsys-assets"
        understand(arguments)


def test_a_command_that_does_not_exist_is_not_understood():
    with pytest.raises(click.NoSuchOption):
        understand(["run", "--start", "2026-01-05", "--sideways"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    missing = [target for target in links(page.read_text(encoding="utf-8")) if not (page.parent / target).exists()]
    assert not missing


def test_the_event_and_the_pointer_in_the_readme_are_what_is_read_and_written():
    event, pointer = (block.strip() for block in blocks(README, "json"))
    assert isinstance(read_line(event.encode()), RawEvent)
    assert list(json.loads(pointer)) == ["v", "tenant", "surface", "current", "updated_at"]


def test_the_default_configuration_is_read():
    settings = load_settings(ROOT / "recsys.toml")
    assert [str(row.target) for row in settings.targets] == ["shop/home"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_configuration_prints_the_true_defaults(kind):
    settings = load_settings(ROOT / "recsys.toml")
    bare = settings.model_copy(update={"artifacts": ArtifactSettings()})
    row = settings.targets[0].model_copy(update={"artifacts": {}})
    assert read_params(settings, row, kind) == read_params(bare, row, kind)
    text = (ROOT / "recsys.toml").read_text(encoding="utf-8")
    printed = dict(re.findall(r"(?m)^#   (window_days|min_days|max_bytes|shards) = (\S+)", text))
    own = find_kind("cooc").params()
    found = {name: str(getattr(own, name)) for name in printed}
    assert found == {name: text.strip('"').replace("_000", "000") for name, text in printed.items()}


def test_the_demos_configuration_is_read():
    settings = load_settings(ROOT / "examples" / "demo" / "recsys.toml")
    assert {row.tenant for row in settings.targets} == {"books", "garden"}
