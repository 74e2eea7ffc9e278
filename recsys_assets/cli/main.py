"""The command: subcommands by name, each loaded when it is called, so that rollback never waits for Dagster."""

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
    """Address of a subcommand (module of this package, and name), and the beginning of its help."""

    address: str
    summary: str


COMMANDS: Final[Mapping[str, Subcommand]] = {
    "run": Subcommand("run:run", "Build, gate and ship every day from START to END, oldest first"),
    "ship": Subcommand("change:run_ship", "Ship what is staged for a day, proven against every gate"),
    "import": Subcommand(
        "imports:run_import", "Test FILE (a path, or s3://) against contract, live version and limits"
    ),
    "test": Subcommand(
        "imports:run_test", "Test FILE (a path, or s3://) against contract, live version, limits and custom gates"
    ),
    "status": Subcommand(
        "show:show_status", "Show what is live per target, who serves it, whether it is stale and why"
    ),
    "log": Subcommand("show:show_log", "Show who did what to a pointer, when and why, newest first"),
    "at": Subcommand("show:show_at", "Show what was live at TIME (like 2026-01-31T04:00:00Z)"),
    "diff": Subcommand("show:show_diff", "Show what changes from release A to release B"),
    "report": Subcommand("show:show_report", "Report on one page what a release changed, what its gates found"),
    "backtest": Subcommand("backtest:run_backtest", "Score what each day staged on the day after it"),
    "outcomes": Subcommand(
        "outcomes:run_outcomes", "Report clicks and purchases of what was shown, by release, kind and visitors"
    ),
    "tune": Subcommand("tune:run_tune", "Try ways to score neighbours on the last days, and show the best one's lines"),
    "verify": Subcommand("show:run_verify", "Read and prove every retained release, byte by byte"),
    "rollback": Subcommand("change:run_rollback", "Move one target back to an earlier release"),
    "rollout": Subcommand(
        "rollout:rollout", "Look at, advance or abort a release that is shown to a share of requests"
    ),
    "answers": Subcommand(
        "rollout:answers", "Look at what consumers answered from what is live, and undo it where that is far worse"
    ),
    "hold": Subcommand("change:run_hold", "Keep automation from shipping to one target"),
    "release-hold": Subcommand("change:run_release_hold", "Let automation ship to one target again"),
    "block-item": Subcommand("marking:run_block_item", "Keep readers from showing one item of one target"),
    "unblock-item": Subcommand("marking:run_unblock_item", "Let readers show a blocked item of one target again"),
    "blocked-items": Subcommand("marking:show_blocked_items", "List the items that are blocked"),
    "pin": Subcommand("marking:run_pin", "Keep a release from garbage collection"),
    "unpin": Subcommand("marking:run_unpin", "Let garbage collection take a release again"),
    "mark-bad": Subcommand("marking:run_mark_bad", "Keep a release from shipping"),
    "unmark-bad": Subcommand("marking:run_unmark_bad", "Let a release ship again that was marked bad"),
    "tag": Subcommand("marking:run_tag", "Give a release a NAME, like champion"),
    "untag": Subcommand("marking:run_untag", "Take a NAME off the release that has it"),
    "marks": Subcommand("marking:show_marks", "List which releases have a name, are pinned or marked bad"),
    "restore-pointer": Subcommand(
        "change:run_restore_pointer", "Put a lost or damaged pointer back to what the journal last recorded as live"
    ),
    "relocate": Subcommand(
        "repair:run_relocate", "Let the pointers of a store that was moved or copied name the root that it has now"
    ),
    "retire": Subcommand("change:run_retire", "Stop serving a target that is in the configuration no more"),
    "collect": Subcommand("collect:run_collect", "Move artifacts that no retained release needs to the trash"),
    "sync": Subcommand("sinks:run_sync", "Make every database of [sinks] serve what is live"),
    "deliver": Subcommand("webhooks:run_deliver", "Send to [[webhooks]] what they have not taken yet"),
    "forget": Subcommand("forget:run_forget", "Drop a user's events from every day, rebuild what is live"),
    "tree": Subcommand(
        "tree:tree", "List, show, save, download and delete nodes of artifact trees ([hierarchies.<name>])"
    ),
    "move-in": Subcommand("move_in:run_move_in", "Take over the history of recsys-pipelines as releases"),
    "sign": Subcommand("repair:run_sign", "Sign the live pointers again, so that their signatures do not end"),
    "reindex": Subcommand("repair:run_reindex", "Repair gaps in the journal, and report to Dagster"),
    "api": Subcommand("api:run_api", "Serve what is live, what was, and every artifact, to read"),
    "token": Subcommand("api:print_token", "Make a token for the API, and print it with the table for recsys.toml"),
    "new": Subcommand("new:new_project", "Write a project to start from into FOLDER"),
    "init": Subcommand("repair:run_init", "Begin a store: prove that it keeps its conditions, and mark it"),
    "probe": Subcommand(
        "repair:run_probe", "Try whether the store honours the conditions that keep two publishers from both winning"
    ),
    "workspace": Subcommand(
        "workspace:write_workspace", "Write the workspace file that splits the configured targets over code locations"
    ),
    "prune-runs": Subcommand("repair:prune_runs", "Remove runs that ended and are old, with their events"),
    "drill": Subcommand("drill:drill", "Practise a runbook on a scratch store; nothing that is live is touched"),
}


@contextmanager
def kept_imports() -> Generator[None]:
    """Import without collecting garbage, and leave what was imported out of every later collection.

    Modules stay to the end, so to look through them again and again finds nothing. That took a quarter of the
    processor time of a short command, most of it at its end.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write what each subcommand does from the table: to import all of them takes seconds."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, found.summary) for name, found in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that was called; a usage error names the nearest to one that is not there."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the subcommand, or None if there is none of that name."""
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, _, name = found.address.partition(":")
        with kept_imports():
            command: click.Command = getattr(import_module(f"{__package__}.{module}"), name)
        return command


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="recsys-assets")
def recsys_assets() -> None:
    """Build, ship, look at and undo recommendation artifacts."""


def _check_arguments(arguments: Sequence[str]) -> None:
    """Raise a usage error for the first argument that is not UTF-8: no document of a store could hold it."""
    for number, argument in enumerate(arguments, start=1):
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise click.UsageError(
                f"argument {number}, {os.fsencode(argument)!r}, is not UTF-8: write it in UTF-8"
            ) from None


def main() -> None:
    """Run the command; exit 0 done or nothing to do, 1 refused or failed, 2 usage or configuration."""
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
