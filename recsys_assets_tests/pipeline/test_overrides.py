"""Days that a gate of canonical refused: later windows leave them out, until the way out that the refusal names."""

import pytest

from recsys_assets.errors import RefusedError
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.ship import ship_day
from recsys_assets.release.journal import Actor
from recsys_assets.release.ship_rules import Ruling
from recsys_assets_tests.small_shop import HOME, after, day_lines, open_shop

BAD = after(1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Three days under a window of three, of which the second has too many bad lines."""
    opened = open_shop(tmp_path_factory.mktemp("shop"))
    opened.configure('[artifacts]\nkinds = ["popularity"]\n')
    config = opened.folder / "recsys.toml"
    config.write_text(config.read_text().replace("window_days = 1", "window_days = 3"))
    for n in range(3):
        lines = day_lines(after(n), shift=n)
        opened.write(after(n), [*lines, *(line.replace('"v": 1', '"v": 9') for line in lines if after(n) == BAD)])
    return opened


def ship(shop, day, *gates, dry_run=False):
    context = DayContext(shop.store, shop.settings, shop.settings.find("shop", "home"), day)
    return ship_day(context, by=Actor("ada", "counted by hand"), override=gates, dry_run=dry_run).outcome


def held(release):
    """Return the canonical days that a release is made of, and those that its artifacts say they leave out."""
    facts = {member.facts.get("refused_days", "") for member in release.members}
    return {one.day for one in release.canonical}, facts


def test_later_windows_leave_a_refused_day_out_until_the_command_that_its_refusal_names_is_given(shop):
    assert shop.run(after(0)).success
    first = shop.live()
    refused = shop.run(BAD)
    assert not refused.success
    command = f"recsys-assets ship --tenant shop --surface home --day {BAD} --override bad_share"
    assert command in refused.message
    assert f"later days ship, and windows of 3 days exclude {BAD} until it passes or is overridden" in refused.message

    with pytest.raises(RefusedError, match=r"popularity not built, .*without --dry-run"):
        ship(shop, BAD, "bad_share", dry_run=True)
    with pytest.raises(RefusedError, match="popularity: was not built"):
        ship(shop, BAD, "volume")
    assert shop.live() == first

    assert shop.run(after(2)).success, "the refused day does not block the days after it"
    without = ship(shop, after(2))
    assert shop.live().release_id == without.release.id
    assert held(without.release) == ({str(after(0)), str(after(2))}, {str(BAD)})

    answered = ship(shop, BAD, "bad_share")
    assert (answered.how, shop.live().release_id) == (Ruling.OLDER, without.release.id)
    assert answered.entry.details["overridden"] == "canonical: bad_share"
    assert str(BAD) in held(answered.release)[0], "the override built what the refusal kept from being built"

    assert shop.run(after(2), only=HOME).success, "answered for once, by its digest"
    assert held(ship(shop, after(2)).release) == ({str(after(n)) for n in range(3)}, {""})


def test_an_override_of_the_newest_day_builds_it_and_it_ships(shop):
    day = after(3)
    lines = day_lines(day, shift=2)
    shop.write(day, [*lines, *(line.replace('"v": 1', '"v": 9') for line in lines)])
    assert not shop.run(day, only=HOME).success
    answered = ship(shop, day, "bad_share")
    assert shop.live().release_id == answered.release.id
    assert set(answered.entry.details["overridden"].split("; ")) == {"canonical: bad_share"}


def test_an_override_is_of_the_bytes_it_was_given_for(shop):
    lines = day_lines(BAD, shift=4)
    shop.write(BAD, [*lines, *(line.replace('"v": 1', '"v": 9') for line in lines)])
    assert not shop.run(BAD, only=HOME).success
    for day in (BAD, after(2)):
        with pytest.raises(RefusedError, match=f"canonical {BAD} was rebuilt since"):
            ship(shop, day)
    assert shop.run(after(2), only=HOME).success
    assert held(ship(shop, after(2)).release) == ({str(after(0)), str(after(2))}, {str(BAD)})
