"""Decorators of commands that change targets: their options, the actor, and the report of the outcome."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Protocol, runtime_checkable

import click
import msgspec

from recsys_assets.cli.options import (
    CommandContext,
    acting,
    actor_options,
    dry_run_option,
    json_option,
    open_context,
    target_options,
)
from recsys_assets.cli.output import echo, print_json
from recsys_assets.cli.sinks import follow_after
from recsys_assets.cli.webhooks import deliver_after
from recsys_assets.release.journal import Actor


class ChangeResult(Protocol):
    """Outcome of a change: a document with a message for people."""

    @property
    def message(self) -> str:
        """One sentence about what happened, or would happen."""
        ...


@runtime_checkable
class HasExitCode(Protocol):
    """Outcome of a change with an exit code."""

    @property
    def exit_code(self) -> int:
        """0, or 1 if the outcome needs attention."""
        ...


class CommandCall(msgspec.Struct, frozen=True):
    """One call of a change command: its context, its actor with a reason, and whether it is a dry run."""

    context: CommandContext
    by: Actor
    dry_run: bool


def changes_one_target(name: str) -> Callable[[Callable[..., ChangeResult]], click.Command]:
    """Return a decorator that makes a function of a `CommandCall` and its own options a command called `name`.

    The command adds --config, --tenant, --surface, --reason, --actor, --dry-run and --json. It exits with the code of
    the outcome, or 0 if the outcome has none.
    """

    def report(act: Callable[..., ChangeResult], call: CommandCall, own: Mapping[str, object], *, as_json: bool) -> int:
        target = call.context.target
        done = act(call, **own)
        print_json(done) if as_json else echo(f"{target}: {done.message}")
        return done.exit_code if isinstance(done, HasExitCode) else 0

    return lambda act: _command(name, act, report)


def changes_targets(
    name: str, *, line: Callable[[Any], str]
) -> Callable[[Callable[..., Sequence[HasExitCode]]], click.Command]:
    """Return such a decorator for a function that changes all targets of its `CommandCall`, printed by `line` each.

    It exits with the highest of their codes.
    """

    def report(
        act: Callable[..., Sequence[HasExitCode]], call: CommandCall, own: Mapping[str, object], *, as_json: bool
    ) -> int:
        done = act(call, **own)
        print_json({"targets": done}) if as_json else echo("\n".join(map(line, done)))
        return max(result.exit_code for result in done)

    return lambda act: _command(name, act, report)


def _command(name: str, act: Callable[..., Any], report: Callable[..., int]) -> click.Command:
    @click.command(name)
    @target_options
    @actor_options
    @dry_run_option
    @json_option
    @wraps(act)
    def command(
        *,
        config: str | None,
        tenant: str | None,
        surface: str | None,
        reason: str,
        actor: str | None,
        dry_run: bool,
        as_json: bool,
        **own: object,
    ) -> int:
        context = open_context(config=config, tenant=tenant, surface=surface)
        try:
            code = report(act, CommandCall(context, acting(actor, reason), dry_run), own, as_json=as_json)
            return code if dry_run else max(code, follow_after(context))
        finally:  # webhooks also report refusals
            if not dry_run:
                deliver_after(context)

    return command
