"""Targets whose only events of a file belong to another day: late beside others' events, wrong when all do."""

import json
from datetime import datetime, timedelta

import pytest

from recsys_assets.errors import InputError, NoInputError
from recsys_assets.pipeline.canonical import build_canonical
from recsys_assets.pipeline.context import DayContext
from recsys_assets.pipeline.raw import build_raw
from recsys_assets_tests.small_shop import CART, FIRST, HOME, day_lines, open_shop

NEXT = FIRST + timedelta(days=1)


def build_cart(folder, lines):
    """Build the day of the cart from one file for all targets."""
    shop = open_shop(folder, None)  # nothing here needs Dagster
    shop.write(NEXT, lines)
    build_raw(shop.store, shop.settings, NEXT)
    return build_canonical(DayContext(shop.store, shop.settings, shop.settings.find("shop", "cart"), NEXT))


def test_a_straggler_in_a_file_of_the_day_is_no_wrong_input(tmp_path):
    late = day_lines(FIRST, targets=(CART,))[0]
    with pytest.raises(NoInputError, match="no event of this target"):
        build_cart(tmp_path, [*day_lines(NEXT, targets=(HOME,)), late])


def test_a_file_all_of_another_day_names_the_day_and_how_many(tmp_path):
    lines = day_lines(FIRST, targets=(CART,))
    with pytest.raises(InputError, match=f"all {len(lines)} events belong to other days: {FIRST}") as refused:
        build_cart(tmp_path, lines)
    assert "its clock is shifted by hours" in str(refused.value)


@pytest.mark.parametrize("hours", [24, 27, -30])
def test_a_file_whose_events_are_shifted_says_by_how_many_hours(tmp_path, hours):
    line = json.loads(day_lines(NEXT, targets=(CART,))[0])
    moved = [datetime.fromisoformat(f"{NEXT}T{at}+00:00") + timedelta(hours=hours) for at in ("00:00:30", "23:59:30")]
    with pytest.raises(InputError, match="all 2 events belong to other days") as refused:
        build_cart(tmp_path, [json.dumps({**line, "ts": instant.isoformat()}) for instant in moved])
    assert f"look shifted by {hours:+d} h: moved by {-hours:+d} h they would belong to {NEXT}" in str(refused.value)
