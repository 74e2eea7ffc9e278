"""Commands about what consumers answer: rollout status, decide, advance, abort; answers status, decide."""

import click

from recsys_assets.cli.change_commands import Call, ChangeResult, changes_one_target
from recsys_assets.cli.options import CommandContext, clock, json_option, open_context, target_options
from recsys_assets.cli.output import Stacked, print_json, print_stacked, when
from recsys_assets.identity import Target
from recsys_assets.pipeline.upkeep_settings import guards, watch
from recsys_assets.release.rollout_transitions import TransitionOutcome, abort, advance
from recsys_assets.settings.target import TargetSettings
from recsys_assets.upkeep.answer_guard import LiveDecision, LiveVerdict, carry_out_on_live, look_at_live
from recsys_assets.upkeep.rollout_guard import Decision, RolloutLimits, carry_out, decide, look_at_rollout


@click.group("rollout")
def rollout() -> None:
    """Look at, advance or abort a release that is shown to a share of requests."""


@rollout.command("status")
@target_options
@json_option
def show_rollout(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Show how far each target's rollout is, both sides' rates, and what would be decided now; nothing is changed."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = [(target, _look(context, target)) for target in context.targets]
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "decision": one} for t, one in found])
    else:
        print_stacked("", [_stacked(target, one) for target, one in found])
    return 0


@changes_one_target("decide")
def run_decide(call: Call) -> ChangeResult:
    """Do what the guard says: wait, advance, or abort and mark the release bad; the sensor does the same."""
    context = call.context
    if call.dry_run:
        return _look(context, context.target)
    decision = decide(context.store, context.target, _guards(context, context.target), by=call.by, now=clock)
    return carry_out(context.store, context.target, decision, by=call.by, now=clock) or decision


@changes_one_target("advance")
def run_advance(call: Call) -> TransitionOutcome:
    """Show the candidate to the next share of requests, whatever the guard says; after the last step it is live."""
    return advance(call.context.store, call.context.target, by=call.by, now=clock, dry_run=call.dry_run)


@changes_one_target("abort")
@click.option("--no-mark", is_flag=True, help="do not mark the release bad, so that it may be rolled out again")
def run_abort(call: Call, *, no_mark: bool) -> TransitionOutcome:
    """Show the candidate to nobody any more; live never moved."""
    context = call.context
    return abort(context.store, context.target, by=call.by, now=clock, mark_bad=not no_mark, dry_run=call.dry_run)


for _command in (run_decide, run_advance, run_abort):
    rollout.add_command(_command)


def _look(context: CommandContext, target: Target) -> Decision:
    return look_at_rollout(context.store, target, _guards(context, target), now=clock())


def _guards(context: CommandContext, target: Target) -> RolloutLimits:
    """Return the guards of a target; of one that is not configured any more, as of all."""
    return guards(context.settings, _row(context, target))


def _row(context: CommandContext, target: Target) -> TargetSettings | None:
    return next((row for row in context.settings.targets if row.target == target), None)


def _stacked(target: Target, decision: Decision) -> Stacked:
    """Return how far a rollout is, what is decided of it, and the rates of both sides."""
    of = decision.rollout
    if of is None:
        return Stacked(str(target), "no rollout yet", ())
    now = clock()
    facts = [f"release {of.release}", f"beside {of.against}", f"at {of.share} %"]
    notes = [("last", f"{of.action} by {of.actor}, {when(of.updated_at, now=now)}: {of.why or of.reason}")]
    notes.append((decision.verdict.value, decision.why))
    notes += (("", rate.message) for rate in decision.rates)
    return Stacked(str(target), of.state.value, facts, notes)


@click.group("answers")
def answers() -> None:
    """Look at what consumers answered from what is live, and undo it where that is far worse than before."""


@answers.command("status")
@target_options
@json_option
def show_answers(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Show by kind how often live and the release before answered without items, and what would be decided.

    It ends with 1 where a person is to decide.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    found = [(target, _look_at_live(context, target)) for target in context.targets]
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "decision": one} for t, one in found])
    else:
        print_stacked("", [_answered(target, one) for target, one in found])
    return max((one.exit_code for _, one in found), default=0)


@changes_one_target("decide")
def run_decide_live(call: Call) -> ChangeResult:
    """Roll back, mark bad and hold where live is far worse than before and rollback.automatic is act; once.

    The sensor does the same. It ends with 1 where a person is to decide.
    """
    context = call.context
    found = _look_at_live(context, context.target)
    if call.dry_run:
        return found
    return carry_out_on_live(context.store, context.target, found, by=call.by, now=clock) or found


answers.add_command(run_decide_live)


def _look_at_live(context: CommandContext, target: Target) -> LiveDecision:
    return look_at_live(context.store, target, watch(context.settings, _row(context, target)), now=clock())


def _answered(target: Target, decision: LiveDecision) -> Stacked:
    """Return what is decided of a live release, and the rates of it and of the one before."""
    facts = [f"release {decision.live}"] if decision.live else []
    notes = [("", one.message) for one in decision.compared]
    if decision.verdict is not LiveVerdict.ROLL_BACK:
        notes.insert(0, ("", decision.why))
    return Stacked(str(target), decision.verdict.value, facts, notes)
