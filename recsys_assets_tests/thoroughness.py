"""Numbers of random examples: few in `make test`, all of them where THOROUGH is set, as `make check` does."""

import os

from hypothesis import settings

THOROUGH = bool(os.environ.get("THOROUGH"))


def examples(number, *, few=None):
    """Try so many examples, or `few`, by default a quarter, where the tests are not to be thorough."""
    return settings(max_examples=number if THOROUGH else few or number // 4)
