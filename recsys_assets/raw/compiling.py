"""How functions are compiled: without the interpreter's lock, once for each state of the sources, kept beside them."""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

# `_nrt=False`: without counting references, which took two thirds of the time. Sound because functions compiled so
# allocate no array, and their callers hold every array that they pass until they return.
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}


def compiled(function: F) -> F:
    """Return `function` compiled at its first call; it must allocate nothing: results go into arrays passed in."""
    return _kept(function, njit(**_OPTIONS)(function))


def inlined(function: F) -> F:
    """Return `function` compiled into each caller: for the small ones, where a call costs more than the work."""
    return _kept(function, njit(**_OPTIONS, forceinline=True)(function))


def _kept(function: F, dispatcher: Any) -> F:
    """Tie compiled code that is kept on disk to the sources of all it may call, not of its own module alone.

    numba looks at the module of the function only, and would go on running what it called before that was changed.
    """
    folders = {Path(__file__).parent, Path(function.__code__.co_filename).parent}
    dispatcher._cache._cache_file._source_stamp = _digest(tuple(sorted(folders)))  # noqa: SLF001 - numba has no way
    return dispatcher


@cache
def _digest(folders: tuple[Path, ...]) -> str:
    files = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
