"""Due days: by the content of raw files against what was built of them, never by their names or times alone."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import UNSET

from recsys_assets.pipeline.arrivals import input_finder, look
from recsys_assets.pipeline.freshness import freshness
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.documents import CanonicalRecord
from recsys_assets.release.layout import canonical_record_key, raw_record_key
from recsys_assets.upkeep.staleness import Cause
from recsys_assets_tests.small_shop import CART, HOME, TARGETS, day_lines, open_shop

QUICK = '[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n[automation]\nsettled_minutes = 0\nlook_back_days = 4\n'
ROLLING = QUICK + "[artifacts.popularity]\nwindow_days = 3\n"


def ago(days):
    return datetime.now(UTC).date() - timedelta(days=days)


@pytest.fixture
def shop(tmp_path):
    opened = open_shop(tmp_path)
    opened.configure(QUICK)
    return opened


def look_at(shop, target=HOME, *, seen=None, now=None):
    row = shop.settings.find(target.tenant, target.surface)
    now, find = now or datetime.now(UTC), input_finder(shop.settings)
    return look(shop.store, shop.settings, row, seen=seen or {}, now=now, find=find)


def due_days(found):
    return [one.day for one in found.due]


def test_a_day_is_due_once_its_files_are_there_and_not_once_it_is_built(shop):
    shop.write(ago(1), day_lines(ago(1)))
    found = look_at(shop)
    assert due_days(found) == [ago(1)]
    assert "arrived" in found.due[0].reason
    shop.run(ago(1))
    assert due_days(look_at(shop)) == []


def test_the_same_files_are_the_same_cause_and_other_content_is_another(shop):
    shop.write(ago(1), day_lines(ago(1)))
    first = look_at(shop).due[0].address
    assert look_at(shop).due[0].address == first
    shop.write(ago(1), day_lines(ago(1), shift=1))
    assert look_at(shop).due[0].address != first


def test_a_file_that_is_still_being_written_waits(shop):
    shop.configure(QUICK.replace("settled_minutes = 0", "settled_minutes = 10"))
    shop.write(ago(1), day_lines(ago(1)))
    early = look_at(shop)
    assert (due_days(early), early.unsettled) == ([], (f"raw/{ago(1)}.jsonl",))
    assert ago(1).isoformat() not in early.seen, "what was not compared must not count as seen"
    late = look_at(shop, seen=early.seen, now=datetime.now(UTC) + timedelta(minutes=11))
    assert ago(1) in due_days(late)


def test_an_old_time_on_a_file_that_was_just_put_there_does_not_make_it_complete(shop):
    shop.configure(QUICK.replace("settled_minutes = 0", "settled_minutes = 10"))
    shop.write(ago(1), day_lines(ago(1)))
    os.utime(shop.folder / "raw" / f"{ago(1)}.jsonl", (0, 0))
    assert due_days(look_at(shop)) == []


def test_f25_a_touched_file_with_the_same_content_starts_nothing(shop):
    shop.write(ago(1), day_lines(ago(1)))
    shop.run(ago(1))
    seen = look_at(shop).seen
    os.utime(shop.folder / "raw" / f"{ago(1)}.jsonl", (1, 1))
    again = look_at(shop, seen=seen)
    assert again.seen != seen
    assert due_days(again) == []


def test_f26_a_changed_file_of_a_past_day_is_noticed_by_its_content(shop):
    for day in (ago(3), ago(1)):
        shop.write(day, day_lines(day))
        shop.run(day)
    seen = look_at(shop).seen
    shop.write(ago(3), day_lines(ago(3), shift=1), name="-late")
    found = look_at(shop, seen=seen)
    assert due_days(found) == [ago(3)]
    assert "changed" in found.due[0].reason


def test_a_change_before_the_look_back_is_left_alone(shop):
    shop.write(ago(6), day_lines(ago(6)))
    assert due_days(look_at(shop)) == []


def test_f26_every_window_that_holds_a_rebuilt_day_is_due_and_no_other(shop):
    shop.configure(ROLLING)
    for back in (4, 3, 2, 1):
        shop.write(ago(back), day_lines(ago(back)))
        shop.run(ago(back))
    assert due_days(look_at(shop)) == []
    shop.write(ago(3), day_lines(ago(3), shift=1), name="-late")
    assert due_days(look_at(shop)) == [ago(3)], "the windows wait until the day itself is built"
    shop.run(ago(3))
    assert due_days(look_at(shop)) == [ago(2), ago(1)]
    for back in (2, 1):
        shop.run(ago(back))
    assert due_days(look_at(shop)) == []


def test_f27_a_day_that_comes_after_the_next_makes_the_windows_over_it_due(shop):
    shop.configure(ROLLING)
    shop.write(ago(1), day_lines(ago(1)))
    shop.run(ago(1))
    shop.write(ago(2), day_lines(ago(2)))
    shop.run(ago(2))
    assert due_days(look_at(shop)) == [ago(1)]


def test_f27_a_day_without_events_of_the_target_is_not_tried_again(shop):
    shop.write(ago(1), day_lines(ago(1), targets=[CART]))
    shop.run(ago(1))
    assert due_days(look_at(shop, HOME)) == []
    shop.write(ago(1), day_lines(ago(1), targets=[HOME]), name="-more")
    assert due_days(look_at(shop, HOME)) == [ago(1)]


def test_f33_a_day_whose_record_is_damaged_is_built_again(shop):
    shop.write(ago(1), day_lines(ago(1)))
    shop.run(ago(1))
    for key in (f"canonical/shop/home/{ago(1)}.json", f"raw/{ago(1)}/record.json"):
        shop.store.put(key, b"{")
    assert due_days(look_at(shop)) == [ago(1)]


def test_f47_a_file_of_one_target_that_is_being_written_does_not_hold_up_another(shop):
    override = "[targets.automation]\nsettled_minutes = 60\n"
    shop.configure(QUICK.replace("settled_minutes = 0", "settled_minutes = 10"), targets=TARGETS + override)
    text = (shop.folder / "recsys.toml").read_text()
    (shop.folder / "recsys.toml").write_text(text.replace("{day}*.jsonl*", "{day}-{surface}.jsonl"))
    for target in (HOME, CART):
        shop.write(ago(1), day_lines(ago(1), targets=[target]), name=f"-{target.surface}")
    later = datetime.now(UTC) + timedelta(minutes=11)
    assert ago(1) in due_days(look_at(shop, HOME, now=later))
    assert look_at(shop, CART, now=later).unsettled == (f"raw/{ago(1)}-cart.jsonl",)


def build_of_two_files(shop, day):
    lines = day_lines(day)
    for number, name in enumerate(("-00", "-06")):
        shop.write(day, lines[number::2], name=name)
    assert shop.run(day).success
    return lines


def events_of(shop, day):
    return read_document(shop.store, canonical_record_key(HOME, day), CanonicalRecord).events


def test_files_that_expire_make_no_day_due_and_no_day_smaller(shop):  # F61
    day = ago(2)
    build_of_two_files(shop, day)
    before = events_of(shop, day)
    (shop.folder / "raw" / f"{day}-00.jsonl").unlink()
    assert due_days(look_at(shop)) == []
    assert not shop.run(day).success
    assert events_of(shop, day) == before
    shop.write(day, day_lines(day, shift=1), name="-06")
    assert due_days(look_at(shop)) == [], "a changed file beside one that is gone"
    (shop.folder / "raw" / f"{day}-06.jsonl").unlink()
    assert due_days(look_at(shop)) == []


def test_a_file_that_was_renamed_is_there_and_an_operator_may_accept_a_smaller_day(shop):
    day = ago(2)
    build_of_two_files(shop, day)
    before = events_of(shop, day)
    raw = shop.folder / "raw"
    (raw / f"{day}-00.jsonl").rename(raw / f"{day}-night.jsonl")
    assert due_days(look_at(shop)) == [day]
    assert shop.run(day).success
    (raw / f"{day}-night.jsonl").unlink()
    text = (shop.folder / "recsys.toml").read_text()
    (shop.folder / "recsys.toml").write_text(text.replace("[raw]\n", "[raw]\nrebuild_without_missing_files = true\n"))
    assert shop.run(day).success
    assert 0 < events_of(shop, day) < before


def parts_of(shop, day):
    return {item.key for item in shop.store.list(f"raw/{day}/shop/home/")}


def test_the_parts_of_files_that_expired_stay_named_until_a_smaller_day_is_accepted(shop):
    day = ago(2)
    build_of_two_files(shop, day)
    parts, before = parts_of(shop, day), events_of(shop, day)
    (shop.folder / "raw" / f"{day}-00.jsonl").unlink()
    for _ in range(2):  # the second run reads the record that the first one wrote
        assert not shop.run(day).success
        record = read_document(shop.store, raw_record_key(day), RawRecord)
        home = next(share for share in record.targets if share.surface == "home")
        assert record.missing == (f"raw/{day}-00.jsonl",)
        assert {part.name for part in home.parts} == parts == parts_of(shop, day)
    text = (shop.folder / "recsys.toml").read_text()
    (shop.folder / "recsys.toml").write_text(text.replace("[raw]\n", "[raw]\nrebuild_without_missing_files = true\n"))
    assert shop.run(day).success
    assert not parts & parts_of(shop, day)
    assert read_document(shop.store, raw_record_key(day), RawRecord).missing is UNSET
    assert 0 < events_of(shop, day) < before


def test_a_file_that_expired_and_came_back_is_built_from_again(shop):
    day = ago(2)
    build_of_two_files(shop, day)
    file = shop.folder / "raw" / f"{day}-00.jsonl"
    data = file.read_bytes()
    file.unlink()
    assert not shop.run(day).success
    file.write_bytes(data)
    assert shop.run(day).success
    assert read_document(shop.store, raw_record_key(day), RawRecord).missing is UNSET


def test_a_torn_file_that_was_sent_again_under_another_name_is_neither_missed_nor_waited_for(shop):
    day = ago(2)
    torn = shop.folder / "raw" / f"{day}.jsonl.gz"
    torn.parent.mkdir(exist_ok=True)
    torn.write_bytes(b"\x1f\x8b\x08\x00torn")
    assert "not a complete gzip file" in shop.run(day).message
    torn.unlink()
    shop.write(day, day_lines(day))
    assert due_days(look_at(shop)) == [day]
    assert shop.run(day).success
    assert read_document(shop.store, raw_record_key(day), RawRecord).missing is UNSET


def test_a_rebuild_that_loses_more_than_the_set_share_is_refused_and_may_be_accepted(shop):
    day = ago(2)
    lines = day_lines(day)
    shop.write(day, lines)
    assert shop.run(day).success
    before = events_of(shop, day)
    shop.write(day, lines[::2])
    refused = shop.run(day)
    assert not refused.success
    assert "raw.max_lost_share allows 5.0%" in refused.message
    assert events_of(shop, day) == before, "what is stored stays"
    text = (shop.folder / "recsys.toml").read_text()
    (shop.folder / "recsys.toml").write_text(text.replace("[raw]\n", "[raw]\nmax_lost_share = 0.9\n"))
    assert shop.run(day).success
    assert 0 < events_of(shop, day) < before


QUERY = "duckdb:SELECT * FROM read_json('raw/{day}*.jsonl') WHERE ts::DATE = '{day}'"


def query(shop, exposures=QUERY):
    text = (shop.folder / "recsys.toml").read_text()
    (shop.folder / "recsys.toml").write_text(text.replace("raw/{day}*.jsonl*", exposures))


def test_a_query_runs_once_a_day_of_a_check_however_many_targets_it_serves(shop):
    query(shop)
    for back in (2, 1):
        shop.write(ago(back), day_lines(ago(back)))
    find, rows = input_finder(shop.settings), shop.settings.targets
    (one,), (other,) = (find(row, ago(1)) for row in rows)
    assert one is other
    assert set(one.targets) == {HOME, CART}
    assert find(rows[0], ago(2)) != [one]


def test_files_are_found_for_each_target_by_itself(shop):
    shop.write(ago(1), day_lines(ago(1)))
    find = input_finder(shop.settings)
    assert [find(row, ago(1))[0].targets for row in shop.settings.targets] == [(HOME,), (CART,)]


def test_rows_of_a_query_that_change_make_their_day_due_for_each_target(shop):
    shop.configure(QUICK.replace("look_back_days = 4", "look_back_days = 1"))
    query(shop)
    shop.write(ago(1), day_lines(ago(1)))
    shop.run(ago(1))
    quiet = [look_at(shop, target) for target in (HOME, CART)]
    assert [due_days(found) for found in quiet] == [[], []]
    shop.write(ago(1), day_lines(ago(1), shift=1), name="-late")
    late = [look_at(shop, target, seen=before.seen) for target, before in zip((HOME, CART), quiet, strict=True)]
    assert [due_days(found) for found in late] == [[ago(1)], [ago(1)]]


@pytest.mark.parametrize("exposures", ["duckdb:SELECT no_such('{day}')", "adbc:SELECT '{day}'", "postgresql:nowhere"])
def test_no_query_runs_to_explain_why_a_day_is_not_live(shop, exposures, monkeypatch):
    monkeypatch.delenv("RECSYS_RAW_DATABASE_URL", raising=False)
    query(shop, exposures)
    found = freshness(shop.store, shop.settings, shop.settings.targets[0], now=datetime.now(UTC))
    assert (found.fresh, found.cause) == (False, Cause.NOT_BUILT), found.why
    assert "query of raw.exposures is not run" in found.why
