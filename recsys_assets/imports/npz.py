"""npz archives: arrays by name, each header read and each byte unpacked within a bound, and nothing ever unpickled."""

import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from tokenize import TokenError
from typing import IO, Any, Final

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
            found = dict(_arrays(archive, members))
    except _BROKEN as error:
        raise InputError(
            f"{name} is no npz of plain arrays: {error}; save it by numpy.savez, without objects"
        ) from error
    if len(found) < len(members):
        raise InputError(f"{name} has two arrays of one name: give each a name of its own")
    return found


def _check_sizes(members: list[zipfile.ZipInfo], *, name: str, max_unpacked_bytes: int) -> None:
    if len(members) > MAX_FIELDS:
        raise LimitExceededError(f"{name} has {len(members):,} arrays: at most {MAX_FIELDS:,}")
    size = sum(member.file_size for member in members)
    if size > max_unpacked_bytes:
        raise LimitExceededError(f"{name} unpacks to {size:,} bytes, max_unpacked_bytes allows {max_unpacked_bytes:,}")


def _arrays(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Iterator[tuple[str, NDArray[Any]]]:
    for member in members:
        if member.compress_type not in _COMPRESSIONS:  # the others take the size of their window from the file
            raise ValueError(f"{member.filename!r} is compressed as numpy compresses nothing")
        if not member.filename.endswith(_ENDING):
            raise ValueError(f"{member.filename!r} does not end with {_ENDING}")
        with archive.open(member) as stream:
            yield member.filename.removesuffix(_ENDING), _array(stream, member)


def _array(stream: IO[bytes], member: zipfile.ZipInfo) -> NDArray[Any]:
    """Return one array, if its header promises exactly the bytes that are there: the archive has bounded those."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(stream, max_header_size=_MAX_HEADER)
    if dtype.hasobject or dtype.kind not in "biufcSUmM":
        raise ValueError(f"{member.filename} has dtype {dtype}: expected numbers, booleans, times or text")
    content = stream.read()
    count = 1
    for axis in shape:
        count *= axis
    if len(content) != count * dtype.itemsize:
        raise ValueError(f"{member.filename} has {len(content)} bytes, its header promises {count * dtype.itemsize}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
