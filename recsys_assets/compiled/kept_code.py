"""Cache files of machine code that numba compiled, so that later processes can call it without importing numba.

A file contains one function for arguments of one form (`native_calls.Form`), without unresolved symbols other than
those of the C library. Its first line is the SHA-256 of the rest. The second line is a JSON header with the digest of
everything that the code depends on: sources, versions, processor and settings. A damaged file, or one with another
digest, is ignored, and written again when numba has compiled the function.
"""

import hashlib
import os
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec

from recsys_assets.compiled.native_calls import Form, NativeFunction, NativeResult, llvm_types

_FOLDER = "NUMBA_CACHE_DIR"
_SWITCH = "NUMBA_DISABLE_JIT"
# Symbols that object code may leave to the process: the C library of every interpreter has them.
_KNOWN_SYMBOLS = frozenset({"bcmp", "memcmp", "memcpy", "memmove", "memset", "sqrt"})
_SYMBOL_TABLE = 2  # section type of ELF (SHT_SYMTAB)


class _KeptHeader(msgspec.Struct, frozen=True):
    """The second line of a cache file."""

    made_of: str
    symbol: str
    layout: str


class KeptFunction(NamedTuple):
    """Cache entry of a function for arguments of one form. `made_of` is the digest of all that the code depends on."""

    function: Callable[..., Any]
    form: Form
    made_of: str

    @classmethod
    def of(cls, function: Callable[..., Any], form: Form, sources: str) -> "KeptFunction | None":
        """Return the entry for `sources`, the digest of the sources, or None if only numba may run the function."""
        machine = _machine()
        if machine is None:
            return None
        parts = (function.__module__, function.__qualname__, repr(form), sources, machine)
        return cls(function, form, hashlib.sha256("\0".join(parts).encode()).hexdigest())

    def load(self) -> NativeFunction | None:
        """Return the function from the first folder with a valid file, None if there is none."""
        for folder in self._folders():
            with suppress(OSError, msgspec.MsgspecError):
                if (function := self._decode((folder / self._name).read_bytes())) is not None:
                    return function
        return None

    def keep(self, overload: Any) -> None:
        """Write the code of `overload` to the first writable folder, unless it has unresolved symbols."""
        compiled = _object_code(overload, self.form)
        if compiled is None or _result(self.function, compiled[1].layout) is None:
            return
        code, header = compiled
        rest = msgspec.json.encode(msgspec.structs.replace(header, made_of=self.made_of)) + b"\n" + code
        for folder in self._folders():
            with suppress(OSError):
                _write(folder / self._name, hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
                return

    @property
    def _name(self) -> str:
        """File name, which does not depend on the sources, so that new code replaces old code."""
        function = self.function
        digest = hashlib.sha256(f"{self.form}\0{_machine()}".encode()).hexdigest()
        return f"{function.__module__}.{function.__qualname__}.{digest[:16]}.code"

    def _folders(self) -> Iterator[Path]:
        """Yield the cache folders in numba's order: the configured one, or else next to the sources and the user's."""
        if chosen := os.environ.get(_FOLDER):
            yield Path(chosen, "recsys_assets")
            return
        yield Path(self.function.__code__.co_filename).parent / "__pycache__"
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - does not raise
        if Path(home).is_absolute():
            yield Path(home, "recsys_assets")

    def _decode(self, content: bytes) -> NativeFunction | None:
        digest, _, rest = content.partition(b"\n")
        if digest != hashlib.sha256(rest).hexdigest().encode():
            return None
        line, _, code = rest.partition(b"\n")
        header = msgspec.json.decode(line, type=_KeptHeader)
        result = _result(self.function, header.layout)
        if header.made_of != self.made_of or result is None:
            return None
        return NativeFunction(code, header.symbol, self.form, result)


@cache
def _machine() -> str | None:
    """Return the versions of Python, LLVM and numba, the processor and numba's settings. None disables this cache.

    It is disabled if numba is missing or NUMBA_DISABLE_JIT is set, even to 0, so that both ways can be compared. The
    version of numba is read from its file, because the purpose of this cache is not to import numba.
    """
    from llvmlite import __version__, binding  # noqa: PLC0415 - late, as in `native_calls`

    spec = find_spec("numba")
    version = Path(spec.origin).with_name("_version.py") if spec is not None and spec.origin else None
    if _SWITCH in os.environ or version is None or not version.exists():
        return None
    settings = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_") and item[0] != _FOLDER)
    features = binding.get_host_cpu_features().flatten()
    parts = (sys.implementation.cache_tag, binding.get_default_triple(), binding.get_host_cpu_name(), features)
    return "\0".join(map(str, (*parts, __version__, version.read_text(encoding="utf-8"), settings)))


def _result(function: Callable[..., Any], layout: str) -> NativeResult | None:
    """Return the conversion of results with this layout, or None if it does not match the function's annotation."""
    if len(layout) <= 1:
        return NativeResult(layout, None)
    returned = function.__annotations__.get("return")
    fields = getattr(returned, "_fields", ())
    return NativeResult(layout, cast("Any", returned)._make) if len(fields) == len(layout) else None


def _object_code(overload: Any, form: Form) -> tuple[bytes, _KeptHeader] | None:
    """Return an overload as self-contained object code, or None if it calls functions of numba or has other arguments.

    It is made from the code that numba optimised, without the wrapper for calls from Python, which needs the
    interpreter and numba.
    """
    from llvmlite import binding  # noqa: PLC0415 - late, as in `native_calls`

    library, symbol = overload.library, overload.fndesc.llvm_func_name
    layout = _layout(overload.signature.return_type)
    module = binding.parse_bitcode(library._get_module_for_linking().as_bitcode())  # noqa: SLF001 - numba has no way
    for part in (*module.functions, *module.global_variables):
        if not part.is_declaration:
            part.linkage = "external" if part.name == symbol else "internal"
    machine = library._codegen._tm  # noqa: SLF001 - as above
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, binding.create_pass_builder(machine, binding.PipelineTuningOptions()))
    parameters = [_type(argument.type) for argument in module.get_function(symbol).arguments]
    if layout is None or parameters != ["ptr", "ptr", *llvm_types(form)]:
        return None
    code = machine.emit_object(module)
    missing = _undefined(code)
    return (code, _KeptHeader("", symbol, layout)) if missing is not None and missing <= _KNOWN_SYMBOLS else None


