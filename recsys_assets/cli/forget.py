"""Command that erases a user from the store."""

from collections.abc import Iterator, Sequence

import click
from msgspec.structs import replace

from recsys_assets.cli.change_commands import CommandCall, changes_targets
from recsys_assets.errors import ConflictError, CorruptObjectError, NotFoundError, RefusedError
from recsys_assets.identity import Target, utc_now
from recsys_assets.messages import plural
from recsys_assets.privacy.forget import ForgetOutcome, ForgetRequest, forget_user
from recsys_assets.release.layout import POINTERS, target_of_pointer
from recsys_assets.settings.settings import Settings, TargetSettings
from recsys_assets.storage.store import ObjectStore

_SHOWN = 20  # Objects listed for people. The JSON output lists all.


def _message(forgot: ForgetOutcome) -> str:
    if forgot.failed:
        return f"{forgot.target}: not done: {forgot.message}; fix this and repeat the command"
    went = (
        f"{plural(forgot.events, 'event')} of {plural(len(forgot.days), 'day')}, {forgot.raw_events:,} in parts, "
        f"{plural(forgot.quarantined, 'line')} in quarantine"
    )
    left = ", ".join(release[:12] for release in forgot.still_in) or "none"
    message = f"{forgot.target}: {went}; {forgot.message}; releases that contain the user until collected: {left}"
    if forgot.other_key:
        days = ", ".join(forgot.other_key)
        message += f"; not searched because hashed by another key: {days}: rebuild these days, then repeat the command"
    if forgot.other_key_in:
        releases = ", ".join(release[:12] for release in forgot.other_key_in)
        message += f"; built with another key, which may contain the user until collected: {releases}"
    if forgot.unread:
        message += f"; not searched: {'; '.join(forgot.unread)}"
    if forgot.places:
        more = f"\n  and {len(forgot.places) - _SHOWN:,} more: see --json" if len(forgot.places) > _SHOWN else ""
        places = "".join(f"\n  {key}" for key in forgot.places[:_SHOWN])
        still = plural(len(forgot.places), "object")
        message += f"\nthe user is still in {still}; repeat the command after they are deleted:{places}{more}"
    if forgot.entry is not None:
        message += f"\nnot covered by this command: {'; '.join(forgot.out_of_reach)}"
    return message


@changes_targets("forget", line=_message)
@click.option("--user", required=True, help="user id as in the events; it is hashed if raw.user_key is set")
def run_forget(call: CommandCall, *, user: str) -> Sequence[ForgetOutcome]:
    """Drop a user's events from every day, rebuild the live release, and list every object with the user.

    Targets that are served but no longer configured are searched as well. Exits with code 1 if an object still contains
    the user. Raw files are not changed: delete them yourself. Builds from them exclude the user.
    """
    store, settings = call.context.store, call.context.settings
    configured = {row.target for row in settings.targets}
    named = list(call.context.targets)
    if set(named) == configured:
        named += _served_only(store, configured)
    tasks = [_task(store, settings, target, user, call) for target in named]
    done = [_forget(task, dry_run=call.dry_run) for task in tasks]
    if not call.dry_run:
        return done
    # Quarantine belongs to all targets: a real run blanks its lines with the first one.
    return [forgot if n == 0 else replace(forgot, quarantined=0) for n, forgot in enumerate(done)]


def _served_only(store: ObjectStore, configured: set[Target]) -> Iterator[Target]:
    """Yield the targets that have a pointer but are not configured."""
    served = (target_of_pointer(item.key) for item in store.list(POINTERS))
    yield from (target for target in served if target is not None and target not in configured)


def _task(store: ObjectStore, settings: Settings, target: Target, user: str, call: CommandCall) -> ForgetRequest:
    is_configured = any(row.target == target for row in settings.targets)
    row = (
        settings.find(target.tenant, target.surface)
        if is_configured
        else TargetSettings(tenant=target.tenant, surface=target.surface)
    )
    return ForgetRequest(store, settings, row, user, call.by, utc_now, is_configured=is_configured)


def _forget(task: ForgetRequest, *, dry_run: bool) -> ForgetOutcome:
    """Erase the user from one target. An error is returned, so that the other targets are still searched."""
    try:
        return forget_user(task, dry_run=dry_run)
    except (ConflictError, CorruptObjectError, NotFoundError, RefusedError) as error:
        return ForgetOutcome(str(task.target), str(error), failed=True)
