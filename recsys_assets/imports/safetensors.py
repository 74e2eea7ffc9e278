"""Reader of safetensors: arrays by name as views of the input bytes, after their offsets were checked.

The `safetensors` package is used only by tests for comparison. Reading from bytes, it copies every array (62 MB take
0.035 s and 62 MB of memory, and here 0.0001 s and no memory, in alternating runs), cannot return the metadata, which
contains the envelope of our artifacts, and accepts a header of 100 MB.
"""

from itertools import pairwise
from math import prod
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from recsys_assets.decoders import decoder_of
from recsys_assets.errors import InputError
from recsys_assets.imports.contract import MAX_FIELDS

_MAX_HEADER: Final = 10_000_000
_LENGTH: Final = 8
_METADATA: Final = "__metadata__"
_DTYPES: Final = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "F16": "float16", "U32": "uint32",
    "I32": "int32", "F32": "float32", "U64": "uint64", "I64": "int64", "F64": "float64",
}  # fmt: skip


class _Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Header entry of one array."""

    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read_safetensors(data: bytes, *, name: str) -> dict[str, NDArray[Any]]:
    """Return the arrays by name, in the format of huggingface/safetensors.

    Raises `InputError` for an invalid header, a dtype that numpy lacks, or tensors that overlap or leave gaps.
    """
    header, start = _header(data, name=name)
    try:
        tensors = {n: decoder_of(_Tensor).decode(raw) for n, raw in header.items() if n != _METADATA}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name} is not a safetensors file: {error}; save it again") from error
    if len(tensors) > MAX_FIELDS:
        raise InputError(f"{name} has {len(tensors):,} arrays: at most {MAX_FIELDS:,}")
    _check_offsets(tensors, len(data) - start, name=name)
    try:
        return {n: _view(data, start, tensor) for n, tensor in tensors.items()}
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{name} has an array with a shape that numpy does not support: {error}; save it again"
        ) from error


def read_metadata(data: bytes, *, name: str) -> dict[str, str]:
    """Return the metadata of the file, empty if it has none.

    Raises `InputError` for an invalid header, or for metadata other than text values by text keys.
    """
    header, _ = _header(data, name=name)
    try:
        return msgspec.json.decode(header.get(_METADATA, b"{}"), type=dict[str, str])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name} has invalid metadata: {error}; save it again") from error


def _header(data: bytes, *, name: str) -> tuple[dict[str, msgspec.Raw], int]:
    """Return the raw entries of the header, and the offset of its end."""
    size = int.from_bytes(data[:_LENGTH], "little")
    start = _LENGTH + size
    if len(data) < _LENGTH or size > _MAX_HEADER or start > len(data):
        raise InputError(f"{name} is not a safetensors file: its header of {size:,} bytes is too long; save it again")
    try:
        return msgspec.json.decode(data[_LENGTH:start], type=dict[str, msgspec.Raw]), start
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{name} is not a safetensors file: {error}; save it again") from error


def _check_offsets(tensors: dict[str, _Tensor], size: int, *, name: str) -> None:
    for tensor_name, tensor in tensors.items():
        begin, end = tensor.data_offsets
        if tensor.dtype not in _DTYPES or min((0, *tensor.shape)) < 0:
            raise InputError(
                f"{name}: {tensor_name} is {tensor.dtype}{tensor.shape}: expected one of {', '.join(_DTYPES)}"
            )
        if end - begin != prod(tensor.shape) * np.dtype(_DTYPES[tensor.dtype]).itemsize:
            raise InputError(f"{name}: {tensor_name} is stored in {begin}..{end}, which is not the size of its shape")
    spans = sorted(tensor.data_offsets for tensor in tensors.values())
    borders = [(0, 0), *spans, (size, size)]
    if any(before[1] != after[0] for before, after in pairwise(borders)):
        raise InputError(f"{name}: its arrays overlap or leave unused bytes: save it again")


def _view(data: bytes, start: int, tensor: _Tensor) -> NDArray[Any]:
    dtype = np.dtype(_DTYPES[tensor.dtype]).newbyteorder("<")
    values = np.frombuffer(data, dtype, count=prod(tensor.shape), offset=start + tensor.data_offsets[0])
    return values.reshape(tensor.shape)