def _type(llvm_type: Any) -> str:
    return "ptr" if llvm_type.is_pointer else str(llvm_type)


def _layout(returned: Any) -> str | None:
    """Return the `struct` format of a numba type, or None if it does not consist of integers or a bool."""
    letters = {"none": "", "int64": "q", "uint64": "Q", "bool": "?"}
    if str(returned) in letters:
        return letters[str(returned)]
    members = [str(member) for member in getattr(returned, "types", ())]
    return "q" * len(members) if members and set(members) == {"int64"} else None


def _undefined(code: bytes) -> set[str] | None:
    """Return the undefined symbols of a little-endian 64-bit ELF object file, or None for any other file."""
    if code[:6] != b"\x7fELF\x02\x01":
        return None
    start, size, count = *struct.unpack_from("<Q", code, 40), *struct.unpack_from("<HH", code, 58)
    sections = [struct.unpack_from("<IIQQQQI", code, start + size * number) for number in range(count)]
    missing = set[str]()
    for _, kind, _, _, at, length, link in sections:
        if kind == _SYMBOL_TABLE:
            names = code[sections[link][4] :]
            for name, _, section in struct.iter_unpack("<IHH16x", code[at : at + length]):
                if name and not section:
                    missing.add(names[name : names.index(b"\0", name)].decode())
    return missing


def _write(path: Path, content: bytes) -> None:
    """Write a file atomically, because other processes may read and write it concurrently."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
