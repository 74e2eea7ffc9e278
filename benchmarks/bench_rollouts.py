"""A thousand rollouts of harmful, neutral and better candidates, with the guard's look at every minute.

    python benchmarks/bench_rollouts.py [--rollouts 1000] [--into docs/how-to/roll-out.md]

A rollout shows a candidate to 5 % of the users for an hour, then to 25 % for another; then it would be live. Users ask
several times each, and get the same kind of answer each time. Counts are compared by the very functions of the guard.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys_assets.release.rollout import Rollout, RolloutState
from recsys_assets.upkeep.heartbeats import ArmAnswers, Heartbeat, KindAnswers, TrialAnswers
from recsys_assets.upkeep.rollout_guard import FALSE_ABORTS, compare, worse_rates

BEGIN, END = "<!-- simulation: begin -->", "<!-- simulation: end -->"
STEPS = ((5, 60), (25, 60))  # percent of the users, and minutes
ASKED_PER_USER = 3
USUAL = 0.02  # of the users get an empty answer from live
RELEASE, AGAINST = "c" * 64, "a" * 64
AT = "2026-03-01T00:00:00Z"
ROLLOUT = Rollout(
    release=RELEASE,
    against=AGAINST,
    state=RolloutState.RUNNING,
    step=0,
    steps=(5, 25, 100),
    bake_minutes=60,
    started_at=AT,
    step_at=AT,
    updated_at=AT,
    action="start_rollout",
    actor="-",
    reason="-",
)


@dataclass(frozen=True)
class Candidate:
    """What a candidate does to users: the share of them that gets empty answers from it."""

    name: str
    empty: float


CANDIDATES = (
    Candidate("a kind is empty", 1.0),
    Candidate("harmful: 10 % empty", 0.10),
    Candidate("harmful: 4 % empty", 0.04),
    Candidate("neutral: 2 % empty", USUAL),
    Candidate("better: 1 % empty", 0.01),
)
USERS_A_MINUTE = (10, 100, 1000)


def simulate(candidate, users, *, rollouts, seed):
    """Return, for each rollout, the minute at which it ended (0: it never did), and the users who saw it until then."""
    chance = np.random.default_rng(seed)
    ended, exposed, harmed = (np.zeros(rollouts) for _ in range(3))
    for n in range(rollouts):
        totals = np.zeros(6, dtype=np.int64)  # of live, then of the candidate: users, requests, empty requests
        minute = hurt = 0
        for share, minutes in STEPS:
            for _ in range(minutes):
                minute += 1
                arms = ((users * (100 - share) / 100, USUAL), (users * share / 100, candidate.empty))
                for at, (mean, empty) in zip((0, 3), arms, strict=True):
                    came = chance.poisson(mean)
                    bad = chance.binomial(came, empty)
                    asked = chance.geometric(1 / ASKED_PER_USER, came)
                    totals[at : at + 3] += (came, asked.sum(), asked[:bad].sum())
                    hurt += bad * (at > 0)
                if is_worse(totals):
                    ended[n] = minute
                    break
            if ended[n]:
                break
        exposed[n], harmed[n] = totals[3], hurt
    return ended, exposed, harmed


def is_worse(totals):
    """Return whether the guard ends a rollout at these counts."""
    arms = [
        ArmAnswers(
            requests=int(asked), keys=int(users), kinds={"cooc": KindAnswers(asked=int(asked), empty=int(empty))}
        )
        for users, asked, empty in (totals[:3], totals[3:])
    ]
    trial = TrialAnswers(release=RELEASE, control=arms[0], candidate=arms[1])
    beat = Heartbeat(
        consumer="w", release=AGAINST, state="fresh", seen_at=AT, every_seconds=60, nonce="n", trial=trial, v=2
    )
    return bool(worse_rates(compare([beat], ROLLOUT)[1]))


def lines(rollouts):
    """Yield the rows of the table, a candidate and a site in each."""
    yield "| candidate | users a minute | ended | minutes: median, 90 % | users who saw it | harmed |"
    yield "|---|---:|---:|---:|---:|---:|"
    for candidate in CANDIDATES:
        for number, users in enumerate(USERS_A_MINUTE):
            ended, exposed, harmed = simulate(candidate, users, rollouts=rollouts, seed=number)
            stopped = ended > 0
            when = np.percentile(ended[stopped], (50, 90)) if stopped.mean() > FALSE_ABORTS else None
            minutes = f"{when[0]:.0f}, {when[1]:.0f}" if when is not None else "-"
            seen = f"{np.median(exposed):,.0f} | {np.median(harmed):,.0f}"
            yield f"| {candidate.name} | {users:,} | {stopped.mean():.1%} | {minutes} | {seen} |"


def main():
    """Simulate, and write the table to standard output, or into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1000, help="of each candidate and site")
    parser.add_argument("--into", type=Path, help="a page with marks, between which the table is written")
    chosen = parser.parse_args()
    table = "\n".join(lines(chosen.rollouts))
    if chosen.into is None:
        print(table)
        return
    text = chosen.into.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    chosen.into.write_text(f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
