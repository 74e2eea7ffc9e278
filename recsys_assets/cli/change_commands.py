"""Decorators of commands that change targets: their options, the actor, and the report of the outcome."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol, runtime_checkable

import click

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
    """What a change came to: a document, with the sentence about it for people."""

    @property
    def message(self) -> str:
        """What happened, or would happen."""
        ...


@runtime_checkable
class EndsWithCode(Protocol):
    """A change whose exit code says whether somebody still has to look."""

    @property
    def exit_code(self) -> int:
        """0, or 1 if somebody has to look."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One call of such a command: where, who and why, and whether it is only to say what it would do."""

    context: CommandContext
    by: Actor
    dry_run: bool


def changes_one_target(name: str) -> Callable[[Callable[..., ChangeResult]], click.Command]:
    """Return a decorator that makes a function of a `Call` (and of options of its own) a command called `name`.

    The command takes --config, --tenant, --surface, --reason, --actor, --dry-run and --json, and ends with 0, or with
    what the change says.
    """

    def report(act: Callable[..., ChangeResult], call: Call, own: Mapping[str, object], *, as_json: bool) -> int:
        target = call.context.target
        done = act(call, **own)
        print_json(done) if as_json else echo(f"{target}: {done.message}")
        return done.exit_code if isinstance(done, EndsWithCode) else 0

    return lambda act: _command(name, act, report)


def changes_targets(
    name: str, *, line: Callable[[Any], str]
) -> Callable[[Callable[..., Sequence[EndsWithCode]]], click.Command]:
    """Return such a decorator for a function that changes every target of its `Call`; each is printed as a `line`.

    It ends with the worst of their codes.
    """

    def report(
        act: Callable[..., Sequence[EndsWithCode]], call: Call, own: Mapping[str, object], *, as_json: bool
    ) -> int:
        done = act(call, **own)
        print_json({"targets": done}) if as_json else echo("\n".join(map(line, done)))
        return max(one.exit_code for one in done)

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
            code = report(act, Call(context, acting(actor, reason), dry_run), own, as_json=as_json)
            return code if dry_run else max(code, follow_after(context))
        finally:  # a refusal is news, too
            if not dry_run:
                deliver_after(context)

    return command
