"""Calls of machine code by numba's calling convention, without importing numba.

The convention (`CPUCallConv` of numba): a function takes the address for its result, the address for a description of
an error, and then every argument as machine words. An array is passed as seven or more words, a tuple as the words of
its members. The function returns a status. `llvmlite`, numba's own binding to LLVM, loads the code in a tenth of the
time that importing numba takes.
"""

import ctypes
import mmap
import struct
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Form = tuple[str, ...]  # Types of the arguments, with flattened tuples. Code is compiled for one form.

_DONE, _NOTHING_RETURNED = 0, -2  # Statuses. All others are errors.
_BOUND = 1 << 63
_PLAIN = "biufmM"  # `dtype.kind` of scalar types
_C_ORDER, _F_ORDER, _ALIGNED, _WRITEABLE = 0x1, 0x2, 0x100, 0x400  # bits of `flags.num`
_TYPE_FLAGS = _C_ORDER | _F_ORDER | _ALIGNED | _WRITEABLE
_UNSUPPORTED = ""
_HEAD = object.__basicsize__  # bytes with which every Python object begins
_WORDS: dict[str, tuple[Any, str]] = {  # by dtype: the type in ctypes and in LLVM
    "<i8": (ctypes.c_int64, "i64"),
    "<u8": (ctypes.c_uint64, "i64"),
    "<u4": (ctypes.c_uint32, "i32"),
    "<f8": (ctypes.c_double, "double"),
    "|b1": (ctypes.c_uint8, "i8"),
}
_POINTER = (ctypes.c_int64, "ptr")
_LENGTH = (ctypes.c_int64, "i64")


class NativeResult(NamedTuple):
    """Result type of a function: the `struct` format of its fields, and the constructor if it is a named tuple."""

    layout: str
    made: Callable[[Sequence[Any]], Any] | None


class _ErrorRecord(ctypes.Structure):
    """Description of an error: its class and arguments, pickled when the function was compiled."""

    _fields_ = (("pickled", ctypes.c_void_p), ("size", ctypes.c_int32))


def flatten(value: Any, form: list[str], words: list[Any]) -> bool:
    """Append the types of an argument to `form` and its value to `words`. Returns whether it can be passed."""
    kind = type(value)
    if kind is np.ndarray:
        return _flatten_array(value, form, words)
    if isinstance(value, tuple):
        form += (_tuple_type(kind), str(len(value)))
        return all(flatten(member, form, words) for member in value)
    if kind is int:
        form.append("<i8")
        words.append(value)
        return -_BOUND <= value < _BOUND
    dtype = "|b1" if kind is bool else value.dtype.str if isinstance(value, np.generic) else ""
    form.append(dtype)
    words.append(value if kind is bool else value.item() if dtype in _WORDS else None)
    return dtype in _WORDS


@cache
def _tuple_type(kind: type) -> str:
    return "plain" if kind is tuple else f"{kind.__module__}.{kind.__qualname__}"


def _flatten_array(array: NDArray[Any], form: list[str], words: list[Any]) -> bool:
    """Append an array: two unused words for its owner (code without reference counts ignores them), then its own."""
    form.append(_array_type(array.dtype, array.ndim, array.flags.num & _TYPE_FLAGS))
    words += (0, 0, array.size, array.itemsize, _address(array), *array.shape, *array.strides)
    return form[-1] != _UNSUPPORTED


@cache
def _array_type(dtype: np.dtype[Any], ndim: int, flags: int) -> str:
    """Return the form of arrays of a type. Each call of compiled code asks for that of every array."""
    if dtype.kind not in _PLAIN or not flags & _ALIGNED:
        return _UNSUPPORTED
    layout = "C" if flags & _C_ORDER else "F" if flags & _F_ORDER else "A"
    return f"{layout}{ndim}{'w' if flags & _WRITEABLE else 'r'}{dtype.str}"


def _address_in_object(array: NDArray[Any]) -> int:
    """Return the address of an array's data: the first field of numpy's array object after its head."""
    return ctypes.c_size_t.from_address(id(array) + _HEAD).value


