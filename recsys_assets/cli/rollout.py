"""Commands on rollouts and answer rates: rollout status, decide, advance, abort, and answers status, decide."""

import click

from recsys_assets.cli.change_commands import ChangeResult, CommandCall, changes_one_target
from recsys_assets.cli.options import CommandContext, json_option, open_context, target_options
from recsys_assets.cli.output import Stacked, print_json, print_stacked, when
from recsys_assets.identity import Target, utc_now
from recsys_assets.pipeline.upkeep_settings import guards, watch
from recsys_assets.release.rollout_transitions import TransitionOutcome, abort, advance
from recsys_assets.settings.settings import TargetSettings
from recsys_assets.upkeep.answer_guard import LiveDecision, LiveVerdict, carry_out_on_live, look_at_live
from recsys_assets.upkeep.rollout_guard import Decision, RolloutLimits, carry_out, decide, look_at_rollout


@click.group("rollout")
def rollout() -> None:
    """Show, advance or abort a gradual rollout."""


@rollout.command("status")
@target_options
@json_option
def show_rollout(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Show each target's rollout, the rates of both sides, and the current decision. Nothing is changed."""
    context = open_context(config=config, tenant=tenant, surface=surface)
    decisions = [(target, _look(context, target)) for target in context.targets]
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "decision": decision} for t, decision in decisions])
    else:
        print_stacked("", [_stacked(target, decision) for target, decision in decisions])
    return 0


@changes_one_target("decide")
def run_decide(call: CommandCall) -> ChangeResult:
    """Carry out the guard's decision: wait, advance, or abort and mark the release bad. The sensor does the same."""
    context = call.context
    if call.dry_run:
        return _look(context, context.target)
    decision = decide(context.store, context.target, _guards(context, context.target), by=call.by, now=utc_now)
    return carry_out(context.store, context.target, decision, by=call.by, now=utc_now) or decision


@changes_one_target("advance")
def run_advance(call: CommandCall) -> TransitionOutcome:
    """Advance the candidate to the next share of requests, regardless of the guard. After the last step it is live."""
    return advance(call.context.store, call.context.target, by=call.by, now=utc_now, dry_run=call.dry_run)


@changes_one_target("abort")
@click.option("--no-mark", is_flag=True, help="do not mark the release bad, so that it can be rolled out again")
def run_abort(call: CommandCall, *, no_mark: bool) -> TransitionOutcome:
    """Stop serving the candidate. The live release did not change."""
    context = call.context
    return abort(context.store, context.target, by=call.by, now=utc_now, mark_bad=not no_mark, dry_run=call.dry_run)


for _command in (run_decide, run_advance, run_abort):
    rollout.add_command(_command)


def _look(context: CommandContext, target: Target) -> Decision:
    return look_at_rollout(context.store, target, _guards(context, target), now=utc_now())


def _guards(context: CommandContext, target: Target) -> RolloutLimits:
    """Return the rollout limits of a target, or the file's own limits if it is no longer configured."""
    return guards(context.settings, _row(context, target))


def _row(context: CommandContext, target: Target) -> TargetSettings | None:
    return next((row for row in context.settings.targets if row.target == target), None)


def _stacked(target: Target, decision: Decision) -> Stacked:
    """Return a record of a rollout: its share, the decision, and the rates of both sides."""
    of = decision.rollout
    if of is None:
        return Stacked(str(target), "no rollout yet", ())
    now = utc_now()
    facts = [f"release {of.release}", f"beside {of.against}", f"at {of.share} %"]
    notes = [("last", f"{of.action} by {of.actor}, {when(of.updated_at, now=now)}: {of.why or of.reason}")]
    notes.append((decision.verdict.value, decision.why))
    notes += (("", rate.message) for rate in decision.rates)
    return Stacked(str(target), of.state.value, facts, notes)


@click.group("answers")
def answers() -> None:
    """Show the answer rates of the live release, and roll it back if they are far worse than before."""


@answers.command("status")
@target_options
@json_option
def show_answers(*, config: str | None, tenant: str | None, surface: str | None, as_json: bool) -> int:
    """Show the rates of empty answers by kind, of the live release and its predecessor, and the current decision.

    Exits with code 1 if a person has to decide.
    """
    context = open_context(config=config, tenant=tenant, surface=surface)
    decisions = [(target, _look_at_live(context, target)) for target in context.targets]
    if as_json:
        print_json([{"tenant": t.tenant, "surface": t.surface, "decision": decision} for t, decision in decisions])
    else:
        print_stacked("", [_answered(target, decision) for target, decision in decisions])
    return max((decision.exit_code for _, decision in decisions), default=0)


@changes_one_target("decide")
def run_decide_live(call: CommandCall) -> ChangeResult:
    """Roll back once, mark bad and hold if the live release is far worse than before and rollback.automatic is act.

    The sensor does the same. Exits with code 1 if a person has to decide.
    """
    context = call.context
    decision = _look_at_live(context, context.target)
    if call.dry_run:
        return decision
    return carry_out_on_live(context.store, context.target, decision, by=call.by, now=utc_now) or decision


answers.add_command(run_decide_live)


def _look_at_live(context: CommandContext, target: Target) -> LiveDecision:
    return look_at_live(context.store, target, watch(context.settings, _row(context, target)), now=utc_now())


def _answered(target: Target, decision: LiveDecision) -> Stacked:
    """Return a record of the decision on a live release, with its rates and those of its predecessor."""
    facts = [f"release {decision.live}"] if decision.live else []
    notes = [("", compared.message) for compared in decision.compared]
    if decision.verdict is not LiveVerdict.ROLL_BACK:
        notes.insert(0, ("", decision.why))
    return Stacked(str(target), decision.verdict.value, facts, notes)
