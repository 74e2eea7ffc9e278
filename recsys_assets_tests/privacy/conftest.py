"""The shop that the tests of this folder forget a user in."""

import shutil

import pytest

from recsys_assets_tests.privacy.erasing import BAD_LINE, build
from recsys_assets_tests.small_shop import SmallShop, after, day_lines, open_shop


@pytest.fixture(scope="session")
def as_built(tmp_path_factory):
    """Two shipped days: the folder they were built in, as pointers name places, and a copy that no test writes to."""
    folder = tmp_path_factory.mktemp("privacy") / "shop"
    folder.mkdir()
    opened = open_shop(folder, None)  # nothing here needs Dagster
    opened.configure("[artifacts.implicit]\nwindow_days = 2\n")
    for n in range(2):
        opened.write(after(n), [*day_lines(after(n), shift=n), BAD_LINE])
        build(opened, after(n))
    return folder, shutil.copytree(folder, folder.with_name("as-built"))


@pytest.fixture
def shop(as_built):
    folder, copy = as_built
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    return SmallShop(folder, None)
