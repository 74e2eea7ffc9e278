"""Compilation of functions by numba: without the interpreter's lock, cached on disk per state of the sources."""

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

# `_nrt=False` disables reference counting, which took two thirds of the time. This is sound because these functions do
# not allocate arrays, and their callers keep every array alive until they return.
_LOCK = RLock()  # two threads may make the first call of the same code
_STARTED = time.time()
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}


def compiled(function: F) -> F:
    """Return `function`, compiled at its first call. It must not allocate: results go into arrays passed to it."""
    return cast("F", _Entry(lambda: _compile(function, {}), function))


def inlined(function: F) -> F:
    """Return `function`, inlined into each compiled caller. For small ones, where a call costs more than the work."""
    return cast("F", _LazyCompiled(lambda: _compile(function, {"forceinline": True}), function))


def borrowed(module: str, name: str) -> Any:
    """Return a placeholder for `name` of `module`, which is imported when compiled code first needs it."""
    return _LazyCompiled(lambda: getattr(import_module(module), name), None)


class _LazyCompiled:
    """Placeholder of compiled code, which is compiled at its first call: importing numba takes a second at startup.

    Until then, the globals of compiled functions are such placeholders. numba must see the real functions, so the first
    one that is compiled replaces the placeholders in its globals.
    """

    def __init__(self, make: Callable[[], Any], function: Callable[..., Any] | None) -> None:
        self._make = make
        self._function = function
        self._resolving: Any = None  # The code, before all that it calls is ready. Only used under the lock.
        self._ready: Any = None

    def __call__(self, *arguments: Any) -> Any:
        return self.ready()(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ready(), name)

    def ready(self) -> Any:
        """Return the code, after all that it calls is ready too."""
        if self._ready is None:
            with _LOCK:
                self._ready = self.resolved()
        return self._ready

    def resolved(self) -> Any:
        """Return the code, and replace the placeholders of all that it calls. Only under the lock."""
        if self._resolving is None:
            self._resolving = self._make()
            names = self._function.__code__.co_names if self._function else ()
            module: dict[str, Any] = self._function.__globals__ if self._function else {}
            for name in names:
                if isinstance(called := module.get(name), _LazyCompiled):
                    module[name] = called.resolved()
        return self._resolving


class _Entry(_LazyCompiled):
    """Compiled code that Python calls: as machine code that an earlier process cached, or else by numba."""

    def __init__(self, make: Callable[[], Any], function: Callable[..., Any]) -> None:
        super().__init__(make, function)
        self._source = function
        self._native: dict[Form, NativeFunction | None] = {}  # None: numba runs it
        self._kept: dict[Form, KeptFunction | None] = {}  # to be written once numba has compiled it

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
                from numba import typeof  # noqa: PLC0415 - see `_LazyCompiled`

                kept.keep(self.ready().overloads[tuple(map(typeof, arguments))])
        return result

    def _kept_function(self, form: Form) -> KeptFunction | None:
        folders = _folders_of(self._source)
        return None if _changed_since_start(folders) else KeptFunction.of(self._source, form, _digest(folders))


@cache
def _import_numba() -> None:
    """Import numba without scipy.linalg, which takes as long as numba itself and is only imported to see if it exists.

    An empty module replaces it during the import and is removed afterwards. Compiled code that needs linear algebra
    makes numba import the real one.
    """
    probed = "scipy.linalg.cython_blas"
    replaced = probed not in sys.modules and find_spec("scipy") is not None
    if replaced:
        sys.modules[probed] = ModuleType(probed)
    try:
        import_module("numba.np.arraymath")  # the module that probes
    finally:
        if replaced:
            del sys.modules[probed]


def _compile(function: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Compile by numba, with its cache on disk tied to the sources of all that the code may call.

    By itself, numba only checks the module of the function, so it would keep running outdated versions of called
    functions. Raises `ConfigurationError` if NUMBA_DISABLE_JIT is set.
    """
    _import_numba()
    from numba import config, njit  # noqa: PLC0415 - see `_LazyCompiled`

    if config.DISABLE_JIT:  # pyright: ignore[reportAttributeAccessIssue] - numba sets it at import
        raise ConfigurationError(
            "NUMBA_DISABLE_JIT is set, so nothing is compiled and a day takes hundreds of times as long: unset it"
        )
    folders = _folders_of(function)
    if _changed_since_start(folders):
        return njit(**{**_OPTIONS, "cache": False}, **options)(function)
    dispatcher: Any = njit(**_OPTIONS, **options)(function)
    digest = _digest(folders)
    file = dispatcher._cache._cache_file  # noqa: SLF001 - numba has no public access
    file._source_stamp = digest  # noqa: SLF001
    # Compared before unpickling: entries of other sources may refer to classes that no longer exist.
    file._version = f"{file._version} {digest}"  # noqa: SLF001
    return dispatcher


def _folders_of(function: Callable[..., Any]) -> tuple[Path, ...]:
    return tuple(sorted({Path(__file__).parent, Path(function.__code__.co_filename).parent}))


def _changed_since_start(folders: tuple[Path, ...]) -> bool:
    """Return whether sources are newer than this process, whose loaded code must not be cached under their digest."""
    return any(file.stat().st_ctime > _STARTED for file in _sources(folders))


def _sources(folders: tuple[Path, ...]) -> list[Path]:
    return [file for folder in folders for file in sorted(folder.glob("*.py"))]


@cache
def _digest(folders: tuple[Path, ...]) -> str:
    files = _sources(folders)
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
