"""A forget beside builds, ships and other forgets, or killed in the middle: no one comes back unseen."""

import json
from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner

from recsys_assets.cli.main import recsys_assets
from recsys_assets.errors import ConflictError, InputError
from recsys_assets.pipeline.artifact import build_artifact, judge_artifact
from recsys_assets.pipeline.canonical import build_canonical, judge_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets.pipeline.records import RawRecord
from recsys_assets.pipeline.run_day import run_day
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.privacy.forget import ForgetRequest, forget_user
from recsys_assets.release.document_encoding import read_document
from recsys_assets.release.forgotten_users import add_forgotten_user
from recsys_assets.release.layout import canonical_key, pointer_key, raw_record_key, staged_key
from recsys_assets.release.staged import find_staged_artifact
from recsys_assets_tests.privacy.erasing import (
    BY,
    GONE,
    STAYS,
    build,
    canonical,
    forget,
    live_users,
    now,
)
from recsys_assets_tests.small_shop import HOME, after, day_lines


class KilledError(Exception):
    """Ends a command where a process would die."""


@dataclass
class Beside:
    """A store at one call of which something else happens, once: before it, or after it."""

    store: object
    verb: str
    part: str
    act: object
    late: bool = False
    done: list[str] = field(default_factory=list)

    def __getattr__(self, name):
        call = getattr(self.store, name)
        if name != self.verb:
            return call

        def watched(key, *args, **options):
            is_hit = self.part in key and not self.done
            if is_hit:
                self.done.append(key)
            if is_hit and not self.late:
                self.act()
            result = call(key, *args, **options)
            if is_hit and self.late:
                self.act()
            return result

        return watched


def forget_over(shop, store, user=GONE):
    row = shop.settings.find(HOME.tenant, HOME.surface)
    return forget_user(ForgetRequest(store, shop.settings, row, user, BY, now))


def context_of(shop, day, store=None):
    row = shop.settings.find(HOME.tenant, HOME.surface)
    return DayContext(store or shop.store, shop.settings, row, day, run_id="test", now=now)


def stored_users(shop, day):
    raw = read_document(shop.store, raw_record_key(day), RawRecord)
    (share,) = [share for share in raw.targets if share.surface == HOME.surface]
    data = [shop.store.get(part.name, max_bytes=part.size).data for part in share.parts]
    return set(canonical(shop, day)[1].ids["user_id"].to_list()), b"".join(data)


def test_a_read_of_raw_files_under_way_does_not_bring_the_user_back(shop):
    shop.store.delete(raw_record_key(after(1)))
    store = Beside(shop.store, "put", "raw/2026-01-02/shop/home", lambda: forget(shop))
    build_raw(store, shop.settings, after(1))
    assert store.done
    build_canonical(context_of(shop, after(1)))
    users, parts = stored_users(shop, after(1))
    assert GONE not in users
    assert GONE.encode() not in parts
    assert STAYS in users


def test_a_canonical_build_under_way_does_not_bring_the_user_back(shop):  # F54
    shop.store.delete(canonical_key(HOME, after(1)))
    store = Beside(shop.store, "create", "canonical/shop/home/2026-01-02.parquet", lambda: forget(shop))
    shop.store.delete(canonical_key(HOME, after(1)).replace(".parquet", ".json"))
    build_canonical(context_of(shop, after(1), store))
    assert store.done
    assert GONE not in stored_users(shop, after(1))[0]


def test_events_of_others_are_lost_beside_a_forget_as_ever(shop):
    add_forgotten_user(shop.store, HOME, GONE, through=after(1), by=BY, now=now())  # and then it was killed
    shop.write(after(1), [line for line in day_lines(after(1), shift=1) if '"s2"' not in line])
    build_raw(shop.store, shop.settings, after(1))
    with pytest.raises(InputError, match=r"16\.7% would be lost"):
        build_canonical(context_of(shop, after(1)))
    assert {GONE, STAYS} <= stored_users(shop, after(1))[0]


def test_a_ship_under_way_loses_its_swap_to_a_forget(shop):
    shop.configure()  # another window: a release that is not live
    shop.write(after(2), day_lines(after(2), shift=2))
    store = Beside(shop.store, "create", "releases/shop/home", lambda: forget(shop))
    with pytest.raises(ConflictError, match="forgotten"):
        build_all_but_ship(shop, after(2), lambda: ship_day(context_of(shop, after(2), store), by=BY))
    assert store.done
    assert GONE not in live_users(shop)["implicit"]


