"""A code version changes with what code does and with its parameters, and with nothing else."""

import importlib
import sys
from textwrap import dedent

import pytest

from recsys_assets.kinds.registry import KINDS
from recsys_assets.pipeline import code_version as module
from recsys_assets.pipeline.code_version import code_version

KERNEL = """
    import polars as pl

    LIMIT = 10

    def count(rows, least):
        return [halve(row) for row in rows if row > least][:LIMIT]

    def halve(row):
        return row // 2
"""


@pytest.fixture
def version_of(tmp_path, monkeypatch):
    """The version of a kernel that stands in a module, as it is read from the file."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # it would be taken for that of another text as long

    def version(text, *, name="count", file="acme_kernel", **params):
        (tmp_path / f"{file}.py").write_text(dedent(text))
        sys.modules.pop(file, None)
        importlib.invalidate_caches()
        module._code.cache_clear()
        module._nodes.cache_clear()
        return code_version(getattr(importlib.import_module(file), name), params=params)

    yield version
    for file in ("acme_kernel", "acme_renamed"):
        sys.modules.pop(file, None)
    module._code.cache_clear()
    module._nodes.cache_clear()


@pytest.mark.parametrize(
    ("text", "how"),
    [
        pytest.param(KERNEL, {"file": "acme_renamed"}, id="the module has another name"),
        pytest.param(KERNEL.replace("count(", "tally("), {"name": "tally"}, id="the kernel has another name"),
        pytest.param(KERNEL.replace("halve", "half"), {}, id="what it calls has another name"),
        pytest.param(KERNEL.replace("row ", "one ").replace("row)", "one)"), {}, id="variables have other names"),
        pytest.param(KERNEL.replace("LIMIT", "MOST"), {}, id="a constant has another name"),
        pytest.param(
            KERNEL.replace("least):", 'least: int) -> list[int]:\n        """Count."""  # well'),
            {},
            id="words and types",
        ),
        pytest.param(KERNEL + "\n    def other():\n        return 1\n", {}, id="something else stands beside it"),
    ],
)
def test_a_rename_is_the_same_code(version_of, text, how):
    assert version_of(text, **how) == version_of(KERNEL)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(KERNEL.replace("> least", ">= least"), id="an operator"),
        pytest.param(KERNEL.replace("LIMIT = 10", "LIMIT = 11"), id="a constant of the module"),
        pytest.param(KERNEL.replace("// 2", "// 3"), id="what it calls"),
        pytest.param(KERNEL.replace("row > least", "least > row"), id="the same names in another order"),
        pytest.param(KERNEL.replace("[halve(row)", "[abs(row)"), id="another function"),
    ],
)
def test_another_statement_is_other_code(version_of, text):
    assert version_of(text) != version_of(KERNEL)


def test_another_parameter_is_another_version(version_of):
    assert version_of(KERNEL, least=1) != version_of(KERNEL, least=2)
    assert version_of(KERNEL, a=1, b=2) == version_of(KERNEL, b=2, a=1)


def test_every_kernel_has_a_version_of_its_own_that_covers_what_it_compiles():
    versions = {name: code_version(kind.kernel, params={}) for name, kind in KINDS.items()}
    assert len(set(versions.values())) == len(KINDS)
    walk = module._CodeWalk({"recsys_assets"})
    walk.digest(KINDS["cooc"].kernel)
    assert len(walk._digests) > 10, "functions behind `compiled` are followed"


def test_a_function_that_was_compiled_meanwhile_is_the_same_code(version_of):
    """A run compiles what it calls first: Dagster must not take that for other code, nor miss a change behind it."""
    compiled = KERNEL.replace("def halve", "import numba\n\n    @numba.njit\n    def halve")
    assert version_of(compiled) == version_of(KERNEL)
    assert version_of(compiled.replace("// 2", "// 3")) != version_of(KERNEL)