def _address_by_numpy(array: NDArray[Any]) -> int:
    return array.ctypes.data


_PROBE = np.empty(1)
# `ctypes.data` takes six times as long: two thirds of all that a call of compiled code costs in Python.
_address = _address_in_object if _address_in_object(_PROBE) == _PROBE.ctypes.data else _address_by_numpy


def llvm_types(form: Form) -> list[str]:
    """Return the LLVM types of the words of a form, to compare them with the parameters of compiled code."""
    return [name for _, name in _parameters(form)]


def _parameters(form: Form) -> list[tuple[Any, str]]:
    parameters: list[tuple[Any, str]] = []
    for part in form:
        if part in _WORDS:
            parameters.append(_WORDS[part])
        elif part[0] in "CFA" and part[1:2].isdigit():
            parameters += (_POINTER, _POINTER, _LENGTH, _LENGTH, _POINTER, *[_LENGTH] * (2 * int(part[1])))
    return parameters


@cache
def engine() -> Any:
    """Return the LLVM engine with the loaded code, which is never unloaded."""
    from llvmlite import binding  # noqa: PLC0415 - takes 60 ms, only for processes that compute

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    machine = binding.Target.from_default_triple().create_target_machine()
    return binding.create_mcjit_compiler(binding.parse_assembly(""), machine)


class NativeFunction:
    """Machine code for arguments of one form. The caller must keep the arguments alive during a call."""

    def __init__(self, code: bytes, symbol: str, form: Form, result: NativeResult) -> None:
        """Load object code. All its symbols must be known, because LLVM aborts the process otherwise."""
        from llvmlite import binding  # noqa: PLC0415 - as above

        engine().add_object_file(binding.ObjectFileRef.from_data(code))
        engine().finalize_object()
        kinds = [ctypes.c_void_p, ctypes.c_void_p, *(kind for kind, _ in _parameters(form))]
        _release_pages()
        # Calls of this type release the interpreter's lock.
        self._call = ctypes.CFUNCTYPE(ctypes.c_int32, *kinds)(engine().get_function_address(symbol))
        self._fields = struct.Struct(f"={result.layout}")
        self._construct = result.made

    def __call__(self, words: Sequence[Any]) -> Any:
        """Return the result for the words of the arguments. Raises the errors of the function, as numba does."""
        buffer = ctypes.create_string_buffer(max(8, self._fields.size))
        error = ctypes.POINTER(_ErrorRecord)()
        status = self._call(ctypes.addressof(buffer), ctypes.addressof(error), *words)
        if status not in {_DONE, _NOTHING_RETURNED}:
            raise _error(status, error)
        fields = self._fields.unpack_from(buffer)
        if self._construct is not None:
            return self._construct(fields)
        return fields[0] if fields else None


def _release_pages() -> None:
    """Unmap the pages of LLVM's own code, 80 MB that its start has touched and that calls of loaded code do not use.

    They are read from the file again when more code is loaded. Does nothing on systems without /proc.
    """
    system = ctypes.CDLL(None)
    for start, size in _llvm_code():
        system.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


@cache
def _llvm_code() -> list[tuple[int, int]]:
    """Return addresses and sizes of the mapped code of LLVM, which nobody writes to: its pages equal the file's."""
    try:
        mappings = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    bounds = [line.split()[0].split("-") for line in mappings if " r-xp " in line and "libllvmlite" in line]
    return [(int(start, 16), int(end, 16) - int(start, 16)) for start, end in bounds]


def _error(status: int, error: Any) -> BaseException:
    """Return the exception that a function raised."""
    from numba import cloudpickle  # noqa: PLC0415 - as above

    if status < 0 or not error:
        return SystemError(f"compiled code returned the status {status}")
    record = error.contents
    kind, arguments, _ = cloudpickle.loads(ctypes.string_at(record.pickled, record.size))
    return kind(*arguments)
