"""Any order of publishes, lost replies, rollbacks, holds and collections, against a model of what must be true."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recsys_assets.errors import ConflictError, OutcomeUnknownError, RefusedError, StoreUnavailableError
from recsys_assets.identity import rfc3339
from recsys_assets.release import journal
from recsys_assets.release.blocking import block_item, blocked_ids, unblock_item
from recsys_assets.release.hold import place_hold, release_hold
from recsys_assets.release.journal import Actor
from recsys_assets.release.layout import pointer_key
from recsys_assets.release.pointer import read_current
from recsys_assets.release.releases import live_at, read_release, refs_of
from recsys_assets.release.rollback import roll_back
from recsys_assets.release.rollout import Plan, rolling_release
from recsys_assets.release.rollout_transitions import abort, advance
from recsys_assets.release.shards import missing_blobs
from recsys_assets.release.ship_rules import Ruling
from recsys_assets.storage.memory import Fault, FaultMode, MemoryStore
from recsys_assets.upkeep.answer_guard import GuardMode, GuardSettings, LiveVerdict, carry_out_on_live, look_at_live
from recsys_assets.upkeep.collect import collect
from recsys_assets.upkeep.heartbeats import Heartbeat, KindAnswers, ReleaseAnswers, write_heartbeat
from recsys_assets.upkeep.repair import repair_journal, restore_pointer
from recsys_assets.upkeep.roots import Retention
from recsys_assets.upkeep.verify import verify
from recsys_assets_tests.release.staging import TARGET, Shop

ANN = Actor("ann", "as the model says")
KEEP = 3
PLAN = Plan(steps=(5, 25, 100), bake_minutes=0)
DAYS = st.integers(0, 6)
CONTENTS = st.integers(0, 1)
ITEMS = st.sampled_from(["i0", "i1"])
VERBS = st.sampled_from(["swap", "create"])


class Lifecycle(RuleBasedStateMachine):
    """The model: what is live, the releases in the order in which they were shipped, which are bad, and the hold."""

    @initialize()
    def begin(self):
        self.shop = Shop(MemoryStore(), kinds=("popularity",))
        self.shop.store.clock = self.seconds
        self.live = None  # (day, content)
        self.ids = {}  # (day, content) -> release id
        self.swaps = []  # what every swap of the pointer made live, in order
        self.bad = set()
        self.held = None  # None, "by hand", or the day after which data must be newer
        self.beats = 0
        self.past = []  # (instant, what was live then)
        self.rolling = None  # what is being rolled out, and at which step
        self.is_guarded = False  # whether the hold is of a rollback that nobody watched, and nobody has looked since
        self.blocked = {}  # item -> until when (None: until it is unblocked)

    @property
    def store(self):
        return self.shop.store

    def seconds(self):
        return self.shop.clock.at.timestamp()

    def moved(self, release):
        if release != self.live:
            self.rolling = None
        self.live = release
        self.swaps.append(release)

    def expect(self, release, *, allow_older):
        """How a publish must end, by the rules."""
        n, _ = release
        if self.live == release:
            return Ruling.UNCHANGED
        if release in self.bad:
            return RefusedError
        if self.held is not None:
            newest = max(n, self.live[0])
            if self.held == "by hand" or newest <= self.held:
                return Ruling.HELD
        if self.live is not None and n < self.live[0] and not allow_older:
            return Ruling.OLDER
        return Ruling.SHIP

    @rule(n=DAYS, content=CONTENTS, allow_older=st.booleans())
    def publish(self, n, content, allow_older):
        release = (n, content)
        expected = self.expect(release, allow_older=allow_older)
        self.shop.stage(n, content=content)
        try:
            outcome = self.shop.publish(n, allow_older=allow_older)
        except RefusedError:
            assert expected is RefusedError
            return
        assert outcome.how is expected
        self.ids[release] = outcome.release.id
        if expected is Ruling.SHIP:
            self.moved(release)

    @precondition(lambda self: self.live is not None)
    @rule(content=CONTENTS)
    def publish_the_next_day(self, content):
        self.publish(self.live[0] + 1, content, allow_older=False)

    @rule(
        n=DAYS,
        verb=st.sampled_from(["swap", "create", "get", "delete", "stat"]),
        how=st.sampled_from([FaultMode.LOSE_REPLY, FaultMode.LOSE_REQUEST, FaultMode.FAIL]),
        nth=st.integers(1, 6),
        times=st.integers(1, 40),
    )
    def publish_on_a_bad_day(self, n, verb, how, nth, times):
        release = (n, 0)
        expected = self.expect(release, allow_older=False)
        self.shop.stage(n, content=0)
        self.store.inject(Fault(verb, how, nth=nth, times=times))
        try:
            acknowledged = self.shop.publish(n).how
        except (StoreUnavailableError, OutcomeUnknownError, ConflictError, RefusedError):
            acknowledged = None
        self.store.heal()
        repair_journal(self.store, TARGET, by=ANN, now=self.shop.clock)
        current = read_current(self.store, TARGET)
        self.ids.setdefault(release, self.shop.publish(n, dry_run=True).release.id if release not in self.bad else None)
        if expected is Ruling.SHIP and current is not None and current.release_id == self.ids[release]:
            self.moved(release)
        assert acknowledged in {None, expected}
        assert acknowledged is not Ruling.SHIP or self.live == release, "an acknowledged ship is live"

    @precondition(lambda self: self.live is not None)
    @rule(n=DAYS)
    def publish_meets_a_hold(self, n):
        self.shop.stage(n, content=0)
        done = []

        def hold_first(verb, key):
            if verb == "swap" and key == pointer_key(TARGET) and not done:
                done.append(1)
                self.hold()

        self.store.on_call = hold_first
        before = self.live
        try:
            self.shop.publish(n)
        except RefusedError:
            assert (n, 0) in self.bad
        self.store.on_call = None
        if done:
            assert read_current(self.store, TARGET).release_id == self.ids[before]

    @precondition(lambda self: self.live is not None)
    @rule(n=DAYS, content=CONTENTS)
    def roll_out(self, n, content):
        release = (n, content)
        expected = self.expect(release, allow_older=False)
        if expected is Ruling.SHIP:
            is_same = self.rolling is not None and self.rolling[0] == release
            expected = Ruling.UNCHANGED if is_same else Ruling.ROLLOUT
        self.shop.stage(n, content=content)
        try:
            outcome = self.shop.publish(n, plan=PLAN)
        except RefusedError:
            assert expected is RefusedError
            return
        assert outcome.how is expected
        self.ids[release] = outcome.release.id
        if expected is Ruling.ROLLOUT:
            self.rolling = (release, 0)

    @rule(how=st.sampled_from([None, FaultMode.LOSE_REPLY]))
    def advance(self, how):
        if how is not None:
            self.store.inject(Fault("swap", how, nth=1, times=1, prefix="registry/"))
        if self.rolling is None:
            with pytest.raises(RefusedError, match="no release is being rolled out"):
                advance(self.store, TARGET, by=ANN, now=self.shop.clock)
        else:
            release, step = self.rolling
            advance(self.store, TARGET, by=ANN, now=self.shop.clock)
            if step == 0:
                self.rolling = (release, 1)
            else:
                self.moved(release)
        self.store.heal()

    @precondition(lambda self: self.rolling is not None)
    @rule(mark_bad=st.booleans())
    def abort(self, mark_bad):
        abort(self.store, TARGET, by=ANN, now=self.shop.clock, mark_bad=mark_bad)
        if mark_bad:
            self.bad.add(self.rolling[0])
        self.rolling = None

    @invariant()
    def what_is_rolled_out_is_what_the_model_says_and_whole(self):
        live = self.live and self.ids[self.live]
        found = rolling_release(self.store, TARGET, live=live)
        assert found == (self.rolling and self.ids[self.rolling[0]])
        if found is not None:
            assert not missing_blobs(self.store, TARGET, refs_of(read_release(self.store, TARGET, found)))

    @precondition(lambda self: self.live is not None)
    @rule()
    def hold(self):
        place_hold(self.store, TARGET, by=ANN, now=self.shop.clock)
        self.rolling = None
        self.held, self.is_guarded = "by hand", False
        self.swaps.append(self.live)

    @rule()
    def release(self):
        release_hold(self.store, TARGET, by=ANN, now=self.shop.clock)
        self.held, self.is_guarded = None, False

    @precondition(lambda self: self.live is not None)
    @rule(hold=st.booleans())
    def roll_back(self, hold):
        left = self.live
        try:
            outcome = roll_back(self.store, TARGET, to="previous", by=ANN, now=self.shop.clock, hold=hold)
        except RefusedError:
            assert self.previous() is None or self.was_collected(self.previous())
            return
        assert outcome.live == self.ids[self.previous()]
        self.moved(self.previous())
        self.bad.add(left)
        if hold:
            self.hold_after(left)

    def hold_after(self, left, *, is_guarded=False):
        if self.held != "by hand":
            self.held = max(left[0], -1 if self.held is None else self.held)
            self.is_guarded = is_guarded

    @precondition(lambda self: self.live is not None)
    @rule(asked=st.sampled_from([900, 5000]), empty=st.sampled_from([0.0, 0.9]))
    def live_is_undone_if_it_answers_far_worse(self, asked, empty):
        left, before, action = self.live, *self.how_live_became_live()
        self.report(left, before, asked, empty)
        found = look_at_live(self.store, TARGET, GuardSettings(GuardMode.ACT, hours=10**6), now=self.shop.clock.at)
        is_worse = action in {"ship", "promote"} and before is not None and asked > 1000 and empty > 0
        is_held = self.held == "by hand" or (self.held is not None and left[0] <= self.held)
        may_act = is_worse and not is_held and not self.is_guarded and before not in self.bad
        assert (found.verdict is LiveVerdict.ROLL_BACK) is may_act, found.message
        try:
            done = carry_out_on_live(self.store, TARGET, found, by=ANN, now=self.shop.clock)
        except RefusedError:
            assert self.was_collected(before)
            return
        if done is not None:
            assert done.live == self.ids[before]
            self.moved(before)
            self.bad.add(left)
            self.hold_after(left, is_guarded=True)

    def how_live_became_live(self):
        """What was live before what is live now, and the action that changed it."""
        at = len(self.swaps) - 1
        while at and self.swaps[at - 1] == self.live:
            at -= 1
        entries = list(reversed(list(journal.changes(self.store, TARGET))))
        return self.swaps[at - 1] if at else None, entries[at].action

    def report(self, left, before, asked, empty):
        """Let a consumer say how often it was asked of both, and how often it had nothing."""
        live = KindAnswers(asked=asked, empty=round(asked * empty))
        answers = [ReleaseAnswers(release=self.ids[left], kinds={"cooc": live})]
        if before is not None:
            answers.append(ReleaseAnswers(release=self.ids[before], kinds={"cooc": KindAnswers(asked=5000)}))
        self.beats += 1
        beat = Heartbeat(
            consumer="web-1",
            release=self.ids[left],
            state="fresh",
            seen_at=rfc3339(self.shop.clock()),
            every_seconds=600,
            nonce=f"{self.beats}",
            answers=tuple(answers),
            v=2,
        )
        write_heartbeat(self.store, TARGET, beat, expected=None)

    def previous(self):
        """What was live before the release that is live now was shipped last, and is not bad."""
        shipped = len(self.swaps) - 1
        entries = list(reversed(list(journal.changes(self.store, TARGET))))
        while shipped > 0 and (
            self.swaps[shipped] != self.live
            or self.swaps[shipped - 1] == self.live
            or entries[shipped].action in {"roll_back", "restore_pointer"}
        ):
            shipped -= 1
        return next((r for r in reversed(self.swaps[:shipped]) if r != self.live and r not in self.bad), None)

    def was_collected(self, release):
        record = read_release(self.store, TARGET, self.ids[release])
        return bool(missing_blobs(self.store, TARGET, refs_of(record)))

    @precondition(lambda self: self.live is not None)
    @rule()
    def lose_the_pointer_and_restore_it(self):
        self.store.delete(pointer_key(TARGET))
        restore_pointer(self.store, TARGET, by=ANN, now=self.shop.clock)
        self.moved(self.live)

    @precondition(lambda self: self.live is not None)
    @rule(days=st.integers(0, 3))
    def collect(self, days):
        self.shop.clock.at += timedelta(days=days)
        before = len(list(journal.changes(self.store, TARGET)))
        retention = Retention(keep=KEEP)
        collect(self.store, TARGET, by=ANN, now=self.shop.clock, retention=retention, apply=True)
        self.swaps += [self.live] * (len(list(journal.changes(self.store, TARGET))) - before)

    @rule(item=ITEMS, days=st.none() | st.integers(1, 2))
    def block(self, item, days):
        until = days and self.shop.clock() + timedelta(days=days)
        block_item(self.store, TARGET, item, by=ANN, now=self.shop.clock, until=until)
        self.blocked[item] = until

    @rule(item=ITEMS, how=st.sampled_from([FaultMode.LOSE_REPLY, FaultMode.LOSE_REQUEST]), verb=VERBS)
    def block_on_a_bad_day(self, item, how, verb):
        self.store.inject(Fault(verb, how, nth=1, times=1, prefix="registry/blocked/"))
        self.block(item, None)
        self.store.heal()

    @rule(item=ITEMS)
    def unblock(self, item):
        done = unblock_item(self.store, TARGET, item, by=ANN, now=self.shop.clock)
        assert done.entry.outcome == (journal.DONE if item in self.standing() else journal.UNCHANGED)
        self.blocked.pop(item, None)

    def standing(self):
        now = self.shop.clock.at
        return {item for item, until in self.blocked.items() if until is None or until > now}

    @invariant()
    def what_is_blocked_is_what_the_model_says(self):
        assert blocked_ids(self.store, TARGET, now=self.shop.clock.at) == self.standing()

    @rule()
    def look(self):
        self.past.append((self.shop.clock(), self.live))

    @invariant()
    def what_is_live_is_what_the_model_says_and_proves_itself(self):
        current = read_current(self.store, TARGET)
        assert (current and current.release_id) == (self.live and self.ids[self.live])
        if current is not None:
            assert not any(proof.faults for proof in verify(self.store, TARGET, keep=KEEP).releases)

    @invariant()
    def every_swap_is_recorded_once_and_in_order(self):
        entries = list(reversed(list(journal.changes(self.store, TARGET))))
        assert [entry.after for entry in entries] == [self.ids[release] for release in self.swaps]
        times = [entry.pointer_at for entry in entries]
        assert sorted(set(times)) == times

    @invariant()
    def the_past_can_be_reported(self):
        for instant, release in self.past[-3:]:
            then = live_at(self.store, TARGET, instant)
            assert (then and then.release_id) == (release and self.ids[release])


Lifecycle.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestLifecycle = Lifecycle.TestCase
