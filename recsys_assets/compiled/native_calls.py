"""Calls of machine code by numba's calling convention, without numba: arguments as words, results from a buffer.

The convention (`CPUCallConv` of numba): a function takes the address for its result, the address for a description of
an error, then every argument as words, an array as seven or more of them and a tuple as those of its members; it
returns a status. `llvmlite`, numba's own binding to LLVM, loads the code in a tenth of the time that numba
takes to import.
"""

import ctypes
import struct
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Form = tuple[str, ...]  # types of arguments, tuples taken apart: code is compiled for one form

_DONE, _NOTHING_RETURNED = 0, -2  # states; others stand for errors
_BOUND = 1 << 63
_PLAIN = "biufmM"  # kinds of dtypes without parts
_WORDS: dict[str, tuple[Any, str]] = {  # of numbers: how each is passed, and its type in LLVM
    "<i8": (ctypes.c_int64, "i64"),
    "<u8": (ctypes.c_uint64, "i64"),
    "<u4": (ctypes.c_uint32, "i32"),
    "<f8": (ctypes.c_double, "double"),
    "|b1": (ctypes.c_uint8, "i8"),
}
_POINTER = (ctypes.c_int64, "ptr")
_LENGTH = (ctypes.c_int64, "i64")


class NativeResult(NamedTuple):
    """What a function returns: `layout` of its fields as `struct` has it, and the class of a named tuple of them."""

    layout: str
    made: Callable[[Sequence[Any]], Any] | None


class _ErrorRecord(ctypes.Structure):
    """What an error's description points to: its class and arguments, pickled when the function was compiled."""

    _fields_ = (("pickled", ctypes.c_void_p), ("size", ctypes.c_int32))


def flatten(value: Any, form: list[str], words: list[Any]) -> bool:
    """Add the types of an argument to `form` and its value to `words`; return whether it can be passed so."""
    kind = type(value)
    if kind is np.ndarray:
        return _flatten_array(value, form, words)
    if isinstance(value, tuple):
        form += ("plain" if kind is tuple else f"{kind.__module__}.{kind.__qualname__}", str(len(value)))
        return all(flatten(member, form, words) for member in value)
    if kind is int:
        form.append("<i8")
        words.append(value)
        return -_BOUND <= value < _BOUND
    dtype = "|b1" if kind is bool else value.dtype.str if isinstance(value, np.generic) else ""
    form.append(dtype)
    words.append(value if kind is bool else value.item() if dtype in _WORDS else None)
    return dtype in _WORDS


def _flatten_array(array: NDArray[Any], form: list[str], words: list[Any]) -> bool:
    """Add an array: two words for what owns it, which code that counts no references never looks at, then its own."""
    flags = array.flags
    layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    form.append(f"{layout}{array.ndim}{'w' if flags.writeable else 'r'}{array.dtype.str}")
    words += (0, 0, array.size, array.itemsize, array.ctypes.data, *array.shape, *array.strides)
    return array.dtype.kind in _PLAIN and flags.aligned


def llvm_types(form: Form) -> list[str]:
    """Return the types in LLVM of the words of a form, by which compiled code is compared with what is passed."""
    return [name for _, name in _passed(form)]


def _passed(form: Form) -> list[tuple[Any, str]]:
    passed: list[tuple[Any, str]] = []
    for part in form:
        if part in _WORDS:
            passed.append(_WORDS[part])
        elif part[0] in "CFA" and part[1:2].isdigit():
            passed += (_POINTER, _POINTER, _LENGTH, _LENGTH, _POINTER, *[_LENGTH] * (2 * int(part[1])))
    return passed


@cache
def engine() -> Any:
    """Return the engine that holds what was loaded; nothing is ever taken out of it."""
    from llvmlite import binding  # noqa: PLC0415 - 60 milliseconds, for those who compute something

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)


class NativeFunction:
    """Machine code for arguments of one form; called with their words, while the caller holds the arguments."""

    def __init__(self, code: bytes, symbol: str, form: Form, result: NativeResult) -> None:
        """Load object code in which nothing is missing: LLVM ends the process where a symbol is unknown."""
        from llvmlite import binding  # noqa: PLC0415 - as above

        engine().add_object_file(binding.ObjectFileRef.from_data(code))
        engine().finalize_object()
        kinds = [ctypes.c_void_p, ctypes.c_void_p, *(kind for kind, _ in _passed(form))]
        # Calls of this type let other threads go on meanwhile.
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(engine().get_function_address(symbol))
        self._fields = struct.Struct(f"={result.layout}")
        self._made = result.made

    def __call__(self, words: Sequence[Any]) -> Any:
        """Return the result; raise what the function raised, as numba does."""
        found = ctypes.create_string_buffer(max(8, self._fields.size))
        error = ctypes.POINTER(_ErrorRecord)()
        status = self._call(ctypes.addressof(found), ctypes.addressof(error), *words)
        if status not in {_DONE, _NOTHING_RETURNED}:
            raise _error(status, error)
        fields = self._fields.unpack_from(found)
        if self._made is not None:
            return self._made(fields)
        return fields[0] if fields else None


def _error(status: int, error: Any) -> BaseException:
    """Return the error that a function ended with."""
    from numba import cloudpickle  # noqa: PLC0415 - as above

    if status < 0 or not error:
        return SystemError(f"compiled code ended with status {status}")
    record = error.contents
    kind, arguments, _ = cloudpickle.loads(ctypes.string_at(record.pickled, record.size))
    return kind(*arguments)
