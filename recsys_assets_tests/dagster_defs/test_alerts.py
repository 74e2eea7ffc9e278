"""Alerts: a webhook on a real server of failed runs and stale targets, Prometheus of every run that ends."""

import json

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from recsys_assets.dagster_defs.alerts import WEBHOOK, WEBHOOK_SENSOR, alert_sensors
from recsys_assets.dagster_defs.freshness import SENSOR, freshness_sensor
from recsys_assets.dagster_defs.run_store import RunStore
from recsys_assets.observability.build_metrics import BUILD_HELP
from recsys_assets.observability.export_metrics import export_metrics
from recsys_assets.release.layout import webhook_key
from recsys_assets_tests.inbox import address
from recsys_assets_tests.small_shop import CART, FIRST, HOME, after, day_lines, open_shop

ONE_KIND = "[artifacts]\nkinds = ['popularity']\n"
METRICS = '[metrics]\nfolder = "metrics"\n'
ENDS = {dg.DagsterEventType.RUN_SUCCESS.value, dg.DagsterEventType.RUN_FAILURE.value}


@pytest.fixture
def shop(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        opened = open_shop(tmp_path, instance)
        opened.configure(ONE_KIND + METRICS)
        yield opened


def sensor(shop, name):
    rows = shop.settings.targets
    store = RunStore(shop.settings)
    known = [*alert_sensors(shop.settings, store, rows), freshness_sensor(shop.settings, store, rows)]
    return next(one for one in known if one.name == name)


def evaluate(shop, result, name):
    """Evaluate a sensor on how a run ended, as the daemon does."""
    run = shop.instance.get_run_by_id(result.run_id)
    event = next(one for one in reversed(result.all_events) if one.event_type_value in ENDS)
    context = dg.build_run_status_sensor_context(
        sensor_name=name, dagster_instance=shop.instance, dagster_run=run, dagster_event=event
    )
    chosen = sensor(shop, name)
    return chosen(context.for_run_failure() if name == "run_failure_webhook" else context)


def samples(shop):
    text = "".join(path.read_text() for path in sorted((shop.folder / "metrics").glob("*.prom")))
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(one.name, *(value for _, value in sorted(one.labels.items()))): one.value for one in found}


def spoilt(day):
    return [line.replace('"v": 1', '"v": 9') if n % 2 else line for n, line in enumerate(day_lines(day))]


def test_a_failed_run_is_reported_to_the_webhook_with_its_reason(shop, inbox, monkeypatch):
    monkeypatch.setenv(WEBHOOK, address(inbox))
    shop.write(FIRST, spoilt(FIRST))
    evaluate(shop, shop.build(FIRST), "run_failure_webhook")
    ((path, body),) = inbox.received
    message = json.loads(body)
    assert path == "/hook"
    assert message["event"] == "run_failed"
    assert message["day"] == str(FIRST)
    assert "max_bad_share" in message["text"]


def test_a_webhook_that_hangs_up_makes_the_tick_red_too(shop, inbox, monkeypatch):
    monkeypatch.setenv(WEBHOOK, address(inbox))
    inbox.hangs_up = True
    shop.write(FIRST, spoilt(FIRST))
    with pytest.raises(dg.Failure, match="RemoteDisconnected"):
        evaluate(shop, shop.build(FIRST), "run_failure_webhook")


def test_a_webhook_that_refuses_makes_the_tick_red_and_keeps_its_address_secret(shop, inbox, monkeypatch):
    monkeypatch.setenv(WEBHOOK, address(inbox))
    inbox.refuses = True
    shop.write(FIRST, spoilt(FIRST))
    with pytest.raises(dg.Failure, match="503") as error:
        evaluate(shop, shop.build(FIRST), "run_failure_webhook")
    assert "/hook" not in str(error.value)


def test_the_sensor_sends_which_targets_turned_stale_once(shop, inbox, monkeypatch):
    monkeypatch.setenv(WEBHOOK, address(inbox))
    chosen = sensor(shop, WEBHOOK_SENSOR)
    inbox.refuses = True
    context = dg.build_sensor_context(instance=shop.instance)
    assert "503" in chosen.evaluate_tick(context).skip_message
    inbox.received.clear()
    inbox.refuses = False
    for target in (HOME, CART):
        shop.store.delete(webhook_key(target, "environment"))  # it would be left alone for a while
    for _ in range(2):
        chosen.evaluate_tick(context)
    message = [json.loads(body) for _, body in inbox.received]
    assert sorted((one["event"], one["target"], one["cause"]) for one in message) == [
        ("target_stale", "shop/cart", "input_missing"),
        ("target_stale", "shop/home", "input_missing"),
    ]


