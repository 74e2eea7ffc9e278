"""Entry point: subcommands by name, imported on use, so that a rollback does not wait for Dagster's import."""

import gc
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Final, NamedTuple

import click

from recsys_assets.errors import ConfigurationError, RecsysAssetsError
from recsys_assets.messages import printable

EXIT_REFUSED = 1
EXIT_USAGE = 2


class Subcommand(NamedTuple):
    """Import address of a subcommand (module of this package, and name), and the beginning of its help."""

    address: str
    summary: str


COMMANDS: Final[Mapping[str, Subcommand]] = {
    "run": Subcommand("run:run", "Build, gate and ship every day from START to END, oldest first"),
    "ship": Subcommand("change:run_ship", "Ship what is staged for a day, checked against every gate"),
    "import": Subcommand("imports:run_import", "Test FILE (a path or URI) against contract, live version and limits"),
    "test": Subcommand(
        "imports:run_test", "Test FILE (a path or URI) against contract, live version, limits and custom gates"
    ),
    "status": Subcommand("show:show_status", "Show the live release of each target, its consumers and its freshness"),
    "log": Subcommand("show:show_log", "Show the journal of each target, newest first: actor, action, time and reason"),
    "at": Subcommand("show:show_at", "Show the release that was live at TIME (such as 2026-01-31T04:00:00Z)"),
    "diff": Subcommand("show:show_diff", "Show the changes from release A to release B"),
    "report": Subcommand("show:show_report", "Report on one page a release's changes, gate results and inputs"),
    "backtest": Subcommand("backtest:run_backtest", "Score what each day staged on the following day"),
    "outcomes": Subcommand(
        "outcomes:run_outcomes", "Report clicks and purchases of exposures by release, kind and visitors"
    ),
    "tune": Subcommand(
        "backtest:run_tune", "Back-test options of neighbour scoring on the last days, and show the best one"
    ),
    "verify": Subcommand("show:run_verify", "Read and verify every retained release, byte by byte"),
    "rollback": Subcommand("change:run_rollback", "Move one target back to an earlier release"),
    "rollout": Subcommand("rollout:rollout", "Show, advance or abort a gradual rollout"),
    "answers": Subcommand(
        "rollout:answers", "Show the answer rates of the live release, and roll it back if they are far worse"
    ),
    "hold": Subcommand("change:run_hold", "Keep automation from shipping to one target"),
    "release-hold": Subcommand("change:run_release_hold", "Allow automation to ship to one target again"),
    "block-item": Subcommand("marking:run_block_item", "Keep readers from showing one item of one target"),
    "unblock-item": Subcommand("marking:run_unblock_item", "Let readers show a blocked item of one target again"),
    "blocked-items": Subcommand("marking:show_blocked_items", "List the blocked items"),
    "pin": Subcommand("marking:run_pin", "Keep a release from garbage collection"),
    "unpin": Subcommand("marking:run_unpin", "Allow garbage collection of a release again"),
    "mark-bad": Subcommand("marking:run_mark_bad", "Keep a release from shipping"),
    "unmark-bad": Subcommand("marking:run_unmark_bad", "Allow a release that was marked bad to ship again"),
    "tag": Subcommand("marking:run_tag", "Give a release a NAME, such as champion"),
    "untag": Subcommand("marking:run_untag", "Remove a NAME from its release"),
    "marks": Subcommand("marking:show_marks", "List the releases that are named, pinned or marked bad"),
    "restore-pointer": Subcommand(
        "change:run_restore_pointer",
        "Restore a lost or damaged pointer to the release that the journal last recorded as live",
    ),
    "relocate": Subcommand(
        "repair:run_relocate", "Rewrite the pointers of a moved or copied store to its current root"
    ),
    "retire": Subcommand("change:run_retire", "Stop serving a target that is no longer in the configuration"),
    "collect": Subcommand("collect:run_collect", "Move artifacts that no retained release needs to the trash"),
    "sync": Subcommand("change_commands:run_sync", "Bring every database of [sinks] to the live release"),
    "deliver": Subcommand("change_commands:run_deliver", "Send undelivered events to [[webhooks]]"),
    "forget": Subcommand("forget:run_forget", "Drop a user's events from every day, rebuild the live release"),
    "tree": Subcommand(
        "tree:tree", "List, show, save, download and delete nodes of artifact trees ([hierarchies.<name>])"
    ),
    "move-in": Subcommand("imports:run_move_in", "Import the history of recsys-pipelines as releases"),
    "sign": Subcommand("repair:run_sign", "Sign the live pointers again, so that their signatures do not expire"),
    "reindex": Subcommand("repair:run_reindex", "Fill gaps in the journal, and report shipped releases to Dagster"),
    "api": Subcommand("api:run_api", "Serve the API at /v1 and /api/v1, the console at /"),
    "token": Subcommand("api:print_token", "Create an API token, and print it with the table for recsys.toml"),
    "new": Subcommand("new:new_project", "Write a starter project into FOLDER"),
    "init": Subcommand("repair:run_init", "Initialize a store: check its conditional writes, and mark it"),
    "probe": Subcommand(
        "repair:run_probe", "Check that the store honours the conditional writes that keep concurrent publishers safe"
    ),
    "workspace": Subcommand(
        "new:write_workspace", "Write the workspace file that divides the configured targets among code locations"
    ),
    "prune-runs": Subcommand("repair:prune_runs", "Remove old finished runs with their events"),
    "drill": Subcommand("drill:drill", "Practise a runbook on a scratch store, without touching the configured store"),
}


@contextmanager
def kept_imports() -> Generator[None]:
    """Import with garbage collection off, and exclude the imported objects from later collections.

    Modules live until the process exits, so scanning them finds nothing. The scans took a quarter of the CPU time of a
    short command, most of it at exit.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class LazyGroup(click.Group):
    """Group of commands that imports a subcommand when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the summaries of the table, because importing every subcommand takes seconds."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the called subcommand.

        The usage error (`NoSuchCommand`) for an unknown one suggests the nearest names.
        """
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the subcommand, or None if there is none of that name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, name = entry.address.partition(":")
        with kept_imports():
            command: click.Command = getattr(import_module(f"{__package__}.{module}"), name)
        return command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="recsys-assets")
def recsys_assets() -> None:
    """Build, ship, inspect and roll back recommendation artifacts."""


def _check_arguments(arguments: Sequence[str]) -> None:
    """Raise a usage error for the first argument that is not UTF-8, which no stored document could contain."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise click.UsageError(
                f"argument {number}, {os.fsencode(argument)!r}, is not UTF-8: encode it in UTF-8"
            ) from None


def main() -> None:
    """Run the command. Exit codes: 0 done or nothing to do, 1 refused or failed, 2 usage or configuration."""
    try:
        _check_arguments(sys.argv[1:])
        code = recsys_assets.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except click.Abort:
        sys.exit(130)
    except ConfigurationError as error:
        click.echo(printable(f"configuration: {error}"), err=True)
        sys.exit(EXIT_USAGE)
    except RecsysAssetsError as error:
        click.echo(printable(f"{type(error).__name__}: {error}"), err=True)
        sys.exit(EXIT_REFUSED)
    sys.exit(code if isinstance(code, int) else 0)
