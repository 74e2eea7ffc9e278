"""Top-k selection in a total order: value descending, then code ascending, which is the order of ids. Compiled."""

from typing import NamedTuple

from recsys_assets.compiled.runtime import inlined
from recsys_assets.compiled.strings import Codes, Numbers


class Best(NamedTuple):
    """A heap of the best entries so far, whose root is the worst of them. The length of the arrays is its capacity."""

    values: Numbers
    codes: Codes


@inlined
def offer(best: Best, size: int, value: int, code: int) -> int:
    """Keep an entry if it is among the best. Returns the new size of the heap."""
    if size < len(best.values):
        _rise(best, size, value, code)
        return size + 1
    if value > best.values[0] or (value == best.values[0] and code < best.codes[0]):
        _sink(best, size, value, code)
    return size


@inlined
def drain(best: Best, size: int, values: Numbers, codes: Codes, at: int) -> None:
    """Write the kept entries to `values` and `codes` from index `at` on, best first, and empty the heap."""
    for left in range(size - 1, -1, -1):
        values[at + left] = best.values[0]
        codes[at + left] = best.codes[0]
        _sink(best, left, best.values[left], best.codes[left])


@inlined
def _rise(best: Best, position: int, value: int, code: int) -> None:
    """Insert an entry at the free position at the end, and move better entries above it down."""
    while position > 0:
        parent = (position - 1) >> 1
        parent_value, parent_code = best.values[parent], best.codes[parent]
        if parent_value < value or (parent_value == value and parent_code >= code):
            break
        best.values[position], best.codes[position] = parent_value, parent_code
        position = parent
    best.values[position], best.codes[position] = value, code


@inlined
def _sink(best: Best, size: int, value: int, code: int) -> None:
    """Replace the root of a heap of `size` by an entry, and move worse entries below it up."""
    position = 0
    while 2 * position + 1 < size:
        child = 2 * position + 1
        other = child + 1
        if other < size and (
            best.values[other] < best.values[child]
            or (best.values[other] == best.values[child] and best.codes[other] > best.codes[child])
        ):
            child = other
        child_value, child_code = best.values[child], best.codes[child]
        if value < child_value or (value == child_value and code >= child_code):
            break
        best.values[position], best.codes[position] = child_value, child_code
        position = child
    best.values[position], best.codes[position] = value, code
