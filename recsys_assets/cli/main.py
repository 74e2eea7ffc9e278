"""The command: subcommands by name, each loaded when it is called, so that rollback never waits for Dagster."""

import sys
from importlib import import_module

import click

from recsys_assets.errors import ConfigurationError, RecsysAssetsError

COMMANDS = {
    "run": "recsys_assets.cli.run:run",
    "ship": "recsys_assets.cli.change:run_ship",
    "import": "recsys_assets.cli.imports:run_import",
    "status": "recsys_assets.cli.look:show_status",
    "log": "recsys_assets.cli.look:show_log",
    "at": "recsys_assets.cli.look:show_at",
    "diff": "recsys_assets.cli.look:show_diff",
    "report": "recsys_assets.cli.release_report:show_report",
    "backtest": "recsys_assets.cli.backtest:run_backtest",
    "verify": "recsys_assets.cli.look:run_verify",
    "rollback": "recsys_assets.cli.change:run_rollback",
    "hold": "recsys_assets.cli.change:run_hold",
    "release-hold": "recsys_assets.cli.change:run_release_hold",
    "restore-pointer": "recsys_assets.cli.change:run_restore_pointer",
    "retire": "recsys_assets.cli.retire:run_retire",
    "collect": "recsys_assets.cli.collect:run_collect",
    "forget": "recsys_assets.cli.forget:run_forget",
    "move-in": "recsys_assets.cli.move_in:run_move_in",
    "reindex": "recsys_assets.cli.repair:run_reindex",
    "api": "recsys_assets.cli.api:run_api",
    "init": "recsys_assets.cli.repair:run_init",
    "probe": "recsys_assets.cli.repair:run_probe",
    "workspace": "recsys_assets.cli.workspace:write_workspace",
    "prune-runs": "recsys_assets.cli.prune:prune_runs",
    "drill": "recsys_assets.cli.drill:drill",
}

EXIT_REFUSED = 1
EXIT_USAGE = 2


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the subcommand, or None if there is none of that name."""
        path = COMMANDS.get(cmd_name)
        if path is None:
            return None
        module, _, name = path.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="recsys-assets")
def recsys_assets() -> None:
    """Build, ship, look at and undo recommendation artifacts."""


def main() -> None:
    """Run the command; exit 0 done or nothing to do, 1 refused or failed, 2 usage or configuration."""
    try:
        code = recsys_assets.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.Abort:
        sys.exit(130)
    except ConfigurationError as error:
        click.echo(f"configuration: {error}", err=True)
        sys.exit(EXIT_USAGE)
    except RecsysAssetsError as error:
        click.echo(f"{type(error).__name__}: {error}", err=True)
        sys.exit(EXIT_REFUSED)
    sys.exit(code if isinstance(code, int) else 0)
