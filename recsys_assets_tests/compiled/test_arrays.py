"""Memory from the system: zero, writable, as large as asked for, and taken up only where it is written to."""

import resource

import numpy as np
import pytest

from recsys_assets.compiled.arrays import fresh_bytes, fresh_zeros


@pytest.mark.parametrize("shape", [(0, 4), (3, 5), (2, 1 << 18)], ids=["empty", "small", "of the system"])
def test_zeros_are_zero_and_can_be_written(shape: tuple[int, int]) -> None:
    zeros = fresh_zeros(shape, np.uint64)

    assert (zeros.shape, zeros.dtype, int(zeros.sum())) == (shape, np.uint64, 0)
    zeros += np.uint64(1)
    assert int(zeros.sum()) == shape[0] * shape[1]


def test_bytes_are_searched_and_sliced_like_a_bytearray() -> None:
    buffer = fresh_bytes(10)
    buffer[2:5] = b"a\nb"

    assert (buffer.rfind(b"\n", 0, 5), buffer[2:5], bytes(buffer[5:])) == (3, b"a\nb", bytes(5))


def test_room_that_is_never_written_costs_no_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    rooms = [fresh_bytes(1 << 32), fresh_zeros((1 << 29,), np.uint64)]

    assert len(rooms) == 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (1 << 20)
