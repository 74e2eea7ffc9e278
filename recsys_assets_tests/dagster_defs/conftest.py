"""A webhook on a real server."""

import pytest

from recsys_assets_tests.inbox import open_inbox


@pytest.fixture
def inbox():
    with open_inbox() as server:
        yield server
