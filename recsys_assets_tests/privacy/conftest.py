"""The shop that the tests of this folder forget a user in."""

import pytest

from recsys_assets_tests.privacy.erasing import BAD_LINE, build
from recsys_assets_tests.small_shop import after, day_lines, open_shop


@pytest.fixture
def shop(tmp_path):
    opened = open_shop(tmp_path, None)  # nothing here needs Dagster
    opened.configure("[artifacts.implicit]\nwindow_days = 2\n")
    for n in range(2):
        opened.write(after(n), [*day_lines(after(n), shift=n), BAD_LINE])
        build(opened, after(n))
    return opened
