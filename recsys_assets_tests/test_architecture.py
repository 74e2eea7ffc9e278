"""The rules of docs/architecture.md that a machine can check."""

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "recsys_assets"
TESTS = ROOT / "recsys_assets_tests"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
INITS = sorted(PACKAGE.rglob("__init__.py"))
TEST_FILES = sorted(TESTS.rglob("*.py"))
REPLACED = tomllib.loads((TESTS / "replaced_words.toml").read_text(encoding="utf-8"))
OPENINGS = [(re.compile(word), remedy) for word, remedy in REPLACED["docstrings"].items()]
MOST_LINES = 340
MAY_SLEEP = {
    "recsys_assets/retry.py",
    "recsys_assets/serving/blocking.py",  # hands the interpreter to threads that serve, and waits for nothing
    "recsys_assets/serving/row_index.py",
}
NAMES_FOR_ONE_THING: dict[str, str] = {}  # class names that two modules may have, each with why they mean the same
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "lib", "misc", "core", "tools"}
KNOWS_DAGSTER = {"dagster_defs", "cli", "definitions.py", "defs"}
ALLOWED_ALIASES = {
    "dagster": "dg",
    "narwhals": "nw",
    "polars": "pl",
    "pandera.polars": "pa",
    "numpy": "np",
    "numpy.typing": "npt",
    "pyarrow": "pa",
    "pyarrow.parquet": "pq",
}


def relative(path):
    return path.relative_to(ROOT).as_posix()


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Parsed:
    """What the rules look at in a file: the trees of all files at once would fill the memory."""

    docstring: str
    imports: list[ast.Import | ast.ImportFrom]
    classes: set[str]
    names: set[str]  # of what is imported, and of attributes


@cache
def parsed(path):
    module = tree(path)
    nodes = list(ast.walk(module))
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return Parsed(
        ast.get_docstring(module) or "",
        [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)],
        {node.name for node in nodes if isinstance(node, ast.ClassDef)},
        names | {node.name for node in nodes if isinstance(node, ast.alias)},
    )


def imports(path):
    """Yield every module name that a file imports, wherever in the file it does."""
    for node in parsed(path).imports:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield node.module or ""


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def violations(paths, check):
    """Return "path: finding" for everything that `check` finds in a file; it yields findings."""
    return [f"{relative(path)}: {finding}" for path in paths for finding in check(path)]


def opening_faults(path):
    first = parsed(path).docstring.split("\n\n")[0]
    if "\n" in first or not re.fullmatch(r"[^ ].*[.]", first):
        yield f"its first paragraph is not one sentence on one line: {first!r}"
    yield from opening_word_faults(path)


def opening_word_faults(path):
    first = parsed(path).docstring.split("\n\n")[0]
    yield from (f"opens with {first.split()[0]!r}: {remedy}" for word, remedy in OPENINGS if word.match(first))


def name_faults(path):
    yield from BANNED_NAMES & {path.stem.removeprefix("test_"), *path.relative_to(ROOT).parts}


def import_faults(path):
    for node in parsed(path).imports:
        if isinstance(node, ast.ImportFrom):
            if node.level or "*" in {alias.name for alias in node.names}:
                yield f"line {node.lineno}: import by absolute name, one name at a time"
            if node.module == "__future__":
                yield f"line {node.lineno}: Dagster reads annotations as objects"
        if isinstance(node, ast.Import):
            renamed = [alias for alias in node.names if alias.asname not in {None, ALLOWED_ALIASES.get(alias.name)}]
            yield from (f"line {node.lineno}: {alias.name} as {alias.asname}" for alias in renamed)


def dagster_faults(path):
    if path.relative_to(PACKAGE).parts[0] not in KNOWS_DAGSTER:
        yield from (name for name in imports(path) if name.split(".")[0].startswith("dagster"))


def mock_faults(path):
    yield from (name for name in imports(path) if name.startswith(("unittest.mock", "mock", "pytest_mock")))


def sleep_faults(path):
    if relative(path) not in MAY_SLEEP and "sleep" in parsed(path).names:
        yield "sleep: take a pause of `recsys_assets.retry`, which tests replace"


def init_faults(path):
    body = tree(path).body
    if path.parent == PACKAGE:
        # `dg` knows a component by `package.Name` alone: the package's own file finds that one when it is asked for.
        lazy = {"__getattr__", "__dir__", "typing"}
        names = {getattr(node, "name", getattr(node, "module", None)) for node in body[1:]}
        if names - lazy or not ast.get_docstring(tree(path)):
            yield "holds the package's docstring, and nothing else but how its component is found"
    if path.parent != PACKAGE and body:
        yield "is empty"


def size_faults(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > MOST_LINES:
        yield f"{lines} lines, at most {MOST_LINES}: split it by its reasons"


@pytest.mark.parametrize(
    ("paths", "check"),
    [
        pytest.param(MODULES, opening_faults, id="a module opens with a sentence that names what it holds"),
        pytest.param(TEST_FILES, opening_word_faults, id="a test module names what it is about"),
        pytest.param(MODULES, size_faults, id="a module stays readable"),
        pytest.param([*MODULES, *TEST_FILES], name_faults, id="a module is named for its reason"),
        pytest.param(MODULES, import_faults, id="an import is absolute and known by one name"),
        pytest.param(MODULES, dagster_faults, id="only the edge imports Dagster"),
        pytest.param(TEST_FILES, mock_faults, id="tests use fakes that are product code"),
        pytest.param(MODULES, sleep_faults, id="only retry waits"),
        pytest.param(INITS, init_faults, id="an init file is empty but for the package's own docstring"),
    ],
)
def test_rules_of_modules(paths, check):
    assert violations(paths, check) == []


def classes_by_name(paths):
    """Return the modules that define a class of a name, nested ones too, each module once."""
    found = {}
    for path in paths:
        for name in parsed(path).classes:
            found.setdefault(name, []).append(relative(path))
    return found


def test_a_class_name_stands_for_one_thing():
    twice = {name: paths for name, paths in classes_by_name(MODULES).items() if len(paths) > 1}
    assert {name: paths for name, paths in twice.items() if name not in NAMES_FOR_ONE_THING} == {}
    assert NAMES_FOR_ONE_THING.keys() <= twice.keys(), "exceptions that nothing needs any more"


def test_every_test_folder_mirrors_a_package():
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.glob("*.py"))} - {"walk"}
    assert folders <= {path.name for path in PACKAGE.iterdir() if path.is_dir()}


def test_importing_the_package_imports_nothing_else():
    code = "import sys, recsys_assets; print(*[m for m in sys.modules if m.startswith('recsys_assets')])"
    assert run_python(code).split() == ["recsys_assets"]


def test_the_command_shows_its_help_without_dagster_or_frames():
    code = (
        "import sys; from recsys_assets.cli import main;"
        "print(*{m.split('.')[0] for m in sys.modules} & {'dagster', 'polars', 'numba', 'pandera', 'pyarrow', 'boto3'})"
    )
    assert run_python(code).split() == []


def test_the_import_contracts_hold():
    result = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-logo"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stdout + result.stderr
