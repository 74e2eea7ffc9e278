"""The compiled scan of a blob's rows: each byte looked at once, any byte out of place named by its offset."""

from recsys_assets.raw.compiling import compiled, inlined
from recsys_assets.raw.interning import FULL, intern

OK, MISPLACED = 0, 1
_PROBLEM, _AT, _ROWS, _MEMBERS = 0, 1, 2, 3
_QUOTE, _BACKSLASH, _COMMA, _CLOSE, _POINT, _ZERO, _NINE = 34, 92, 44, 93, 46, 48, 57
_MAX_DIGITS = 16  # of a whole number: under 2 ** 53
_BAD = -1


# fmt: off
@compiled
def scan_body(text, start, stop, pieces, bounds, keyed, valued, scale, keys, members, row_keys, offsets, codes, values, state):  # noqa: ANN001, ANN201, C901, PLR0912, PLR0913, PLR0915, PLR0917, E501  # pyright: ignore[reportMissingParameterType]
    """Fill row keys, offsets, member codes and values; `state` ends as problem, offset of it, rows and members."""
    # fmt: on
    at, row, count = start, 0, 0
    offsets[0] = 0
    state[_PROBLEM] = MISPLACED
    while True:
        if keyed:
            if at == stop:
                break
            if row and (text[at] != _COMMA):
                state[_AT] = at
                return
            at += 1 if row else 0
            at = _expect(text, at, stop, pieces, bounds[0], bounds[1])
            end = _string_end(text, at, stop)
            if at == _BAD or end == _BAD:
                state[_AT] = max(at, 0)
                return
            code = intern(keys, 0, text, at + 1, end - at - 2)
            if code == FULL:
                state[_AT] = at
                return
            row_keys[row] = code
            at = _expect(text, end, stop, pieces, bounds[1], bounds[2])
            if at == _BAD:
                state[_AT] = end
                return
        first = count
        while at < stop and text[at] != _CLOSE:
            if count > first:
                if text[at] != _COMMA:
                    state[_AT] = at
                    return
                at += 1
            begin = at
            at = _expect(text, at, stop, pieces, bounds[3], bounds[4])
            end = _string_end(text, at, stop)
            if at == _BAD or end == _BAD:
                state[_AT] = begin
                return
            code = intern(members, 0, text, at + 1, end - at - 2)
            at = _expect(text, end, stop, pieces, bounds[4], bounds[5])
            if code == FULL or at == _BAD:
                state[_AT] = begin
                return
            if valued:
                end = _number_end(text, at, stop, scale, values, count)
                at = _expect(text, end, stop, pieces, bounds[5], bounds[6])
                if end == _BAD or at == _BAD:
                    state[_AT] = begin
                    return
            codes[count] = code
            count += 1
        row += 1
        offsets[row] = count
        if not keyed:
            break
        begin = at
        at = _expect(text, at, stop, pieces, bounds[2], bounds[3])
        if at == _BAD:
            state[_AT] = begin
            return
    state[_AT], state[_ROWS], state[_MEMBERS] = at, row, count
    if at == stop:
        state[_PROBLEM] = OK


@inlined
def _expect(text, at, stop, pieces, first, last):  # noqa: ANN001, ANN202, PLR0913, PLR0917  # pyright: ignore[reportMissingParameterType]
    """Return the offset behind a fixed text, or _BAD if it does not stand at `at`."""
    if at == _BAD or at + last - first > stop:
        return _BAD
    for n in range(first, last):
        if text[at] != pieces[n]:
            return _BAD
        at += 1
    return at


@inlined
def _string_end(text, at, stop):  # noqa: ANN001, ANN202  # pyright: ignore[reportMissingParameterType]
    """Return the offset behind the closing quote of the string that begins at `at`, or _BAD."""
    if at == _BAD or at >= stop or text[at] != _QUOTE:
        return _BAD
    at += 1
    while at < stop and text[at] != _QUOTE:
        at += 2 if text[at] == _BACKSLASH else 1
    return at + 1 if at < stop else _BAD


@inlined
def _number_end(text, at, stop, scale, values, place):  # noqa: ANN001, ANN202, PLR0913, PLR0917  # pyright: ignore[reportMissingParameterType]
    """Read a plain number in its shortest form into `values[place]`, in units of 1 / `scale`; return the offset behind."""
    begin, whole = at, 0
    while at < stop and _ZERO <= text[at] <= _NINE:
        whole = whole * 10 + (text[at] - _ZERO)
        at += 1
    if at == begin or at - begin > _MAX_DIGITS or (text[begin] == _ZERO and at - begin > 1):
        return _BAD
    value, unit = whole * scale, scale
    if at < stop and text[at] == _POINT:
        at += 1
        begin = at
        while at < stop and _ZERO <= text[at] <= _NINE:
            if unit < 10:
                return _BAD
            unit //= 10
            value += (text[at] - _ZERO) * unit
            at += 1
        if at == begin or text[at - 1] == _ZERO:
            return _BAD
    values[place] = value
    return at
