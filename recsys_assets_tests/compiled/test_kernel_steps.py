"""Rows are dealt to their groups by one compiled function, whoever made the columns."""

import numpy as np
import pytest

from recsys_assets.compiled import kernel_steps


def column(values, *, writeable):
    """A column as Polars gives it: to be read only if it is of one chunk, else a copy."""
    array = np.array(values, np.uint32)
    array.flags.writeable = writeable
    return array


@pytest.mark.parametrize("groups_writeable", [False, True])
@pytest.mark.parametrize("values_writeable", [False, True])
def test_columns_of_one_chunk_and_of_several_run_the_same_code(groups_writeable, values_writeable):
    groups = column([1, 0, 1], writeable=groups_writeable)
    values = column([7, 8, 9], writeable=values_writeable)
    assert kernel_steps.deal(groups, values, places=np.array([0, 1]), size=3).tolist() == [8, 7, 9]
    assert kernel_steps.count_codes(groups, size=2, repeats=values).tolist() == [8, 16]
    for code in (kernel_steps._deal, kernel_steps._count):
        assert [one.mutable for signature in code.signatures for one in signature[:2]].count(True) == 0
    assert (groups.flags.writeable, values.flags.writeable) == (groups_writeable, values_writeable)  # left as it was
