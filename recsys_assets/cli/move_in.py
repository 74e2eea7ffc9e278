"""`recsys-assets move-in`: import of recsys-pipelines' history as releases, with a day compared by version."""

from datetime import date

import click
import msgspec

from recsys_assets.cli.change_commands import ChangeResult, CommandCall, changes_one_target
from recsys_assets.cli.options import clock, day_type
from recsys_assets.cli.output import short
from recsys_assets.messages import plural
from recsys_assets.migrate.import_history import ComparedVersion, move_in, plan_history, prove_day
from recsys_assets.migrate.pipelines_registry import Registry, read_config

_EXCLUDED = "  excluded: kinds with a row per user, because their user ids are not hashed by raw.user_key"


class MoveInOutcome(msgspec.Struct, frozen=True):
    """Outcome of a move: releases found and new, versions compared for a day, and the message."""

    releases: int
    new: int
    proven: tuple[ComparedVersion, ...]
    message: str

    @property
    def exit_code(self) -> int:
        """1 if a compared version differs, which should be explained before the switch, else 0."""
        return int(any(not version.equal for version in self.proven))


@changes_one_target("move-in")
@click.option(
    "--from",
    "folder",
    required=True,
    help="folder, or s3://, gs:// or az://bucket/prefix, that the paths of its configuration are relative to",
)
@click.option("--their-config", help="its JSON configuration, a file or URI; default: its default configuration")
@click.option("--prove", type=day_type, help="day of its canonical data to build and compare")
def run_move_in(call: CommandCall, *, folder: str, their_config: str | None, prove: date | None) -> ChangeResult:
    """Import the history of recsys-pipelines as releases, and check on a day that both build equal versions."""
    settings, target = call.context.settings, call.context.target
    row = settings.find(target.tenant, target.surface)
    registry = Registry(folder, read_config(their_config), target)
    hashed = settings.raw.user_key is not None
    history = plan_history(call.context.store, registry, keep=settings.retention_for(row).keep, without_users=hashed)
    published = [artifact for release in history for artifact in release.artifacts if artifact.last == prove]
    distinct = {artifact.blob.ref: artifact for artifact in published}.values()
    proven = prove_day(settings, row, registry, distinct, prove) if prove else ()
    new = sum(release.is_new for release in history)
    if not call.dry_run:
        new = move_in(call.context.store, settings, registry, history, by=call.by, now=clock)
    message = _message(call, history[-1].day, len(history), new, proven)
    return MoveInOutcome(len(history), new, proven, f"{message}\n{_EXCLUDED}" if hashed else message)


def _message(call: CommandCall, last: date, releases: int, new: int, proven: tuple[ComparedVersion, ...]) -> str:
    did = "would move in" if call.dry_run else "moved in"
    lines = [f"{did} {new} of {plural(releases, 'release')}, the last with data through {last}"]
    for version in proven:
        verdict = "equal" if version.equal else f"ours is {short(version.ours)}: {version.message}"
        lines.append(f"  {version.kind} {short(version.theirs)}: {verdict}")
    return "\n".join(lines)
