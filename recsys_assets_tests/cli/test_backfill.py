"""`recsys-assets run` over many days and targets: checked first, resumable, and one bad thing stops nothing else."""

import re
from datetime import date, timedelta

import pytest
from click.testing import CliRunner

from recsys_assets.cli.run import run
from recsys_assets.errors import ConfigurationError
from recsys_assets.identity import Target
from recsys_assets.pipeline.arrivals import choose_days, last_built_day
from recsys_assets_tests.small_shop import FIRST, HOME, after, day_lines, open_shop

QUICK = '[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n'
TODAY = date(2026, 3, 1)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    opened = open_shop(tmp_path)
    opened.configure(QUICK)
    return opened


def call(shop, start, end, *options):
    named = ["--config", str(shop.folder / "recsys.toml"), "--start", str(start), "--end", str(end)]
    return CliRunner().invoke(run, [*named, *options], standalone_mode=False)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        pytest.param(after(3), after(2), "is before --start", id="backwards"),
        pytest.param(FIRST - timedelta(days=1), after(2), "before partitions.start", id="before the first day"),
        pytest.param(FIRST, TODAY, "has not ended", id="a day that goes on"),
        pytest.param(FIRST, after(5), "are 6 days, limits.max_days allows 5", id="more than max_days"),
    ],
)
def test_a_backfill_is_checked_before_its_first_day(shop, start, end, message):
    shop.configure(QUICK + "[limits]\nmax_days = 5\n")
    with pytest.raises(ConfigurationError, match=message):
        choose_days(shop.settings, start=start, end=end, today=TODAY)
    assert choose_days(shop.settings, start=FIRST, end=after(4), today=TODAY) == [after(n) for n in range(5)]


@pytest.mark.slow
def test_a_backfill_that_broke_off_is_resumed_where_it_stood(shop):
    for n in range(4):
        shop.write(after(n), day_lines(after(n)))
    for n in range(2):
        shop.run(after(n))
    resumed = call(shop, FIRST, after(3), "--resume")
    assert resumed.return_value == 0
    assert "4 days done, 2 of them before" in resumed.output
    assert "2026-01-02" not in resumed.output
    assert "2026-01-03 shop/home/manifest" in resumed.output
    shop.write(after(1), day_lines(after(1), shift=1), name="-late")
    shop.configure(QUICK + "[gates]\nmin_events = 2\n")
    again = call(shop, FIRST, after(3), "--resume")
    assert "of them before" not in again.output, "what was judged by other limits is judged again"
    shop.write(after(2), day_lines(after(2), shift=1), name="-late")
    once_more = call(shop, FIRST, after(3), "--resume")
    assert "2 of them before" in once_more.output
    assert "2026-01-03 raw" in once_more.output, "a day whose files changed is not done"


@pytest.mark.slow
def test_f47_of_twenty_targets_three_are_poisoned_and_seventeen_ship(shop):
    targets = [Target(f"t{n:02d}", "home") for n in range(20)]
    poisoned = {targets[3], targets[7], targets[19]}
    shop.configure(QUICK, targets="".join(f'[[targets]]\ntenant = "{t.tenant}"\nsurface = "home"\n' for t in targets))
    shop.write(FIRST, day_lines(FIRST, targets=targets))
    assert call(shop, FIRST, FIRST).return_value == 0
    before = {target: shop.live(target).release_id for target in targets}
    lines = day_lines(after(1), targets=targets)
    for target in poisoned:
        bad = [line.replace('"v": 1', '"v": 9') for line in day_lines(after(1), targets=[target])]
        lines += bad
    shop.write(after(1), lines)
    result = call(shop, after(1), after(1))
    assert result.return_value == 1
    assert {target for target in targets if shop.live(target).release_id == before[target]} == poisoned
    summary = re.split(r"failures?:", result.output, maxsplit=1)[1]
    assert {target for target in targets if f"{target}/canonical" in summary} == poisoned
    assert "0 of 1 day done, 3 failures" in result.output
    message = [line.split()[1].rpartition("/")[0] for line in result.output.splitlines() if "/home/" in line]
    finished = [Target(*name.split("/")) for name in dict.fromkeys(message)]
    assert finished == targets, "each target ships before the next one is begun"
    assert message[: message.index("t01/home")] == ["t00/home"] * message.index("t01/home")


@pytest.mark.slow
def test_one_bad_day_of_a_backfill_never_stops_the_others_and_the_pointer_only_moves_on(shop):
    for n in range(4):
        lines = day_lines(after(n))
        shop.write(after(n), lines if n != 1 else [line.replace('"v": 1', '"v": 9') for line in lines])
    result = call(shop, FIRST, after(3))
    assert result.return_value == 1
    assert "2026-01-02 shop/home/canonical" in re.split(r"failures?:", result.output, maxsplit=1)[1]
    live = shop.live(HOME)
    assert call(shop, FIRST, after(2)).return_value == 1
    assert shop.live(HOME) == live


def test_without_a_first_day_it_goes_on_from_the_last_day_that_every_target_has(shop):
    for n in range(2):
        shop.write(after(n), day_lines(after(n)))
    with pytest.raises(ConfigurationError, match="shop/home has not been built yet: set the first day by --start"):
        last_built_day(shop.store, shop.settings.targets, before=TODAY)
    shop.run(FIRST)
    shop.run(after(1), only=HOME)
    rows = shop.settings.targets
    assert [last_built_day(shop.store, [row], before=TODAY) for row in rows] == [after(1), FIRST]
    assert last_built_day(shop.store, rows, before=TODAY) == FIRST
    assert last_built_day(shop.store, rows[:1], before=after(1)) == FIRST, "a day that goes on is not gone on from"
    config = shop.folder / "recsys.toml"
    config.write_text(config.read_text().replace("start = 2026-01-01", "start = 2026-01-01\nend = 2026-01-02"))
    done = CliRunner().invoke(run, ["--config", str(config)], standalone_mode=False)
    assert (done.return_value, "2026-01-02 shop/cart/manifest" in done.output) == (0, True), done.output


def test_catching_up_is_bounded(shop):
    shop.configure(QUICK + "[limits]\nmax_days = 5\n")
    shop.write(FIRST, day_lines(FIRST))
    shop.run(FIRST)
    done = CliRunner().invoke(run, ["--config", str(shop.folder / "recsys.toml")], standalone_mode=False)
    assert "days, limits.max_days allows 5" in str(done.exception)


@pytest.mark.slow
def test_a_day_that_would_lose_events_or_files_is_refused_until_a_smaller_one_is_accepted(shop):
    lines = list(day_lines(FIRST))
    shop.write(FIRST, lines[::2])
    shop.write(FIRST, lines[1::2], name="-late")
    assert call(shop, FIRST, FIRST).return_value == 0
    shop.write(FIRST, lines[:3])  # cut short
    refused = call(shop, FIRST, FIRST)
    assert refused.return_value == 1
    assert "`recsys-assets run --accept-smaller-days`" in refused.output
    # That files are gone is accepted by a word of its own, which accepts no loss in files that are there.
    assert call(shop, FIRST, FIRST, "--rebuild-without-missing-files").return_value == 1
    assert call(shop, FIRST, FIRST, "--accept-smaller-days").return_value == 0
    (shop.folder / "raw" / f"{FIRST}-late.jsonl").unlink()
    assert call(shop, FIRST, FIRST).return_value == 1
    assert call(shop, FIRST, FIRST, "--accept-smaller-days").return_value == 0
