"""Help of the command: every subcommand by name and purpose, at once, as its own help says it."""

import subprocess
import sys

import click
import pytest

from recsys_assets.cli.main import COMMANDS, recsys_assets

HELP = "from recsys_assets.cli.main import main\ntry: main()\nfinally: import sys; print(*sys.modules, file=sys.stderr)"


def test_help_names_every_subcommand_and_imports_none():
    done = subprocess.run([sys.executable, "-c", HELP, "--help"], capture_output=True, text=True, check=True)

    modules = set(done.stderr.split())
    assert [name for name in COMMANDS if f"\n  {name} " not in done.stdout] == []
    assert (
        modules & {"dagster", "polars", "numpy", "pydantic", "recsys_assets.cli.run", "recsys_assets.cli.show"} == set()
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_subcommands_says_what_their_help_says(name):
    command = recsys_assets.get_command(click.Context(recsys_assets), name)

    assert command is not None
    assert " ".join((command.help or "").split()).startswith(COMMANDS[name].summary)
