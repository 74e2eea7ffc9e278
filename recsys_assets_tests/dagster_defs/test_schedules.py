"""Days of the nightly schedule: ended in UTC, each named once, in every zone and over every change of clocks."""

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import dagster as dg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from dagster._utils.schedules import schedule_execution_time_iterator
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys_assets.dagster_defs.assemble import build_definitions, days_of_tick, signing_schedule
from recsys_assets.dagster_defs.private_api import CHECKED_VERSION
from recsys_assets.pipeline.context import open_configured_store
from recsys_assets.release.layout import signature_prefix
from recsys_assets.serving.testing import publish_fixture
from recsys_assets_tests.dagster_defs.test_automation import tick_schedule
from recsys_assets_tests.small_shop import HOME, open_shop

ZONES = sorted(available_timezones())
CRONS = ("0 1 * * *", "30 2 * * *", "0 0 * * *", "59 23 * * *", "15 12 * * *", "0 3 * * 1", "0 4 1 * *", "@daily")
SEVERAL_A_DAY = ("0 * * * *", "0 1,13 * * *", "*/20 2 * * *")


def ticks(start, cron, zone, count):
    found = schedule_execution_time_iterator(start.timestamp(), cron, zone)
    return list(islice(found, count))


def named(start, cron, zone, count):
    return [(tick, days_of_tick(tick, cron=cron, timezone=zone)) for tick in ticks(start, cron, zone, count)]


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    cron=st.sampled_from(CRONS),
    start=st.datetimes(datetime(2024, 1, 1), datetime(2027, 12, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_every_day_is_named_once_after_it_has_ended(zone, cron, start):
    found = named(start, cron, zone, 12)
    days = [day for _, some in found for day in some]
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(days))
    for tick, some in found:
        assert all(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1) <= tick for day in some)


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"]
)
@pytest.mark.parametrize("cron", CRONS[:5])
def test_no_day_is_left_out_or_named_twice_in_a_year_of_ticks(zone, cron):  # F64
    days = [day for _, some in named(datetime(2026, 1, 10, tzinfo=UTC), cron, zone, 365) for day in some]
    assert days == [days[0] + timedelta(days=n) for n in range(len(days))]
    assert len(days) >= 363


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/Los_Angeles"])
@pytest.mark.parametrize("cron", SEVERAL_A_DAY)
def test_several_ticks_a_day_build_the_newest_day_again(zone, cron):
    found = named(datetime(2026, 3, 20, tzinfo=UTC), cron, zone, 300)
    days = [day for _, some in found for day in some]
    assert set(days) == {days[0] + timedelta(days=n) for n in range((days[-1] - days[0]).days + 1)}
    assert days == sorted(days)
    again = [tick for tick, some in found if len(some) == 1 and days.count(some[0]) > 1]
    assert len({tick.astimezone(ZoneInfo(zone)).date() for tick in again}) > 5


def test_the_days_around_both_changes_of_clocks_in_berlin_are_built_by_the_schedule(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure('[artifacts]\nkinds = ["popularity"]\n[automation]\ntimezone = "Europe/Berlin"\n')
        for first in (date(2026, 3, 27), date(2026, 10, 23)):
            start = datetime(first.year, first.month, first.day, tzinfo=UTC)
            requested = [
                request.partition_key
                for tick in ticks(start, "0 1 * * *", "Europe/Berlin", 6)
                for request in tick_schedule(shop, tick).run_requests
            ]
            assert len(requested) >= 5
            begin = date.fromisoformat(requested[0])
            assert requested == [str(begin + timedelta(days=n)) for n in range(len(requested))]


def test_private_names_of_dagster_were_checked_with_the_version_that_is_installed():
    assert dg.__version__.startswith(f"{CHECKED_VERSION}."), "look at private_api.py, then name this version there"


@pytest.mark.parametrize(
    ("mode", "status", "apply"), [("report", "RUNNING", False), ("apply", "RUNNING", True), ("off", "STOPPED", False)]
)
def test_the_weekly_collection_reports_unless_it_is_to_collect(tmp_path, mode, status, apply):
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure(f'[retention]\ncollect = "{mode}"\nraw_days = 30\n')
        graph = build_definitions(shop.settings)
        found = graph.resolve_schedule_def("weekly_collection")
        tick = dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 1, 4, 4, tzinfo=UTC))
        (request,) = found.evaluate_tick(tick).run_requests
        assert (found.default_status.value, found.cron_schedule) == (status, "0 4 * * 0")
        assert request.run_config["ops"]["collect_targets"]["config"] == {"dry_run": not apply}
        done = graph.resolve_job_def(found.job_name).execute_in_process(
            instance=instance, raise_on_error=False, run_config=request.run_config
        )
        assert not done.success, "nothing is live here, so that nothing is collected"


def test_signatures_are_renewed_each_day_where_a_key_signs_and_a_pointer_of_others_is_not(tmp_path):
    secret = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "signing.pem").write_bytes(secret)
    with dg.DagsterInstance.ephemeral() as instance:
        shop = open_shop(tmp_path, instance)
        shop.configure()
        assert "renew_signatures" not in {one.name for one in build_definitions(shop.settings).schedules}
        shop.configure('[signing]\nkey = "file:signing.pem"\nvalid_days = 2\n')
        assert signing_schedule(shop.settings).cron_schedule == "23 * * * *"
        shop.configure('[signing]\nkey = "file:signing.pem"\n')
        graph = build_definitions(shop.settings)
        found = graph.resolve_schedule_def("renew_signatures")
        assert (found.default_status.value, found.cron_schedule) == ("RUNNING", "23 3 * * *")
        tick = dg.build_schedule_context(instance, scheduled_execution_time=datetime(2026, 1, 4, 4, tzinfo=UTC))
        (request,) = found.evaluate_tick(tick).run_requests
        store = open_configured_store(shop.settings)
        publish_fixture(store, "shop", "home", {"popularity": {"i1": 2}})
        (signature,) = store.list(signature_prefix(HOME))
        before = store.get(signature.key, max_bytes=signature.size).data

        def renew():
            job = graph.resolve_job_def(found.job_name)
            return job.execute_in_process(instance=instance, raise_on_error=False, run_config=request.run_config)

        assert renew().success
        assert store.get(signature.key, max_bytes=10_000).data != before, "it holds until later"
        store.delete(signature.key)
        assert not renew().success, "whoever can write to the store could have theirs signed"