def test_the_check_of_freshness_is_evaluated_without_a_webhook(shop, monkeypatch):
    monkeypatch.delenv(WEBHOOK, raising=False)
    context = dg.build_sensor_context(instance=shop.instance)
    assert len(sensor(shop, SENSOR).evaluate_tick(context).asset_events) == 2


def test_the_sensors_run_only_where_there_is_a_receiver(shop, monkeypatch):
    def running():
        return {
            one.name
            for one in alert_sensors(shop.settings, RunStore(shop.settings), shop.settings.targets)
            if one.default_status.value == "RUNNING"
        }

    monkeypatch.delenv(WEBHOOK, raising=False)
    assert running() == {"metrics_of_success", "metrics_of_failure"}
    shop.configure()
    monkeypatch.setenv(WEBHOOK, "http://127.0.0.1:1/")
    assert running() == {"run_failure_webhook", "webhooks"}


def test_a_run_that_ships_is_reported_with_age_rows_bytes_seconds_and_verdicts(shop):
    shop.configure(f"[artifacts]\nkinds = ['popularity', 'cooc']\n{METRICS}")
    shop.write(FIRST, day_lines(FIRST))
    evaluate(shop, shop.build(FIRST), "metrics_of_success")
    found = samples(shop)
    assert found["recsys_build_run_success", "home", "shop"] == 1
    assert found["recsys_build_run_seconds", "home", "shop"] > 0
    assert found["recsys_build_data_through_timestamp_seconds", "home", "shop"] == 1767312000  # 2026-01-02T00:00Z
    assert found["recsys_build_last_attempt", "done", "home", "shop"] == 1
    assert found["recsys_build_last_attempt", "refused", "home", "shop"] == 0
    assert found["recsys_build_artifact_rows", "popularity", "home", "shop"] == 4
    assert found["recsys_build_artifact_bytes", "popularity", "home", "shop"] > 100
    assert found["recsys_build_gates", "cooc", "home", "shop", "refused"] == 0
    assert found["recsys_build_gates", "canonical", "home", "shop", "passed"] > 3
    of_imports = {name for name in BUILD_HELP if "test" in name}
    assert {name for name, *_ in found} == set(BUILD_HELP) - of_imports, "every metric that is described is reported"


def test_a_run_that_fails_is_reported_and_what_is_live_still_is(shop):
    shop.write(FIRST, day_lines(FIRST))
    evaluate(shop, shop.build(FIRST), "metrics_of_success")
    shop.write(after(1), spoilt(after(1)))
    evaluate(shop, shop.build(after(1)), "metrics_of_failure")
    found = samples(shop)
    assert found["recsys_build_run_success", "home", "shop"] == 0
    assert found["recsys_build_gates", "canonical", "home", "shop", "refused"] == 1
    assert found["recsys_build_data_through_timestamp_seconds", "home", "shop"] == 1767312000


def test_targets_beyond_the_cap_have_no_series(shop):
    shop.configure(f"{ONE_KIND}{METRICS}max_targets = 1\n")
    shop.write(FIRST, day_lines(FIRST))
    evaluate(shop, shop.build(FIRST), "metrics_of_success")
    assert {path.name for path in (shop.folder / "metrics").iterdir()} == {
        "recsys_shop__home.store.prom",
        "recsys_shop__home.run.prom",
    }


def test_the_numbers_are_pushed_by_target_and_a_gateway_that_refuses_fails_no_run(shop, inbox):
    gateway = f"http://127.0.0.1:{inbox.server_port}/"
    shop.configure(f'{ONE_KIND}[metrics]\npush = "{gateway}"\n')
    shop.write(FIRST, day_lines(FIRST))
    result = shop.build(FIRST)
    evaluate(shop, result, "metrics_of_success")
    assert [path for path, _ in inbox.received] == [
        f"/metrics/job/recsys_assets/part/{part}/target/shop__{target.surface}"
        for target in (HOME, CART)
        for part in ("store", "run")
    ]
    inbox.refuses = True
    rows = shop.settings.targets
    faults = export_metrics(shop.store, shop.settings, rows, day=FIRST, run=None, now=shop.live().updated_at)
    assert [fault.partition(":")[0] for fault in faults] == ["shop/home", "shop/cart"]
    assert all("503" in fault for fault in faults)
