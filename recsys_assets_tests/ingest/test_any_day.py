"""Fuzzing of ingest: files, names, layouts, encodings, compressions and time zones of any kind, for a set time."""

import time
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings

from recsys_assets_tests.ingest.any_day import check_nothing_is_lost, days, put, read
from recsys_assets_tests.thoroughness import THOROUGH

SECONDS = 600 if THOROUGH else 0
EXAMPLES = 400 if SECONDS else 40


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(days())
def look_at_days(made):
    with TemporaryDirectory() as folder:
        put(folder, made)
        check_nothing_is_lost(made, *read(folder, made))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 300)
def test_what_is_counted_quarantined_or_named_is_all_that_was_there():  # F62
    end = time.monotonic() + SECONDS
    look_at_days()
    while time.monotonic() < end:
        look_at_days()