def test_a_ship_that_was_judged_before_a_forget_loses_its_swap_though_live_never_held_the_user(shop):
    shop.configure()
    new = "u9"
    shop.write(after(2), [line.replace(f'"{GONE}"', f'"{new}"') for line in day_lines(after(2), shift=2)])
    store = Beside(shop.store, "swap", pointer_key(HOME), lambda: forget(shop, user=new))
    before = live_users(shop)
    with pytest.raises(ConflictError, match="forgotten"):
        build_all_but_ship(shop, after(2), lambda: ship_day(context_of(shop, after(2), store), by=BY))
    assert store.done
    assert live_users(shop) == before


def build_all_but_ship(shop, day, ship):
    context = context_of(shop, day)
    build_raw(shop.store, shop.settings, day)
    build_canonical(context)
    judge_canonical(context)
    for kind in shop.settings.artifacts.kinds:
        build_artifact(context, kind)
        judge_artifact(context, kind)
    return ship()


def test_a_run_builds_again_what_it_built_beside_a_forget_and_ships(shop):
    shop.write(after(2), day_lines(after(2), shift=2))
    store = Beside(shop.store, "put", f"staging/shop/home/{after(2)}.json", lambda: forget(shop))
    row = shop.settings.find(HOME.tenant, HOME.surface)
    lines = list(run_day(store, shop.settings, [row], after(2)))
    assert store.done
    assert [line.text for line in lines if line.state != "ok"] == []
    assert [line.asset for line in lines].count("shop/home/implicit") == 2
    users = live_users(shop)["implicit"]
    assert GONE not in users
    assert STAYS in users
    staged = find_staged_artifact(shop.store, HOME, after(2), "implicit")
    assert staged.ref.version == shop.live().versions["implicit"]


def test_two_forgets_at_once_do_not_undo_each_other(shop):  # F54
    store = Beside(shop.store, "swap", "canonical/shop/home/2026-01-01.parquet", lambda: forget(shop, user=STAYS))
    forget_over(shop, store)
    assert store.done
    for n in range(2):
        users, parts = stored_users(shop, after(n))
        assert not {GONE, STAYS} & users
        assert STAYS.encode() not in parts
    assert live_users(shop)["implicit"] == {"u5"}


@pytest.mark.parametrize("killed_at", ["2026-01-01.parquet", "2026-01-01.json", "raw/2026-01-01/record.json"])
def test_a_forget_that_was_killed_is_finished_by_the_next(shop, killed_at):
    def die():
        raise KilledError

    store = Beside(shop.store, "swap", killed_at, die, late=True)
    with pytest.raises(KilledError):
        forget_over(shop, store)
    done = forget(shop)
    assert (done.live_holds, done.unread) == (False, ())
    for n in range(2):
        users, parts = stored_users(shop, after(n))
        assert GONE not in users
        assert GONE.encode() not in parts


def test_references_to_artifacts_of_a_day_that_failed_are_withdrawn(shop):
    assert shop.store.stat(staged_key(HOME, after(0), "implicit"))
    forgot = forget(shop)
    assert shop.store.stat(staged_key(HOME, after(0), "implicit")) is None
    assert not [place for place in forgot.places if place.startswith("staging/")]


def test_a_line_of_quarantine_stays_erased_when_its_file_is_read_again(shop):
    forget(shop)
    shop.store.delete(raw_record_key(after(1)))
    build(shop, after(1))
    record = read_document(shop.store, raw_record_key(after(1)), RawRecord)
    kept = [shop.store.get(one.name, max_bytes=one.size).data for one in record.quarantine]
    assert kept
    assert GONE.encode() not in b"".join(kept)


def test_a_target_that_is_served_but_not_configured_is_searched_and_named(shop):
    config = shop.folder / "recsys.toml"
    text = config.read_text()
    head, *tables = text.split("[[targets]]")
    config.write_text("[[targets]]".join([head, *(table for table in tables if HOME.surface not in table)]))
    words = ["forget", "--user", GONE, "--reason", "asked", "--config", str(config), "--json"]
    called = CliRunner().invoke(recsys_assets, words, standalone_mode=False)
    (found,) = [one for one in json.loads(called.stdout)["targets"] if one["target"] == str(HOME)]
    assert (found["live_holds"], found["events"], called.return_value) == (True, 6, 1)
    assert "not in the configuration" in found["message"]
