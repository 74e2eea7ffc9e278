"""Compilation of functions: without the interpreter's lock, once for each state of the sources, kept beside them."""

import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, TypeVar, cast

from recsys_assets.compiled.kept_code import KeptFunction
from recsys_assets.compiled.native_calls import Form, NativeFunction, flatten
from recsys_assets.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])

# `_nrt=False`: without counting references, which took two thirds of the time. Sound because functions compiled so
# allocate no array, and their callers hold every array that they pass until they return.
_LOCK = RLock()  # two threads may call the same code first
_STARTED = time.time()
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}


def compiled(function: F) -> F:
    """Return `function` compiled at its first call; it must allocate nothing: results go into arrays passed in."""
    return cast("F", _Entry(lambda: _kept(function, {}), function))


def inlined(function: F) -> F:
    """Return `function` compiled into each caller: for the small ones, where a call costs more than the work."""
    return cast("F", _Later(lambda: _kept(function, {"forceinline": True}), function))


def borrowed(module: str, name: str) -> Any:
    """Return what compiled code calls as `name` of a module that is imported when it is first needed."""
    return _Later(lambda: getattr(import_module(module), name), None)


class _Later:
    """Compiled code that is made ready when it is first called: numba takes a second to import, most of a start.

    Until then the globals of compiled functions hold such placeholders for one another; numba must see what they stand
    for, so whoever is made ready first puts the real ones into its place.
    """

    def __init__(self, make: Callable[[], Any], function: Callable[..., Any] | None) -> None:
        self._make = make
        self._function = function
        self._found: Any = None  # what stands under the lock, before all that it calls does
        self._made: Any = None

    def __call__(self, *arguments: Any) -> Any:
        return self.ready()(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ready(), name)

    def ready(self) -> Any:
        """Return the code; all that it calls is ready then too."""
        if self._made is None:
            with _LOCK:
                self._made = self.resolved()
        return self._made

    def resolved(self) -> Any:
        """Return the code, and put it and all that it calls into their places; only under the lock."""
        if self._found is None:
            self._found = self._make()
            names = self._function.__code__.co_names if self._function else ()
            known: dict[str, Any] = self._function.__globals__ if self._function else {}
            for name in names:
                if isinstance(called := known.get(name), _Later):
                    known[name] = called.resolved()
        return self._found


class _Entry(_Later):
    """Compiled code that is called from Python: as machine code where an earlier process kept it, else by numba."""

    def __init__(self, make: Callable[[], Any], function: Callable[..., Any]) -> None:
        super().__init__(make, function)
        self._written = function
        self._native: dict[Form, NativeFunction | None] = {}  # None: numba has it
        self._kept: dict[Form, KeptFunction | None] = {}  # what is to be kept when numba has made it

    def __call__(self, *arguments: Any) -> Any:
        form: list[str] = []
        words: list[Any] = []
        if not all(flatten(argument, form, words) for argument in arguments):
            return super().__call__(*arguments)
        key = tuple(form)
        if key not in self._native:
            with _LOCK:
                if key not in self._native:
                    self._kept[key] = kept = self._kept_function(key)
                    self._native[key] = None if kept is None else kept.load()
        native = self._native[key]
        if native is not None:
            return native(words)
        result = super().__call__(*arguments)
        if (kept := self._kept.pop(key, None)) is not None:
            with _LOCK:
                from numba import typeof  # noqa: PLC0415 - see `_Later`

                kept.keep(self.ready().overloads[tuple(map(typeof, arguments))])
        return result

    def _kept_function(self, form: Form) -> KeptFunction | None:
        folders = _folders_of(self._written)
        return None if _changed_since_start(folders) else KeptFunction.of(self._written, form, _digest(folders))


@cache
def _import_numba() -> None:
    """Import numba without scipy.linalg, which it loads only to see whether it is there: as long as itself.

    An empty module stands for what it looks at, and is gone again when numba is there: compiled code that does need
    linear algebra makes numba import the true one.
    """
    looked_at = "scipy.linalg.cython_blas"
    stands_in = looked_at not in sys.modules and find_spec("scipy") is not None
    if stands_in:
        sys.modules[looked_at] = ModuleType(looked_at)
    try:
        import_module("numba.np.arraymath")  # this is what looks
    finally:
        if stands_in:
            del sys.modules[looked_at]


def _kept(function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Tie compiled code that is kept on disk to the sources of all it may call, not of its own module alone.

    numba looks at the module of the function only, and would go on running what it called before that was changed.
    """
    _import_numba()
    from numba import config, njit  # noqa: PLC0415 - see `_Later`

    if config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue] - numba makes it at import
        raise ConfigurationError(
            "NUMBA_DISABLE_JIT is set, so that nothing is compiled: a day takes hundreds of times as long; unset it"
        )
    folders = _folders_of(function)
    if _changed_since_start(folders):
        return njit(**{**_OPTIONS, "cache": False}, **options)(function)
    dispatcher: Any = njit(**_OPTIONS, **options)(function)
    digest = _digest(folders)
    kept = dispatcher._cache._cache_file  # noqa: SLF001 - numba has no way
    kept._source_stamp = digest  # noqa: SLF001
    # Compared before anything is unpickled: what other sources kept may name classes that are gone.
    kept._version = f"{kept._version} {digest}"  # noqa: SLF001
    return dispatcher


def _folders_of(function: Callable[..., Any]) -> tuple[Path, ...]:
    return tuple(sorted({Path(__file__).parent, Path(function.__code__.co_filename).parent}))


def _changed_since_start(folders: tuple[Path, ...]) -> bool:
    """Return whether sources are newer than this process: what it has loaded must not be kept under their digest."""
    return any(file.stat().st_ctime > _STARTED for file in _sources(folders))


def _sources(folders: tuple[Path, ...]) -> list[Path]:
    return [file for folder in folders for file in sorted(folder.glob("*.py"))]


@cache
def _digest(folders: tuple[Path, ...]) -> str:
    files = _sources(folders)
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
