"""Schedules, sensors and checks as the daemon sees them: what they start, what they record, what they leave alone."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from recsys_assets.dagster_defs.arrivals import rotate
from recsys_assets.dagster_defs.assemble import build_definitions
from recsys_assets.identity import Target
from recsys_assets_tests.small_shop import FIRST, HOME, TARGETS, after, day_lines, open_shop

QUICK = '[artifacts]\nwindow_days = 1\nkinds = ["popularity"]\n'
WATCHED = QUICK + "[automation]\nwatch = true\nsettled_minutes = 0\nlook_back_days = 3\n"
MANIFEST = dg.AssetKey(["shop", "home", "manifest"])
LIVE = dg.AssetKey(["live", "shop", "home"])


def ago(days):
    return datetime.now(UTC).date() - timedelta(days=days)


@pytest.fixture
def shop(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        opened = open_shop(tmp_path, instance)
        opened.configure(QUICK)
        yield opened


def tick_schedule(shop, at, name="nightly_shop__home"):
    definitions = build_definitions(shop.settings)
    with dg.build_schedule_context(
        instance=shop.instance, scheduled_execution_time=at, repository_def=definitions.get_repository_def()
    ) as context:
        return definitions.resolve_schedule_def(name).evaluate_tick(context)


def tick_sensor(shop, name, cursor=None):
    definitions = build_definitions(shop.settings)
    sensor = definitions.resolve_sensor_def(name)
    with dg.build_sensor_context(
        instance=shop.instance,
        cursor=cursor,
        repository_def=definitions.get_repository_def(),
    ) as context:
        return sensor.evaluate_tick(context)


@pytest.mark.parametrize(
    ("at", "day"),
    [
        pytest.param(datetime(2026, 3, 2, 1, tzinfo=UTC), "2026-03-01", id="the day before"),
        pytest.param(datetime(2026, 1, 1, 1, tzinfo=UTC), None, id="before the first day"),
        pytest.param(
            datetime.fromisoformat("2026-03-29T01:30:00+02:00"),
            "2026-03-27",
            id="F16 a zone in which it is still night",
        ),
    ],
)
def test_a_night_builds_the_utc_day_before(shop, at, day):
    tick = tick_schedule(shop, at)
    assert [request.partition_key for request in tick.run_requests] == ([day] if day else [])
    assert day or "is not in [partitions]" in tick.skip_message


def test_schedules_and_sensors_stand_still_unless_the_configuration_starts_them(shop):
    definitions = build_definitions(shop.settings)
    assert definitions.resolve_schedule_def("nightly_shop__home").default_status is dg.DefaultScheduleStatus.STOPPED
    assert definitions.resolve_sensor_def("raw_arrivals").default_status is dg.DefaultSensorStatus.STOPPED
    assert definitions.resolve_sensor_def("freshness").default_status is dg.DefaultSensorStatus.RUNNING
    assert "automation.watch" in tick_sensor(shop, "raw_arrivals").skip_message
    override = '[targets.automation]\nnightly = true\nwatch = true\ncron = "30 4 * * *"\ntimezone = "Europe/Berlin"\n'
    shop.configure(QUICK, targets=TARGETS + override)
    definitions = build_definitions(shop.settings)
    home, cart = (definitions.resolve_schedule_def(f"nightly_shop__{name}") for name in ("home", "cart"))
    assert (home.default_status, cart.default_status) == (
        dg.DefaultScheduleStatus.STOPPED,
        dg.DefaultScheduleStatus.RUNNING,
    )
    assert (cart.cron_schedule, cart.execution_timezone) == ("30 4 * * *", "Europe/Berlin")
    assert definitions.resolve_sensor_def("raw_arrivals").default_status is dg.DefaultSensorStatus.RUNNING


def test_f33_a_day_that_arrived_is_started_once_however_often_the_sensor_looks(shop):
    shop.configure(WATCHED)
    shop.write(ago(1), day_lines(ago(1)))
    first = tick_sensor(shop, "raw_arrivals")
    assert {(r.job_name, r.partition_key) for r in first.run_requests} == {
        ("build_shop__home", str(ago(1))),
        ("build_shop__cart", str(ago(1))),
    }
    assert all("arrived" in r.tags["recsys/why"] for r in first.run_requests)
    assert tick_sensor(shop, "raw_arrivals", first.cursor).run_requests == []
    without_memory = tick_sensor(shop, "raw_arrivals")
    assert {r.run_key for r in without_memory.run_requests} == {r.run_key for r in first.run_requests}
    for request in first.run_requests:
        assert shop.build(ago(1), job=request.job_name).success
    assert tick_sensor(shop, "raw_arrivals").run_requests == []


@pytest.mark.parametrize(
    ("exposures", "setting", "seconds"),
    [
        pytest.param("raw/{day}*.jsonl*", "", 30, id="files"),
        pytest.param("delta:lake", "", 30, id="a log that lists files"),
        pytest.param("adbc:SELECT '{day}'", "", 900, id="a warehouse"),
        pytest.param(
            "duckdb:SELECT '{day}'", "query_interval_minutes = 0.5\n", 30, id="a query as often as it was set"
        ),
        pytest.param("postgresql:events", "query_interval_minutes = 120\n", 7200, id="a table"),
    ],
)
def test_a_source_that_runs_a_query_is_checked_as_often_as_was_set(shop, exposures, setting, seconds):
    shop.configure(WATCHED)
    text = (
        (shop.folder / "recsys.toml")
        .read_text()
        .replace('exposures = "raw/{day}*.jsonl*"\n', f'exposures = "{exposures}"\n{setting}')
    )
    (shop.folder / "recsys.toml").write_text(text)
    sensor = build_definitions(shop.settings).resolve_sensor_def("raw_arrivals")
    assert sensor.minimum_interval_seconds == seconds


def test_f26_a_late_file_of_a_past_day_is_built_and_nothing_older_ships(shop):
    shop.configure(WATCHED)
    for back in (2, 1):
        shop.write(ago(back), day_lines(ago(back)))
        shop.run(ago(back))
    seen = tick_sensor(shop, "raw_arrivals").cursor
    before = shop.live()
    shop.write(ago(2), day_lines(ago(2), shift=1), name="-late")
    due = tick_sensor(shop, "raw_arrivals", seen).run_requests
    assert {r.partition_key for r in due} == {str(ago(2))}
    for request in due:
        assert shop.build(ago(2), job=request.job_name).success
    assert shop.live() == before


def test_f47_a_target_whose_file_cannot_be_read_does_not_hide_another(shop):
    shop.configure(WATCHED)
    text = (shop.folder / "recsys.toml").read_text().replace("{day}*.jsonl*", "{surface}/{day}.jsonl")
    (shop.folder / "recsys.toml").write_text(text)
    for surface in ("home", "cart"):
        (shop.folder / "raw" / surface).mkdir(parents=True)
        (shop.folder / "raw" / surface / f"{ago(1)}.jsonl").write_text("\n".join(day_lines(ago(1))) + "\n")
    (shop.folder / "raw" / "cart" / f"{ago(1)}.jsonl").unlink()
    (shop.folder / "raw" / "cart" / f"{ago(1)}.jsonl").symlink_to("nowhere")  # a file that fails to be read
    tick = tick_sensor(shop, "raw_arrivals")
    built = {r.job_name: shop.build(ago(1), job=r.job_name).success for r in tick.run_requests}
    assert built == {"build_shop__home": True, "build_shop__cart": False}, "the run of the other says what is wrong"


def test_runs_of_a_target_carry_what_the_queue_orders_and_limits_by(shop):
    override = "[targets.automation]\npriority = 5\n"
    shop.configure(QUICK, targets=TARGETS + override)
    definitions = build_definitions(shop.settings)
    assert definitions.resolve_job_def("build_shop__cart").tags == {
        "recsys/target": "shop/cart",
        "recsys/tenant": "shop",
        "dagster/priority": "5",
    }
    node = definitions.resolve_asset_graph().get(MANIFEST)
    assert node.pools == {"publish_shop__home"}


def test_freshness_is_recorded_without_a_run_and_again_only_when_it_changes(shop):
    shop.configure(QUICK + "[freshness]\nmax_age_hours = 24\n")
    red = tick_sensor(shop, "freshness")
    assert red.run_requests == []
    assert {(e.asset_key, e.check_name, e.passed) for e in red.asset_events} == {
        (dg.AssetKey(["live", "shop", "home"]), "fresh", False),
        (dg.AssetKey(["live", "shop", "cart"]), "fresh", False),
    }
    assert red.asset_events[0].metadata["cause"].value == "input_missing"
    assert tick_sensor(shop, "freshness", red.cursor).asset_events == []
    shop.write(ago(1), day_lines(ago(1)))
    shop.run(ago(1))
    green = tick_sensor(shop, "freshness", red.cursor)
    assert [e.passed for e in green.asset_events] == [True, True]
    assert green.asset_events[0].metadata["data_through"].value == str(ago(1))


def test_publishing_old_data_again_does_not_look_fresh(shop):
    shop.write(FIRST, day_lines(FIRST))
    shop.run(FIRST)
    shop.build(FIRST)
    (evaluation,) = [e for e in tick_sensor(shop, "freshness").asset_events if e.asset_key == LIVE]
    assert not evaluation.passed
    assert evaluation.metadata["data_through"].value == str(FIRST)


def test_the_build_of_a_day_does_not_judge_the_present(shop):
    shop.write(after(1), day_lines(after(1)))
    result = shop.build(after(1))
    assert result.success
    assert {evaluation.check_name for evaluation in result.get_asset_check_evaluations()} == {"gates", "rehearsal"}


def test_a_new_tenant_is_a_row_and_a_removed_one_keeps_what_it_serves(shop):
    shop.write(FIRST, day_lines(FIRST, targets=[HOME, Target("new", "home")]))
    shop.run(FIRST)
    live = shop.live()
    shop.configure(QUICK, targets='[[targets]]\ntenant = "new"\nsurface = "home"\n')
    keys = {k.to_user_string() for k in build_definitions(shop.settings).resolve_asset_graph().get_all_asset_keys()}
    assert "new/home/manifest" in keys
    assert "shop/home/manifest" not in keys
    assert shop.build(FIRST).success
    assert shop.live() == live


def test_the_badge_of_live_data_has_the_limit_of_the_check(shop):
    shop.configure(QUICK, targets=TARGETS + "[targets.freshness]\nmax_age_hours = 2\n")
    graph = build_definitions(shop.settings).resolve_asset_graph()
    policy = graph.get(dg.AssetKey(["live", "shop", "cart"])).freshness_policy
    assert policy.fail_window.to_timedelta() == timedelta(hours=2)
    assert [
        key for key in graph.get_all_asset_keys() if graph.get(key).freshness_policy and key.path[0] != "live"
    ] == []


def test_many_targets_are_looked_at_in_turn_and_none_twice_in_a_tick(shop):
    rows = [shop.settings.targets[0].model_copy(update={"tenant": f"t{n}"}) for n in range(250)]
    start, ticks = 0, []
    for _ in range(3):
        chosen, start = rotate(rows, start=start)
        ticks.append([row.tenant for row in chosen])
    assert [len(tick) for tick in ticks] == [100, 100, 100]
    assert {tenant for tick in ticks for tenant in tick} == {row.tenant for row in rows}
    assert rotate(rows[:3], start=2) == ([rows[2], rows[0], rows[1]], 2)
