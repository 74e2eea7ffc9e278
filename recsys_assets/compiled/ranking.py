"""The best of many, in total order: value descending, then code ascending, which is the order of ids; compiled."""

from typing import NamedTuple

from recsys_assets.compiled.runtime import inlined
from recsys_assets.compiled.strings import Codes, Numbers


class Best(NamedTuple):
    """A heap of the best met so far, its root the worst of them; as many as the arrays are long are kept."""

    values: Numbers
    codes: Codes


@inlined
def offer(best: Best, size: int, value: int, code: int) -> int:
    """Keep a value if it is among the best; return how many are kept now."""
    if size < len(best.values):
        _rise(best, size, value, code)
        return size + 1
    if value > best.values[0] or (value == best.values[0] and code < best.codes[0]):
        _sink(best, size, value, code)
    return size


@inlined
def drain(best: Best, size: int, values: Numbers, codes: Codes, at: int) -> None:
    """Write what is kept to `values` and `codes` from `at` on, best first, and leave the heap empty."""
    for left in range(size - 1, -1, -1):
        values[at + left] = best.values[0]
        codes[at + left] = best.codes[0]
        _sink(best, left, best.values[left], best.codes[left])


@inlined
def _rise(best: Best, place: int, value: int, code: int) -> None:
    """Put an entry at a free place at the end, and move better ones above it down."""
    while place > 0:
        parent = (place - 1) >> 1
        parent_value, parent_code = best.values[parent], best.codes[parent]
        if parent_value < value or (parent_value == value and parent_code >= code):
            break
        best.values[place], best.codes[place] = parent_value, parent_code
        place = parent
    best.values[place], best.codes[place] = value, code


@inlined
def _sink(best: Best, size: int, value: int, code: int) -> None:
    """Put an entry in the root's place in a heap of `size`, and move worse ones below it up."""
    place = 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        other = child + 1
        if other < size and (
            best.values[other] < best.values[child]
            or (best.values[other] == best.values[child] and best.codes[other] > best.codes[child])
        ):
            child = other
        child_value, child_code = best.values[child], best.codes[child]
        if value < child_value or (value == child_value and code >= child_code):
            break
        best.values[place], best.codes[place] = child_value, child_code
        place = child
    best.values[place], best.codes[place] = value, code
