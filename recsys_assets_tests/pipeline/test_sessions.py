"""Days of events that came without sessions: found in the ingest path, and the same as if they had been sent."""

import json
from datetime import timedelta

import pytest

from recsys_assets.errors import InputError
from recsys_assets.pipeline.artifact import build_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.canonical_commit import read_events
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key
from recsys_assets_tests.small_shop import FIRST, HOME, day_lines, open_shop

SENT = [json.loads(line) for line in day_lines(FIRST, targets=(HOME,))]
USERS = {f"u{n}@2026-01-01T{8 + n:02d}:00:00.000000000Z" for n in (1, 3, 5)}


class Night:
    """A shop whose day is built of one target, with sessions found across a gap or sent."""

    def __init__(self, folder):
        self.shop = open_shop(folder, None)  # nothing here needs Dagster
        self.shop.configure('[artifacts]\nwindow_days = 1\nkinds = ["cooc"]\n[artifacts.cooc]\nmin_support = 1\n')

    def settings(self, gap):
        found = self.shop.settings
        raw = found.raw.model_copy(update={"session_gap_minutes": gap, "max_bad_share": 0.6})
        return found.model_copy(update={"raw": raw})

    def read(self, gap):
        return build_raw(self.shop.store, self.settings(gap), FIRST)

    def canonical(self, gap, day=FIRST):
        settings = self.settings(gap)
        return build_canonical(DayContext(self.shop.store, settings, settings.targets[0], day))

    def sessions(self, gap, day=FIRST):
        build_raw(self.shop.store, self.settings(gap), day)
        self.canonical(gap, day)
        record = read_document(self.shop.store, canonical_record_key(HOME, day), CanonicalRecord)
        return set(read_events(self.shop.store, HOME, day, record).ids["session_id"].to_list())

    def cooc(self, gap):
        settings = self.settings(gap)
        assert judge_canonical(DayContext(self.shop.store, settings, settings.targets[0], FIRST)).passed
        built = build_artifact(DayContext(self.shop.store, settings, settings.targets[0], FIRST, run_id="test"), "cooc")
        return built.staged.ref.version


@pytest.fixture
def night(tmp_path):
    opened = Night(tmp_path)
    opened.shop.write(FIRST, [without_session(event) for event in SENT])
    return opened


def without_session(event):
    return json.dumps({name: event[name] for name in event if name != "session_id"})


def test_users_get_sessions_and_nobodys_events_go_to_quarantine(night):
    assert night.sessions(30) == USERS
    assert dict(night.canonical(30).record.rejects) == {"no_session": 9}
    store = night.shop.store
    kept = b"".join(store.get(item.key, max_bytes=item.size).data for item in store.list("quarantine/"))
    assert kept.count(b"session_id is missing, and there is no user_id to derive the session from") == 9


def test_artifacts_are_those_of_sessions_that_were_sent(night):
    night.sessions(30)
    found = night.cooc(30)
    night.shop.write(FIRST, [json.dumps(event) for event in SENT if "user_id" in event])
    assert night.sessions(None) == {"s1", "s3", "s5"}
    assert night.cooc(None) == found


def test_another_gap_reads_the_same_files_again(night):
    assert len(night.sessions(0.01)) == 9
    assert night.read(30).reused is False
    assert night.sessions(30) == USERS
    assert night.read(30).reused is True


def test_without_the_setting_they_are_bad_lines_and_parts_of_before_are_refused(night):
    night.sessions(30)
    with pytest.raises(InputError, match="run raw of this day again"):
        night.canonical(None)
    with pytest.raises(InputError, match=r"18 lines, and none is an event \(first: missing_field\)"):
        night.sessions(None)


def test_a_visit_over_midnight_is_a_session_of_each_day(night):
    last = without_session(SENT[3] | {"ts": "2026-01-01T23:59:59Z"})
    night.shop.write(FIRST, [last])
    night.shop.write(FIRST + timedelta(days=1), [last.replace("01-01T23:59:59Z", "01-02T00:00:01Z")])
    assert night.sessions(30) == {"u1@2026-01-01T23:59:59.000000000Z"}
    assert night.sessions(30, FIRST + timedelta(days=1)) == {"u1@2026-01-02T00:00:01.000000000Z"}
