"""Fixtures that the tests of the kernels share."""

import pytest

from recsys_assets.settings.inputs import LimitSettings


@pytest.fixture(scope="session")
def unlimited():
    return LimitSettings()
