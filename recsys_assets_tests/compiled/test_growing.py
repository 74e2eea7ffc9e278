"""Growing arrays: what was put in, in its order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recsys_assets.compiled.arrays import Growing


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=9), max_size=12))
def test_an_array_holds_what_was_put_in(pieces):
    column = Growing(np.int64)
    for piece in pieces:
        column.append(np.array(piece, np.int64))
    assert column.array().tolist() == [value for piece in pieces for value in piece]
    assert column.array().dtype == np.int64
