"""A hint to the processor to fetch what will be read soon, for compiled code that jumps about in large arrays."""

from typing import Any

from llvmlite import ir
from numba import extending, types
from numba.np.arrayobj import make_array

intrinsic: Any = extending.intrinsic
_READ, _KEEP, _DATA = (ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))


@intrinsic
def prefetch(_typing: Any, array: Any, _position: Any) -> Any:
    """Begin to load the cache line of a position; nothing is read, so that no position can do harm."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        address = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        parameters = [address.type, *(constant.type for constant in (_READ, _KEEP, _DATA))]
        kind = ir.FunctionType(ir.VoidType(), parameters)
        hint = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        builder.call(hint, [address, _READ, _KEEP, _DATA])
        return context.get_dummy_value()

    return types.void(array, types.int64), generate
