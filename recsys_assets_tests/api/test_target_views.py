"""The console's view of rollouts and of what users did: both sides, the guard's word, and outcomes as pictures."""

from datetime import UTC, datetime, timedelta

from recsys_assets.quality.outcome_report import ALL, OutcomeReport, OutcomeRow, OutcomeVerdict, RolloutOutcome, Share
from recsys_assets.release.document_encoding import encode
from recsys_assets.release.layout import outcomes_key, rollout_key
from recsys_assets.release.rollout import Plan
from recsys_assets.upkeep.heartbeats import ArmAnswers, Heartbeat, KindAnswers, TrialAnswers, write_heartbeat
from recsys_assets_tests.serving.releases import TARGET

HOME = "/targets/shop/home"


def test_a_rollout_that_is_under_way_is_shown_with_both_sides_and_what_the_guard_says(
    store, shop, releases, open_client
):
    client = open_client(store)
    assert 'id="rollout"' not in client.get(HOME).text
    candidate = shop.ship(3, plan=Plan(steps=(5, 100), bake_minutes=0))
    arms = {side: ArmAnswers(requests=n, keys=n, kinds={"cooc": KindAnswers(asked=n, empty=bad)})
            for side, n, bad in (("control", 20_000, 100), ("candidate", 1000, 400))}  # fmt: skip
    beat = Heartbeat(
        consumer="web-1", release=releases[-1].id, state="fresh", seen_at="2026-01-01T00:00:00Z", every_seconds=60,
        nonce="n", trial=TrialAnswers(release=candidate.id, **arms), v=2,
    )  # fmt: skip
    write_heartbeat(store, TARGET, beat, expected=None)
    text = client.get(HOME).text
    assert "is served to 5 % of requests" in text
    assert "<strong>Abort</strong>: significantly worse" in text
    assert "cooc: 40.00% of 1,000 answers empty, live 0.50% of 20,000" in text
    store.put(rollout_key(TARGET), b"{}")
    assert "The rollout cannot be shown" in client.get(HOME).text


def outcome(day, hits, verdict=None):
    share = Share(hits=hits, of=100, rate=hits / 100, low=0.01, high=0.2)
    rows = [OutcomeRow(release=name * 16, kind=kind, visitor=ALL, keys=90, click=share, purchase=share)
            for name, kind in (("a", ""), ("a", "<b>"), ("b", ""))]  # fmt: skip
    rollout = RolloutOutcome(
        release="b" * 64,
        against="a" * 64,
        verdict=verdict or OutcomeVerdict.HOLD,
        why="<i>few</i>",
        steps=(),
        differences=(),
    )
    return OutcomeReport(
        tenant="shop", surface="home", start=str(day), end=str(day), level=0.95, exposures=200, untagged=3, unmatched=1,
        rows=tuple(rows), rollouts=(rollout,) if verdict else (),
    )  # fmt: skip


def test_outcomes_are_drawn_by_day_and_release(store, open_client):
    now = datetime(2026, 2, 1, tzinfo=UTC)
    client = open_client(store, now=lambda: now)
    assert "No report yet" in client.get(f"{HOME}/outcomes").text
    for n, verdict in ((2, None), (1, OutcomeVerdict.FAIL)):
        day = now.date() - timedelta(days=n)
        store.put(outcomes_key(TARGET, day), encode(outcome(day, 10 * n, verdict)))
    text = client.get(f"{HOME}/outcomes").text
    assert text.count("<circle") == 2 * 2 * 2, "two metrics, two days, two releases"
    assert "2026-01-30 aaaaaaaaaaaa: 20.00% (1.00% to 20.00%) of 100" in text
    assert '<span class="mark bad">fail</span> &lt;i&gt;few&lt;/i&gt;' in text
    assert "&lt;b&gt;" in text
