"""The machine's widest loads for compiled code: 8 bytes as a word to hash, 32 as a vector to search, compare and copy.

Every array that is passed must have `part.PADDING` readable bytes behind the last position asked for. Words are
little-endian, as on every machine that numba compiles for.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from recsys_assets.raw.compiling import inlined

Bytes = NDArray[np.uint8]

intrinsic: Any = extending.intrinsic

# WORD_MASKS[n] keeps the first n bytes of a word.
WORD_MASKS = np.array([(1 << (8 * n)) - 1 for n in range(9)], dtype=np.uint64)
_MULTIPLIER = np.uint64(0x9E37_79B9_7F4A_7C15)  # 2**64 / golden ratio: spreads low bits over high ones
_HALF = np.uint64(32)
_WIDTH = 32  # of a vector, in bytes


@inlined
def hash_bytes(data: Bytes, start: int, length: int) -> np.uint64:
    """Return 64 well-mixed bits of `data[start : start + length]`, the same for the same bytes on every run."""
    mixed = np.uint64(length) * _MULTIPLIER
    offset = 0
    while offset < length:
        word = load_word(data, start + offset) & WORD_MASKS[min(8, length - offset)]
        mixed = (mixed ^ word) * _MULTIPLIER
        mixed ^= mixed >> _HALF
        offset += 8
    return mixed


@inlined
def equal_bytes(first: Bytes, start: int, second: Bytes, other_start: int, length: int) -> bool:
    """Tell whether two spans of `length` bytes are the same."""
    offset = 0
    while offset < length:
        same = matching_bytes(first, start + offset, second, other_start + offset)
        if same < min(_WIDTH, length - offset):
            return False
        offset += _WIDTH
    return True


@inlined
def copy_bytes(source: Bytes, start: int, target: Bytes, position: int, length: int) -> None:
    """Copy a span; up to a vector's width of bytes behind its end in `target` is overwritten too."""
    offset = 0
    while offset < length:
        copy_vector(source, start + offset, target, position + offset)
        offset += _WIDTH


@intrinsic
def byte_at(_typing: Any, data: Any, _position: Any) -> Any:
    """Return the byte at a position that is not negative; `data[position]` spends time on those that are."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(context, builder, signature.args[0], arguments, kind=ir.IntType(8))

    return types.uint8(data, types.int64), generate


@intrinsic
def load_word(_typing: Any, data: Any, _position: Any) -> Any:
    """Return the 8 bytes at a position as a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(context, builder, signature.args[0], arguments, kind=ir.IntType(64))

    return types.uint64(data, types.int64), generate


@intrinsic
def find_special(_typing: Any, data: Any, _position: Any) -> Any:
    """Return a uint32: bit n is set where byte n from a position on is a quote, a backslash, a control or not ASCII."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(context, builder, signature.args[0], arguments, kind=_VECTOR)
        quote, backslash, space = (ir.Constant(_VECTOR, [ord(c)] * _WIDTH) for c in '"\\ ')
        # As signed bytes, what is not ASCII is negative, and so less than a space too.
        special = builder.or_(
            builder.icmp_signed("<", block, space),
            builder.or_(builder.icmp_signed("==", block, quote), builder.icmp_signed("==", block, backslash)),
        )
        return builder.bitcast(special, _BITS)

    return types.uint32(data, types.int64), generate


@intrinsic
def find_newlines(_typing: Any, data: Any, _position: Any) -> Any:
    """Return a uint32 with bit n set where byte n from a position on is a newline."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(context, builder, signature.args[0], arguments, kind=_VECTOR)
        newline = ir.Constant(_VECTOR, [ord("\n")] * _WIDTH)
        return builder.bitcast(builder.icmp_signed("==", block, newline), _BITS)

    return types.uint32(data, types.int64), generate


@intrinsic
def lowest_bit(_typing: Any, _bits: Any) -> Any:
    """Return the index of the lowest set bit of a uint32; 32 if none is."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _trailing_zeros(builder, arguments[0])

    return types.int64(types.uint32), generate


@intrinsic
def matching_bytes(_typing: Any, first: Any, _start: Any, second: Any, _other_start: Any) -> Any:
    """Return how many bytes from two positions on are the same, up to 32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left = _load(context, builder, signature.args[0], arguments[:2], kind=_VECTOR)
        right = _load(context, builder, signature.args[2], arguments[2:], kind=_VECTOR)
        return _trailing_zeros(builder, builder.bitcast(builder.icmp_signed("!=", left, right), _BITS))

    return types.int64(first, types.int64, second, types.int64), generate


@intrinsic
def copy_vector(_typing: Any, source: Any, _start: Any, target: Any, _position: Any) -> Any:
    """Copy 32 bytes from one position to another."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(context, builder, signature.args[0], arguments[:2], kind=_VECTOR)
        builder.store(block, _address(context, builder, signature.args[2], arguments[2:], kind=_VECTOR), align=1)
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), generate


_VECTOR = ir.VectorType(ir.IntType(8), _WIDTH)
_BITS = ir.IntType(_WIDTH)


def _trailing_zeros(builder: Any, bits: Any) -> Any:
    return builder.zext(builder.cttz(bits, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))


def _load(context: Any, builder: Any, array: Any, arguments: Any, *, kind: Any) -> Any:
    """Emit an unaligned load of `kind` from a byte array."""
    return builder.load(_address(context, builder, array, arguments, kind=kind), align=1)


def _address(context: Any, builder: Any, array: Any, arguments: Any, *, kind: Any) -> Any:
    start = make_array(array)(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(start, [arguments[1]]), kind.as_pointer())
