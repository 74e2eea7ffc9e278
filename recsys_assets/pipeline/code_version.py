"""Version of the code behind an asset: a hash of what its functions do and of the parameters that reach them.

It changes with a statement, a constant or a parameter, and with nothing else: names of variables, functions, modules
and files, comments, docstrings, annotations and layout are left out. Functions of ours that are called are followed.
"""

import ast
import builtins
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

OURS: Final = __name__.partition(".")[0]
_PLAIN = (bool, int, float, str, bytes, type(None))


def code_version(*functions: Callable[..., Any], params: Mapping[str, object]) -> str:
    """Return the hash of these functions, what they call, and `params`: 16 hexadecimal digits."""
    code = [_code(function) for function in functions]
    text = json.dumps([code, params], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def source_of(function: Callable[..., Any]) -> tuple[str, int]:
    """Return the file and the line where a function is written."""
    code = _plain(function).__code__
    return code.co_filename, code.co_firstlineno


@cache
def _code(function: Callable[..., Any]) -> str:
    root = _plain(function).__module__.partition(".")[0]
    return _CodeWalk({OURS, root}).digest(_plain(function))


def _plain(function: Any) -> Any:
    """Return a function as it was written, before and after it was compiled: by us, or by numba."""
    if isinstance(function, type):
        return function
    known = vars(function)
    return known.get("_function") or known.get("py_func") or function


class _CodeWalk:
    """One walk over functions and classes that call one another; each is hashed once."""

    def __init__(self, packages: set[str]) -> None:
        self._packages = packages
        self._digests: dict[int, str] = {}

    def digest(self, found: Any) -> str:
        """Return the hash of a function or class and of all that it names; of one under way, where it stands."""
        if id(found) not in self._digests:
            self._digests[id(found)] = f"under way {len(self._digests)}"
            node = _node(found)
            known = vars(sys.modules[found.__module__])
            text = repr(found.__name__) if node is None else "\n".join(self._tokens(node, known, {}))
            self._digests[id(found)] = hashlib.sha256(text.encode()).hexdigest()
        return self._digests[id(found)]

    def _tokens(self, node: ast.AST, known: Mapping[str, Any], local: dict[str, int]) -> Iterator[str]:
        """Yield what a piece of syntax does, names of its own by the order in which they come."""
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "type_comment", "type_params", "decorator_list", "ctx", "kind"}:
                continue
            parts = value if isinstance(value, list) else [value]
            for part in parts[1:] if name == "body" and _is_docstring(parts) else parts:
                if isinstance(part, ast.AST):
                    yield from self._tokens(part, known, local)
                elif isinstance(part, str) and _is_name(node, name):
                    yield self._meaning(part, known, local)
                elif part is not None:
                    yield f"{name}={part!r}"

    def _meaning(self, name: str, known: Mapping[str, Any], local: dict[str, int]) -> str:
        if name in local or name not in known:
            return f"builtin {name}" if hasattr(builtins, name) else f"name {local.setdefault(name, len(local))}"
        found = known[name]
        if isinstance(found, ModuleType):
            return f"module {found.__name__}"
        if isinstance(found, _PLAIN) or (isinstance(found, (tuple, frozenset)) and _is_plain(found)):
            return f"constant {sorted(map(repr, found)) if isinstance(found, frozenset) else found!r}"
        plain = _plain(found) if hasattr(found, "__dict__") else found
        if isinstance(plain, (FunctionType, type)):
            home = str(plain.__module__)
            ours = home.partition(".")[0] in self._packages
            return f"code {self.digest(plain)}" if ours else f"other {home}.{plain.__qualname__}"
        return "value"  # of whatever type: what stands for compiled code has another one before its first call


def _is_plain(values: Any) -> bool:
    return all(isinstance(value, _PLAIN) or (isinstance(value, tuple) and _is_plain(value)) for value in values)


def _is_name(node: ast.AST, field: str) -> bool:
    """Return whether a text in the syntax is a name that its writer chose freely."""
    return (type(node), field) in {
        (ast.Name, "id"),
        (ast.arg, "arg"),
        (ast.FunctionDef, "name"),
        (ast.ClassDef, "name"),
        (ast.Global, "names"),
        (ast.Nonlocal, "names"),
    }


def _is_docstring(body: list[Any]) -> bool:
    first = body[0] if body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _node(found: Any) -> ast.AST | None:
    """Return the syntax of a function or class, or None if nobody can read it, as of one that was generated."""
    file = getattr(sys.modules.get(found.__module__), "__file__", None)
    if not file or not file.endswith(".py"):
        return None
    return _nodes(file).get(found.__qualname__)


@cache
def _nodes(file: str) -> dict[str, ast.AST]:
    tree = ast.parse(Path(file).read_bytes())
    return {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
