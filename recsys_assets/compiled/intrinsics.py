"""LLVM intrinsics for compiled code: loads, comparisons and copies of words and vectors, and prefetch hints.

Imports numba, so other modules refer to these functions by `runtime.borrowed`.
"""

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.np.arrayobj import make_array

intrinsic: Any = extending.intrinsic
_WIDTH = 32  # width of a vector, in bytes
_VECTOR = ir.VectorType(ir.IntType(8), _WIDTH)
_BITS = ir.IntType(_WIDTH)
_READ, _KEEP, _DATA = (ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))  # parameters of llvm.prefetch


@intrinsic
def byte_at(_typing: Any, data: Any, _position: Any) -> Any:
    """Return the byte at a position, which must not be negative. Faster than `data[position]`, which allows it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(context, builder, signature.args[0], arguments, kind=ir.IntType(8))

    return types.uint8(data, types.int64), generate


@intrinsic
def load_word(_typing: Any, data: Any, _position: Any) -> Any:
    """Return the 8 bytes from a position on as a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(context, builder, signature.args[0], arguments, kind=ir.IntType(64))

    return types.uint64(data, types.int64), generate


@intrinsic
def find_special(_typing: Any, data: Any, _position: Any) -> Any:
    """Return a uint32: bit n is set if byte n from a position on is a quote, backslash, control or non-ASCII byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(context, builder, signature.args[0], arguments, kind=_VECTOR)
        quote, backslash, space = (ir.Constant(_VECTOR, [ord(c)] * _WIDTH) for c in '"\\ ')
        # As signed bytes, non-ASCII bytes are negative, and so also less than a space.
        special = builder.or_(
            builder.icmp_signed("<", block, space),
            builder.or_(builder.icmp_signed("==", block, quote), builder.icmp_signed("==", block, backslash)),
        )
        return builder.bitcast(special, _BITS)

    return types.uint32(data, types.int64), generate


@intrinsic
def find_newlines(_typing: Any, data: Any, _position: Any) -> Any:
    """Return a uint32: bit n is set if byte n from a position on is a newline."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        block = _load(context, builder, signature.args[0], arguments, kind=_VECTOR)
        newline = ir.Constant(_VECTOR, [ord("\n")] * _WIDTH)
        return builder.bitcast(builder.icmp_signed("==", block, newline), _BITS)

    return types.uint32(data, types.int64), generate


@intrinsic
def lowest_bit(_typing: Any, _bits: Any) -> Any:
    """Return the index of the lowest set bit of a uint32, or 32 if no bit is set."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _trailing_zeros(builder, arguments[0])

    return types.int64(types.uint32), generate


@intrinsic
def matching_bytes(_typing: Any, first: Any, _start: Any, second: Any, _other_start: Any) -> Any:
    """Return the number of leading bytes, up to 32, that are equal from two positions on."""

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


@intrinsic
def prefetch(_typing: Any, array: Any, _position: Any) -> Any:
    """Start loading the cache line of a position. Nothing is read, so an invalid position is harmless."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        parameters = [address.type, *(constant.type for constant in (_READ, _KEEP, _DATA))]
        kind = ir.FunctionType(ir.VoidType(), parameters)
        hint = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(hint, [address, _READ, _KEEP, _DATA])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def _trailing_zeros(builder: Any, bits: Any) -> Any:
    return builder.zext(builder.cttz(bits, ir.Constant(ir.IntType(1), 0)), ir.IntType(64))


def _load(context: Any, builder: Any, array: Any, arguments: Any, *, kind: Any) -> Any:
    """Emit an unaligned load of `kind` from a byte array."""
    return builder.load(_address(context, builder, array, arguments, kind=kind), align=1)


def _address(context: Any, builder: Any, array: Any, arguments: Any, *, kind: Any) -> Any:
    start = make_array(array)(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(start, [arguments[1]]), kind.as_pointer())
