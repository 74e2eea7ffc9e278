"""The rules of docs/architecture.md that a machine can check."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "recsys_assets"
TESTS = ROOT / "recsys_assets_tests"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
INITS = sorted(PACKAGE.rglob("__init__.py"))
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "lib", "misc", "core", "tools"}
KNOWS_DAGSTER = {"dagster_defs", "cli", "definitions.py"}
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


def imports(path):
    """Yield every module name that a file imports, wherever in the file it does."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT).stdout


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_opens_with_one_sentence(path):
    docstring = ast.get_docstring(tree(path))
    assert docstring, f"{relative(path)} has no docstring: say in one sentence what it holds"
    first = docstring.split("\n\n")[0]
    assert "\n" not in first, f"the first paragraph is one line of at most 120 characters: {first!r}"
    assert re.fullmatch(r"[^ ].*[.]", first), f"the first line is a sentence: {first!r}"


@pytest.mark.parametrize("path", [*MODULES, *sorted(TESTS.rglob("*.py"))], ids=relative)
def test_a_module_is_named_for_its_reason(path):
    assert BANNED_NAMES.isdisjoint({path.stem.removeprefix("test_"), *path.relative_to(ROOT).parts})


@pytest.mark.parametrize("path", INITS, ids=relative)
def test_an_init_file_is_empty_but_for_the_packages_own_docstring(path):
    body = tree(path).body
    if path.parent == PACKAGE:
        assert len(body) == 1
        assert ast.get_docstring(tree(path))
    else:
        assert body == []


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_the_edge_imports_dagster(path):
    found = {name for name in imports(path) if name.split(".")[0].startswith("dagster")}
    assert not found or path.relative_to(PACKAGE).parts[0] in KNOWS_DAGSTER


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_an_import_is_absolute_and_known_by_one_name(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            assert "*" not in {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.asname in {None, ALLOWED_ALIASES.get(alias.name)}, f"line {node.lineno}: {alias.asname}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_annotations_stay_objects_so_that_dagster_can_read_them(path):
    assert "__future__" not in set(imports(path))


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=relative)
def test_tests_use_fakes_that_are_product_code(path):
    assert not {name for name in imports(path) if name.startswith(("unittest.mock", "mock", "pytest_mock"))}


def test_every_test_folder_mirrors_a_package():
    folders = {path.name for path in TESTS.iterdir() if path.is_dir() and any(path.glob("*.py"))}
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
