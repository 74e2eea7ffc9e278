"""Version of the code of an asset: a hash of its functions and of the parameters they receive.

It changes with a statement, a constant or a parameter, and with nothing else: names of variables, functions, modules
and files, comments, docstrings, annotations and layout are ignored. Calls of our own functions are followed.
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
    """Return the hash of these functions, of all that they call, and of `params`: 16 hexadecimal digits."""
    code = [_code(function) for function in functions]
    text = json.dumps([code, params], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def source_of(function: Callable[..., Any]) -> tuple[str, int]:
    """Return the file and line of a function's definition."""
    code = _plain(function).__code__
    return code.co_filename, code.co_firstlineno


@cache
def _code(function: Callable[..., Any]) -> str:
    root = _plain(function).__module__.partition(".")[0]
    return _CodeWalk({OURS, root}).digest(_plain(function))


def _plain(function: Any) -> Any:
    """Return the Python function behind one that was compiled by this package or by numba, and any other as it is."""
    if isinstance(function, type):
        return function
    attributes = vars(function)
    return attributes.get("_function") or attributes.get("py_func") or function


class _CodeWalk:
    """One traversal of functions and classes that refer to one another. Each is hashed once."""

    def __init__(self, packages: set[str]) -> None:
        self._packages = packages
        self._digests: dict[int, str] = {}

    def digest(self, definition: Any) -> str:
        """Return the hash of a function or class and of all that it refers to. In a cycle, its position is returned."""
        if id(definition) not in self._digests:
            self._digests[id(definition)] = f"under way {len(self._digests)}"
            node = _node(definition)
            scope = vars(sys.modules[definition.__module__])
            text = repr(definition.__name__) if node is None else "\n".join(self._tokens(node, scope, {}))
            self._digests[id(definition)] = hashlib.sha256(text.encode()).hexdigest()
        return self._digests[id(definition)]

    def _tokens(self, node: ast.AST, scope: Mapping[str, Any], local: dict[str, int]) -> Iterator[str]:
        """Yield the tokens of a syntax tree. Local names are replaced by their order of appearance."""
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "type_comment", "type_params", "decorator_list", "ctx", "kind"}:
                continue
            parts = value if isinstance(value, list) else [value]
            for part in parts[1:] if name == "body" and _is_docstring(parts) else parts:
                if isinstance(part, ast.AST):
                    yield from self._tokens(part, scope, local)
                elif isinstance(part, str) and _is_name(node, name):
                    yield self._meaning(part, scope, local)
                elif part is not None:
                    yield f"{name}={part!r}"

    def _meaning(self, name: str, scope: Mapping[str, Any], local: dict[str, int]) -> str:
        if name in local or name not in scope:
            return f"builtin {name}" if hasattr(builtins, name) else f"name {local.setdefault(name, len(local))}"
        value = scope[name]
        if isinstance(value, ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, _PLAIN) or (isinstance(value, (tuple, frozenset)) and _is_plain(value)):
            return f"constant {sorted(map(repr, value)) if isinstance(value, frozenset) else value!r}"
        plain = _plain(value) if hasattr(value, "__dict__") else value
        if isinstance(plain, (FunctionType, type)):
            home = str(plain.__module__)
            ours = home.partition(".")[0] in self._packages
            return f"code {self.digest(plain)}" if ours else f"other {home}.{plain.__qualname__}"
        return "value"  # without its type: a compiled function has another type before its first call


def _is_plain(values: Any) -> bool:
    return all(isinstance(value, _PLAIN) or (isinstance(value, tuple) and _is_plain(value)) for value in values)


def _is_name(node: ast.AST, field: str) -> bool:
    """Return whether a string in the syntax tree is a freely chosen name."""
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


def _node(definition: Any) -> ast.AST | None:
    """Return the syntax tree of a function or class, or None if it has no source, such as a generated one."""
    file = getattr(sys.modules.get(definition.__module__), "__file__", None)
    if not file or not file.endswith(".py"):
        return None
    return _nodes(file).get(definition.__qualname__)


@cache
def _nodes(file: str) -> dict[str, ast.AST]:
    tree = ast.parse(Path(file).read_bytes())
    return {node.name: node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
