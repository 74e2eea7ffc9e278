"""What the tests of the kernels share."""

import pytest
from hypothesis import settings

from recsys_assets.config.inputs import LimitSettings

# The first call of a compiled function takes seconds where it is not yet in the cache: no example has a deadline.
settings.register_profile("kernels", deadline=None, max_examples=50)
settings.load_profile("kernels")


@pytest.fixture(scope="session")
def unlimited():
    return LimitSettings()
