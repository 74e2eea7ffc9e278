"""npz archives: arrays by name, read by numpy once every header is proven within bounds, and nothing ever unpickled."""

import sys
import zipfile
import zlib
from io import BytesIO
from math import prod
from tokenize import TokenError
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from recsys_assets.errors import InputError, LimitExceededError
from recsys_assets.imports.contract import MAX_FIELDS

_ENDING: Final = ".npy"
_MAX_HEADER: Final = 10_000
_COMPRESSIONS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# numpy reads a header as Python text, and lets through what its tokenizer and parser say of text that is none.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    OverflowError,
    OSError,
    EOFError,
    RuntimeError,
    SyntaxError,
    TokenError,
)


def read_npz(data: bytes, *, name: str, max_unpacked_bytes: int) -> dict[str, NDArray[Any]]:
    """Return the arrays of an archive by name.

    Raises `LimitExceededError` before anything is unpacked that says it is too large, `InputError` for what is no
    archive of plain arrays: objects would have to be unpickled, which runs what the file says.
    """
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            members = archive.infolist()
            _check_sizes(members, name=name, max_unpacked_bytes=max_unpacked_bytes)
            for member in members:
                _check_member(archive, member)
        if len({member.filename for member in members}) < len(members):
            raise InputError(f"{name} has two arrays of one name: give each a name of its own")
        with np.load(BytesIO(data), allow_pickle=False, max_header_size=_MAX_HEADER) as arrays:
            return dict(arrays)
    except _BROKEN as error:
        raise InputError(
            f"{name} is no npz of plain arrays: {error}; save it by numpy.savez, without objects"
        ) from error


def _check_sizes(members: list[zipfile.ZipInfo], *, name: str, max_unpacked_bytes: int) -> None:
    if len(members) > MAX_FIELDS:
        raise LimitExceededError(f"{name} has {len(members):,} arrays: at most {MAX_FIELDS:,}")
    size = sum(member.file_size for member in members)
    if size > max_unpacked_bytes:
        raise LimitExceededError(f"{name} unpacks to {size:,} bytes, max_unpacked_bytes allows {max_unpacked_bytes:,}")


def _check_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Raise `ValueError` for an array that is not plain, or whose header promises other bytes than there are.

    numpy allocates what a header promises before it reads: a file of 200 bytes can ask for 512 GiB.
    """
    if member.compress_type not in _COMPRESSIONS:  # the others take the size of their window from the file
        raise ValueError(f"{member.filename!r} is compressed as numpy compresses nothing")
    if not member.filename.endswith(_ENDING):
        raise ValueError(f"{member.filename!r} does not end with {_ENDING}")
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream, max_header_size=_MAX_HEADER)
        size = member.file_size - stream.tell()
    if dtype.hasobject or dtype.kind not in "biufcSUmM" or dtype.itemsize == 0:
        raise ValueError(f"{member.filename} has dtype {dtype}: expected numbers, booleans, times or text")
    if not all(0 <= axis <= sys.maxsize for axis in shape):
        raise ValueError(f"{member.filename} has shape {shape}")
    if size != prod(shape) * dtype.itemsize:
        raise ValueError(f"{member.filename} has {size} bytes, its header promises {prod(shape) * dtype.itemsize}")
